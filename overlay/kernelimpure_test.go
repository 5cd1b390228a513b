package overlay_test

import (
	"os"
	"testing"

	"github.com/astridfs/astridfs/overlay"
)

// TestKernelKeepsInodeNumbers: after a kernel mount of the layers has listed
// them, a copy shows the number that it had, in listings too.
func TestKernelKeepsInodeNumbers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip(skips["mount"])
	}
	b := newBed(t, func(d string) { put(t, d+"/d/f", "lower") })
	b.ok(b.setattr("d/f", setMode(0o600)))
	b.ok(b.mkdir("new", 0o755))
	b.ok(b.link("d/f", "new/g"))
	ino := b.stat("d/f").Ino
	b.ok(b.FS.(*overlay.FS).Close())
	dir, unmount := kernelMount(t, b.opt, ",index=on")
	dump(t, hostDir(dir))
	unmount()
	b.FS = open(t, b.opt)
	for _, p := range []string{"d/f", "new/g"} {
		if got := b.stat(p).Ino; got != ino {
			t.Errorf("%s has inode %d, had %d", p, got, ino)
		}
	}
	dump(t, b.view) // compares listings with lookups
}
