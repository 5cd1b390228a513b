package fusefs

import "testing"

// TestTakeIsTheCallersAlone: what is taken out of a queue, empty or not, does not
// change when the queue does, because it is gone through without the lock.
func TestTakeIsTheCallersAlone(t *testing.T) {
	for _, again := range []bool{false, true} {
		n := newNotifier(&rawFS{})
		enqueue := n.enqueue
		if again {
			enqueue = n.enqueueLater
		}
		nothing := n.take(again)
		enqueue(change{node: 2}, changeData)
		one := n.take(again)
		enqueue(change{node: 3}, changeData)
		enqueue(change{node: 4}, changeData)
		if len(nothing) != 0 || len(one) != 1 {
			t.Errorf("take(%v): what was taken has %d and %d changes by now, want 0 and 1", again, len(nothing), len(one))
		}
		if two := n.take(again); len(two) != 2 {
			t.Errorf("take(%v) returned %d changes, want 2", again, len(two))
		}
	}
}
