package fusefs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

func TestMain(m *testing.M) {
	serve.Child(map[string]serve.Maker{
		"hostfs": makeHost,
		"stable": func(dirs []string) (vfs.FS, func() error, error) {
			fs, done, err := makeHost(dirs)
			return stable{fs}, done, err
		},
		"panic": func(dirs []string) (vfs.FS, func() error, error) {
			fs, done, err := makeHost(dirs)
			return panicking{fs}, done, err
		},
		"cow":            makeCow,
		"quota":          makeQuota,
		"waiting":        makeWaiting,
		"overlay":        makeOverlay(false),
		"overlay static": makeOverlay(true),
	})
	syscall.Umask(0o022)
	os.Exit(m.Run())
}

func makeHost(dirs []string) (vfs.FS, func() error, error) {
	fs, err := hostfs.Open(dirs[0], hostfs.Options{})
	if err != nil {
		return nil, nil, err
	}
	return fs, fs.Close, nil
}

// stable is a directory of the host that nobody else writes to, so that the
// kernel caches for long.
type stable struct{ vfs.FS }

func (s stable) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	return stableEntry(s.FS.Lookup(ctx, parent, name))
}

func stableEntry(e vfs.Entry, err error) (vfs.Entry, error) {
	e.Volatile, e.Attr.Volatile = false, false
	return e, err
}

func stableAttr(a vfs.Attr, err error) (vfs.Attr, error) {
	a.Volatile = false
	return a, err
}

func (s stable) GetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	return stableAttr(s.FS.GetAttr(ctx, node, h))
}

func (s stable) SetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	return stableAttr(s.FS.SetAttr(ctx, node, h, in))
}

func (s stable) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	e, h, err := s.FS.Create(ctx, parent, name, flags, mode)
	e, err = stableEntry(e, err)
	return e, h, err
}

func (s stable) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	return stableEntry(s.FS.Mkdir(ctx, parent, name, mode))
}

func (s stable) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	return stableEntry(s.FS.Mknod(ctx, parent, name, mode, rdev))
}

func (s stable) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	return stableEntry(s.FS.Symlink(ctx, parent, name, target))
}

func (s stable) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	return stableEntry(s.FS.Link(ctx, node, parent, name))
}

func (s stable) OpenDir(ctx context.Context, node vfs.NodeID) (vfs.DirHandle, error) {
	d, err := s.FS.OpenDir(ctx, node)
	return stableDir{d}, err
}

type stableDir struct{ vfs.DirHandle }

func (d stableDir) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	return d.DirHandle.ReadDirPlus(ctx, off, func(de vfs.DirEntry, e vfs.Entry) bool {
		e.Volatile, e.Attr.Volatile = false, false
		return fn(de, e)
	})
}

// panicking panics when a name is looked up that says so.
type panicking struct{ vfs.FS }

func (p panicking) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if name == "panic" {
		panic("as asked")
	}
	return p.FS.Lookup(ctx, parent, name)
}

func TestPanicIsEIO(t *testing.T) {
	c := serve.Config{FS: "panic", Dirs: []string{t.TempDir()}}
	m := serve.Start(t, c)
	if _, err := os.Stat(filepath.Join(m.Mountpoint, "panic")); !errorIs(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
	if err := os.WriteFile(filepath.Join(m.Mountpoint, "after"), nil, 0o644); err != nil {
		t.Errorf("the mount did not survive: %v", err)
	}
	if n := m.Do(serve.Request{Op: "stats"}).Stats.Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	m.Forgive()
}

// kernel tells whether the running kernel is of that version or a later one.
func kernel(t *testing.T, major, minor int) bool {
	t.Helper()
	var a, b int
	if _, err := fmt.Sscanf(string(read(t, "/proc/sys/kernel/osrelease")), "%d.%d", &a, &b); err != nil {
		t.Fatal(err)
	}
	return a > major || a == major && b >= minor
}

// direct tells whether passthrough can be had here.
func direct(t *testing.T) bool { return os.Geteuid() == 0 && kernel(t, 6, 9) }

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: got %d bytes %.40q, want %d bytes %.40q", what, len(got), got, len(want), want)
	}
}
