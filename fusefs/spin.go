package fusefs

import (
	"runtime"
	"time"
)

// spinner looks again and again for what comes soon, for a short while, before its
// caller has itself woken for it. A program that goes through files sends its next
// request some 20 µs after the last answer; sleeping in between and being woken
// costs both sides more than that, in changes of thread and in interrupts between
// processors. Where looking is in vain, because what comes takes its time or because
// others need the processor, it is left out: twice as often each time, up to
// spinPauseMax, and half as often for each time that it is not.
//
// It is used by one goroutine at a time.
type spinner struct {
	off   bool // there is no second processor for who sends requests
	pause int  // waits to leave out after the next one that is in vain
	skip  int  // waits to leave out now
}

const (
	// spinTime is how long it looks: about as long as being woken takes, so that no
	// wait costs more than twice of what it could.
	spinTime = 50 * time.Microsecond
	// spinPauseMax bounds what looking in vain costs: a fifth of a microsecond for
	// each wait.
	spinPauseMax = 255
)

func newSpinner() spinner { return spinner{off: runtime.GOMAXPROCS(0) < 2 || runtime.NumCPU() < 2} }

// wait calls try, which tells whether there is something, until it does. It is false
// if that took too long, or is likely to.
func (s *spinner) wait(try func() bool) bool {
	if s.off {
		return false
	}
	if s.skip > 0 {
		s.skip--
		return false
	}
	for begun := time.Now(); ; {
		if try() {
			s.pause /= 2
			return true
		}
		if time.Since(begun) > spinTime {
			break
		}
	}
	s.pause = min(2*s.pause+1, spinPauseMax)
	s.skip = s.pause
	return false
}
