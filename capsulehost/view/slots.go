package view

import (
	"context"
	"syscall"
	"time"
)

// Slots bounds how many calls of guests are under way in the host at a time. It
// may be shared by any number of guests and used by any number of goroutines. A
// nil *Slots sets no bound.
type Slots struct {
	free chan struct{}
	wait time.Duration
}

// NewSlots returns n slots. A call that finds none free waits for one, up to
// wait; a wait of zero or less does not.
func NewSlots(n int, wait time.Duration) *Slots {
	return &Slots{free: make(chan struct{}, max(n, 1)), wait: wait}
}

// Enter takes a slot, which the caller gives back with Leave if there was no
// error. It answers EAGAIN if none came free in time, or the context's error.
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
	select {
	case s.free <- struct{}{}:
		return nil
	case <-t.C:
		return syscall.EAGAIN
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Leave gives a slot back.
func (s *Slots) Leave() {
	if s != nil {
		<-s.free
	}
}
