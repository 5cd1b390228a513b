package at_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// openRoot returns a cache and the Dir of a new directory.
func openRoot(t *testing.T, limit int) (string, *at.Cache, *at.Dir) {
	t.Helper()
	vfstest.CheckLeaks(t)
	path := t.TempDir()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := at.NewCache(limit)
	root, err := c.Root(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Drop)
	return path, c, root
}

func mkdirs(t *testing.T, root string, dirs ...string) {
	t.Helper()
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0755); err != nil {
			t.Fatal(err)
		}
	}
}

// holds checks that d's descriptor is of the directory that has a file name.
func holds(t *testing.T, d *at.Dir, name string) {
	t.Helper()
	fd, err := d.Acquire()
	if err != nil {
		t.Errorf("Acquire: %v", err)
		return
	}
	defer d.Release()
	if _, _, err := at.Stat(fd, name); err != nil {
		t.Errorf("it is not the directory with %s: %v", name, err)
	}
}

func fails(t *testing.T, d *at.Dir, want ...syscall.Errno) {
	t.Helper()
	_, err := d.Acquire()
	if err == nil {
		d.Release()
	}
	for _, w := range want {
		if err == w {
			return
		}
	}
	t.Errorf("Acquire: %v, want %v", err, want)
}

func TestCacheIsBounded(t *testing.T) {
	path, c, root := openRoot(t, 8)
	var dirs []*at.Dir
	for i := range 100 {
		name := fmt.Sprint("d", i)
		mkdirs(t, path, name+"/mark-"+name)
		dirs = append(dirs, root.Child(name, at.Ident{}))
	}
	for range 3 {
		for i, d := range dirs {
			holds(t, d, fmt.Sprint("mark-d", i))
			if n := c.Open(); n > 8 {
				t.Fatalf("%d descriptors are open", n)
			}
		}
	}
	// Those in use stay open beyond the limit, and are given up after.
	for _, d := range dirs {
		if _, err := d.Acquire(); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Open(); n != 100 {
		t.Errorf("%d descriptors are open, want 100", n)
	}
	for _, d := range dirs {
		d.Release()
	}
	for _, d := range dirs {
		d.Drop()
	}
	if n := c.Open(); n != 0 {
		t.Errorf("%d descriptors are open after all were dropped", n)
	}
	fails(t, dirs[0], syscall.ESTALE)
}

// TestCacheShrinks checks that descriptors that were open beyond the limit,
// because they were in use at once, are given up when they are not any more.
func TestCacheShrinks(t *testing.T) {
	path, c, root := openRoot(t, 4)
	var dirs []*at.Dir
	for i := range 50 {
		mkdirs(t, path, fmt.Sprint(i))
		d := root.Child(fmt.Sprint(i), at.Ident{})
		dirs = append(dirs, d)
		if _, err := d.Acquire(); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range dirs {
		d.Release()
	}
	for _, d := range dirs {
		if _, err := d.Acquire(); err != nil {
			t.Fatal(err)
		}
		d.Release()
	}
	if n := c.Open(); n > 4 {
		t.Errorf("%d descriptors are open, want at most 4", n)
	}
	for _, d := range dirs {
		d.Drop()
	}
}

func TestDeepChainWithFewDescriptors(t *testing.T) {
	path, c, root := openRoot(t, 2)
	mkdirs(t, path, strings.Repeat("d/", 60)+"mark")
	d := root
	var chain []*at.Dir
	for range 60 {
		d = d.Child("d", at.Ident{})
		chain = append(chain, d)
	}
	for range 3 {
		holds(t, d, "mark")
		holds(t, chain[10], "d")
	}
	if n := c.Open(); n > 2 {
		t.Errorf("%d descriptors are open", n)
	}
	for _, d := range chain {
		d.Drop()
	}
}

func TestAcquireMakesSureWhatItReaches(t *testing.T) {
	path, _, root := openRoot(t, 2)
	mkdirs(t, path, "a/mark-a", "b/mark-b", "x", "y", "elsewhere/mark-elsewhere")
	_, id, err := at.Stat(mustAcquire(t, root), "a")
	root.Release()
	if err != nil {
		t.Fatal(err)
	}
	a := root.Child("a", id)
	defer a.Drop()
	evict := func() {
		for _, n := range []string{"x", "y"} {
			d := root.Child(n, at.Ident{})
			for range 3 {
				mustAcquire(t, d)
				d.Release()
			}
			defer d.Drop()
		}
	}
	holds(t, a, "mark-a")
	swap := func(x, y string) {
		t.Helper()
		if err := unix.Renameat2(unix.AT_FDCWD, path+"/"+x, unix.AT_FDCWD, path+"/"+y, unix.RENAME_EXCHANGE); err != nil {
			t.Fatal(err)
		}
	}
	// Open, it stays what it was.
	swap("a", "b")
	holds(t, a, "mark-a")
	// Closed, it must not become another.
	evict()
	fails(t, a, syscall.ESTALE)
	swap("a", "b")
	holds(t, a, "mark-a")
	evict()
	// A symbolic link in its place is not followed, a file is refused.
	os.Rename(path+"/a", path+"/kept")
	os.Symlink("elsewhere", path+"/a")
	fails(t, a, syscall.ELOOP, syscall.ENOTDIR)
	os.Remove(path + "/a")
	os.WriteFile(path+"/a", nil, 0644)
	fails(t, a, syscall.ENOTDIR)
	os.Remove(path + "/a")
	fails(t, a, syscall.ENOENT)
	a.Move(root, "kept")
	holds(t, a, "mark-a")
	if a.Ident() != id {
		t.Errorf("identity is %v, want %v", a.Ident(), id)
	}
}

func mustAcquire(t *testing.T, d *at.Dir) int {
	t.Helper()
	fd, err := d.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestDropWhileInUse(t *testing.T) {
	path, c, root := openRoot(t, 4)
	mkdirs(t, path, "a/mark")
	a := root.Child("a", at.Ident{})
	fd := mustAcquire(t, a)
	a.Drop()
	if _, _, err := at.Stat(fd, "mark"); err != nil {
		t.Errorf("closed while in use: %v", err)
	}
	a.Release()
	if c.Open() != 0 {
		t.Error("open after its last use")
	}
	a.Drop() // again has no effect
	fails(t, a, syscall.ESTALE)
}

func TestAdopt(t *testing.T) {
	path, c, root := openRoot(t, 4)
	mkdirs(t, path, "a/mark")
	fd, err := unix.Open(path+"/a", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, id, err := at.Stat(fd, "")
	if err != nil {
		t.Fatal(err)
	}
	a := root.Child("not its name", id)
	a.Adopt(fd, id)
	holds(t, a, "mark")
	if c.Open() != 1 {
		t.Errorf("%d descriptors are open", c.Open())
	}
	a.Drop()
}

// TestConcurrentUse has goroutines reach directories under a small limit while
// some are moved about.
func TestConcurrentUse(t *testing.T) {
	path, c, root := openRoot(t, 3)
	var dirs []*at.Dir
	for i := range 12 {
		name := fmt.Sprint("d", i)
		mkdirs(t, path, name+"/sub/mark-"+name)
		dirs = append(dirs, root.Child(name, at.Ident{}))
	}
	subs := make([]*at.Dir, len(dirs))
	for i, d := range dirs {
		subs[i] = d.Child("sub", at.Ident{})
	}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 400 {
				k := (i*7 + w) % len(subs)
				holds(t, subs[k], fmt.Sprint("mark-d", k))
				if i%50 == 0 {
					d := root.Child(fmt.Sprint("d", k), at.Ident{})
					holds(t, d, "sub")
					d.Drop()
				}
			}
		})
	}
	wg.Wait()
	if n := c.Open(); n > 3+6*2 {
		t.Errorf("%d descriptors are open", n)
	}
	for _, d := range append(dirs, subs...) {
		d.Drop()
	}
	if n := c.Open(); n != 0 {
		t.Errorf("%d descriptors are open after all were dropped", n)
	}
}
