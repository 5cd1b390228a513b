package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func (l *lab) commit(opt CommitOptions) Report {
	l.t.Helper()
	opt.NoSync = true
	r, err := l.fs.Commit(l.ctx, opt)
	if err != nil {
		l.t.Fatalf("commit: %v", err)
	}
	for _, n := range r.Left {
		l.t.Errorf("left: %q: %s", n.Path, n.Reason)
	}
	return r
}

// committed checks that the workspace is what the view was, that the view is
// the same, live and anew, and that nothing is left to commit.
func (l *lab) committed(want tree) { l.committedAs(want, func(t tree) tree { return t }) }

// committedAs is committed with only what form leaves of trees compared.
func (l *lab) committedAs(want tree, form func(tree) tree) {
	l.t.Helper()
	want = form(want)
	if d := diffTrees(want, form(hostTree(l.t, l.host()))); d != "" {
		l.t.Errorf("the view before and the workspace differ\n%s", d)
	}
	if d := diffTrees(want, form(l.view())); d != "" {
		l.t.Errorf("the view before and after differ\n%s", d)
	}
	l.wantStatus(ChangesOptions{})
	l.upperEmpty()
	l.reopen()
	if d := diffTrees(want, form(l.view())); d != "" {
		l.t.Errorf("the view before and after reopening differ\n%s", d)
	}
}

func TestCommitAll(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t).seed(s.seed...).open()
			l.must(s.do(l))
			want := l.view()
			l.commit(CommitOptions{})
			l.committed(want)
		})
	}
}

func (l *lab) hostRead(path string) string {
	l.t.Helper()
	data, err := os.ReadFile(l.host(path))
	l.must(err)
	return string(data)
}

func TestCommitSome(t *testing.T) {
	l := newLab(t).seed("d/a=1", "d/b=2", "k=1", "m/x=1", "m/y=1").open()
	for _, err := range []error{
		l.write("d/a", "changed"), l.rm("d/b"), l.write("k", "changed"),
		l.mkdir("new"), l.mkdir("new/er"), l.write("new/er/f", "1"), l.write("new/g", "1"),
		l.mv("m", "n"), l.write("n/x", "changed"), l.write("n/y", "changed"),
	} {
		l.must(err)
	}
	want := l.view()

	r, err := l.fs.Commit(l.ctx, CommitOptions{Paths: []string{"d/a"}, DryRun: true})
	l.must(err)
	if len(r.Steps) != 1 || r.Steps[0] != (Step{Kind: Modified, Path: "d/a", Type: unix.S_IFREG}) || l.hostRead("d/a") != "1" {
		t.Errorf("dry run: %+v, the workspace has %q", r, l.hostRead("d/a"))
	}

	l.commit(CommitOptions{Paths: []string{"d/a"}})
	if l.hostRead("d/a") != "changed" || l.hostRead("d/b") != "2" || l.hostRead("k") != "1" {
		t.Error("more or less than d/a was committed")
	}

	r = l.commit(CommitOptions{Paths: []string{"new/er/f"}})
	if len(r.Also) != 2 || r.Also[0].Path != "new" || r.Also[1].Path != "new/er" {
		t.Errorf("also %v", r.Also)
	}
	if l.hostRead("new/er/f") != "1" {
		t.Error("new/er/f was not committed")
	}
	if _, err := os.Lstat(l.host("new/g")); err == nil {
		t.Error("new/g was committed")
	}

	r = l.commit(CommitOptions{Paths: []string{"n/x"}})
	if len(r.Also) != 1 || r.Also[0].Path != "n" {
		t.Errorf("also %v", r.Also)
	}
	if l.hostRead("n/x") != "changed" || l.hostRead("n/y") != "1" {
		t.Error("n/x was not committed alone")
	}
	l.wantStatus(ChangesOptions{}, "D d/b", "M k (content)", "M n/y (content)", "A new/g")
	if d := diffTrees(want, l.view()); d != "" {
		t.Errorf("the view changed\n%s", d)
	}
	l.commit(CommitOptions{})
	l.committed(want)
}

func TestCommitRefuses(t *testing.T) {
	l := newLab(t).seed("a=1")
	l.opt.State = ""
	l.open()
	if _, err := l.fs.Commit(l.ctx, CommitOptions{}); !errors.Is(err, ErrNoState) {
		t.Errorf("without state: %v", err)
	}
	l = newLab(t).seed("a=1")
	l.must(os.Mkdir(l.dir+"/frozen", 0o755))
	l.opt.Lower = []string{l.dir + "/frozen", l.host()}
	l.open()
	l.must(l.write("a", "2"))
	l.wantStatus(ChangesOptions{}, "M a (content)")
	if _, err := l.fs.Commit(l.ctx, CommitOptions{}); !errors.Is(err, ErrFrozenLayers) {
		t.Errorf("with a frozen layer: %v", err)
	}
	l = newLab(t).open()
	if _, err := l.fs.Commit(l.ctx, CommitOptions{Paths: []string{"../x"}}); vfs.Errno(err) != syscall.EINVAL {
		t.Errorf("a path that leads out: %v", err)
	}
	if _, err := l.fs.Discard(l.ctx, []string{"../x"}); vfs.Errno(err) != syscall.EINVAL {
		t.Errorf("a path that leads out: %v", err)
	}
}

