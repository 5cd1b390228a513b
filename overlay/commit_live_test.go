package overlay

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// TestCommitLive commits and discards under open handles.
func TestCommitLive(t *testing.T) {
	l := newLab(t).seed("d/a=old").open()
	l.must(l.write("d/a", "first"))
	var node vfs.NodeID
	l.must(l.node("d/a", func(n vfs.NodeID) error {
		node = n
		reader, err := l.fs.Open(l.ctx, n, unix.O_RDONLY)
		l.must(err)
		defer reader.Close()
		read := func() string {
			buf := make([]byte, 100)
			k, err := reader.ReadAt(l.ctx, buf, 0)
			l.must(err)
			return string(buf[:k])
		}
		l.commit(CommitOptions{})
		if got := read(); got != "first" || l.hostRead("d/a") != "first" {
			t.Errorf("after the commit the handle reads %q, the workspace has %q", got, l.hostRead("d/a"))
		}
		l.upperEmpty()
		l.must(l.write("d/a", "second"))
		if got := read(); got != "second" || l.hostRead("d/a") != "first" {
			t.Errorf("after a write the handle reads %q, the workspace has %q", got, l.hostRead("d/a"))
		}

		// While it is open for writing, the upper file stays.
		writer, err := l.fs.Open(l.ctx, n, unix.O_RDWR)
		l.must(err)
		l.commit(CommitOptions{})
		l.wantStatus(ChangesOptions{})
		_, err = writer.WriteAt(l.ctx, []byte("third!"), 0)
		l.must(err)
		if got := read(); got != "third!" || l.hostRead("d/a") != "second" {
			t.Errorf("after a write the handle reads %q, the workspace has %q", got, l.hostRead("d/a"))
		}
		l.wantStatus(ChangesOptions{}, "M d/a (content)")
		l.must(writer.Close())

		l.discard()
		if got := read(); got != "second" {
			t.Errorf("after the discard the handle reads %q", got)
		}
		return nil
	}))
	l.must(l.node("d/a", func(n vfs.NodeID) error {
		if n != node {
			t.Errorf("the node was %d and is %d", node, n)
		}
		return nil
	}))
}

