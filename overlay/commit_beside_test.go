package overlay

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// meanwhile has the next commit do what do does at the first step of that name.
// It returns what the view is afterwards, for when the commit is over.
func (l *lab) meanwhile(step string, do func() error) *tree {
	var want tree
	l.fs.opt.step = func(name string) {
		if name != step || want != nil {
			return
		}
		want = tree{} // not again
		l.must(do())
		want = l.view()
	}
	return &want
}

// beside commits while somebody does what do does, after the step of that name;
// the view stays what it is then, and so it is for who opens the overlay anew. A
// later commit finishes.
func (l *lab) beside(step string, do func() error) {
	l.t.Helper()
	want := l.meanwhile(step, do)
	if _, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true}); err != nil {
		l.t.Fatal(err)
	}
	l.fs.opt.step = nil
	if *want == nil {
		l.t.Fatalf("there was no step %q", step)
	}
	if d := diffTrees(*want, l.view()); d != "" {
		l.t.Errorf("the view before and after differ\n%s", d)
	}
	l.reopen()
	if d := diffTrees(*want, l.view()); d != "" {
		l.t.Errorf("the view before and after reopening differ\n%s", d)
	}
	l.commit(CommitOptions{})
	l.committed(*want)
}

// TestCommitBesideRenames: a directory that somebody puts in the place of a
// renamed one, or a renamed one that goes on, never gets a second place in the
// view to show what it does.
func TestCommitBesideRenames(t *testing.T) {
	t.Run("over what is yet to be moved", func(t *testing.T) {
		l := newLab(t).seed("c/f=1", "c/sub/g=2").open()
		l.must(all(func() error { return l.write("a", "new") }, func() error { return l.mv("c", "d") },
			func() error { return l.mkdir("x") }, func() error { return l.write("x/g", "new") }))
		l.beside("commit.staged", func() error { return l.mv("x", "c") })
	})
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("out of a staged one, shown again ", again), func(t *testing.T) {
			l := newLab(t).seed("d/sub/f=1", "d/g=2").open()
			l.must(all(func() error { return l.write("a", "new") }, func() error { return l.mv("d/sub", "s") },
				func() error { return l.mv("d", "e") }, func() error { return l.mkdir("d") }, func() error { return l.write("d/new", "3") }))
			l.beside("commit.staged", func() error {
				do := []func() error{func() error { return l.mv("s", "t") }, func() error { return l.mv("e", "e2") }}
				if again { // nothing hides the name any more
					do = append(do, func() error { return l.write("e2/sub", "x") }, func() error { return l.rm("e2/sub") })
				}
				return all(do...)
			})
		})
	}
}

// openAt opens a file of the view.
func (l *lab) openAt(path string) vfs.Handle {
	l.t.Helper()
	var h vfs.Handle
	l.must(l.node(path, func(n vfs.NodeID) (err error) {
		h, err = l.fs.Open(l.ctx, n, unix.O_RDWR)
		return err
	}))
	return h
}

// TestCommitOfOpen: what somebody has open of the workspace stays within reach
// when a commit takes its name there, or moves its directory: it can be written
// to, and what is written shows under its other names.
func TestCommitOfOpen(t *testing.T) {
	write := func(l *lab, h vfs.Handle) {
		l.t.Helper()
		if _, err := h.WriteAt(l.ctx, []byte("LO"), 0); err != nil {
			l.t.Fatal(err)
		}
		buf := make([]byte, 10)
		if n, err := h.ReadAt(l.ctx, buf, 0); string(buf[:n]) != "LOwer" || err != nil {
			l.t.Errorf("it holds %q, %v", buf[:n], err)
		}
	}
	t.Run("beside many without a name", func(t *testing.T) {
		l := newLab(t).seed("f=lower")
		l.opt.DirFDs = 2
		l.open()
		for i := range 4 {
			name := fmt.Sprint("n", i)
			l.must(l.write(name, "new"))
			defer l.openAt(name).Close()
			l.must(l.rm(name))
		}
		h := l.openAt("f")
		defer h.Close()
		l.must(l.rm("f"))
		l.commit(CommitOptions{})
		write(l, h)
	})
	for _, moved := range []bool{false, true} {
		t.Run(fmt.Sprint("by one of two names, moved ", moved), func(t *testing.T) {
			l := newLab(t).seed("d/h1=lower", "h2==d/h1", "b/", "c/", "e/", "f/")
			l.opt.DirFDs = 2
			l.open()
			h := l.openAt("d/h1")
			l.must(l.rm("d/h1"))
			if moved {
				l.must(l.mv("d", "d2"))
			}
			if _, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true}); err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{"", "b", "c", "e", "f"} {
				l.list(dir) // other descriptors are in use
			}
			write(l, h)
			l.must(h.Close())
			if got, err := l.read("h2"); got != "LOwer" || err != nil {
				t.Errorf("h2 holds %q, %v", got, err)
			}
			want := l.view()
			l.commit(CommitOptions{})
			l.committed(want)
		})
	}
}
