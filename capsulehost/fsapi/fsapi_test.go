package fsapi_test

import (
	"bytes"
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

var ctx = context.Background()

// buffer is a Buffer in the host's memory. hook, if set, runs at each Resize,
// where code of a guest would.
type buffer struct {
	b    []byte
	hook func(n int)
}

func (b *buffer) Resize(n int) ([]byte, error) {
	if b.hook != nil {
		b.hook(n)
	}
	p := make([]byte, n)
	copy(p, b.b)
	b.b = p
	return p, nil
}

// newFS is the interface on a directory of the host, whose filesystem the
// layers wrap.
func newFS(t *testing.T, v view.View, layers ...func(vfs.FS) vfs.FS) (*fsapi.FS, string) {
	t.Helper()
	dir := t.TempDir()
	host, err := hostfs.Open(dir, hostfs.Options{Stage: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	v.Workspace = host
	for _, l := range layers {
		v.Workspace = l(v.Workspace)
	}
	f := fsapi.New(&v)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, dir
}

func put(t *testing.T, dir, name, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func code(t *testing.T, err error, want fsapi.Code) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %v", want)
	} else if got, _ := fsapi.CodeOf(err); got != want {
		t.Errorf("%v is %v, want %v", err, got, want)
	}
}

// hider hides the name ".env" as a deny rule does.
type hider struct{ vfs.FS }

func (h hider) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if name == ".env" {
		return vfs.Entry{}, vfs.ErrHidden
	}
	return h.FS.Lookup(ctx, parent, name)
}

func TestHidden(t *testing.T) {
	f, dir := newFS(t, view.View{}, func(fs vfs.FS) vfs.FS { return hider{fs} })
	put(t, dir, ".env", "secret")
	os.Symlink(".env", filepath.Join(dir, "link"))
	for _, p := range []string{".env", ".env/x", "link"} {
		if there, err := f.Exists(ctx, p); there || err != nil {
			t.Errorf("%s: %v, %v", p, there, err)
		}
	}
	_, err := f.Stat(ctx, ".env", true)
	code(t, err, fsapi.Access)
	code(t, f.ReadFile(ctx, ".env", &buffer{}), fsapi.Access)
	code(t, f.WriteFile(ctx, ".env", nil), fsapi.Access)
	code(t, f.Mkdir(ctx, ".env/x"), fsapi.Access)
	code(t, f.MkdirAll(ctx, ".env/x/y"), fsapi.Access)
	code(t, f.Unlink(ctx, ".env"), fsapi.Access)
	code(t, f.Rename(ctx, ".env", "x"), fsapi.Access)
	// A link says where it leads; that is no look at what is there.
	if s, err := f.ReadLink(ctx, "link"); s != "workspace://.env" || err != nil {
		t.Error(s, err)
	}
}

// A view that lacks a scheme denies it.
func TestNoScheme(t *testing.T) {
	f, _ := newFS(t, view.View{})
	for _, p := range []string{"home://x", "tmp://", "/tmp/x", "home://../x"} {
		_, err := f.Exists(ctx, p)
		code(t, err, fsapi.CapabilityDenied)
	}
}

// A file that grows while it is read is read whole up to the limit.
func TestReadFileGrows(t *testing.T) {
	f, dir := newFS(t, view.View{})
	start := strings.Repeat("s", 70_000)
	put(t, dir, "f", start)
	name := filepath.Join(dir, "f")
	grown := false
	b := &buffer{hook: func(int) {
		if !grown {
			grown = true
			put(t, dir, "f", strings.Repeat("x", 100_000))
		}
	}}
	if err := f.ReadFile(ctx, "f", b); err != nil || len(b.b) != 100_000 {
		t.Errorf("%d bytes, %v", len(b.b), err)
	}
	for _, c := range []struct {
		size int64
		ok   bool
	}{{fsapi.MaxFile, true}, {fsapi.MaxFile + 1, false}} {
		put(t, dir, "f", start)
		b := &buffer{hook: func(int) { os.Truncate(name, c.size) }}
		err := f.ReadFile(ctx, "f", b)
		if c.ok && (err != nil || int64(len(b.b)) != c.size) {
			t.Errorf("%d bytes, %v", len(b.b), err)
		} else if !c.ok {
			code(t, err, fsapi.TooLarge)
		}
	}
	// And one that shrinks is as long as what is left.
	put(t, dir, "f", start)
	once := &buffer{}
	once.hook = func(n int) {
		if n == 70_000 {
			os.Truncate(name, 66_000)
		}
	}
	if err := f.ReadFile(ctx, "f", once); err != nil || len(once.b) != 66_000 {
		t.Errorf("%d bytes, %v", len(once.b), err)
	}
	for _, size := range []int{0, 1, 1<<16 - 1, 1 << 16, 1<<16 + 1, 200_000} {
		data := strings.Repeat("0123456789", size/10+1)[:size]
		put(t, dir, "f", data)
		b := &buffer{}
		if err := f.ReadFile(ctx, "f", b); err != nil || string(b.b) != data {
			t.Errorf("%d bytes of %d, %v", len(b.b), size, err)
		}
	}
}

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

// A tree deeper than any stack, and wider than a batch, is removed whole.
func TestRemoveDeepAndWide(t *testing.T) {
	f, dir := newFS(t, view.View{})
	fd, err := unix.Open(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	const depth = 3000
	unix.Mkdirat(fd, "deep", 0o755)
	at, _ := unix.Openat(fd, "deep", unix.O_DIRECTORY, 0)
	unix.Close(fd)
	for range depth {
		unix.Mkdirat(at, "d", 0o755)
		next, err := unix.Openat(at, "d", unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	if n, err := f.RemoveDirAll(ctx, "deep"); n != depth+1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	os.Mkdir(filepath.Join(dir, "wide"), 0o755)
	for i := range 1500 {
		put(t, dir, fmt.Sprintf("wide/%d", i), "")
	}
	if n, err := f.RemoveDirAll(ctx, "wide"); n != 1501 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("%d names are left", len(names))
	}
}

// While a tree is removed, its directories are swapped for links to one that
// has to stay, and back.
func TestRemoveAgainstSwaps(t *testing.T) {
	for round := range 8 {
		f, dir := newFS(t, view.View{})
		os.MkdirAll(filepath.Join(dir, "keep/sub"), 0o755)
		put(t, dir, "keep/file", "keep")
		put(t, dir, "keep/sub/file", "keep")
		for i := range 40 {
			os.MkdirAll(filepath.Join(dir, fmt.Sprintf("tree/d%d/sub", i)), 0o755)
			put(t, dir, fmt.Sprintf("tree/d%d/sub/file", i), "")
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i = (i + 1) % 40 {
				select {
				case <-stop:
					return
				default:
				}
				d := filepath.Join(dir, fmt.Sprintf("tree/d%d", i))
				if os.Rename(d, filepath.Join(dir, "aside")) == nil {
					os.Symlink("../keep", d)
					os.Remove(d)
					os.Rename(filepath.Join(dir, "aside"), d)
				}
			}
		})
		_, err := f.RemoveDirAll(ctx, "tree")
		close(stop)
		wg.Wait()
		if err != nil {
			if c, _ := fsapi.CodeOf(err); c != fsapi.NotEmpty {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if get(t, dir, "keep/file") != "keep" || get(t, dir, "keep/sub/file") != "keep" {
			t.Fatal("the removal followed a link")
		}
	}
}

// No way of writing a link's path has it followed, whatever its name.
func TestRemoveOfLinks(t *testing.T) {
	f, dir := newFS(t, view.View{})
	os.Mkdir(filepath.Join(dir, "keep"), 0o755)
	put(t, dir, "keep/file", "keep")
	for _, name := range []string{"l", "l:", "tmp:"} {
		os.Symlink("keep", filepath.Join(dir, name))
		for _, path := range []string{name, name + "/", name + "//", "./" + name + "/", "workspace://" + name + "/"} {
			if strings.Contains(strings.TrimPrefix(path, "workspace://"), "://") && path[0] != '.' && path[0] != 'w' {
				continue // a scheme
			}
			_, err := f.RemoveDirAll(ctx, path)
			code(t, err, fsapi.NotDirectory)
		}
		_, err := f.RemoveDirAll(ctx, "./"+name+"/.")
		code(t, err, fsapi.InvalidPath)
	}
	if get(t, dir, "keep/file") != "keep" {
		t.Error("a link was followed")
	}
}

// A removal that is cancelled ends.
func TestRemoveCancelled(t *testing.T) {
	f, dir := newFS(t, view.View{})
	os.MkdirAll(filepath.Join(dir, "a/b"), 0o755)
	c, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.RemoveDirAll(c, "a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// ReadAt gives the same by way of either of its two ways.
func TestReadAtSizes(t *testing.T) {
	f, dir := newFS(t, view.View{})
	data := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	put(t, dir, "f", string(data))
	id, err := f.Open(ctx, "f", fsapi.ModeRead)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 64 << 10, 64<<10 + 1, 159_999, 160_000, 160_001, 1 << 20} {
		for _, off := range []int{0, 1, 100_000, 159_999, 160_000, 200_000} {
			b := &buffer{}
			want := data[min(off, len(data)):min(off+n, len(data))]
			if err := f.ReadAt(ctx, id, uint64(off), uint32(n), b); err != nil || !bytes.Equal(b.b, want) {
				t.Errorf("%d at %d: %d bytes, %v", n, off, len(b.b), err)
			}
		}
	}
}

func TestFileQuota(t *testing.T) {
	q := view.NewQuota(100, 3)
	f, _ := newFS(t, view.View{Quota: q})
	for _, p := range []string{"a", "b", "c"} {
		if err := f.WriteFile(ctx, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	code(t, f.WriteFile(ctx, "d", nil), fsapi.Quota)
	code(t, f.Append(ctx, "d", nil), fsapi.Quota)
	code(t, f.HardLink(ctx, "a", "d"), fsapi.Quota)
	if err := f.WriteFile(ctx, "a", []byte("again")); err != nil {
		t.Error(err)
	}
	if err := f.Rename(ctx, "a", "b"); err != nil { // two names become one
		t.Error(err)
	}
	if err := f.Mkdir(ctx, "d"); err != nil {
		t.Error(err)
	}
	code(t, f.Mkdir(ctx, "e"), fsapi.Quota)
	if n, err := f.RemoveDirAll(ctx, "d"); n != 1 || err != nil {
		t.Error(n, err)
	}
	if err := f.Mkdir(ctx, "e"); err != nil {
		t.Error(err)
	}
	if err := f.Append(ctx, "b", make([]byte, 95)); err != nil { // to the byte
		t.Error(err)
	}
	code(t, f.Append(ctx, "b", make([]byte, 1)), fsapi.Quota)
}

// A call that the quota refuses makes nothing.
func TestQuotaBeforeEffect(t *testing.T) {
	q := view.NewQuota(10, 10)
	f, dir := newFS(t, view.View{Quota: q})
	code(t, f.Append(ctx, "new", make([]byte, 11)), fsapi.Quota)
	code(t, f.WriteFile(ctx, "new", make([]byte, 11)), fsapi.Quota)
	code(t, f.Append(ctx, "none/new", make([]byte, 11)), fsapi.NotFound)
	if l, err := os.ReadDir(dir); err != nil || len(l) != 0 {
		t.Errorf("%v, %v", l, err)
	}
	if bytes, files := q.Used(); bytes != 0 || files != 0 {
		t.Errorf("%d bytes and %d files are counted", bytes, files)
	}
	if err := f.Append(ctx, "new", make([]byte, 10)); err != nil {
		t.Error(err)
	}
	code(t, f.Append(ctx, "new", make([]byte, 1)), fsapi.Quota)
	if err := f.Append(ctx, "new", nil); err != nil {
		t.Error(err)
	}
	if bytes, files := q.Used(); bytes != 10 || files != 1 {
		t.Errorf("%d bytes and %d files are counted", bytes, files)
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
