package fusefs

import (
	"testing"
	"time"

	"github.com/astridfs/astridfs/vfs"
)

type namedDir struct {
	vfs.DirHandle
	name string
}

// A listing goes on with what its own thread began, unless that looks given up or
// another thread's was begun later, or with what was begun last by others if
// nothing changed since.
func TestListingGoesOn(t *testing.T) {
	const node = 7
	var s dirStreams
	put := func(name string, pid uint32, begun uint64, ago time.Duration) {
		t.Helper()
		l := dirStream{node: node, pid: pid, begun: begun, used: time.Now().Add(-ago), dir: namedDir{name: name}}
		if dropped := s.put(l); dropped != nil {
			t.Fatalf("dropped %v", dropped)
		}
	}
	want := func(what string, pid uint32, changes uint64, name string) {
		t.Helper()
		l, dropped := s.take(node, pid, false, changes)
		if d, _ := l.dir.(namedDir); d.name != name || dropped != nil {
			t.Errorf("%s: got %q, dropped %v, want %q", what, d.name, dropped, name)
		}
	}
	put("mine", 2, 4, 0)
	want("by its thread, though there were changes", 2, 5, "mine")
	// A thread that gave up a listing goes on with one that another began.
	put("mine", 2, 4, 0)
	put("another's", 1, 5, 0)
	want("another's that was begun later", 2, 5, "another's")
	put("another's", 1, 5, 0)
	want("another's that was begun later, with changes since", 2, 6, "another's")
	want("mine, when that is gone", 2, 6, "mine")
	put("mine", 2, 5, 0)
	put("another's", 1, 4, 0)
	want("mine, which was begun later", 2, 6, "mine")
	want("nothing, after changes", 2, 6, "")
	want("another's, as nothing changed", 2, 4, "another's")
	put("older", 1, 5, 0)
	put("younger", 3, 5, 0)
	want("another thread, after changes", 9, 6, "")
	want("another thread", 9, 5, "younger")
	want("a further one", 9, 5, "older")
	want("nothing left", 9, 5, "")

	put("given up", 2, 4, time.Minute)
	want("by its thread, long after, with changes", 2, 5, "")
	want("without", 2, 4, "given up")

	put("x", 1, 5, 0)
	if l, dropped := s.take(node, 2, true, 5); l.dir != nil || dropped != nil {
		t.Errorf("a start by another thread: %v, dropped %v", l.dir, dropped)
	}
	if l, dropped := s.take(node, 1, true, 5); l.dir != nil || dropped != (namedDir{name: "x"}) {
		t.Errorf("a start: %v, dropped %v", l.dir, dropped)
	}
	for i := range uint32(streamsMax) {
		put("many", i, 5, 0)
	}
	if dropped := s.put(dirStream{node: node, pid: 100, dir: namedDir{name: "last"}}); len(dropped) != 1 {
		t.Errorf("beyond the bound, dropped %v", dropped)
	}
}
