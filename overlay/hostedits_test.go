package overlay_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
)

func TestHostEdits(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/d/f", "one")
		put(t, d+"/g", "g")
	})
	b.contents("d/f", "one")
	if e, err := b.Lookup(bg, vfs.RootID, "g"); err != nil || !e.Volatile || !e.Attr.Volatile {
		t.Errorf("a lower file is not volatile: %+v, %v", e, err)
	} else {
		defer b.Forget(e.Node, 1)
	}
	put(t, b.lower("d/f"), "changed in place")
	b.contents("d/f", "changed in place")
	if a := b.stat("d/f"); a.Size != 16 {
		t.Errorf("size %d", a.Size)
	}

	e, err := b.Lookup(bg, vfs.RootID, "g")
	b.ok(err)
	h, err := b.Open(bg, e.Node, unix.O_RDWR)
	b.ok(err)
	put(t, b.lower("g.new"), "another file")
	b.ok(os.Rename(b.lower("g.new"), b.lower("g")))
	b.contents("g", "another file")
	_, err = b.GetAttr(bg, e.Node, nil)
	b.want(err, syscall.ESTALE)
	_, err = h.WriteAt(bg, []byte("lost?"), 0)
	b.want(err, syscall.ESTALE)
	b.upperEmpty()
	buf := make([]byte, 10)
	if n, err := h.ReadAt(bg, buf, 0); string(buf[:n]) != "g" || err != nil {
		t.Errorf("the open file reads %q, %v", buf[:n], err)
	}
	b.ok(h.Close())
	b.Forget(e.Node, 1)

	put(t, b.lower("d/sub/new"), "new")
	b.contents("d/sub/new", "new")
	b.ok(os.RemoveAll(b.lower("d")))
	_, err = b.lstat("d/f")
	b.want(err, syscall.ENOENT)
	put(t, b.lower("d"), "a file now")
	b.contents("d", "a file now")

	// What diverged does not follow the host any more.
	b.ok(write("g", "ANOTHER")(b.view))
	put(t, b.lower("g"), "host")
	b.contents("g", "ANOTHER file")
	if a := b.stat("g"); a.Volatile {
		t.Error("an upper file is volatile")
	}
	b.ok(b.unlink("d"))
	put(t, b.lower("d2/x"), "")
	b.ok(b.mkdir("d", 0o755))
	b.ok(os.Remove(b.lower("d")))
	put(t, b.lower("d/shine/through"), "")
	if l, err := b.list("d"); err != nil || len(l) != 2 {
		t.Errorf("a new directory shows lower entries: %v, %v", l, err)
	}
}

// TestHostReplacesDirectory: a lower directory is made anew below changes to it.
func TestHostReplacesDirectory(t *testing.T) {
	for _, how := range []string{"removed", "moved", "gone for a while"} {
		t.Run(how, func(t *testing.T) {
			b := newBed(t, func(d string) {
				put(t, d+"/p/d/old", "old")
				put(t, d+"/p/d/both", "old")
				put(t, d+"/p/d/sub/x", "old")
			})
			b.ok(b.mknod("p/d/mine", unix.S_IFREG|0o644, 0))
			b.ok(b.rename("p", "q", 0))
			for _, p := range []string{"q/d/old", "q/d/both", "q/d/sub/x"} {
				b.contents(p, "old")
			}
			d := lookup(t, b, lookup(t, b, vfs.RootID, "q"), "d")
			if how == "moved" {
				b.ok(os.Rename(b.lower("p/d"), b.lower("p/away")))
			} else {
				b.ok(os.RemoveAll(b.lower("p/d")))
			}
			if how == "gone for a while" {
				if l, err := b.list("q/d"); err != nil || len(l) != 3 {
					t.Errorf("it lists %v, %v", l, err)
				}
			}
			put(t, b.lower("p/d/both"), "new")
			put(t, b.lower("p/d/sub/x"), "new")
			put(t, b.lower("p/d/added"), "new")
			for _, p := range []string{"q/d/both", "q/d/added", "q/d/sub/x"} {
				b.contents(p, "new")
			}
			b.contents("q/d/mine", "")
			if _, err := b.lstat("q/d/old"); err == nil {
				t.Error("an entry of the old directory is there")
			}
			if l, err := b.list("q/d"); err != nil || len(l) != 6 {
				t.Errorf("it lists %v, %v", l, err)
			}
			if now := lookup(t, b, lookup(t, b, vfs.RootID, "q"), "d"); now != d {
				t.Errorf("the directory was node %d, is %d", d, now)
			}
			dump(t, b.view)
		})
	}
}

