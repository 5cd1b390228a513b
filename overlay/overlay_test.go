package overlay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

func TestOpenCopiesNothing(t *testing.T) {
	b := newBed(t, func(d string) { put(t, d+"/a/f", "lower") })
	for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_APPEND} {
		f, err := b.open("a/f", flags, 0)
		b.ok(err)
		b.ok(f.close())
	}
	for _, err := range []error{
		b.mkdir("a", 0o755), b.unlink("a/nothing"), b.rmdir("a"), b.unlink("a"), b.rename("a/nothing", "b", 0),
		b.removexattr("a/f", "user.none"), b.setxattr("a/f", "user.none", "", unix.XATTR_REPLACE),
		b.link("a/f", "a/f"), b.rename("a", "a/b", 0), b.rename("a/f", "a", 0), b.symlink("x", "a/f"),
	} {
		if err == nil {
			t.Error("an operation succeeded that should not")
		}
	}
	b.upperEmpty()
	f, err := b.open("a/f", unix.O_RDONLY|unix.O_TRUNC, 0)
	b.ok(err)
	b.ok(f.close())
	b.contents("a/f", "")
	if data, _ := os.ReadFile(b.lower("a/f")); string(data) != "lower" {
		t.Errorf("the lower file holds %q", data)
	}
}

func TestInodeNumbersStay(t *testing.T) {
	for _, upper := range []string{"", "/dev/shm"} { // of the same device, and of another one
		t.Run("upper"+upper, func(t *testing.T) {
			b := newBed(t, func(d string) {
				put(t, d+"/d/f", "x")
				if err := os.Symlink("f", d+"/d/s"); err != nil {
					t.Fatal(err)
				}
			}, func(o *overlay.Options) {
				if upper != "" {
					dir, err := os.MkdirTemp(upper, "astridfs")
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { os.RemoveAll(dir) })
					o.Upper, o.Work = dir+"/upper", dir+"/work"
					os.Mkdir(o.Upper, 0o755)
					os.Mkdir(o.Work, 0o755)
				}
			})
			paths := []string{"d", "d/f", "d/s"}
			inos := map[string]uint64{}
			seen := map[uint64]string{}
			for _, p := range paths {
				inos[p] = b.stat(p).Ino
			}
			check := func(prefix string) {
				t.Helper()
				for range 2 {
					for p, ino := range inos {
						if got := b.stat(prefix + p).Ino; got != ino {
							t.Fatalf("%s is %d, was %d", prefix+p, got, ino)
						}
					}
					dump(t, b.view) // compares what is listed
					b.reopen()
				}
			}
			b.ok(write("d/f", "y")(b.view))
			if os.Geteuid() == 0 { // only trusted attributes are for links too
				b.ok(b.setattr("d/s", vfs.SetAttr{Valid: vfs.SetUID | vfs.SetGID, UID: 1, GID: 1}))
			}
			check("")
			b.ok(b.mkdir("new", 0o755))
			b.ok(b.rename("d", "new/d", 0))
			check("new/")
			for i := range 100 {
				p := fmt.Sprint("new/", i)
				b.ok(b.mknod(p, unix.S_IFREG|0o644, 0))
				inos[fmt.Sprint(i)] = b.stat(p).Ino
			}
			for p, ino := range inos {
				if o := seen[ino]; o != "" {
					t.Fatalf("%s and %s are both %d", p, o, ino)
				}
				seen[ino] = p
			}
			check("new/")
		})
	}
}

