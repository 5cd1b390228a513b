package fusefs_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
)

// memoryTries is how often a test looks whether the kernel keeps something. It
// takes it away where it is short of memory, which is not always so.
const memoryTries = 5

// The kernel keeps the listing of a large directory, also if others changed the
// directory while one was under way or after one was given up. One whose pages it
// takes away half collected it never keeps again, so each try is a new mount.
func TestListingIsKept(t *testing.T) {
	for try := range memoryTries {
		lost := listingLost(t)
		if lost == "" {
			return
		}
		t.Log(lost)
		if try == memoryTries-1 {
			t.Error("listings are not kept")
		}
	}
}

// listingLost tells which listing was not kept, or "".
func listingLost(t *testing.T) (lost string) {
	t.Helper()
	const entries = 2000
	dirs := overlayDirs(t)
	for i := range entries {
		f := filepath.Join(lowerOf(dirs), fmt.Sprintf("a name of some length %d", i))
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := serve.Start(t, serve.Config{FS: "overlay", Dirs: dirs})
	list := func() (n int, requests uint64) {
		before := m.Do(serve.Request{Op: "stats"}).Stats.Requests
		l, err := os.ReadDir(m.Mountpoint)
		if err != nil {
			t.Fatal(err)
		}
		return len(l), m.Do(serve.Request{Op: "stats"}).Stats.Requests - before
	}
	want := entries
	kept := func(what string) {
		t.Helper()
		var costs []uint64
		for range 4 {
			n, requests := list()
			if n != want {
				t.Errorf("%s: %d entries, not %d", what, n, want)
			}
			costs = append(costs, requests)
		}
		// At most one for the directory's attributes.
		if slices.Min(costs[1:]) > 1 && lost == "" {
			lost = fmt.Sprintf("%s: requests of listings in a row: %v", what, costs)
		}
	}
	change := func(name string) {
		m.Must(serve.Request{Op: "write", Path: name, Data: []byte("x")})
		want++
	}
	kept("at first")
	change("one")
	kept("after a change")

	d, err := os.Open(m.Mountpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	change("two") // so that the listing is collected anew
	if _, err := d.Readdirnames(10); err != nil {
		t.Fatal(err)
	}
	change("while one is under way")
	if _, err := d.Readdirnames(-1); err != nil {
		t.Fatal(err)
	}
	kept("changed while one was under way")

	change("three")
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Readdirnames(10); err != nil {
		t.Fatal(err)
	}
	change("after one was given up")
	kept("given up")
	return lost
}

// Listings are right while others change the directory all the time.
func TestListingsWhileOthersChange(t *testing.T) {
	modes(t, func(t *testing.T, m *serve.Mount) {
		const some = 300
		for i := range some {
			m.Must(serve.Request{Op: "write", Path: fmt.Sprintf("a name of some length %d", i)})
		}
		// A listing is told from another by its thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { // listings of others, given up at all places
			runtime.LockOSThread()
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				d, err := os.Open(m.Mountpoint)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := d.Readdirnames(1 + i*37%some); err != nil {
					t.Error(err)
				}
				d.Close()
			}
		}()
		defer func() {
			close(stop)
			<-done
		}()
		for i := range rounds(m) / 50 {
			name := fmt.Sprintf("changes %d", i)
			m.Must(serve.Request{Op: "write", Path: name})
			if l := names(t, m.Mountpoint); len(l) != some+1 || !slices.Contains(l, name) {
				t.Fatalf("round %d: %d entries after one was made", i, len(l))
			}
			m.Must(serve.Request{Op: "unlink", Path: name})
			if l := names(t, m.Mountpoint); len(l) != some {
				t.Fatalf("round %d: %d entries after one was removed", i, len(l))
			}
		}
	})
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l, err := d.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Directories that others may change keep their attributes from when they were
// listed, also those that nobody has looked into, and still show a change.
func TestListedDirectoriesAreKept(t *testing.T) {
	const dirs = 40
	layers := overlayDirs(t)
	for i := range dirs {
		if err := os.Mkdir(filepath.Join(lowerOf(layers), fmt.Sprint(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := serve.Config{FS: "overlay", Dirs: layers}
	c.Options.VolatileTimeout = -1
	m := serve.Start(t, c)
	stats := func() uint64 { return m.Do(serve.Request{Op: "stats"}).Stats.Requests }
	look := func(i int) os.FileInfo {
		t.Helper()
		st, err := os.Lstat(filepath.Join(m.Mountpoint, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	for try := 0; ; try++ {
		if l := names(t, m.Mountpoint); len(l) != dirs {
			t.Fatalf("%d entries", len(l))
		}
		before := stats()
		for range 3 {
			for i := range dirs {
				look(i)
			}
		}
		n := stats() - before
		if n <= 3 { // the root's attributes
			break
		}
		if try == memoryTries-1 {
			t.Errorf("%d requests for the attributes of %d listed directories", n, dirs)
			break
		}
	}
	old := look(7).ModTime()
	if err := os.WriteFile(filepath.Join(lowerOf(layers), "7", "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the host's new entry in its directory's time", func() bool { return !look(7).ModTime().Equal(old) })
}
