package overlay_test

import (
	"os"
	"testing"
)

// TestOwnReadOnlyFiles: a file that its owner may not write, and later not read
// either, is changed, linked and renamed as any other, and is the same after reopening.
func TestOwnReadOnlyFiles(t *testing.T) {
	for _, mode := range []os.FileMode{0o444, 0o200, 0, 0o111} {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBed(t, func(d string) {
				for _, n := range []string{"/single", "/two", "/moved/f"} {
					put(t, d+n, "lower")
				}
				if err := os.Link(d+"/two", d+"/other"); err != nil {
					t.Fatal(err)
				}
				for _, n := range []string{"/single", "/two", "/moved/f"} {
					if err := os.Chmod(d+n, 0o444); err != nil {
						t.Fatal(err)
					}
				}
			})
			ino := b.stat("two").Ino
			single := b.stat("single").Ino
			b.ok(b.setattr("single", setMode(0o400)))
			b.ok(b.setattr("single", setMode(uint32(mode))))
			b.ok(b.setattr("two", setMode(0o400)))
			b.ok(b.setattr("two", setMode(uint32(mode))))
			b.ok(b.link("other", "third"))
			b.ok(b.unlink("two"))
			b.ok(b.setattr("moved/f", setMode(uint32(mode))))
			b.ok(b.rename("moved", "away", 0))
			b.ok(b.link("away/f", "away/g"))
			check := func() {
				t.Helper()
				for _, p := range []string{"other", "third"} {
					if a := b.stat(p); a.Nlink != 2 || a.Ino != ino || a.Mode&0o7777 != uint32(mode) {
						t.Errorf("%s: %d links, inode %d (was %d), mode %o", p, a.Nlink, a.Ino, ino, a.Mode)
					}
				}
				if a := b.stat("single"); a.Nlink != 1 || a.Ino != single || a.Mode&0o7777 != uint32(mode) {
					t.Errorf("single: %d links, inode %d (was %d), mode %o", a.Nlink, a.Ino, single, a.Mode)
				}
				if a := b.stat("away/g"); a.Nlink != 2 || a.Ino != b.stat("away/f").Ino {
					t.Errorf("away/g: %d links, inode %d", a.Nlink, a.Ino)
				}
			}
			check()
			b.reopen()
			check()
		})
	}
}