// TestCommitUnderGoneFiles commits, and replaces in the workspace, what somebody
// has open or refers to and nothing leads to any more.
func TestCommitUnderGoneFiles(t *testing.T) {
	open := func(l *lab, n vfs.NodeID, flags int) vfs.Handle {
		h, err := l.fs.Open(l.ctx, n, flags)
		l.must(err)
		return h
	}
	check := func(l *lab, what string, h vfs.Handle, want string) {
		t.Helper()
		buf := make([]byte, 100)
		if k, err := h.ReadAt(l.ctx, buf, 0); err != nil || string(buf[:k]) != want {
			t.Errorf("%s: the handle reads %q, %v, want %q", what, buf[:k], err, want)
		}
		if a, err := l.fs.GetAttr(l.ctx, h.Node(), h); err != nil || a.Size != int64(len(want)) {
			t.Errorf("%s: the handle's size is %d, %v, want %d", what, a.Size, err, len(want))
		}
	}
	t.Run("copy", func(t *testing.T) {
		l := newLab(t).seed("d/a=old").open()
		l.must(l.write("d/a", "first"))
		l.must(l.node("d/a", func(n vfs.NodeID) error {
			early, late := open(l, n, unix.O_RDONLY), open(l, n, unix.O_RDONLY)
			defer early.Close()
			defer late.Close()
			l.commit(CommitOptions{})
			l.must(all(func() error { return l.write("d/t", "second") }, func() error { return l.mv("d/t", "d/a") }))
			l.commit(CommitOptions{})
			check(l, "after the second commit", early, "first")
			l.must(os.WriteFile(l.host("d/t"), []byte("the host's"), 0o644))
			l.must(os.Rename(l.host("d/t"), l.host("d/a")))
			check(l, "after a change in the workspace", early, "first")
			check(l, "after a change in the workspace", late, "first")
			return nil
		}))
		if got, err := l.read("d/a"); err != nil || got != "the host's" {
			t.Errorf("the view has %q, %v", got, err)
		}
	})
	t.Run("replaced by the host", func(t *testing.T) {
		l := newLab(t).seed("d/a=old").open()
		l.must(l.write("d/a", "first"))
		l.must(l.node("d/a", func(n vfs.NodeID) error {
			h := open(l, n, unix.O_RDONLY)
			defer h.Close()
			l.commit(CommitOptions{})
			l.must(os.WriteFile(l.host("d/t"), []byte("the host's"), 0o644))
			l.must(os.Rename(l.host("d/t"), l.host("d/a")))
			check(l, "after a change in the workspace", h, "first")
			return nil
		}))
	})
	t.Run("removed", func(t *testing.T) {
		l := newLab(t).seed("d/a=old", "d/b=old").open()
		for _, by := range []func() error{
			func() error { return l.rm("d/a") },
			func() error { return l.mv("d/b", "d/a") },
		} {
			before := l.view()
			l.must(l.node("d/a", func(n vfs.NodeID) error {
				reader, writer := open(l, n, unix.O_RDONLY), open(l, n, unix.O_RDWR)
				defer reader.Close()
				defer writer.Close()
				l.must(by())
				l.commit(CommitOptions{})
				check(l, "removed", reader, "old")
				third := open(l, n, unix.O_RDONLY)
				defer third.Close()
				check(l, "opened when it was removed", third, "old")
				_, err := writer.WriteAt(l.ctx, []byte("written"), 0)
				l.must(err)
				for _, h := range []vfs.Handle{reader, writer, third} {
					check(l, "written when it was removed", h, "written")
				}
				if a, err := l.fs.GetAttr(l.ctx, n, nil); err != nil || a.Nlink != 0 {
					t.Errorf("it has %d links, %v", a.Nlink, err)
				}
				return nil
			}))
			if after := l.view(); len(after) != len(before)-1 {
				t.Errorf("%v became %v", before, after)
			}
			l.upperEmpty()
			if n := l.fs.orphans.Load(); n != 0 {
				t.Errorf("%d descriptors are held for files that nobody uses", n)
			}
			l.must(os.WriteFile(l.host("d/a"), []byte("old"), 0o644))
		}
	})
}

// TestCommitParallel has readers and writers at work during commits: a reader
// sees a whole generation of a file and never a missing one, and nothing that
// was written is lost.
func TestCommitParallel(t *testing.T) {
	l := newLab(t).seed("d/a=0", "d/b=0", "d/e/c=0").open()
	files := []string{"d/a", "d/b", "d/e/c", "d/new"}
	l.must(l.write("d/new", "0"))
	ctx, stop := context.WithCancel(l.ctx)
	var wg sync.WaitGroup
	last := make([]atomic.Int64, len(files))
	for i, path := range files {
		wg.Add(2)
		go func() { // replaces the file as an editor does
			defer wg.Done()
			for n := 1; ctx.Err() == nil; n++ {
				tmp := fmt.Sprintf("d/.%d", i)
				if err := l.write(tmp, strings.Repeat(fmt.Sprint(n%10), 1000)); err != nil {
					t.Errorf("%s: %v", tmp, err)
					return
				}
				if err := l.mv(tmp, path); err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				last[i].Store(int64(n))
			}
		}()
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				got, err := l.read(path)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				if got != "0" && got != strings.Repeat(got[:1], 1000) {
					t.Errorf("%s is torn: %d bytes", path, len(got))
					return
				}
			}
		}()
	}
	// On one processor the commits could be over before a writer has begun.
	atWork := func() bool {
		for i := range last {
			if last[i].Load() < 1 {
				return false
			}
		}
		return true
	}
	for !atWork() && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	for range 10 { // each waits a moment for files that were just written
		if _, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true}); err != nil {
			t.Errorf("commit: %v", err)
			break
		}
	}
	stop()
	wg.Wait()
	l.commit(CommitOptions{})
	for i, path := range files {
		if got, want := l.hostRead(path), strings.Repeat(fmt.Sprint(last[i].Load()%10), 1000); got != want {
			t.Errorf("%s is generation %.1s in the workspace, %.1s was the last", path, got, want)
		}
	}
	l.committed(l.view())
}

