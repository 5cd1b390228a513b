package overlay

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

// lostCase is a renamed directory that the workspace loses.
type lostCase struct {
	name string
	view func(l *lab) error // besides the rename
	host []func(l *lab)
}

// play has it happen.
func (c *lostCase) play(l *lab) {
	l.t.Helper()
	l.seed("d/f=1", "d/sub/g=2", "other/k=3").open()
	l.must(all(func() error { return l.mv("d", "e") }, func() error { return l.write("e/new", "mine") }, func() error { return l.write("e/sub/h", "mine") }))
	if c.view != nil {
		l.must(c.view(l))
	}
	for _, h := range c.host {
		h(l)
	}
}

func lostCases() []lostCase {
	host := func(do func(l *lab) error) func(*lab) { return func(l *lab) { l.must(do(l)) } }
	gone := host(func(l *lab) error { return os.RemoveAll(l.host("d")) })
	return []lostCase{
		{"removed", nil, []func(*lab){gone}},
		{"a directory at the new name", nil, []func(*lab){gone, func(l *lab) { l.seed("e/theirs=1", "e/new=theirs", "e/sub/x=theirs") }}},
		{"a file at the new name", nil, []func(*lab){gone, func(l *lab) { l.seed("e=theirs") }}},
		{"a file at the old name", nil, []func(*lab){gone, func(l *lab) { l.seed("d=theirs") }}},
		{"files at both", nil, []func(*lab){gone, func(l *lab) { l.seed("d=theirs", "e=theirs") }}},
		{"something new in its place in the view", func(l *lab) error {
			return all(func() error { return l.mkdir("d") }, func() error { return l.write("d/mine", "1") })
		}, []func(*lab){gone, func(l *lab) { l.seed("d/theirs=1", "e/theirs=1") }}},
		{"one renamed out of it", func(l *lab) error { return l.mv("e/sub", "s") }, []func(*lab){gone, func(l *lab) { l.seed("e/theirs=1", "s/theirs=1") }}},
		{"one renamed into it", func(l *lab) error { return l.mv("other", "e/other") }, []func(*lab){gone, func(l *lab) { l.seed("e/other/theirs=1") }}},
		{"renamed back", func(l *lab) error {
			return all(func() error { return l.write("e/f", "changed") }, func() error { return l.mv("e", "d") })
		},
			[]func(*lab){gone, func(l *lab) { l.seed("d=theirs") }}},
		{"a link at the new name", nil, []func(*lab){gone, func(l *lab) { l.seed("e->other") }}},
	}
}

// TestCommitForcedOverLost commits, by force, a renamed directory whose place the
// workspace has lost meanwhile, with whatever it has by now where that was and
// where the directory is to be: what the view showed is what the workspace has.
func TestCommitForcedOverLost(t *testing.T) {
	for _, c := range lostCases() {
		for _, live := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, live %t", c.name, live), func(t *testing.T) {
				l := newLab(t)
				c.play(l)
				if !live {
					l.reopen()
				}
				want := l.view()
				if !l.conflicts() {
					t.Error("nothing is in conflict")
				}
				l.commit(CommitOptions{Force: true})
				l.committed(want)
			})
		}
	}
}

// TestCrashForcedOverLost kills such a commit at every step.
func TestCrashForcedOverLost(t *testing.T) {
	alone := false
	for _, c := range lostCases() {
		t.Run(c.name, func(t *testing.T) {
			for n := 0; ; n++ {
				l := newLabIn(t, fastDir(t))
				c.play(l)
				want := l.view()
				force := func() error {
					_, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true, Force: true})
					return err
				}
				at := l.crashAt(n, force)
				if at == "" {
					break
				}
				alone = alone || at == "commit.alone"
				l.open()
				if d := diffTrees(want.timeless(), l.view().timeless()); d != "" {
					t.Errorf("killed at %d, %s: the view before and after differ\n%s", n, at, d)
				}
				l.must(force())
				l.committedAs(want, tree.timeless)
				if t.Failed() {
					t.Fatalf("killed at %d, %s", n, at)
				}
			}
		})
	}
	if !alone {
		t.Error("none was killed where a directory comes to stand alone")
	}
}

// conflicts tells whether a commit finds conflicts.
func (l *lab) conflicts() bool {
	l.t.Helper()
	_, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true, DryRun: true})
	var conflict *ConflictError
	if err != nil && !errors.As(err, &conflict) {
		l.t.Fatal(err)
	}
	return err != nil
}

// TestMergedLosesLower: what the upper layer has of a directory goes on to be
// listed, and removed, after the host has removed the lower one, also where it
// was open before.
func TestMergedLosesLower(t *testing.T) {
	for _, renamed := range []bool{false, true} {
		t.Run(fmt.Sprint(renamed), func(t *testing.T) {
			l := newLab(t).seed("d/f=1", "d/sub/g=2", "d/sub/deep/i=3").open()
			l.must(all(func() error { return l.write("d/sub/h", "mine") }, func() error { return l.write("d/sub/deep/j", "mine") }))
			top := "d"
			if renamed {
				top = "e"
				l.must(l.mv("d", "e"))
			}
			var open []vfs.DirHandle
			for _, path := range []string{top, top + "/sub", top + "/sub/deep"} {
				l.must(l.node(path, func(n vfs.NodeID) error {
					d, err := l.fs.OpenDir(l.ctx, n)
					open = append(open, d)
					return err
				}))
				defer open[len(open)-1].Close()
			}
			l.must(os.RemoveAll(l.host("d")))
			for i, want := range []string{"sub", "deep h", "j"} {
				var names []string
				l.must(open[i].ReadDir(l.ctx, 0, func(e vfs.DirEntry) bool {
					if e.Name != "." && e.Name != ".." {
						names = append(names, e.Name)
					}
					return true
				}))
				slices.Sort(names)
				if got := strings.Join(names, " "); got != want {
					t.Errorf("the open directory %d has %q, want %q", i, got, want)
				}
			}
			for path, want := range map[string]string{top: "sub", top + "/sub": "deep h", top + "/sub/deep": "j"} {
				if got := strings.Join(l.list(path), " "); got != want {
					t.Errorf("%s has %q, want %q", path, got, want)
				}
			}
			l.must(all(func() error { return l.rm(top + "/sub/deep/j") }, func() error { return l.rmdir(top + "/sub/deep") },
				func() error { return l.rm(top + "/sub/h") }, func() error { return l.rmdir(top + "/sub") }, func() error { return l.rmdir(top) }))
			if got := l.list(""); len(got) != 0 {
				t.Errorf("there is %q", got)
			}
		})
	}
}
