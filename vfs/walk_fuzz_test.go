package vfs_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// FuzzWalk compares Walk with the kernel, which confines the same path to the
// same directory by RESOLVE_BENEATH: they find the same file or fail alike.
func FuzzWalk(f *testing.F) {
	tokens := []string{
		"/", "/", "//", "../", "..", ".", "./", "a", "b", "c", "f", "g", "top", "to-b", "to-f", "up", "upup", "slash", "file-slash",
		"abs", "out", "far", "dangling", "dangling-deep", "chain", "self", "ping", "dot", "through", "dots", "dangling-dir", "none", "\xff", "...",
	}
	for _, seed := range []string{"", "\x00", "\x07\x00\x08\x00\x03\x0a", "\x0d\x00\x03\x03\x03", "\x13", "\x19\x00\x04", "\x1c\x00", "\x07\x00\x0f\x00\x0c"} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	dir := f.TempDir()
	if err := sampleTree().Build(dir); err != nil {
		f.Fatal(err)
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { unix.Close(root) })
	host, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { host.Close() })

	f.Fuzz(func(t *testing.T, data []byte, follow bool) {
		var b strings.Builder
		for _, c := range data {
			b.WriteString(tokens[int(c)%len(tokens)])
		}
		path := b.String()
		if len(path) > 3000 {
			return // the kernel has a limit that Walk has not
		}
		fs := vfstest.NewCounter(host)
		flags := vfs.WalkFlags(0)
		if follow {
			flags = vfs.Follow
		}
		target, err := vfs.Walk(context.Background(), fs, vfs.RootID, path, flags)
		wantIno, wantErr := kernelWalk(t, root, path, follow)
		switch {
		case errors.Is(err, vfs.ErrEscape):
			if wantErr != syscall.EXDEV {
				t.Errorf("%q escapes; the kernel says %v", path, wantErr)
			}
		case err != nil:
			if vfs.Errno(err) != wantErr {
				t.Errorf("%q is %v; the kernel says %v", path, err, wantErr)
			}
		case !target.Exists():
			if wantErr != syscall.ENOENT {
				t.Errorf("%q is missing; the kernel says %v", path, wantErr)
			}
		case wantErr != 0 || target.Entry.Attr.Ino != wantIno:
			t.Errorf("%q is inode %d; the kernel says %d, %v", path, target.Entry.Attr.Ino, wantIno, wantErr)
		}
		if err == nil {
			for name := range strings.SplitSeq(target.Path, "/") {
				if name == "." || name == ".." || name == "" && target.Path != "" {
					t.Errorf("%q resolves to %q", path, target.Path)
				}
			}
		}
		target.Release()
		if held := fs.Held(); len(held) > 0 {
			t.Errorf("%q leaves references: %v", path, held)
		}
	})
}

// kernelWalk returns the inode number of what path leads to, or the errno.
func kernelWalk(t *testing.T, root int, path string, follow bool) (uint64, syscall.Errno) {
	path = strings.TrimLeft(path, "/")
	if path == "" {
		path = "."
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	var fd int
	var err error
	for {
		fd, err = unix.Openat2(root, path, &how)
		if err != syscall.EAGAIN && err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return 0, err.(syscall.Errno)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino, 0
}
