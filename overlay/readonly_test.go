package overlay_test

import (
	"os"
	"testing"

	"github.com/astridfs/astridfs/vfs"
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

// TestOwnLinkedSymlinks: what a copy-up of a symbolic link with several names
// shows is what another opening of the layers shows, also where the host lets an
// ordinary user put no mark on one, so that its names part.
func TestOwnLinkedSymlinks(t *testing.T) {
	for _, change := range []string{"a", "b"} {
		b := newBed(t, func(d string) {
			if err := os.Symlink("target", d+"/a"); err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{"/b", "/c"} {
				if err := os.Link(d+"/a", d+n); err != nil {
					t.Fatal(err)
				}
			}
		})
		for _, n := range []string{"a", "b", "c"} {
			if a := b.stat(n); a.Nlink != 3 {
				t.Errorf("%s has %d links", n, a.Nlink)
			}
		}
		b.ok(b.unlink("c"))
		b.ok(b.link(change, "d"))
		b.ok(b.rename("a", "e", 0))
		type shown struct {
			links uint32
			times [2]vfs.Timespec
		}
		live := map[string]shown{}
		look := func(p string) shown {
			a := b.stat(p)
			return shown{a.Nlink, [2]vfs.Timespec{a.Mtime, a.Atime}}
		}
		for _, p := range []string{"b", "d", "e"} {
			live[p] = look(p)
		}
		b.reopen()
		for p, want := range live {
			if got := look(p); got != want {
				t.Errorf("%s: %+v after reopening, %+v before", p, got, want)
			}
		}
	}
}
