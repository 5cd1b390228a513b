package fsapi_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
