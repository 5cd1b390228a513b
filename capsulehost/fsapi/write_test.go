package fsapi_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// Without nameless files, and without replacing in one step, the calls give the
// same results.
type plain struct{ vfs.FS }

func (plain) Tmpfile(context.Context, vfs.NodeID, int, uint32) (vfs.Entry, vfs.Handle, error) {
	return vfs.Entry{}, nil, syscall.EOPNOTSUPP
}

type noReplace struct{ vfs.FS }

func (noReplace) Replace(context.Context, vfs.NodeID, vfs.Handle) error { return syscall.EOPNOTSUPP }

func TestFallbacks(t *testing.T) {
	for name, layer := range map[string]func(vfs.FS) vfs.FS{
		"no nameless files": func(fs vfs.FS) vfs.FS { return plain{fs} },
		"no replacing":      func(fs vfs.FS) vfs.FS { return noReplace{fs} },
		"as it is":          func(fs vfs.FS) vfs.FS { return fs },
	} {
		t.Run(name, func(t *testing.T) {
			f, dir := newFS(t, view.View{}, layer)
			for _, data := range []string{"first", "a second and longer one", "short", ""} {
				if err := f.WriteFile(ctx, "f", []byte(data)); err != nil || get(t, dir, "f") != data {
					t.Errorf("%q: %q, %v", data, get(t, dir, "f"), err)
				}
			}
			// A file with a hole in front, copied over one that is full.
			put(t, dir, "full", strings.Repeat("F", 1<<20))
			sparse, err := os.Create(filepath.Join(dir, "sparse"))
			if err != nil {
				t.Fatal(err)
			}
			sparse.WriteAt([]byte("data"), 300_000)
			sparse.Truncate(500_000)
			sparse.Close()
			if err := f.Copy(ctx, "sparse", "full"); err != nil || get(t, dir, "full") != get(t, dir, "sparse") {
				t.Errorf("the copy differs: %v", err)
			}
			if err := f.Copy(ctx, "sparse", "new"); err != nil || get(t, dir, "new") != get(t, dir, "sparse") {
				t.Errorf("the new copy differs: %v", err)
			}
			os.Chmod(filepath.Join(dir, "sparse"), 0o640)
			if err := f.Copy(ctx, "sparse", "f"); err != nil {
				t.Error(err)
			}
			var st unix.Stat_t
			if unix.Stat(filepath.Join(dir, "f"), &st); st.Mode != unix.S_IFREG|0o640 {
				t.Errorf("the copy's mode is %o", st.Mode)
			}
			if unix.Stat(filepath.Join(dir, "new"), &st); st.Blocks*512 > 200_000 {
				t.Errorf("the hole was filled: %d blocks", st.Blocks)
			}
		})
	}
}

// failing fails writes after a number of bytes.
type failing struct {
	vfs.FS
	left atomic.Int64
}

type failingHandle struct {
	vfs.Handle
	fs *failing
}

func (f *failing) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	e, h, err := f.FS.Tmpfile(ctx, parent, flags, mode)
	if err == nil {
		h = failingHandle{h, f}
	}
	return e, h, err
}

func (f *failing) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	e, h, err := f.FS.Create(ctx, parent, name, flags, mode)
	if err == nil {
		h = failingHandle{h, f}
	}
	return e, h, err
}

func (h failingHandle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if left := h.fs.left.Add(-int64(len(p))); left < 0 {
		n, _ := h.Handle.WriteAt(ctx, p[:max(int64(len(p))+left, 0)], off)
		return n, syscall.ENOSPC
	}
	return h.Handle.WriteAt(ctx, p, off)
}

func (h failingHandle) CopyRange(context.Context, int64, vfs.Handle, int64, int64) (int64, error) {
	return 0, syscall.EXDEV
}

// A write that fails in the middle leaves the old file, or none, and counts
// nothing.
func TestFailedWrites(t *testing.T) {
	for _, nameless := range []bool{true, false} {
		q := view.NewQuota(1<<20, 100)
		var fail *failing
		f, dir := newFS(t, view.View{Quota: q}, func(fs vfs.FS) vfs.FS {
			if !nameless {
				fs = plain{fs}
			}
			fail = &failing{FS: fs}
			if !nameless {
				return struct {
					vfs.FS
				}{fail}
			}
			return fail
		})
		put(t, dir, "src", strings.Repeat("s", 300_000))
		if nameless {
			put(t, dir, "old", "old")
			fail.left.Store(100)
			code(t, f.WriteFile(ctx, "old", make([]byte, 1000)), fsapi.Quota)
			fail.left.Store(100)
			code(t, f.Copy(ctx, "src", "old"), fsapi.Quota)
			if got := get(t, dir, "old"); got != "old" {
				t.Errorf("the old file holds %q", got)
			}
		}
		fail.left.Store(100)
		code(t, f.WriteFile(ctx, "new", make([]byte, 1000)), fsapi.Quota)
		fail.left.Store(100)
		code(t, f.Copy(ctx, "src", "new"), fsapi.Quota)
		if _, err := os.Lstat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
			t.Error("a half-written file was left")
		}
		if b, n := q.Used(); b != 0 || n != 0 {
			t.Errorf("%d bytes and %d names are counted", b, n)
		}
	}
}

