package hostfs

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// The benchmarks come in pairs: an operation, and the bare system calls that do
// the same by path.

func benchTree(b *testing.B) (string, *FS, vfs.Entry) {
	dir := b.TempDir()
	if err := os.MkdirAll(dir+"/a/b", 0755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(dir+"/a/b/f", make([]byte, 1024), 0644); err != nil {
		b.Fatal(err)
	}
	fs := openFS(b, dir, Options{})
	target, err := vfs.Walk(context.Background(), fs, vfs.RootID, "a/b/f", 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return dir, fs, target.Entry
}

func BenchmarkWalk(b *testing.B) {
	_, fs, _ := benchTree(b)
	ctx := context.Background()
	for b.Loop() {
		target, err := vfs.Walk(ctx, fs, vfs.RootID, "a/b/f", 0)
		if err != nil {
			b.Fatal(err)
		}
		target.Release()
	}
}

func BenchmarkWalkBare(b *testing.B) {
	dir, _, _ := benchTree(b)
	var st unix.Stat_t
	for b.Loop() {
		if err := unix.Lstat(dir+"/a/b/f", &st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetAttr(b *testing.B) {
	_, fs, e := benchTree(b)
	ctx := context.Background()
	for b.Loop() {
		if _, err := fs.GetAttr(ctx, e.Node, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenReadClose(b *testing.B) {
	_, fs, e := benchTree(b)
	ctx := context.Background()
	buf := make([]byte, 4096)
	for b.Loop() {
		h, err := fs.Open(ctx, e.Node, unix.O_RDONLY)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.ReadAt(ctx, buf, 0); err != nil {
			b.Fatal(err)
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenReadCloseBare(b *testing.B) {
	dir, _, _ := benchTree(b)
	buf := make([]byte, 4096)
	for b.Loop() {
		fd, err := unix.Open(dir+"/a/b/f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := unix.Pread(fd, buf, 0); err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
	}
}

func BenchmarkCreateUnlink(b *testing.B) {
	_, fs, _ := benchTree(b)
	ctx := context.Background()
	for b.Loop() {
		e, h, err := fs.Create(ctx, vfs.RootID, "new", unix.O_WRONLY, 0644)
		if err != nil {
			b.Fatal(err)
		}
		h.Close()
		if err := fs.Unlink(ctx, vfs.RootID, "new"); err != nil {
			b.Fatal(err)
		}
		fs.Forget(e.Node, 1)
	}
}

func BenchmarkCreateUnlinkBare(b *testing.B) {
	dir, _, _ := benchTree(b)
	for b.Loop() {
		fd, err := unix.Open(dir+"/new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0644)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
		if err := unix.Unlink(dir + "/new"); err != nil {
			b.Fatal(err)
		}
	}
}
