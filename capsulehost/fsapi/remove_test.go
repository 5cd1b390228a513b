package fsapi_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
)

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
