package overlay_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
)

// told records what an overlay tells its watchers.
type told struct {
	mu      sync.Mutex
	entries map[string]int
	nodes   map[vfs.NodeID]bool // data changed
}

func (w *told) EntryChanged(_ context.Context, parent vfs.NodeID, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries[name]++
}

func (w *told) NodeChanged(_ context.Context, node vfs.NodeID, data bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[node] = w.nodes[node] || data
}

// wait returns when cond holds, which the host's events make true soon.
func (w *told) wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		ok := cond()
		w.mu.Unlock()
		if ok {
			return
		}
	}
	t.Fatalf("the overlay does not tell of %s", what)
}

// TestHostChangesAreTold: once somebody watches, what others do in a lower
// directory that was looked into is told, and therefore not volatile.
func TestHostChangesAreTold(t *testing.T) {
	ctx := context.Background()
	base := t.TempDir()
	opt := overlay.Options{Lower: []string{base + "/lower"}, Upper: base + "/upper", Work: base + "/work", State: base + "/state"}
	for _, d := range []string{"lower/dir/sub", "upper", "work", "state"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(base, "lower", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file("dir/a", "old")
	file("dir/linked", "two names")
	if err := os.Link(base+"/lower/dir/linked", base+"/lower/dir/sub/other"); err != nil {
		t.Fatal(err)
	}
	fs, err := overlay.Open(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	lookup := func(parent vfs.NodeID, name string) vfs.Entry {
		t.Helper()
		e, err := fs.Lookup(ctx, parent, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { fs.Forget(e.Node, 1) })
		return e
	}
	dir := lookup(vfs.RootID, "dir")
	if e := lookup(dir.Node, "a"); !e.Volatile || !e.Attr.Volatile {
		t.Error("nobody watches, and the host's file is called stable")
	}

	w := &told{entries: map[string]int{}, nodes: map[vfs.NodeID]bool{}}
	stop := fs.Watch(w)
	defer stop()
	a := lookup(dir.Node, "a")
	if a.Volatile || a.Attr.Volatile {
		t.Error("the host's file is watched, and called volatile")
	}
	if e := lookup(dir.Node, "linked"); e.Volatile || !e.Attr.Volatile {
		t.Errorf("a file with two names: entry volatile %v, attributes volatile %v", e.Volatile, e.Attr.Volatile)
	}
	if e, err := fs.Lookup(ctx, dir.Node, "none"); err == nil || e.Volatile {
		t.Errorf("a missing name in a watched directory: %v, volatile %v", err, e.Volatile)
	}

	file("dir/a", "new contents")
	w.wait(t, "a write", func() bool { return w.nodes[a.Node] })
	file("dir/none", "there now")
	w.wait(t, "a new file", func() bool { return w.entries["none"] > 0 && w.nodes[dir.Node] })
	if err := os.Rename(base+"/lower/dir/none", base+"/lower/dir/moved"); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "a rename", func() bool { return w.entries["none"] > 1 && w.entries["moved"] > 0 })
	if err := os.Remove(base + "/lower/dir/moved"); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "a removal", func() bool { return w.entries["moved"] > 1 })
	w.mu.Lock()
	w.nodes[a.Node] = false
	delete(w.nodes, a.Node)
	w.mu.Unlock()
	if err := os.Chmod(base+"/lower/dir/a", 0o600); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "a chmod", func() bool { _, ok := w.nodes[a.Node]; return ok })
}

// TestHostWatchIsBounded: directories that leave memory leave the kernel too.
func TestHostWatchIsBounded(t *testing.T) {
	ctx := context.Background()
	base := t.TempDir()
	opt := overlay.Options{Lower: []string{base + "/lower"}, Upper: base + "/upper", Work: base + "/work", IdleNodes: 64}
	for _, d := range []string{"lower", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const dirs = 2000
	for i := range dirs {
		if err := os.MkdirAll(filepath.Join(base, "lower", name(i), "x"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := overlay.Open(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	stop := fs.Watch(&told{entries: map[string]int{}, nodes: map[vfs.NodeID]bool{}})
	defer stop()
	for i := range dirs {
		d, err := fs.Lookup(ctx, vfs.RootID, name(i))
		if err != nil {
			t.Fatal(err)
		}
		x, err := fs.Lookup(ctx, d.Node, "x")
		if err != nil {
			t.Fatal(err)
		}
		fs.Forget(x.Node, 1)
		fs.Forget(d.Node, 1)
	}
	if n := overlay.HostWatches(fs); n == 0 || n > 600 {
		t.Errorf("%d directories are watched after %d were looked into and forgotten", n, dirs)
	}
}

func name(i int) string {
	return "d" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
}

// TestListedDirectoriesAreWatched: a directory that was listed by its parent, and
// not looked into, is watched before its attributes are told, up to half of what
// may be watched.
func TestListedDirectoriesAreWatched(t *testing.T) {
	ctx := context.Background()
	base := t.TempDir()
	opt := overlay.Options{Lower: []string{base + "/lower"}, Upper: base + "/upper", Work: base + "/work"}
	const dirs = 20
	for _, d := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range dirs {
		if err := os.MkdirAll(filepath.Join(base, "lower", name(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		limit  int
		stable func(int) bool
	}{
		{0, func(n int) bool { return n == dirs }},
		{16, func(n int) bool { return n >= 6 && n <= 8 }},
	} {
		fs, err := overlay.Open(ctx, opt)
		if err != nil {
			t.Fatal(err)
		}
		w := &told{entries: map[string]int{}, nodes: map[vfs.NodeID]bool{}}
		stop := fs.Watch(w)
		if c.limit > 0 {
			overlay.LimitHostWatches(fs, c.limit)
		}
		d, err := fs.OpenDir(ctx, vfs.RootID)
		if err != nil {
			t.Fatal(err)
		}
		stable := map[string]vfs.NodeID{}
		var volatile vfs.NodeID
		if err := d.ReadDirPlus(ctx, 0, func(de vfs.DirEntry, e vfs.Entry) bool {
			if e.Node == 0 {
				return true
			}
			t.Cleanup(func() { fs.Forget(e.Node, 1) })
			if e.Volatile {
				t.Errorf("limit %d: the name %s may change unseen", c.limit, de.Name)
			}
			if !e.Attr.Volatile {
				stable[de.Name] = e.Node
			} else {
				volatile = e.Node
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if !c.stable(len(stable)) {
			t.Errorf("limit %d: %d of %d directories are watched when they were listed", c.limit, len(stable), dirs)
		}
		for n, id := range stable {
			if err := os.WriteFile(filepath.Join(base, "lower", n, fmt.Sprint("new ", c.limit)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			w.wait(t, "an entry of "+n, func() bool { return w.nodes[id] })
		}
		if volatile != 0 {
			// There is room left for those that are looked into.
			if _, err := fs.Lookup(ctx, volatile, "none"); vfs.Errno(err) != syscall.ENOENT {
				t.Fatal(err)
			}
			if a, err := fs.GetAttr(ctx, volatile, nil); err != nil || a.Volatile {
				t.Errorf("limit %d: looked into, and volatile %v, %v", c.limit, a.Volatile, err)
			}
		}
		stop()
		if err := fs.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
