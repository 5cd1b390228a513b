package view

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"
)

// Slots bounds how many calls of guests are under way in the host at a time. It
// may be shared by any number of guests and used by any number of goroutines. A
// nil *Slots sets no bound.
type Slots struct {
	free chan struct{}
	wait time.Duration
	left atomic.Uint64 // how often one was given back
}

// NewSlots returns n slots. A call that finds none free waits for its turn, as long
// as none of them is kept longer than wait: on a machine with too much to do, many
// may be before it. With a wait of zero or less it does not wait.
func NewSlots(n int, wait time.Duration) *Slots {
	return &Slots{free: make(chan struct{}, max(n, 1)), wait: wait}
}

// Enter takes a slot, which the caller gives back with Leave if there was no
// error. It answers EAGAIN if for a whole wait none came free, or the context's error.
func (s *Slots) Enter(ctx context.Context) error {
	if s == nil {
		return nil
	}
	select {
	case s.free <- struct{}{}:
		return nil
	default:
	}
	if s.wait <= 0 {
		return syscall.EAGAIN
	}
	t := time.NewTimer(s.wait)
	defer t.Stop()
	for left := s.left.Load(); ; {
		select {
		case s.free <- struct{}{}:
			return nil
		case <-t.C:
			now := s.left.Load()
			if now == left {
				return syscall.EAGAIN
			}
			left = now
			t.Reset(s.wait)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leave gives a slot back.
func (s *Slots) Leave() {
	if s != nil {
		s.left.Add(1)
		<-s.free
	}
}
