package overlay

import "testing"

// TestCrashThenChange kills a commit at every step, opens the overlay anew and
// changes what the commit was about once more: what it did to the workspace is
// nobody else's doing, and so no conflict.
func TestCrashThenChange(t *testing.T) {
	steps := map[string]bool{}
	change := func(l *lab) error {
		return all(
			func() error { return l.write("gone", "again") },
			func() error { return l.mkdir("tree") },
			func() error { return l.write("tree/f", "again") },
			func() error { return l.mkdir("tree/sub") },
			func() error { return l.write("tree/sub/g", "again") },
			func() error { return l.write("changed", "once more") },
			func() error { return l.write("new", "once more") },
			func() error { return l.chmod("mode", 0o640) },
			func() error { return l.rmdir("file") },
			func() error { return l.write("file", "again") },
			func() error { return l.rm("dir") },
			func() error { return l.mkdir("dir") },
			func() error { return l.write("dir/h", "again") },
		)
	}
	for n := 0; ; n++ {
		l := newLabIn(t, fastDir(t)).seed("gone=1", "tree/f=2", "tree/sub/g=3", "changed=4", "mode=5", "file=6", "dir/h=7", "moved/i=8", "away/j=9", "x=10").open()
		l.must(all(
			func() error { return l.rm("gone") }, func() error { return l.rmAll("tree") },
			func() error { return l.write("changed", "yes") }, func() error { return l.write("new", "yes") },
			func() error { return l.chmod("mode", 0o600) },
			func() error { return l.rm("file") }, func() error { return l.mkdir("file") },
			func() error { return l.rmAll("dir") }, func() error { return l.write("dir", "a file") },
			func() error { return l.rmAll("away") }, func() error { return l.mv("moved", "away") },
		))
		at := l.crashAt(n, l.commitAll)
		if at == "" {
			break
		}
		steps[at] = true
		l.open()
		l.must(change(l))
		want := l.view()
		if err := l.commitAll(); err != nil {
			t.Fatalf("killed at %d, %s: %v", n, at, err)
		}
		l.committedAs(want, tree.timeless)
		if t.Failed() {
			t.Fatalf("killed at %d, %s", n, at)
		}
	}
	for _, name := range []string{"removed", "deleted", "revealed", "placed", "exchanged", "aside", "attributes"} {
		if !steps["commit."+name] {
			t.Errorf("no commit was killed at %q", name)
		}
	}
}
