package overlay

import "testing"

// TestCommitPlaceOfMoved commits what came to the place of a directory that was
// renamed away after something in it had been changed: that the workspace had an
// entry of the name there concerns only what was renamed.
func TestCommitPlaceOfMoved(t *testing.T) {
	for _, expanded := range []bool{false, true} {
		l := newLab(t).seed("d/f=1", "d/sub/g=1", "k=1").open()
		l.must(l.write("d/f", "2"))
		l.must(l.write("d/sub/g", "2"))
		l.must(l.mv("d", "e"))
		l.must(l.mkdir("d"))
		l.must(l.mkdir("d/sub"))
		l.must(l.write("d/f", "new"))
		l.must(l.write("d/sub/g", "new"))
		if expanded {
			l.must(l.mv("d/sub", "d/moved"))
			l.must(l.write("d/moved/h", "new"))
		}
		want := l.view()
		l.commit(CommitOptions{})
		l.committed(want)
	}
}
