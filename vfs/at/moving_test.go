package at

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAcquireDuringMoves: a directory that is always there under one of two
// names, and what lies below it, can be acquired at any moment.
func TestAcquireDuringMoves(t *testing.T) {
	base := t.TempDir()
	if err := os.MkdirAll(filepath.Join(base, "a", "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := NewCache(2)
	root, err := c.Root(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Drop()
	dir := root.Child("a", Ident{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		names := [2]string{"a", "b"}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_, err := dir.Acquire()
			if err == nil {
				err = unix.Renameat(fd, names[i%2], fd, names[(i+1)%2])
				dir.Move(root, names[(i+1)%2])
				dir.Release()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5000 {
		below := dir.Child("below", Ident{})
		if _, err := below.Acquire(); err != nil {
			t.Errorf("below a directory that is renamed: %v", err)
			break
		}
		below.Release()
		below.Drop()
		c.Clear()
	}
	close(stop)
	wg.Wait()
}
