package view_test

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astridfs/astridfs/capsulehost/view"
)

// TestSlotsGoOn: calls wait for their turn as long as others before them end, however
// many those are, and no longer than wait once none does.
func TestSlotsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait, holds, calls = 5 * time.Second, 4 * time.Second, 20
		s := view.NewSlots(2, wait)
		var wg sync.WaitGroup
		for range calls {
			wg.Go(func() {
				if err := s.Enter(t.Context()); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(holds)
				s.Leave()
			})
		}
		wg.Wait()
		for range 2 {
			if err := s.Enter(t.Context()); err != nil {
				t.Error(err)
			}
		}
		begun := time.Now()
		if err := s.Enter(t.Context()); err != syscall.EAGAIN || time.Since(begun) != wait {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Enter(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
	})
}
