package overlay_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// TestXattrWhiteouts: what containers write into lower layers when they cannot
// make device nodes hides what is below, and is not seen, as with the kernel.
func TestXattrWhiteouts(t *testing.T) {
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.KernelOverlay)
	}
	opt := layers(t, 2)
	top, bottom := opt.Lower[0], opt.Lower[1]
	for _, p := range []string{"/a", "/b", "/d/x", "/d/y", "/d/sub/z"} {
		put(t, bottom+p, "bottom "+p)
	}
	put(t, top+"/d/new", "top")
	for _, p := range []string{"/a", "/d/x", "/d/empty"} {
		put(t, top+p, "")
	}
	for p, attr := range map[string][2]string{
		"":     {"opaque", "x"},
		"/d":   {"opaque", "x"},
		"/a":   {"whiteout", "y"},
		"/d/x": {"whiteout", ""},
	} {
		if err := unix.Setxattr(top+p, "trusted.overlay."+attr[0], []byte(attr[1]), 0); err != nil {
			t.Fatal(err)
		}
	}
	dir, unmount := kernelMount(t, opt)
	kernel := dump(t, hostDir(dir))
	unmount()
	b := &bed{T: t, view: view{open(t, opt)}, opt: opt}
	ours := dump(t, b.view)
	// Not compared: such a file in a directory without the mark, of which the
	// kernel's own lookups and listings say different things.
	if d := differences(ours, kernel); d != "" {
		t.Errorf("the overlay and the kernel differ:\n%s", d)
	}
	for _, p := range []string{"a", "d/x"} {
		if _, err := b.lstat(p); err == nil {
			t.Errorf("%s is there", p)
		}
		b.ok(b.mknod(p, unix.S_IFREG|0o644, 0))
		b.contents(p, "")
	}
	b.contents("d/y", "bottom /d/y")
	b.contents("d/empty", "")
}

// TestNewNodesBelongToTheCaller makes nodes for another user, beside and in the
// place of lower ones, below directories with a setgid bit and a default ACL. What
// an ordinary user serves is that user's, whoever calls.
func TestNewNodesBelongToTheCaller(t *testing.T) {
	uid, gid, setgid := uint32(5), uint32(6), 77
	if os.Geteuid() != 0 {
		uid, gid, setgid = uint32(os.Geteuid()), uint32(os.Getegid()), os.Getegid()
	}
	acl := []byte{2, 0, 0, 0,
		1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 5, 0, 0xff, 0xff, 0xff, 0xff,
		0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 1, 0, 0xff, 0xff, 0xff, 0xff}
	kinds := map[string]func(b *bed, who *vfs.Caller, dir vfs.NodeID, name string) error{
		"file": func(b *bed, who *vfs.Caller, dir vfs.NodeID, name string) error {
			_, h, err := b.Create(vfs.WithCaller(bg, who), dir, name, unix.O_RDWR, 0o6664)
			if err == nil {
				err = h.Close()
			}
			return err
		},
		"dir": func(b *bed, who *vfs.Caller, dir vfs.NodeID, name string) error {
			_, err := b.Mkdir(vfs.WithCaller(bg, who), dir, name, 0o775)
			return err
		},
		"link": func(b *bed, who *vfs.Caller, dir vfs.NodeID, name string) error {
			_, err := b.Symlink(vfs.WithCaller(bg, who), dir, name, "x")
			return err
		},
		"fifo": func(b *bed, who *vfs.Caller, dir vfs.NodeID, name string) error {
			_, err := b.Mknod(vfs.WithCaller(bg, who), dir, name, unix.S_IFIFO|0o660, 0)
			return err
		},
	}
	for _, parent := range []string{"plain", "setgid", "acl"} {
		// What the host itself makes of a node of root's is what the others
		// must be but for the owner.
		for name, make := range kinds {
			t.Run(parent+"/"+name, func(t *testing.T) {
				b := newBed(t, func(d string) {
					put(t, d+"/plain/old", "")
					put(t, d+"/setgid/old", "")
					put(t, d+"/acl/old", "")
					if err := os.Chown(d+"/setgid", -1, setgid); err != nil {
						t.Fatal(err)
					}
					os.Chmod(d+"/setgid", 0o755|os.ModeSetgid)
					if err := unix.Setxattr(d+"/acl", "system.posix_acl_default", acl, 0); err != nil {
						t.Fatal(err)
					}
				})
				p, err := b.Lookup(bg, vfs.RootID, parent)
				b.ok(err)
				b.ok(b.unlink(parent + "/old"))
				b.ok(make(b, &vfs.Caller{}, p.Node, "root"))
				b.ok(make(b, &vfs.Caller{UID: 5, GID: 6}, p.Node, "other"))
				b.ok(make(b, &vfs.Caller{UID: 5, GID: 6}, p.Node, "old"))
				want := b.stat(parent + "/root")
				gid := gid
				if parent == "setgid" {
					gid = uint32(setgid)
				}
				wantX, err := b.xattrs(parent + "/root")
				b.ok(err)
				for _, n := range []string{"other", "old"} {
					a := b.stat(parent + "/" + n)
					if a.UID != uid || a.GID != gid || a.Mode != want.Mode {
						t.Errorf("%s is %o %d:%d, root's %o", n, a.Mode, a.UID, a.GID, want.Mode)
					}
					x, err := b.xattrs(parent + "/" + n)
					b.ok(err)
					if fmt.Sprint(x) != fmt.Sprint(wantX) {
						t.Errorf("%s has %q, root's %q", n, x, wantX)
					}
				}
			})
		}
	}
}

