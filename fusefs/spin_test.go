package fusefs

import "testing"

// Who waits for requests looks for one only as often as that is not in vain.
func TestSpinnerGivesUpWhatIsInVain(t *testing.T) {
	looks := func(s *spinner, waits int, found bool) (n int) {
		for range waits {
			looked := false
			got := s.wait(func() bool {
				looked = true
				return found
			})
			if got != (looked && found) {
				t.Errorf("looked: %v, found: %v, told: %v", looked, found, got)
			}
			if looked {
				n++
			}
		}
		return n
	}
	var s spinner
	if n := looks(&s, 1000, true); n != 1000 {
		t.Errorf("looked at %d of 1000 waits though that was never in vain", n)
	}
	if n := looks(&s, 10*(spinPauseMax+1), false); n > 2*10 {
		t.Errorf("looked at %d of %d waits though that was always in vain", n, 10*(spinPauseMax+1))
	}
	if n := looks(&s, 4*(spinPauseMax+1), true); n < 3*(spinPauseMax+1) {
		t.Errorf("looked at %d of %d waits since that is not in vain any more", n, 4*(spinPauseMax+1))
	}
	s.off = true
	if n := looks(&s, 10, true); n != 0 {
		t.Errorf("looked at %d waits where who sends requests would have no processor", n)
	}
}