// TestCommitCancelled stops a commit between entries and finishes it later.
func TestCommitCancelled(t *testing.T) {
	l := newLab(t).open()
	l.must(l.mkdir("d"))
	for i := range 10 {
		l.must(l.write(fmt.Sprint("d/", i), "x"))
	}
	want := l.view()
	ctx, cancel := context.WithCancel(l.ctx)
	r, err := l.fs.Commit(ctx, CommitOptions{NoSync: true, Progress: func(p Progress) {
		if p.Path == "d/4" {
			cancel()
		}
	}})
	if vfs.Errno(err) != syscall.EINTR {
		t.Fatalf("got %v", err)
	}
	if len(r.Steps) == 0 || len(r.Steps) > 6 {
		t.Errorf("steps %v", r.Steps)
	}
	for _, s := range r.Steps {
		if _, err := os.Lstat(l.host(s.Path)); err != nil {
			t.Errorf("%s: %v", s.Path, err)
		}
	}
	if d := diffTrees(want, l.view()); d != "" {
		t.Errorf("the view changed\n%s", d)
	}
	l.commit(CommitOptions{})
	l.committed(want)
}

// TestCommitConfined: a symbolic link that comes to stand in the workspace
// leads a commit nowhere.
func TestCommitConfined(t *testing.T) {
	l := newLab(t).seed("d/a=1", "d/e/b=2").open()
	l.must(l.write("d/a", "changed"))
	l.must(l.write("d/e/b", "changed"))
	l.must(l.rm("d/a"))
	l.must(l.write("d/new", "new"))
	outside := t.TempDir()
	l.must(os.WriteFile(outside+"/a", []byte("outside"), 0o644))
	l.must(os.RemoveAll(l.host("d")))
	l.must(os.Symlink(outside, l.host("d")))
	_, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true})
	var conflict *ConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
	l.commit(CommitOptions{Force: true})
	names, err := os.ReadDir(outside)
	l.must(err)
	if data, _ := os.ReadFile(outside + "/a"); len(names) != 1 || string(data) != "outside" {
		t.Errorf("outside there are %v now, a is %q", names, data)
	}
	if st, err := os.Lstat(l.host("d")); err != nil || !st.IsDir() {
		t.Errorf("d is %v, %v", st, err)
	}
}

// TestCommitCancelledMoves stops a commit of directories that change places at
// every entry: they are where they were, or where they are to be.
func TestCommitCancelledMoves(t *testing.T) {
	for n := 1; n < 8; n++ {
		l := newLab(t).seed("a/x=1", "b/y=2", "c/z=3", "d=4").open()
		l.must(all(func() error { return l.mv("a", "t") }, func() error { return l.mv("b", "a") }, func() error { return l.mv("c", "b") },
			func() error { return l.mv("t", "c") }, func() error { return l.write("d", "changed") }))
		want := l.view()
		ctx, cancel := context.WithCancel(l.ctx)
		told := 0
		_, err := l.fs.Commit(ctx, CommitOptions{NoSync: true, Progress: func(Progress) {
			if told++; told == n {
				cancel()
			}
		}})
		cancel()
		if err != nil && vfs.Errno(err) != syscall.EINTR {
			t.Errorf("cancelled at %d: %v", n, err)
		}
		if d := diffTrees(want, l.view()); d != "" {
			t.Errorf("cancelled at %d: the view changed\n%s", n, d)
		}
		l.reopen()
		l.commit(CommitOptions{})
		l.committed(want)
		for name := range hostTree(t, l.host()) {
			if strings.HasPrefix(name, tempPrefix) {
				t.Errorf("cancelled at %d: %s is left in the workspace", n, name)
			}
		}
	}
}

// TestCommitOfOneName: that the workspace loses one name of a file is the
// commit's own doing, and no conflict for the other, whatever name the file was
// copied up by.
func TestCommitOfOneName(t *testing.T) {
	l := newLab(t).seed("c=1", "d/", "d/a==c", "x=2").open()
	l.view() // by its name c first
	l.must(l.mv("x", "c"))
	l.must(l.write("d/a", "changed"))
	want := l.view()
	if _, err := l.fs.Commit(l.ctx, CommitOptions{Paths: []string{"c"}, NoSync: true}); err != nil {
		t.Fatal(err)
	}
	r, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true})
	if err != nil || len(r.Left) > 0 {
		t.Errorf("%+v, %v", r.Left, err)
	}
	l.committed(want)
}

// TestCommitKeepsNumbers: the number of a lower symbolic link that a commit
// deletes is not given to something new while an upper one shows it.
func TestCommitKeepsNumbers(t *testing.T) {
	l := newLab(t).seed("s->t", "d/").open()
	l.must(l.mv("s", "d/s"))
	if _, err := l.fs.Commit(l.ctx, CommitOptions{Paths: []string{"s"}, NoSync: true}); err != nil {
		t.Fatal(err)
	}
	l.reopen()
	for i := range 100 {
		l.must(l.symlink("t", fmt.Sprint("n", i)))
	}
	l.view() // compares the numbers
}
