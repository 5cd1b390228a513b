package at_test

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

func TestLink(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := os.Symlink("nowhere", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := at.Link(fd, "link", fd, "other"); err != nil {
		t.Fatal(err)
	}
	// The link itself has two names, and was not followed.
	if a, _, err := at.Stat(fd, "other"); err != nil || !a.IsSymlink() || a.Nlink != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	if err := at.Link(fd, "link", fd, "other"); err != syscall.EEXIST {
		t.Errorf("got %v, want EEXIST", err)
	}
}

func TestClear(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(dir+"/"+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := at.NewCache(10)
	root, err := c.Root(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Drop()
	a, b := root.Child("a", at.Ident{}), root.Child("b", at.Ident{})
	for _, d := range []*at.Dir{a, b} {
		if _, err := d.Acquire(); err != nil {
			t.Fatal(err)
		}
	}
	a.Release()
	c.Clear()
	if n := c.Open(); n != 1 {
		t.Errorf("%d descriptors are open, want the one in use", n)
	}
	b.Release()
	c.Clear()
	if n := c.Open(); n != 0 {
		t.Errorf("%d descriptors are open, want none", n)
	}
	if _, err := a.Acquire(); err != nil {
		t.Errorf("after Clear: %v", err)
	}
	a.Release()
	c.Clear()
}
