package hostfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func openFS(t testing.TB, dir string, opt Options) *FS {
	t.Helper()
	fs, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

// nodes returns how many nodes the table has.
func (fs *FS) nodes() int {
	n := 0
	for i := range fs.table.ids {
		fs.table.ids[i].mu.Lock()
		n += len(fs.table.ids[i].nodes)
		fs.table.ids[i].mu.Unlock()
	}
	return n
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// wide makes dirs directories, each inside a chain of depth, with files files.
func wide(t testing.TB, dirs, files int) string {
	t.Helper()
	root := t.TempDir()
	for d := range dirs {
		dir := filepath.Join(root, fmt.Sprint(d%10), fmt.Sprint(d))
		if err := os.MkdirAll(dir, 0755); err != nil {
			t.Fatal(err)
		}
		for f := range files {
			if err := os.WriteFile(fmt.Sprintf("%s/file-with-a-usual-name-%d", dir, f), nil, 0644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// walkAll visits everything below n. keep leaves the references held.
func walkAll(t testing.TB, fs *FS, n vfs.NodeID, keep bool, visit func()) int {
	t.Helper()
	ctx := context.Background()
	d, err := fs.OpenDir(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	var sub []vfs.NodeID
	count := 0
	err = d.ReadDirPlus(ctx, 0, func(_ vfs.DirEntry, e vfs.Entry) bool {
		if e.Node == 0 {
			return true
		}
		count++
		visit()
		if e.Attr.IsDir() {
			sub = append(sub, e.Node)
		} else if !keep {
			fs.Forget(e.Node, 1)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range sub {
		count += walkAll(t, fs, s, keep, visit)
		if !keep {
			fs.Forget(s, 1)
		}
	}
	return count
}

func TestWalkIsBounded(t *testing.T) {
	root := wide(t, 400, 20)
	fs := openFS(t, root, Options{Dirs: 16, Idle: 640})
	before, most, nodes := descriptors(t), 0, 0
	seen := 0
	count := walkAll(t, fs, vfs.RootID, false, func() {
		if seen++; seen%50 == 0 {
			most, nodes = max(most, descriptors(t)), max(nodes, fs.nodes())
		}
	})
	if count != 410+400*20 {
		t.Fatalf("visited %d", count)
	}
	if extra := most - before; extra > 16+4 {
		t.Errorf("%d descriptors were open at once", extra)
	}
	// The idle ones, the directories above them, and those of the walk itself.
	if limit := 640 + 410 + 64; nodes > limit {
		t.Errorf("%d nodes were known at once, want at most %d", nodes, limit)
	}
	if n := fs.nodes(); n > 640+64+410 {
		t.Errorf("%d nodes are left", n)
	}
}

// TestMemoryOfHeldNodes walks as a kernel does that keeps every inode.
func TestMemoryOfHeldNodes(t *testing.T) {
	root := wide(t, 200, 100)
	fs := openFS(t, root, Options{Dirs: 16})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	count := walkAll(t, fs, vfs.RootID, true, func() {})
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int(after.HeapAlloc-before.HeapAlloc) / count
	t.Logf("%d nodes held, %d bytes each", count, each)
	if each > 1024 {
		t.Errorf("a node takes %d bytes", each)
	}
	if n := fs.nodes(); n != count {
		t.Errorf("%d nodes are known, want %d", n, count)
	}
	if extra := fs.dirs.Open(); extra > 16 {
		t.Errorf("%d directories are open", extra)
	}
}

// TestPinsAreBounded removes more files than may stay reachable.
func TestPinsAreBounded(t *testing.T) {
	ctx := context.Background()
	fs := openFS(t, t.TempDir(), Options{Pins: 5})
	before := descriptors(t)
	var ids []vfs.NodeID
	for i := range 50 {
		name := fmt.Sprint(i)
		e, h, err := fs.Create(ctx, vfs.RootID, name, unix.O_RDWR, 0644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.WriteAt(ctx, []byte(name), 0); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 { // an open one needs no pin
			defer h.Close()
		} else if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if err := fs.Unlink(ctx, vfs.RootID, name); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.Node)
	}
	if extra := descriptors(t) - before; extra > 5+5 {
		t.Errorf("%d descriptors are open", extra)
	}
	readable := 0
	for i, id := range ids {
		a, err := fs.GetAttr(ctx, id, nil)
		if err != nil || a.Nlink != 0 || a.Size != int64(len(fmt.Sprint(i))) {
			t.Errorf("file %d is %+v, %v", i, a, err)
		}
		h, err := fs.Open(ctx, id, unix.O_RDONLY)
		switch {
		case err == nil:
			readable++
			h.Close()
		case vfs.Errno(err) != syscall.ESTALE:
			t.Errorf("Open: %v", err)
		}
	}
	if readable < 5 || readable > 10 {
		t.Errorf("%d files are readable", readable)
	}
	for _, id := range ids {
		fs.Forget(id, 1)
	}
	// A pin that was given up makes room for another.
	if n := fs.pins.Load(); n > 5 {
		t.Errorf("%d pins are left", n)
	}
	e, h, err := fs.Create(ctx, vfs.RootID, "last", unix.O_RDWR, 0644)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := fs.Unlink(ctx, vfs.RootID, "last"); err != nil {
		t.Fatal(err)
	}
	h, err = fs.Open(ctx, e.Node, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
}

// TestNodesComeAndGo checks that the table holds nothing of what is gone.
func TestNodesComeAndGo(t *testing.T) {
	ctx := context.Background()
	fs := openFS(t, t.TempDir(), Options{})
	for i := range 3000 {
		name := fmt.Sprint(i)
		e, err := fs.Mkdir(ctx, vfs.RootID, name, 0755)
		if err != nil {
			t.Fatal(err)
		}
		f, h, err := fs.Create(ctx, e.Node, "f", unix.O_RDWR, 0644)
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
		fs.Unlink(ctx, e.Node, "f")
		fs.Rmdir(ctx, vfs.RootID, name)
		fs.Forget(f.Node, 1)
		fs.Forget(e.Node, 1)
	}
	if n := fs.nodes(); n != 0 {
		t.Errorf("%d nodes are left", n)
	}
	if n := fs.dirs.Open(); n != 0 {
		t.Errorf("%d directories are open", n)
	}
	if n := fs.pins.Load(); n != 0 {
		t.Errorf("%d pins are left", n)
	}
}
