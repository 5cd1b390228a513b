package hostfs_test

import (
	"testing"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

func open(t *testing.T, dir string, opt hostfs.Options) *hostfs.FS {
	t.Helper()
	fs, err := hostfs.Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return fs
}

var lacks = map[vfstest.Feature]string{
	vfstest.Replace: "the host can't replace a file's contents in one step and keep its inode",
}

func TestConformance(t *testing.T) {
	vfstest.Run(t, vfstest.Config{
		New:   func(t *testing.T) vfs.FS { return open(t, t.TempDir(), hostfs.Options{}) },
		Lacks: lacks,
	})
}

func TestConformanceOfWhatIsThere(t *testing.T) {
	vfstest.Run(t, vfstest.Config{
		Seed: func(t *testing.T, build func(dir string)) vfs.FS {
			dir := t.TempDir()
			build(dir)
			return open(t, dir, hostfs.Options{})
		},
		Lacks: lacks,
	})
}

// TestConformanceWithSmallCaches has every descriptor and node evicted at once.
func TestConformanceWithSmallCaches(t *testing.T) {
	vfstest.Run(t, vfstest.Config{
		New:   func(t *testing.T) vfs.FS { return open(t, t.TempDir(), hostfs.Options{Dirs: 2, Idle: 1}) },
		Lacks: lacks,
	})
}
