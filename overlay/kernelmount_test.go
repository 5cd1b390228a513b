package overlay_test

import (
	"os"
	"testing"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// TestListingsAfterKernelMount: a kernel mount takes marks away that it sees no
// use for. Everything shows the inode number that it had all the same, and
// listings and lookups agree on them.
func TestListingsAfterKernelMount(t *testing.T) {
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.KernelOverlay)
	}
	b := newBed(t, func(d string) {
		put(t, d+"/d/f", "lower")
		put(t, d+"/e/f", "lower")
		put(t, d+"/e/sub/f", "lower")
		put(t, d+"/m", "lower")
		put(t, d+"/two", "")
		if err := os.Link(d+"/two", d+"/names"); err != nil {
			t.Fatal(err)
		}
	})
	b.ok(b.setattr("two", setMode(0o600))) // the index is in use
	b.ok(b.setattr("d/f", setMode(0o600)))
	b.ok(b.mkdir("new", 0o755))
	b.ok(b.link("d/f", "new/g"))
	b.ok(b.setattr("e/f", setMode(0o600)))
	b.ok(b.rename("e", "new/e", 0))
	b.ok(b.mkdir("pure", 0o755))
	b.ok(b.rename("m", "pure/m", 0))
	b.ok(b.setattr("new/e/sub/f", setMode(0o600)))
	inos := map[string]uint64{}
	for _, p := range []string{"d", "d/f", "two", "names", "new", "new/g", "new/e", "new/e/f", "new/e/sub", "new/e/sub/f", "pure", "pure/m"} {
		inos[p] = b.stat(p).Ino
	}
	b.ok(b.FS.(*overlay.FS).Close())
	dir, unmount := kernelMount(t, b.opt, "index=on")
	dump(t, hostDir(dir))
	unmount()
	b.FS = open(t, b.opt)
	for p, ino := range inos {
		if now := b.stat(p).Ino; now != ino {
			t.Errorf("%s was inode %d, is %d", p, ino, now)
		}
	}
	dump(t, b.view) // compares listings with lookups
}

// TestKernelLayersOnTmpfs: what the kernel has copied up on tmpfs, whose file
// handles are unlike those of other filesystems, is listed with the number that it
// has.
func TestKernelLayersOnTmpfs(t *testing.T) {
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.KernelOverlay)
	}
	dir, err := os.MkdirTemp("/dev/shm", "overlay")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	opt := overlay.Options{Lower: []string{dir + "/lower"}, Upper: dir + "/upper", Work: dir + "/work"}
	for _, d := range []string{opt.Lower[0], opt.Upper, opt.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, opt.Lower[0]+"/d/f", "one name")
	put(t, opt.Lower[0]+"/d/g", "two names")
	if err := os.Link(opt.Lower[0]+"/d/g", opt.Lower[0]+"/h"); err != nil {
		t.Fatal(err)
	}
	mnt, unmount := kernelMount(t, opt, "index=on")
	inos := map[string]uint64{}
	for _, p := range []string{"d/f", "d/g"} {
		if err := os.Chmod(mnt+"/"+p, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := hostDir(mnt).lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		inos[p] = a.Ino
	}
	unmount()
	b := &bed{T: t, view: view{open(t, opt)}, opt: opt}
	dump(t, b.view) // compares listings with lookups
	for p, ino := range inos {
		if now := b.stat(p).Ino; now != ino {
			t.Errorf("%s was inode %d, is %d", p, ino, now)
		}
	}
}