func TestReplace(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/lower", "old contents")
		put(t, d+"/d/lower", "old contents")
	})
	b.ok(b.mknod("made", unix.S_IFREG|0o644, 0))
	seen := map[uint64]string{}
	for _, p := range []string{"lower", "d/lower", "made", "made", "lower"} {
		b.ok(b.setattr(p, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0o4751}))
		b.ok(b.setattr(p, vfs.SetAttr{Valid: vfs.SetUID | vfs.SetGID, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}))
		b.ok(b.setxattr(p, "user.keep", p, 0))
		before := b.stat(p)
		early, err := b.open(p, unix.O_RDONLY, 0)
		b.ok(err)
		b.ok(replaceFile(p)(b.view))
		after := b.stat(p)
		if after.Ino != before.Ino || after.Mode != before.Mode || after.Size != 8 || after.Nlink != 1 {
			t.Errorf("%s was %+v, is %+v", p, before, after)
		}
		b.contents(p, "replaced")
		buf := make([]byte, 20)
		n, err := early.pread(buf, 0)
		if string(buf[:n]) != "replaced" || err != nil {
			t.Errorf("an open handle reads %q, %v", buf[:n], err)
		}
		b.ok(early.close())
		if x, _ := b.xattrs(p); x["user.keep"] != p {
			t.Errorf("%s has lost its attributes: %v", p, x)
		}
		// The host must not give the number to somebody else.
		q := p + "-new"
		for i := range 20 {
			b.ok(b.mknod(fmt.Sprint(q, i), unix.S_IFREG|0o644, 0))
			if b.stat(fmt.Sprint(q, i)).Ino == after.Ino {
				t.Fatalf("%s has the number of %s", q, p)
			}
		}
		for i := range 20 {
			b.ok(b.unlink(fmt.Sprint(q, i)))
		}
		b.reopen()
		b.contents(p, "replaced")
		if b.stat(p).Ino != before.Ino {
			t.Errorf("%s has another number after reopening", p)
		}
		seen[before.Ino] = p
	}
	for _, p := range []string{"lower", "d/lower", "made"} {
		b.ok(b.unlink(p))
	}
	if l, _ := os.ReadDir(b.opt.Work + "/inos"); len(l) != 0 {
		t.Errorf("inodes are still kept: %v", l)
	}
}

func TestMarksAreHidden(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/d/f", "x")
		put(t, d+"/e/f", "x")
	})
	b.ok(write("d/f", "y")(b.view))
	b.ok(b.rename("d", "r", 0))
	b.ok(b.unlink("e/f"))
	b.ok(b.rmdir("e"))
	b.ok(b.mkdir("e", 0o755))
	for _, p := range []string{".", "r", "r/f", "e"} {
		if x, err := b.xattrs(p); err != nil || len(x) > 0 {
			t.Errorf("%s shows %q, %v", p, x, err)
		}
		for _, name := range []string{"trusted.overlay.opaque", "user.overlay.redirect", "user.overlay.astrid.ino", "trusted.overlay.x"} {
			b.want(b.setxattr(p, name, "y", 0), syscall.EPERM)
			b.want(b.removexattr(p, name), syscall.EPERM)
			b.want(b.node(p, func(e vfs.Entry) error { _, err := b.GetXattr(bg, e.Node, name, nil); return err }), syscall.ENODATA)
		}
	}
	b.want(b.mknod("w", unix.S_IFCHR|0o600, 0), syscall.EPERM)
	if l, err := b.list("e"); err != nil || len(l) != 2 {
		t.Errorf("e holds %v, %v", l, err)
	}
}