// Two appenders never overwrite each other, nor do an appending handle and one
// call.
func TestAppendersInParallel(t *testing.T) {
	dir := t.TempDir()
	host, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	var wg sync.WaitGroup
	const each = 200
	for i := range 4 {
		wg.Go(func() {
			f := fsapi.New(&view.View{Workspace: host})
			defer f.Close()
			line := []byte(fmt.Sprintf("%d%s\n", i, strings.Repeat("x", 50)))
			id, err := f.Open(ctx, "log", fsapi.ModeAppend)
			if err != nil {
				t.Error(err)
				return
			}
			for j := range each {
				if j%2 == 0 {
					err = f.Append(ctx, "log", line)
				} else {
					_, err = f.WriteAt(ctx, id, 0, line)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(get(t, dir, "log"), "\n"), "\n")
	if len(lines) != 4*each {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if len(l) != 51 {
			t.Errorf("a broken line: %q", l)
		}
	}
}

// A file that is written whole is one step for whoever looks at it; but what has
// other names, or is open, stays the file that it is.
func TestWriteFileKeepsFile(t *testing.T) {
	f, dir := newFS(t, view.View{})
	ino := func(name string) uint64 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	put(t, dir, "f", "old")
	old, err := os.Open(filepath.Join(dir, "f")) // by the host
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := f.WriteFile(ctx, "f", []byte("new")); err != nil || get(t, dir, "f") != "new" {
		t.Fatalf("%q, %v", get(t, dir, "f"), err)
	}
	buf := make([]byte, 10)
	if n, err := old.ReadAt(buf, 0); string(buf[:n]) != "old" {
		t.Errorf("who had it open reads %q, %v", buf[:n], err)
	}

	id, err := f.Open(ctx, "f", fsapi.ModeRead)
	if err != nil {
		t.Fatal(err)
	}
	was := ino("f")
	if err := f.WriteFile(ctx, "f", []byte("newer")); err != nil || ino("f") != was {
		t.Errorf("open, it is another file: %v", err)
	}
	b := &buffer{}
	if err := f.ReadAt(ctx, id, 0, 10, b); err != nil || string(b.b) != "newer" {
		t.Errorf("the handle reads %q, %v", b.b, err)
	}
	if err := f.Drop(id); err != nil {
		t.Fatal(err)
	}

	if err := os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile(ctx, "g", []byte("newest")); err != nil || get(t, dir, "f") != "newest" || ino("f") != ino("g") {
		t.Errorf("the other name has %q, %v", get(t, dir, "f"), err)
	}
}

// fickle is a file that is copied from: its contents can be read once, and the
// caller gives up as soon as something is written in place.
type fickle struct {
	vfs.FS
	src    vfs.NodeID
	read   atomic.Int64 // bytes of src
	cancel context.CancelFunc
}

type fickleHandle struct {
	vfs.Handle
	fs *fickle
}

func (f *fickle) Open(ctx context.Context, id vfs.NodeID, flags int) (vfs.Handle, error) {
	h, err := f.FS.Open(ctx, id, flags)
	if err == nil {
		h = fickleHandle{h, f}
	}
	return h, err
}

func (h fickleHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if h.Node() == h.fs.src && h.fs.read.Add(int64(len(p))) > 1_000_000 {
		return 0, syscall.EIO
	}
	return h.Handle.ReadAt(ctx, p, off)
}

func (h fickleHandle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	h.fs.cancel()
	return h.Handle.WriteAt(ctx, p, off)
}

func (h fickleHandle) CopyRange(context.Context, int64, vfs.Handle, int64, int64) (int64, error) {
	return 0, syscall.EXDEV
}

// What can only be written in place is written to its end, whatever becomes of
// the caller and of what it is copied from.
func TestWriteInPlaceToTheEnd(t *testing.T) {
	c, cancel := context.WithCancel(ctx)
	defer cancel()
	var fs *fickle
	f, dir := newFS(t, view.View{}, func(host vfs.FS) vfs.FS {
		fs = &fickle{FS: noReplace{host}, cancel: cancel}
		return fs
	})
	data := strings.Repeat("0123456789", 100_000)
	put(t, dir, "src", data)
	put(t, dir, "dst", strings.Repeat("old", 400_000))
	e, err := fs.Lookup(ctx, vfs.RootID, "src")
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Forget(e.Node, 1)
	fs.src = e.Node
	if err := f.Copy(c, "src", "dst"); err != nil || get(t, dir, "dst") != data {
		t.Errorf("it is torn: %v", err)
	}
	if c.Err() == nil {
		t.Error("nobody gave up")
	}
	// Who has given up before loses nothing.
	put(t, dir, "dst", "old")
	if err := f.WriteFile(c, "dst", []byte("new")); !errors.Is(err, context.Canceled) || get(t, dir, "dst") != "old" {
		t.Errorf("%q, %v", get(t, dir, "dst"), err)
	}
}
