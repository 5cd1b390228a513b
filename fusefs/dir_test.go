package fusefs

import (
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

type namedDir struct {
	vfs.DirHandle
	name string
}

// A listing goes on where its own thread left it, or, if that is unknown, with
// what was begun last: older ones may be from before a change.
func TestListingGoesOn(t *testing.T) {
	var s dirStreams
	key := streamKey{7, 42}
	for i, name := range []string{"given up", "mine", "another's"} {
		if dropped := s.put(key, uint32(i), namedDir{name: name}); dropped != nil {
			t.Fatalf("dropped %v", dropped)
		}
	}
	take := func(pid uint32) string {
		d, _ := s.take(key, pid).(namedDir)
		return d.name
	}
	if got := take(1); got != "mine" {
		t.Errorf("by its thread: %q", got)
	}
	if got := take(9); got != "another's" {
		t.Errorf("from a new thread: %q", got)
	}
	if got := take(9); got != "given up" {
		t.Errorf("what is left: %q", got)
	}
	if d := s.take(key, 9); d != nil {
		t.Errorf("and then %v", d)
	}
	s.put(key, 1, namedDir{name: "x"})
	if d := s.take(streamKey{7, 0}, 1); d != nil {
		t.Errorf("from the start: %v", d)
	}
}