func TestLowerStatic(t *testing.T) {
	b := newBed(t, func(d string) { put(t, d+"/d/f", "one") }, func(o *overlay.Options) { o.LowerStatic = true })
	for _, p := range []string{".", "d", "d/f"} {
		b.ok(b.node(p, func(e vfs.Entry) error {
			if e.Volatile || e.Attr.Volatile || b.stat(p).Volatile {
				t.Errorf("%s is volatile", p)
			}
			return nil
		}))
	}
	if e, _ := b.Lookup(bg, vfs.RootID, "none"); e.Volatile {
		t.Error("what is not there is volatile")
	}
}

func TestCopyUpOfAChangingFile(t *testing.T) {
	var lower string
	times := 2
	b := newBed(t, func(d string) {
		lower = d + "/f"
		put(t, lower, "first")
	}, func(o *overlay.Options) {
		o.SetStep(func(step string) {
			if step == "copyup.made" && times > 0 {
				times--
				put(t, lower, fmt.Sprint("later ", times))
			}
		})
	})
	b.ok(b.setattr("f", setMode(0o600)))
	b.contents("f", "later 0")
	// One that does not come to rest is left alone.
	put(t, b.lower("g"), "x")
	lower, times = b.lower("g"), 1000
	b.want(b.setattr("g", setMode(0o600)), syscall.EIO)
	if _, err := os.Lstat(b.upper("g")); err == nil {
		t.Error("it is in the upper layer")
	}
}

// TestAfterCommit: what is open stays what it is when a commit has moved it to
// the lower layer, and is copied up again at the next change.
func TestAfterCommit(t *testing.T) {
	b := newBed(t, func(d string) { put(t, d+"/d/f", "lower") })
	b.ok(write("d/f", "UPPER")(b.view))
	e, err := b.Lookup(bg, lookup(t, b, vfs.RootID, "d"), "f")
	b.ok(err)
	h, err := b.Open(bg, e.Node, unix.O_RDONLY)
	b.ok(err)
	commit := func() {
		t.Helper()
		if r, err := b.FS.(*overlay.FS).Commit(bg, overlay.CommitOptions{}); err != nil || len(r.Left) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	commit()
	b.upperEmpty()
	read := func(want string) {
		t.Helper()
		buf := make([]byte, 10)
		n, err := h.ReadAt(bg, buf, 0)
		b.ok(err)
		if string(buf[:n]) != want {
			t.Fatalf("read %q, want %q", buf[:n], want)
		}
	}
	read("UPPER")
	if _, ok := h.(vfs.Passthrough).PassthroughFD(); ok {
		t.Error("the lower file is given out")
	}
	if a, err := b.GetAttr(bg, e.Node, h); err != nil || a.Size != 5 || !a.Volatile {
		t.Errorf("%+v, %v", a, err)
	}
	put(t, b.lower("d/f"), "host!")
	read("host!")
	w, err := b.Open(bg, e.Node, unix.O_RDWR)
	b.ok(err)
	_, err = w.WriteAt(bg, []byte("again"), 0)
	b.ok(err)
	read("again")
	if data, _ := os.ReadFile(b.lower("d/f")); string(data) != "host!" {
		t.Errorf("the lower file holds %q", data)
	}
	if !b.FS.(*overlay.FS).Pinned("d/f") {
		t.Error("a file open for writing is not in use")
	}
	b.ok(w.Close())
	if b.FS.(*overlay.FS).Pinned("d/f") {
		t.Error("a file open for reading is in use")
	}
	b.ok(h.Close())
}

// TestHostRemovesName: the host removes one name of a lower file, or the
// directory that it is in; under the other it stays what it is.
func TestHostRemovesName(t *testing.T) {
	for _, gone := range []string{"d/a", "d"} {
		for _, first := range []string{"d/a", "h"} {
			t.Run(gone+" after "+first, func(t *testing.T) {
				b := newBed(t, func(dir string) {
					put(t, dir+"/d/a", "lower")
					if err := os.Link(dir+"/d/a", dir+"/h"); err != nil {
						t.Fatal(err)
					}
				})
				e, err := b.Lookup(bg, lookup(t, b, vfs.RootID, "d"), "a")
				if first == "h" {
					e, err = b.Lookup(bg, vfs.RootID, "h")
				}
				b.ok(err)
				b.contents("h", "lower")
				b.contents("d/a", "lower")
				early, err := b.Open(bg, e.Node, unix.O_RDWR)
				b.ok(err)
				defer early.Close()
				b.ok(os.RemoveAll(b.lower(gone)))
				b.contents("h", "lower")
				b.ok(write("h", "LOWER")(b.view))
				b.contents("h", "LOWER")
				_, err = early.WriteAt(bg, []byte("early"), 0)
				b.ok(err)
				b.contents("h", "early")
				b.reopen()
				b.contents("h", "early")
			})
		}
	}
}