// TestCopyUpKeeps compares everything about a file before and after.
func TestCopyUpKeeps(t *testing.T) {
	acl := []byte{2, 0, 0, 0,
		1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
		0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	size := int64(3 << 20)
	b := newBed(t, func(d string) {
		p := d + "/sub/f"
		put(t, p, "start")
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.WriteAt([]byte("middle"), 1<<20)
		f.Truncate(size)
		for name, v := range map[string][]byte{"user.a": []byte("1"), "user.big": bytes.Repeat([]byte("v"), 1500), "system.posix_acl_access": acl} {
			if err := unix.Setxattr(p, name, v, 0); err != nil {
				t.Fatal(name, err)
			}
		}
		if os.Geteuid() == 0 {
			os.Chown(p, 12, 34)
		}
		os.Chmod(p, 0o4640)
		ts := []unix.Timespec{{Sec: 11, Nsec: 12}, {Sec: -13, Nsec: 14}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, 0); err != nil {
			t.Fatal(err)
		}
		unix.UtimesNanoAt(unix.AT_FDCWD, d+"/sub", ts, 0)
	})
	before, dir := b.stat("sub/f"), b.stat("sub")
	xbefore, err := b.xattrs("sub/f")
	b.ok(err)
	b.ok(b.setxattr("sub/f", "user.new", "x", 0)) // changes nothing else
	after := b.stat("sub/f")
	xafter, err := b.xattrs("sub/f")
	b.ok(err)
	xbefore["user.new"] = "x"
	if fmt.Sprint(xafter) != fmt.Sprint(xbefore) {
		t.Errorf("attributes were %q, are %q", xbefore, xafter)
	}
	if _, err := os.Stat(b.upper("sub/f")); err != nil {
		t.Fatal(err)
	}
	if after.Blocks > before.Blocks+16 || after.Blocks > 64 {
		t.Errorf("%d blocks, had %d", after.Blocks, before.Blocks)
	}
	before.Ctime, before.Btime, before.Blocks, before.Volatile, before.Blksize = after.Ctime, after.Btime, after.Blocks, false, after.Blksize
	if before != after {
		t.Errorf("was %+v\nis  %+v", before, after)
	}
	if a := b.stat("sub"); a.Mtime != dir.Mtime || a.Mode != dir.Mode {
		t.Errorf("the directory was %+v, is %+v", dir, a)
	}
	f, err := b.open("sub/f", unix.O_RDONLY, 0)
	b.ok(err)
	defer f.close()
	buf := make([]byte, 6)
	if _, err := f.pread(buf, 1<<20); err != nil || string(buf) != "middle" {
		t.Errorf("%q, %v", buf, err)
	}
}

func TestCancelledCopyUp(t *testing.T) {
	b := newBed(t, func(d string) { put(t, d+"/f", strings.Repeat("x", 1<<20)) })
	e, err := b.Lookup(bg, vfs.RootID, "f")
	b.ok(err)
	h, err := b.Open(bg, e.Node, unix.O_RDWR)
	b.ok(err)
	ctx, cancel := context.WithCancel(bg)
	cancel()
	_, err = h.WriteAt(ctx, []byte("y"), 0)
	b.want(err, syscall.EINTR)
	b.upperEmpty()
	_, err = h.WriteAt(bg, []byte("y"), 0)
	b.ok(err)
	b.ok(h.Close())
}

func TestNoSpace(t *testing.T) {
	if !vfstest.WithMounts(t) {
		return
	}
	b := newBed(t, func(d string) {
		put(t, d+"/d/big", strings.Repeat("x", 2<<20))
		put(t, d+"/d/small", "small")
	}, func(o *overlay.Options) {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		o.Upper, o.Work = dir+"/upper", dir+"/work"
		os.Mkdir(o.Upper, 0o755)
		os.Mkdir(o.Work, 0o755)
	})
	before := dump(t, b.view)
	b.want(write("d/big", "y")(b.view), syscall.ENOSPC)
	b.want(b.setattr("d/big", vfs.SetAttr{Valid: vfs.SetMode, Mode: 0o600}), syscall.ENOSPC)
	if d := differences(dump(t, b.view), before); d != "" {
		t.Errorf("a failed copy-up changed the view:\n%s", d)
	}
	b.ok(write("d/small", "S")(b.view))
	b.ok(b.setattr("d/big", vfs.SetAttr{Valid: vfs.SetSize, Size: 4096}))
	if a := b.stat("d/big"); a.Size != 4096 {
		t.Errorf("size %d", a.Size)
	}
	if l, err := os.ReadDir(b.opt.Work + "/work"); err != nil || len(l) > 0 {
		t.Errorf("left in the work directory: %v, %v", l, err)
	}
}

func TestReadDirWhileChanging(t *testing.T) {
	b := newBed(t, func(d string) {
		for i := range 300 {
			put(t, fmt.Sprintf("%s/d/l%d", d, i), "")
		}
	})
	for i := range 300 {
		b.ok(b.mknod(fmt.Sprint("d/u", i), unix.S_IFREG|0o644, 0))
	}
	e, err := b.Lookup(bg, vfs.RootID, "d")
	b.ok(err)
	h, err := b.OpenDir(bg, e.Node)
	b.ok(err)
	seen := map[string]int{}
	off := uint64(0)
	for done := false; !done; {
		done = true
		k := 0
		b.ok(h.ReadDir(bg, off, func(de vfs.DirEntry) bool {
			if k++; k > 7 {
				return false
			}
			seen[de.Name]++
			off, done = de.Off, false
			return true
		}))
		b.unlink(fmt.Sprint("d/l", len(seen)/2))
		b.mknod(fmt.Sprint("d/n", len(seen)), unix.S_IFREG|0o644, 0)
	}
	for i := range 300 {
		if seen[fmt.Sprint("u", i)] != 1 {
			t.Errorf("u%d is listed %d times", i, seen[fmt.Sprint("u", i)])
		}
	}
	for name, n := range seen {
		if n > 1 {
			t.Errorf("%s is listed %d times", name, n)
		}
	}
	b.ok(h.Close())
	// A new start sees the present.
	dump(t, b.view)
	if l, err := b.list("d"); err != nil || len(l) < 500 {
		t.Errorf("%d entries, %v", len(l), err)
	}
}

// TestManyWithoutNames: what is unlinked while it is used goes on to work, with
// few descriptors for however many there are.
func TestManyWithoutNames(t *testing.T) {
	const files = 300
	b := newBed(t, func(d string) {
		for i := range files {
			put(t, fmt.Sprintf("%s/l%d", d, i), "lower")
		}
	}, func(o *overlay.Options) { o.DirFDs = 10 })
	count := func() int {
		l, err := os.ReadDir("/proc/self/fd")
		b.ok(err)
		return len(l)
	}
	var nodes []vfs.NodeID
	for i := range files {
		b.ok(b.mknod(fmt.Sprint("u", i), unix.S_IFREG|0o644, 0))
		b.ok(b.mkdir(fmt.Sprint("d", i), 0o755))
		for _, kind := range "lud" {
			p := fmt.Sprint(string(kind), i)
			nodes = append(nodes, lookup(t, b, vfs.RootID, p))
			if kind != 'd' && i%2 == 0 {
				b.ok(write(p, "LOWER")(b.view))
			}
		}
	}
	before := count()
	for i := range files {
		b.ok(b.unlink(fmt.Sprint("l", i)))
		b.ok(b.unlink(fmt.Sprint("u", i)))
		b.ok(b.rmdir(fmt.Sprint("d", i)))
	}
	if n := count(); n > before+40 {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	for i, n := range nodes {
		a, err := b.GetAttr(bg, n, nil)
		b.ok(err)
		if a.Nlink != 0 {
			t.Fatalf("%d has %d links", i, a.Nlink)
		}
		if i%3 == 2 { // a directory
			if a, err = b.SetAttr(bg, n, nil, setMode(0o711)); err != nil || a.Mode&0o7777 != 0o711 {
				t.Fatalf("directory %d: mode %o, %v", i, a.Mode, err)
			}
			if _, err := b.Mkdir(bg, n, "below", 0o755); !errors.Is(err, syscall.ENOENT) {
				t.Fatalf("something made in removed directory %d: %v", i, err)
			}
			continue
		}
		h, err := b.Open(bg, n, unix.O_RDWR)
		b.ok(err)
		_, err = h.WriteAt(bg, []byte("end"), 5)
		b.ok(err)
		buf := make([]byte, 10)
		k, err := h.ReadAt(bg, buf, 0)
		b.ok(err)
		if k != 8 || string(buf[5:8]) != "end" {
			t.Fatalf("%d holds %q", i, buf[:k])
		}
		b.ok(h.Close())
	}
	for _, n := range nodes {
		b.Forget(n, 1)
	}
	if n := count(); n > before+10 {
		t.Errorf("%d descriptors after all, %d before", n, before)
	}
	if l, err := os.ReadDir(b.opt.Work + "/work"); err != nil || len(l) > 1 { // the whiteout
		t.Errorf("left in the work directory: %d, %v", len(l), err)
	}
}

// TestRenameOverDirectoryThatGoes has the directory that a rename is to replace
// removed after the rename has found it.
func TestRenameOverDirectoryThatGoes(t *testing.T) {
	var rmdir func()
	b := newBed(t, func(dir string) { put(t, filepath.Join(dir, "under/old"), "") }, func(o *overlay.Options) {
		o.SetStep(func(s string) {
			if s == "rename.found" && rmdir != nil {
				f := rmdir
				rmdir = nil
				f()
			}
		})
	})
	for _, p := range []string{"under", "new"} {
		t.Run(p, func(t *testing.T) {
			b.ok(b.mkdir("x", 0o755))
			if p == "under" {
				b.ok(b.unlink("under/old"))
			} else {
				b.ok(b.mkdir(p, 0o755))
			}
			rmdir = func() { b.ok(b.rmdir(p)) }
			ino := b.stat("x").Ino
			b.ok(b.rename("x", p, 0))
			if got := b.stat(p).Ino; got != ino {
				t.Errorf("%s is inode %d, want %d", p, got, ino)
			}
			b.want(b.rmdir("x"), syscall.ENOENT)
		})
	}
}