// TestCommitMovesUnseen: while the commit moves a directory of the workspace, and
// has not noted yet where it is, everything in it is found in the view.
func TestCommitMovesUnseen(t *testing.T) {
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprint("known ", known), func(t *testing.T) {
			l := newLab(t)
			var wg sync.WaitGroup
			l.opt.step = func(name string) {
				if name != "commit.moved" {
					return
				}
				for _, look := range []func() error{
					func() error { _, err := l.read("e/sub/f"); return err },
					func() error { return l.node("e/sub/f", func(vfs.NodeID) error { return nil }) },
					func() error { return l.node("e", func(vfs.NodeID) error { return nil }) },
					func() error {
						return l.node("e", func(n vfs.NodeID) error {
							d, err := l.fs.OpenDir(l.ctx, n)
							if err != nil {
								return err
							}
							defer d.Close()
							k := 0
							err = d.ReadDir(l.ctx, 0, func(vfs.DirEntry) bool { k++; return true })
							if err == nil && k != 5 {
								err = fmt.Errorf("%d entries", k)
							}
							return err
						})
					},
				} {
					wg.Go(func() {
						if err := look(); err != nil {
							t.Error(err)
						}
					})
				}
				time.Sleep(20 * time.Millisecond) // they look now, or it shows nothing
			}
			l.seed("d/sub/f=1", "d/g=2").open()
			l.must(l.mv("d", "e"))
			l.must(l.write("e/new", "3"))
			if known {
				l.view()
			}
			want := l.view()
			l.commit(CommitOptions{})
			wg.Wait()
			l.committed(want)
		})
	}
}

// TestCommitForgets: what was known of the entries of a directory that a commit
// replaces by a file is no conflict once there is such a directory again.
func TestCommitForgets(t *testing.T) {
	l := newLab(t).seed("d/c=1", "x=2").open()
	l.must(l.rmAll("d"))
	l.must(l.write("d", "a file"))
	l.commit(CommitOptions{})
	l.must(l.rm("d"))
	l.must(l.mkdir("d"))
	l.must(l.write("d/c", "new"))
	want := l.view()
	l.commit(CommitOptions{})
	l.committed(want)
}

// TestCommitTempsUnseen: what a commit makes in the workspace for a moment is
// neither listed nor found in the view.
func TestCommitTempsUnseen(t *testing.T) {
	l := newLab(t)
	seen := 0
	l.opt.step = func(name string) {
		if name != "commit.named" {
			return
		}
		seen++
		for _, e := range l.list("d") {
			if e != "f" {
				t.Errorf("%q is listed", e)
			}
		}
		left, err := os.ReadDir(l.host("d"))
		l.must(err)
		for _, e := range left {
			if e.Name() == "f" {
				continue
			}
			seen++
			if err := l.node("d/"+e.Name(), func(vfs.NodeID) error { return nil }); err != syscall.ENOENT {
				t.Errorf("%q: %v", e.Name(), err)
			}
		}
	}
	l.seed("d/f=1").open()
	l.must(l.write("d/f", "changed"))
	l.commit(CommitOptions{})
	if seen != 2 {
		t.Errorf("%d looks", seen)
	}
}

// TestCommitOfRemovedNames: a file whose names are all removed in the view stays
// readable and writable for who has it open when a commit removes them in the
// workspace.
func TestCommitOfRemovedNames(t *testing.T) {
	l := newLab(t).seed("h1=lower", "h2==h1").open()
	var h vfs.Handle
	l.must(l.node("h1", func(n vfs.NodeID) (err error) {
		h, err = l.fs.Open(l.ctx, n, unix.O_RDWR)
		return err
	}))
	defer h.Close()
	l.must(l.rm("h2"))
	l.must(l.rm("h1"))
	l.commit(CommitOptions{})
	if _, err := h.WriteAt(l.ctx, []byte("LO"), 0); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := h.ReadAt(l.ctx, buf, 0); string(buf[:n]) != "LOwer" || err != nil {
		t.Errorf("it holds %q, %v", buf[:n], err)
	}
}