// TestMemoryOfNodes: a node that somebody holds costs less than 1 KiB, and those
// that nobody holds are bounded.
func TestMemoryOfNodes(t *testing.T) {
	const dirs, files = 50, 400
	b := newBed(t, func(d string) {
		for i := range dirs {
			for j := range files {
				put(t, fmt.Sprintf("%s/directory%d/some-file-%d", d, i, j), "")
			}
		}
	}, func(o *overlay.Options) { o.IdleNodes = 1000 })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	held := make([]vfs.NodeID, 0, dirs*(files+1))
	for i := range dirs {
		d := lookup(t, b, vfs.RootID, fmt.Sprint("directory", i))
		held = append(held, d)
		for j := range files {
			held = append(held, lookup(t, b, d, fmt.Sprint("some-file-", j)))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / uint64(len(held))
	t.Logf("%d bytes for each of %d nodes", each, len(held))
	if each >= 1024 {
		t.Errorf("a node costs %d bytes", each)
	}
	for _, n := range held {
		b.Forget(n, 1)
	}
	if n, held := b.FS.(*overlay.FS).NodesHeld(); n > 1200 || held != 0 {
		t.Errorf("%d nodes are kept, %d held", n, held)
	}
}

// TestRedirectBelowOpaque: what an opaque directory of a lower layer hides comes
// from elsewhere in the layers below where a redirect says so, whichever way that
// directory is reached.
func TestRedirectBelowOpaque(t *testing.T) {
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.KernelOverlay)
	}
	opt := layers(t, 1)
	put(t, opt.Lower[0]+"/d/f", "lower")
	put(t, opt.Lower[0]+"/c/hidden", "lower")
	b := &bed{T: t, view: view{open(t, opt)}, opt: opt}
	b.ok(b.unlink("c/hidden"))
	b.ok(b.rmdir("c"))
	b.ok(b.mkdir("c", 0o755))
	b.ok(b.rename("d", "c/a", 0))
	b.ok(b.FS.(*overlay.FS).Close())
	b.opt = rotate(t, opt)
	b.FS = open(t, b.opt)
	b.contents("c/a/f", "lower")
	b.ok(b.rename("c/a", "e", 0)) // has the redirect /c/a
	b.contents("e/f", "lower")
	b.reopen()
	b.contents("e/f", "lower")
	if _, err := b.lstat("c/hidden"); err == nil {
		t.Error("what the opaque directory hides is there")
	}
	ours := dump(t, b.view)
	b.ok(b.FS.(*overlay.FS).Close())
	dir, unmount := kernelMount(t, b.opt)
	kernel := dump(t, hostDir(dir))
	unmount()
	if d := differences(ours, kernel); d != "" {
		t.Errorf("the overlay and the kernel differ:\n%s", d)
	}
	b.FS = open(t, b.opt)
}
