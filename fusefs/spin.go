package fusefs

import "time"

// spinner looks again and again for what comes soon, for a short while, before its
// caller has itself woken for it. A program that goes through files sends its next
// request some 20 µs after the last answer; sleeping in between and being woken
// costs both sides more than that, in changes of thread and in interrupts between
// processors. Where looking is in vain, because what comes takes its time or because
// others need the processor, it is left out: it may spend what it has saved.
//
// It is used by one goroutine at a time.
type spinner struct {
	off   bool          // there is no second processor for who sends requests
	saved time.Duration // less what was spent; it looks unless this is negative
}

const (
	// spinTime is how long it looks, at most.
	spinTime = 50 * time.Microsecond
	// spinSaves is about what being woken takes of both sides' processor time.
	spinSaves = 30 * time.Microsecond
	// spinSavedMax bounds what it spends when what came soon comes so no more.
	spinSavedMax = 8 * spinTime
	// spinTrial is what a wait without looking is counted as saving, so that it
	// tries again after some 250 of them.
	spinTrial = spinTime / 250
)

// wait calls try, which tells whether there is something, until it does. It is false
// if that took too long, or is likely to.
func (s *spinner) wait(try func() bool) bool {
	if s.off {
		return false
	}
	if s.saved < 0 {
		s.saved += spinTrial
		return false
	}
	for begun := time.Now(); ; {
		found, took := try(), time.Since(begun)
		switch {
		case found:
			s.saved = max(min(s.saved+spinSaves-took, spinSavedMax), -spinTime)
			return true
		case took > spinTime:
			s.saved -= spinTime
			return false
		}
	}
}
