package overlay

import (
	"errors"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

func (l *lab) discard(paths ...string) Report {
	l.t.Helper()
	r, err := l.fs.Discard(l.ctx, paths)
	if err != nil {
		l.t.Fatalf("discard: %v", err)
	}
	return r
}

// discarded checks that the view is what the workspace is, live and anew, and
// that the upper layer is empty.
func (l *lab) discarded(host tree) {
	l.t.Helper()
	if d := diffTrees(host, hostTree(l.t, l.host())); d != "" {
		l.t.Errorf("the workspace changed\n%s", d)
	}
	if d := diffTrees(host, l.view()); d != "" {
		l.t.Errorf("the workspace and the view differ\n%s", d)
	}
	l.wantStatus(ChangesOptions{})
	l.upperEmpty()
	l.reopen()
	if d := diffTrees(host, l.view()); d != "" {
		l.t.Errorf("the workspace and the view after reopening differ\n%s", d)
	}
}

func TestDiscardAll(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t).seed(s.seed...).open()
			host := hostTree(t, l.host())
			l.must(s.do(l))
			l.view() // makes nodes of everything
			r := l.discard()
			if len(r.Steps) < len(s.status) {
				t.Errorf("steps %v, want %v", r.Steps, s.status)
			}
			l.discarded(host)
		})
	}
}

// TestDiscardEach discards one change after the other.
func TestDiscardEach(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t).seed(s.seed...).open()
			host := hostTree(t, l.host())
			l.must(s.do(l))
			for range len(s.status) {
				left := l.status(ChangesOptions{})
				if len(left) == 0 {
					break
				}
				_, path, _ := strings.Cut(left[len(left)-1], " ")
				path, _, _ = strings.Cut(path, " <- ")
				path, _, _ = strings.Cut(path, " (")
				l.discard(path)
				l.view()
			}
			l.wantStatus(ChangesOptions{})
			l.discard() // what is the same as below
			l.discarded(host)
		})
	}
}

func TestDiscardSome(t *testing.T) {
	l := newLab(t).seed("d/a=1", "d/b=2", "d/e/c=3", "k=1", "m/x=1", "m/y=1").open()
	l.must(l.write("d/a", "changed"))
	l.must(l.write("k", "changed"))
	l.must(l.rm("d/b"))
	l.discard("d/a")
	l.wantStatus(ChangesOptions{}, "D d/b", "M k (content)")
	l.discard("d")
	l.wantStatus(ChangesOptions{}, "M k (content)")
	if got, err := l.read("d/b"); got != "2" || err != nil {
		t.Errorf("d/b is %q, %v", got, err)
	}

	// One entry of a deleted directory.
	l.must(l.rmAll("d"))
	l.discard("d/e/c")
	l.wantStatus(ChangesOptions{}, "D d/a", "D d/b", "M k (content)")
	if got, err := l.read("d/e/c"); got != "3" || err != nil {
		t.Errorf("d/e/c is %q, %v", got, err)
	}
	l.discard("d")
	l.wantStatus(ChangesOptions{}, "M k (content)")

	// One entry of a replaced directory.
	l.must(l.rmAll("d"))
	l.must(l.mkdir("d"))
	l.must(l.write("d/n", "new"))
	l.discard("d/b")
	l.wantStatus(ChangesOptions{}, "D d/a", "D d/e", "A d/n", "M k (content)")

	// Inside a renamed directory the rename stays; by either name it goes.
	for _, name := range []string{"n", "m"} {
		l.must(l.mv("m", "n"))
		l.must(l.write("n/x", "changed"))
		l.discard("n/x")
		if got, err := l.read("n/x"); got != "1" || err != nil {
			t.Errorf("n/x is %q, %v", got, err)
		}
		l.wantStatus(ChangesOptions{Paths: []string{"m", "n"}}, "R n <- m")
		r := l.discard(name)
		if len(r.Also) != 1 {
			t.Errorf("also %v", r.Also)
		}
		if got, err := l.read("m/x"); got != "1" || err != nil {
			t.Errorf("m/x is %q, %v", got, err)
		}
		l.wantStatus(ChangesOptions{Paths: []string{"m", "n"}})
	}

	host := hostTree(t, l.host())
	l.discard()
	l.discarded(host)
}

// TestDiscardNumbers: no two files show one inode number when one of them shows
// its lower file again, and files of several names count those that show. The
// view checks both.
func TestDiscardNumbers(t *testing.T) {
	for _, c := range []struct {
		name    string
		do      func(l *lab) error
		discard string
	}{
		{"exchanged", func(l *lab) error { return l.rename("a", "b", vfs.Exchange) }, "a"},
		{"moved, with a further name", func(l *lab) error { return errors.Join(l.mv("a", "m"), l.link("m", "n")) }, "a"},
		{"exchanged with one of several names", func(l *lab) error {
			return errors.Join(l.rename("a", "h1", vfs.Exchange), l.write("d/h2", "changed"))
		}, "h1"},
		{"a name hidden by a directory", func(l *lab) error { return l.rename("h1", "d", vfs.Exchange) }, "h1"},
		{"all names removed", func(l *lab) error { return errors.Join(l.write("h1", "changed"), l.rm("h1"), l.rmAll("d")) }, "h1"},
		{"all names removed, unchanged", func(l *lab) error { return errors.Join(l.rm("h1"), l.rmAll("d")) }, "h1"},
		{"one removed, one changed", func(l *lab) error { return errors.Join(l.write("h1", "changed"), l.rm("d/h2")) }, "h1"},
		{"one replaced in a renamed directory", func(l *lab) error {
			return errors.Join(l.mv("d", "e"), l.chmod("h1", 0o600), l.mv("a", "h1"))
		}, "e"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t).seed("a=1", "b=2", "h1=3", "d/", "d/h2==h1").open()
			l.view()
			l.must(c.do(l))
			l.view()
			l.discard(c.discard)
			want := l.view()
			l.reopen()
			if d := diffTrees(want, l.view()); d != "" {
				t.Errorf("it differs after reopening\n%s", d)
			}
			host := hostTree(t, l.host())
			l.discard()
			l.discarded(host)
		})
	}
}

// TestDiscardJoinsNames: names that stand for one lower file again are one node,
// so that a change by one shows under the other.
func TestDiscardJoinsNames(t *testing.T) {
	l := newLab(t).seed("h1=1", "h2==h1", "x=2").open()
	l.must(l.mv("x", "h1"))
	for _, p := range []string{"h1", "h2"} {
		l.must(l.parent(p, func(dir vfs.NodeID, name string) error {
			e, err := l.fs.Lookup(l.ctx, dir, name)
			if err == nil {
				t.Cleanup(func() { l.fs.Forget(e.Node, 1) })
			}
			return err
		}))
	}
	l.discard()
	l.must(l.write("h2", "changed"))
	if got, err := l.read("h1"); got != "changed" || err != nil {
		t.Errorf("h1 holds %q, %v", got, err)
	}
}
