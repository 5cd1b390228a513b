package fusefs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// makeOverlay opens an overlay of dirs: upper, work, state and the lower ones.
func makeOverlay(static bool) serve.Maker {
	return func(dirs []string) (vfs.FS, func() error, error) {
		fs, err := overlay.Open(context.Background(), overlay.Options{
			Upper: dirs[0], Work: dirs[1], State: dirs[2], Lower: dirs[3:], LowerStatic: static,
		})
		if err != nil {
			return nil, nil, err
		}
		return fs, fs.Close, nil
	}
}

// overlayDirs makes directories for an overlay with one lower layer.
func overlayDirs(t *testing.T) []string {
	t.Helper()
	base := t.TempDir()
	var dirs []string
	for _, name := range []string{"upper", "work", "state", "lower"} {
		dirs = append(dirs, mkdir(t, base, name))
	}
	return dirs
}

func lowerOf(dirs []string) string { return dirs[3] }

// served starts a mount that other users may enter, where root is to serve them.
func served(t *testing.T, c serve.Config) *serve.Mount {
	t.Helper()
	c.Options.AllowOther = os.Geteuid() == 0
	return serve.Start(t, c)
}

// subdirs gives a new directory of a mount each time.
func subdirs(m *serve.Mount) func(t *testing.T) string {
	var n atomic.Int64
	return func(t *testing.T) string {
		t.Helper()
		dir := filepath.Join(m.Mountpoint, strconv.FormatInt(n.Add(1), 10))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
}

func TestConformance(t *testing.T) {
	for _, fs := range []string{"stable", "hostfs"} {
		t.Run(fs, func(t *testing.T) {
			m := served(t, serve.Config{FS: fs, Dirs: []string{t.TempDir()}})
			vfstest.RunPath(t, vfstest.PathConfig{Dir: subdirs(m)})
		})
	}
	t.Run("without passthrough", func(t *testing.T) {
		c := serve.Config{FS: "stable", Dirs: []string{t.TempDir()}}
		c.Options.NoPassthrough = true
		vfstest.RunPath(t, vfstest.PathConfig{Dir: subdirs(served(t, c))})
	})
}

func TestConformanceOverlay(t *testing.T) {
	for _, fs := range []string{"overlay", "overlay static"} {
		t.Run(fs, func(t *testing.T) {
			m := served(t, serve.Config{FS: fs, Dirs: overlayDirs(t)})
			vfstest.RunPath(t, vfstest.PathConfig{Dir: subdirs(m)})
		})
	}
}

// Each case finds what it starts from in the lower layer, and leaves it there.
func TestConformanceOverlayLower(t *testing.T) {
	vfstest.RunPath(t, vfstest.PathConfig{
		Dir: func(t *testing.T) string {
			return served(t, serve.Config{FS: "overlay static", Dirs: overlayDirs(t)}).Mountpoint
		},
		Seed: func(t *testing.T, build func(string)) string {
			dirs := overlayDirs(t)
			build(lowerOf(dirs))
			return served(t, serve.Config{FS: "overlay static", Dirs: dirs}).Mountpoint
		},
	})
}

// The trap of cowTrap on the overlay itself.
func TestLowerFileIsNeverWrittenOverlay(t *testing.T) {
	for _, fs := range []string{"overlay", "overlay static"} {
		t.Run(fs, func(t *testing.T) {
			dirs := overlayDirs(t)
			old := make([]byte, 3*4096)
			copy(old, "old")
			lower := filepath.Join(lowerOf(dirs), "f")
			if err := os.WriteFile(lower, old, 0o644); err != nil {
				t.Fatal(err)
			}
			m := serve.Start(t, serve.Config{FS: fs, Dirs: dirs})
			cowTrap(t, m, filepath.Join(m.Mountpoint, "f"), old)
			wantBytes(t, "lower file", read(t, lower), old)
		})
	}
}

// Renaming a lower directory with much in it is one request and one operation.
func TestRenameLowerDirectory(t *testing.T) {
	dirs := overlayDirs(t)
	for i := range 200 {
		if err := os.WriteFile(filepath.Join(mkdir(t, lowerOf(dirs), "a", strconv.Itoa(i%10)), strconv.Itoa(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := serve.Start(t, serve.Config{FS: "overlay static", Dirs: dirs})
	count := func(dir string) (n int) {
		err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return err
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		return n
	}
	a, b := filepath.Join(m.Mountpoint, "a"), filepath.Join(m.Mountpoint, "b")
	if n := count(a); n != 200 {
		t.Fatalf("%d files", n)
	}
	if err := os.Rename(a, b); err != nil {
		t.Fatal(err)
	}
	if n, gone := count(b), count(a); n != 200 || gone != 0 {
		t.Errorf("%d files at the new place, %d at the old", n, gone)
	}
}
