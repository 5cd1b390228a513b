package fusefs

import (
	"testing"
	"time"
)

// looks has s wait for what is found or not, and counts how often it looks.
func looks(t *testing.T, s *spinner, waits int, found func(i int) bool) (n int) {
	for i := range waits {
		looked := false
		got := s.wait(func() bool {
			looked = true
			return found(i)
		})
		if want := looked && found(i); got != want {
			t.Errorf("looked: %v, found: %v, told: %v", looked, found(i), got)
		}
		if looked {
			n++
		}
	}
	return n
}

// Who waits for requests looks for one only as often as that saves more than it
// costs.
func TestSpinnerSpendsNoMoreThanItSaves(t *testing.T) {
	always, never := func(int) bool { return true }, func(int) bool { return false }
	const rounds, trials = 20, int(spinTime / spinTrial)
	for what, found := range map[string]func(i int) bool{
		"never":                  never,
		"one wait of two":        func(i int) bool { return i%2 == 0 },
		"the first of each five": func(i int) bool { return i%5 == 0 },
	} {
		var s spinner
		saved := int(spinSavedMax / spinTime)
		if n := looks(t, &s, trials*rounds, found); n > 10*(rounds+saved) {
			t.Errorf("found %s: looked at %d of %d waits", what, n, trials*rounds)
		}
	}
	s := spinner{saved: spinSavedMax}
	if n := looks(t, &s, trials*rounds, never); n > rounds+int(spinSavedMax/spinTime)+1 {
		t.Errorf("looked at %d of %d waits though it had found something before", n, trials*rounds)
	}
	// A thread that is not run for a while finds what came meanwhile, and pays for it.
	if s.saved = 0; s.wait(func() bool { time.Sleep(time.Millisecond); return true }) && s.saved < -spinTime {
		t.Errorf("one wait costs %v", -s.saved)
	}
	if looks(t, &s, 2*trials, always) == 0 {
		t.Error("it never looks again")
	}
	if s = (spinner{off: true}); looks(t, &s, 10, always) != 0 {
		t.Error("it looked where who sends requests would have no processor")
	}
}
