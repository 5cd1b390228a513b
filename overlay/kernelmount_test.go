package overlay_test

import (
	"os"
	"testing"

	"github.com/astridfs/astridfs/overlay"
)

// TestListingsAfterKernelMount: a kernel mount takes marks away that it sees no
// use for. Listings and lookups agree on inode numbers all the same, and so do
// the names of one file.
func TestListingsAfterKernelMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip(overlay.Skips["mount"])
	}
	b := newBed(t, func(d string) {
		put(t, d+"/d/f", "lower")
		put(t, d+"/two", "")
		if err := os.Link(d+"/two", d+"/names"); err != nil {
			t.Fatal(err)
		}
	})
	b.ok(b.setattr("two", setMode(0o600))) // the index is in use
	b.ok(b.setattr("d/f", setMode(0o600)))
	b.ok(b.mkdir("new", 0o755))
	b.ok(b.link("d/f", "new/g"))
	b.ok(b.FS.(*overlay.FS).Close())
	dir, unmount := kernelMount(t, b.opt, ",index=on")
	dump(t, hostDir(dir))
	unmount()
	b.FS = open(t, b.opt)
	if f, g := b.stat("d/f").Ino, b.stat("new/g").Ino; f != g {
		t.Errorf("one file has inodes %d and %d", f, g)
	}
	dump(t, b.view) // compares listings with lookups
}
