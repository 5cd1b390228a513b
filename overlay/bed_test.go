package overlay_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
)

// bed is an overlay over one lower directory, used by path.
type bed struct {
	*testing.T
	view
	opt overlay.Options
}

// newBed opens an overlay over what seed makes in the lower directory.
func newBed(t *testing.T, seed func(dir string), change ...func(*overlay.Options)) *bed {
	t.Helper()
	opt := layers(t, 1)
	if seed != nil {
		seed(opt.Lower[0])
	}
	for _, f := range change {
		f(&opt)
	}
	return &bed{T: t, view: view{open(t, opt)}, opt: opt}
}

func (b *bed) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bed) want(err error, want syscall.Errno) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("got %v, want %v", err, want)
	}
}

func (b *bed) lower(p string) string { return filepath.Join(b.opt.Lower[0], p) }
func (b *bed) upper(p string) string { return filepath.Join(b.opt.Upper, p) }

func (b *bed) stat(p string) vfs.Attr {
	b.Helper()
	a, err := b.lstat(p)
	if err != nil {
		b.Fatalf("lstat %s: %v", p, err)
	}
	return a
}

func (b *bed) read(p string) string {
	b.Helper()
	f, err := b.open(p, unix.O_RDONLY, 0)
	b.ok(err)
	defer f.close()
	buf := make([]byte, 1<<16)
	n, err := f.pread(buf, 0)
	b.ok(err)
	return string(buf[:n])
}

func (b *bed) contents(p, want string) {
	b.Helper()
	if got := b.read(p); got != want {
		b.Fatalf("%s holds %q, want %q", p, got, want)
	}
}

// upperEmpty tells that nothing has been copied up.
func (b *bed) upperEmpty() {
	b.Helper()
	l, err := os.ReadDir(b.opt.Upper)
	b.ok(err)
	if len(l) > 0 {
		b.Fatalf("the upper directory holds %v", l)
	}
}

// reopen closes the overlay and opens it again.
func (b *bed) reopen() {
	b.Helper()
	b.ok(b.FS.(*overlay.FS).Close())
	b.FS = open(b.T, b.opt)
}

func put(t *testing.T, p, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func setMode(mode uint32) vfs.SetAttr { return vfs.SetAttr{Valid: vfs.SetMode, Mode: mode} }
