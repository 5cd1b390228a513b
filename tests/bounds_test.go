package tests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestWalkIsBounded walks a large tree through the mount and looks at the
// owner: its descriptors must not grow with the tree at all, its memory only by
// what its bounded caches hold. ASTRIDFS_WALK_FILES sets another size.
func TestWalkIsBounded(t *testing.T) {
	files := 100_000
	if s := os.Getenv("ASTRIDFS_WALK_FILES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		files = n
	}
	b := newBox(t)
	const perDir = 500
	for d := range files / perDir {
		dir := filepath.Join(b.ws, fmt.Sprintf("a%d", d%10), fmt.Sprintf("d%d", d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range perDir {
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("file-%06d", i)))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.mount()
	pid := b.owner()
	rssBefore, fdsBefore := usage(t, pid)
	n := 0
	maxFDs := 0
	err := filepath.WalkDir(b.mnt, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			if _, err := d.Info(); err != nil {
				return err
			}
			n++
		} else if n%10 == 0 {
			_, fds := usage(t, pid)
			maxFDs = max(maxFDs, fds)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := files / perDir * perDir; n != want {
		t.Fatalf("walked %d files of %d", n, want)
	}
	rss, fds := usage(t, pid)
	maxFDs = max(maxFDs, fds)
	grown := rss - rssBefore
	t.Logf("%d files: memory %d -> %d KiB (%d bytes a file), descriptors %d -> %d at most", n, rssBefore>>10, rss>>10, grown/n, fdsBefore, maxFDs)
	if maxFDs > 4096 {
		t.Errorf("%d descriptors open while walking", maxFDs)
	}
	// The kernel holds every inode it was told of until it is short of memory,
	// and each counts; a goal is under 1 KiB for one, garbage of the collector
	// may double it.
	if limit := 64<<20 + 2048*n; grown > limit {
		t.Errorf("memory grew by %d bytes for %d files", grown, n)
	}
}

// usage returns a process's resident memory in bytes and its open descriptors.
func usage(t *testing.T, pid int) (rss, fds int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			if rss, err = strconv.Atoi(f[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return rss << 10, len(entries)
}
