package overlay_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
)

// TestPassthroughTrap: the kernel must never be given a lower file, by whatever
// handle and in whatever order it is opened, and a reader from before the
// copy-up sees every write.
func TestPassthroughTrap(t *testing.T) {
	b := newBed(t, func(d string) { put(t, d+"/f", "lower file") })
	e, err := b.Lookup(bg, vfs.RootID, "f")
	b.ok(err)
	open := func(flags int) vfs.Handle {
		h, err := b.Open(bg, e.Node, flags)
		b.ok(err)
		return h
	}
	fd := func(h vfs.Handle) (int, bool) { return h.(vfs.Passthrough).PassthroughFD() }
	var before []vfs.Handle
	for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
		h := open(flags)
		if _, ok := fd(h); ok {
			t.Fatalf("a lower file opened with %#x is given out", flags)
		}
		before = append(before, h)
	}
	reader, writer := before[0], before[2]
	if _, ok := fd(reader); ok {
		t.Fatal("a lower file is given out")
	}
	_, err = writer.WriteAt(bg, []byte("UPPER"), 0)
	b.ok(err)
	buf := make([]byte, 5)
	_, err = reader.ReadAt(bg, buf, 0)
	b.ok(err)
	if string(buf) != "UPPER" {
		t.Fatalf("the reader from before the copy-up reads %q", buf)
	}
	for _, h := range append(before, open(unix.O_RDWR)) {
		n, ok := fd(h)
		if !ok {
			t.Fatal("the upper file is not given out")
		}
		var st, up unix.Stat_t
		b.ok(unix.Fstat(n, &st))
		b.ok(unix.Stat(b.upper("f"), &up))
		if st.Ino != up.Ino {
			t.Fatal("the descriptor is of another file than the upper one")
		}
		mode, err := unix.FcntlInt(uintptr(n), unix.F_GETFL, 0)
		b.ok(err)
		if h == reader && mode&unix.O_ACCMODE != unix.O_RDONLY {
			t.Fatal("a reader's descriptor can write")
		}
		// It is in place until the handle is closed.
		_, tmp, err := b.Tmpfile(bg, vfs.RootID, unix.O_RDWR, 0o600)
		b.ok(err)
		b.want(b.Replace(bg, e.Node, tmp), syscall.EOPNOTSUPP)
		b.ok(tmp.Close())
		b.ok(h.Close())
	}
	if data, _ := os.ReadFile(b.lower("f")); string(data) != "lower file" {
		t.Fatalf("the lower file holds %q", data)
	}
}

func TestCopyUpForWrite(t *testing.T) {
	b := newBed(t, func(d string) { put(t, d+"/f", "x") })
	e, err := b.Lookup(bg, vfs.RootID, "f")
	b.ok(err)
	r, err := b.Open(bg, e.Node, unix.O_RDONLY)
	b.ok(err)
	b.ok(r.(overlay.CopyUpper).CopyUpForWrite(bg))
	b.upperEmpty()
	w, err := b.Open(bg, e.Node, unix.O_RDWR)
	b.ok(err)
	b.ok(w.(overlay.CopyUpper).CopyUpForWrite(bg))
	if _, ok := w.(vfs.Passthrough).PassthroughFD(); !ok {
		t.Error("after the copy-up the file is not given out")
	}
	b.ok(r.Close())
	b.ok(w.Close())
}

func TestHardLinksStayOneFile(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/a/one", "lower")
		put(t, d+"/b/x", "")
		for _, p := range []string{"/b/two", "/three"} {
			if err := os.Link(d+"/a/one", d+p); err != nil {
				t.Fatal(err)
			}
		}
	})
	names := []string{"a/one", "b/two", "three"}
	same := func(nlink uint32, data string, names ...string) {
		t.Helper()
		for range 2 {
			first := b.stat(names[0])
			for _, p := range names {
				if a := b.stat(p); a.Ino != first.Ino || a.Nlink != nlink {
					t.Fatalf("%s: inode %d with %d links, want %d with %d", p, a.Ino, a.Nlink, first.Ino, nlink)
				}
				b.contents(p, data)
			}
			b.reopen()
		}
	}
	same(3, "lower", names...)
	ino := b.stat("three").Ino
	b.ok(write("b/two", "UP")(b.view))
	same(3, "UPwer", names...)
	b.ok(write("a/one", "123")(b.view))
	same(3, "123er", names...)
	if b.stat("three").Ino != ino {
		t.Error("the inode number changed")
	}
	b.ok(b.unlink("a/one"))
	same(2, "123er", names[1:]...)
	b.ok(b.link("three", "four"))
	same(3, "123er", "b/two", "three", "four")
	b.ok(b.rename("three", "b/five", 0))
	b.ok(b.unlink("b/two"))
	same(2, "123er", "b/five", "four")
	b.ok(b.unlink("b/five"))
	b.ok(b.unlink("four"))
	if l, _ := os.ReadDir(b.opt.Work + "/index"); len(l) != 0 {
		t.Errorf("the index still holds %v", l)
	}
}

// TestLastNameOfACopy has the name go that a file with several names was copied
// up by. The one that is left leads to the same node, and its removal leaves an
// open file readable.
func TestLastNameOfACopy(t *testing.T) {
	b := newBed(t, func(dir string) {
		put(t, filepath.Join(dir, "a"), "data")
		if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
			t.Fatal(err)
		}
	})
	f, err := b.open("a", unix.O_RDWR, 0)
	b.ok(err)
	defer f.close()
	_, err = f.pwrite([]byte("D"), 0)
	b.ok(err)
	ino := b.stat("a").Ino
	b.ok(b.unlink("a"))
	if a := b.stat("b"); a.Ino != ino || a.Nlink != 1 {
		t.Errorf("b has inode %d and %d links, want %d and 1", a.Ino, a.Nlink, ino)
	}
	var node vfs.NodeID
	b.ok(b.node("b", func(e vfs.Entry) error { node = e.Node; return nil }))
	if h := f.(viewFile).h; h.Node() != node {
		t.Errorf("b is node %d, the open file is %d", node, h.Node())
	}
	b.ok(b.unlink("b"))
	buf := make([]byte, 8)
	n, err := f.pread(buf, 0)
	b.ok(err)
	if string(buf[:n]) != "Data" {
		t.Errorf("read %q", buf[:n])
	}
	if a, err := f.fstat(); err != nil || a.Nlink != 0 {
		t.Errorf("fstat: %d links, %v", a.Nlink, err)
	}
}

func TestLinkCountWithoutCopyUp(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/one", "lower")
		for _, p := range []string{"/two", "/three"} {
			if err := os.Link(d+"/one", d+p); err != nil {
				t.Fatal(err)
			}
		}
	})
	b.ok(b.unlink("two"))
	for range 2 {
		if n := b.stat("one").Nlink; n != 2 {
			t.Errorf("%d links, want 2", n)
		}
		b.reopen()
	}
	b.ok(write("three", "UP")(b.view))
	for range 2 {
		if n := b.stat("one").Nlink; n != 2 {
			t.Errorf("%d links, want 2", n)
		}
		b.contents("one", "UPwer")
		b.reopen()
	}
}
