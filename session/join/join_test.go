package join

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// newJoin joins two directories, each with a file "f".
func newJoin(t *testing.T) (*FS, string, string) {
	t.Helper()
	var parts []Part
	var dirs []string
	for _, name := range []string{"one", "two"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		fs, err := hostfs.Open(dir, hostfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := fs.Close(); err != nil {
				t.Error(err)
			}
		})
		parts, dirs = append(parts, Part{name, fs}), append(dirs, dir)
	}
	return New(parts...), dirs[0], dirs[1]
}

func walk(t *testing.T, fs vfs.FS, path string) vfs.Target {
	t.Helper()
	w, err := vfs.Walk(t.Context(), fs, vfs.RootID, path, 0)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	t.Cleanup(w.Release)
	return w
}

func TestTree(t *testing.T) {
	fs, _, _ := newJoin(t)
	ctx := t.Context()
	a, err := fs.GetAttr(ctx, vfs.RootID, nil)
	if err != nil || !a.IsDir() || a.Mode&0o222 != 0 {
		t.Fatalf("root: %+v, %v", a, err)
	}
	d, err := fs.OpenDir(ctx, vfs.RootID)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var names []string
	inos := map[uint64]bool{}
	for off := uint64(0); ; { // one entry at a time
		n := 0
		err := d.ReadDir(ctx, off, func(e vfs.DirEntry) bool {
			if n++; n == 1 {
				names, off = append(names, e.Name), e.Off
			}
			return n == 1
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if !slices.Equal(names, []string{".", "..", "one", "two"}) {
		t.Errorf("root lists %q", names)
	}
	nodes := map[vfs.NodeID]bool{}
	for _, p := range []string{"one", "two", "one/f", "two/f"} {
		w := walk(t, fs, p)
		if nodes[w.Entry.Node] || inos[w.Entry.Attr.Ino] {
			t.Errorf("%s shares an id with another", p)
		}
		nodes[w.Entry.Node], inos[w.Entry.Attr.Ino] = true, true
		if got, err := fs.Path(ctx, w.Entry.Node); err != nil || got != p {
			t.Errorf("path of %s: %q, %v", p, got, err)
		}
	}
	if _, err := fs.Lookup(ctx, vfs.RootID, "three"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no such part: %v", err)
	}
	for _, id := range []vfs.NodeID{0, 2, 3<<partShift | 1, 15<<partShift | 1} {
		if _, err := fs.GetAttr(ctx, id, nil); !errors.Is(err, syscall.ESTALE) {
			t.Errorf("node %x: %v", id, err)
		}
	}
}

func TestChanges(t *testing.T) {
	fs, dirOne, _ := newJoin(t)
	ctx := t.Context()
	one, two := walk(t, fs, "one").Entry.Node, walk(t, fs, "two").Entry.Node
	f := walk(t, fs, "one/f").Entry.Node

	_, err := fs.Mkdir(ctx, vfs.RootID, "x", 0o755)
	for what, err := range map[string]error{
		"mkdir":  err,
		"unlink": fs.Unlink(ctx, vfs.RootID, "one"),
		"rmdir":  fs.Rmdir(ctx, vfs.RootID, "one"),
		"rename": fs.Rename(ctx, vfs.RootID, "one", vfs.RootID, "x", 0),
		"xattr":  fs.SetXattr(ctx, vfs.RootID, "user.x", nil, 0),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s in the root: %v", what, err)
		}
	}
	if err := fs.Rename(ctx, one, "f", two, "g", 0); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("rename to another part: %v", err)
	}
	if _, err := fs.Link(ctx, f, two, "g"); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("link to another part: %v", err)
	}

	e, h, err := fs.Create(ctx, one, "new", unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if h.Node() != e.Node {
		t.Errorf("the handle is of node %x, the entry of %x", h.Node(), e.Node)
	}
	if _, err := h.WriteAt(ctx, []byte("text"), 0); err != nil {
		t.Error(err)
	}
	if a, err := fs.GetAttr(ctx, e.Node, h); err != nil || a.Size != 4 || a.Ino != e.Attr.Ino {
		t.Errorf("attributes by handle: %+v, %v", a, err)
	}
	other, err := fs.Open(ctx, walk(t, fs, "two/f").Entry.Node, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.CopyRange(ctx, 0, other, 0, 4); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("copy to another part: %v", err)
	}
	if err := errors.Join(h.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	fs.Forget(e.Node, 1)
	if got, err := os.ReadFile(filepath.Join(dirOne, "new")); err != nil || string(got) != "text" {
		t.Errorf("on the host: %q, %v", got, err)
	}
	d, err := fs.OpenDir(ctx, one)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.ReadDirPlus(ctx, 0, func(de vfs.DirEntry, e vfs.Entry) bool {
		if e.Node != 0 {
			if e.Node>>partShift != one>>partShift || e.Attr.Ino != de.Ino {
				t.Errorf("listed %q as node %x, inode %d and %d", de.Name, e.Node, de.Ino, e.Attr.Ino)
			}
			fs.Forget(e.Node, 1)
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}

// recorder notes what it is told.
type recorder struct{ entries, nodes []vfs.NodeID }

func (r *recorder) EntryChanged(_ context.Context, parent vfs.NodeID, _ string) {
	r.entries = append(r.entries, parent)
}

func (r *recorder) NodeChanged(_ context.Context, node vfs.NodeID, _ bool) {
	r.nodes = append(r.nodes, node)
}

// A watcher hears of the changes of others, by joined ids, and not of its own.
func TestWatch(t *testing.T) {
	fs, _, _ := newJoin(t)
	two := walk(t, fs, "two").Entry.Node
	var r recorder
	stop := fs.Watch(&r)
	if err := fs.Unlink(t.Context(), two, "f"); err != nil {
		t.Fatal(err)
	}
	if len(r.entries) == 0 || r.entries[0] != two {
		t.Errorf("told of %x", r.entries)
	}
	r = recorder{}
	own := vfs.WithCaller(t.Context(), &vfs.Caller{Origin: &r})
	if _, err := fs.Mkdir(own, two, "d", 0o755); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := fs.Mkdir(t.Context(), two, "e", 0o755); err != nil {
		t.Fatal(err)
	}
	if len(r.entries)+len(r.nodes) > 0 {
		t.Errorf("told of %x, %x", r.entries, r.nodes)
	}
}
