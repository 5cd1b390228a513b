package overlay

import (
	"os"
	"strings"
	"testing"
)

// unstaged fails if a stage directory is left in the workspace, or what hides it.
func (l *lab) unstaged() {
	l.t.Helper()
	for _, dir := range []string{l.host(), l.opt.Upper} {
		list, err := os.ReadDir(dir)
		l.must(err)
		for _, e := range list {
			if strings.HasPrefix(e.Name(), tempPrefix) {
				l.t.Errorf("%s/%s is left", dir, e.Name())
			}
		}
	}
}

// TestCommitStagedAndRemoved: a directory that a commit has in its stage
// directory and that is removed in the view meanwhile leaves the workspace, and
// nothing of it stays in the stage directory: also where something new has its
// place, and where nothing hides its place any more; and if the commit is killed.
func TestCommitStagedAndRemoved(t *testing.T) {
	for _, s := range []struct {
		name     string
		seed     []string
		before   func(l *lab) error
		removing func(l *lab) error
	}{
		{"its place is taken", []string{"d/f=1", "d/sub/g=2"}, func(l *lab) error {
			return all(func() error { return l.mv("d", "e") }, func() error { return l.mkdir("d") }, func() error { return l.write("d/new", "3") })
		}, func(l *lab) error { return l.rmAll("e") }},
		{"its place shows", []string{"p/d/f=1", "p/g=2"}, func(l *lab) error {
			return all(func() error { return l.mv("p/d", "e") }, func() error { return l.mv("p", "q") })
		}, func(l *lab) error {
			return all(func() error { return l.rmAll("e") }, func() error { return l.write("q/d", "x") }, func() error { return l.rm("q/d") })
		}},
		{"a directory has its place", []string{"p/d/f=1", "p/g=2"}, func(l *lab) error {
			return all(func() error { return l.mv("p/d", "e") }, func() error { return l.mv("p", "q") })
		}, func(l *lab) error {
			return all(func() error { return l.rmAll("e") }, func() error { return l.write("q/d", "x") }, func() error { return l.rm("q/d") },
				func() error { return l.mkdir("q/d") }, func() error { return l.write("q/d/f", "other") })
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			for n := 0; ; n++ {
				l := newLabIn(t, fastDir(t)).seed(s.seed...).open()
				l.must(l.write("a", "new"))
				l.must(s.before(l))
				var want tree
				l.besides = func(step string) {
					if step == "commit.staged" && want == nil {
						want = tree{}
						l.must(s.removing(l))
						want = l.view()
					}
				}
				at := l.crashAt(n, l.commitAll)
				if at != "" {
					l.open()
				} else {
					l.unstaged()
				}
				if want == nil {
					continue // killed before
				}
				if d := diffTrees(want.timeless(), l.view().timeless()); d != "" {
					t.Errorf("killed at %d, %s: the view before and after differ\n%s", n, at, d)
				}
				if err := l.commitAll(); err != nil {
					t.Fatalf("killed at %d, %s: %v", n, at, err)
				}
				l.committedAs(want, tree.timeless)
				l.unstaged()
				if t.Failed() {
					t.Fatalf("killed at %d, %s", n, at)
				}
				if at == "" {
					break
				}
			}
		})
	}
}
