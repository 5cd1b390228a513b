package overlay_test

import (
	"context"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// layers makes the directories of an overlay in a new directory.
func layers(t *testing.T, lowers int) overlay.Options {
	t.Helper()
	unix.Umask(0)
	dir := t.TempDir()
	mk := func(name string) string {
		path := filepath.Join(dir, name)
		if err := unix.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	opt := overlay.Options{Upper: mk("upper"), Work: mk("work"), State: mk("state")}
	for i := range lowers {
		opt.Lower = append(opt.Lower, mk("lower"+string(rune('0'+i))))
	}
	return opt
}

func open(t *testing.T, opt overlay.Options) *overlay.FS {
	t.Helper()
	fs, err := overlay.Open(context.Background(), opt)
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

// The suite's case is about a file with two names, which cannot be replaced in
// one step; what can is tested by TestReplace.
var lacks = map[vfstest.Feature]string{
	vfstest.Replace: "the names of a file with several cannot change together",
}

func TestConformance(t *testing.T) {
	vfstest.Run(t, vfstest.Config{
		New:   func(t *testing.T) vfs.FS { return open(t, layers(t, 1)) },
		Lacks: lacks,
	})
}

func TestConformanceOfLowerFiles(t *testing.T) {
	vfstest.Run(t, vfstest.Config{
		Seed: func(t *testing.T, build func(dir string)) vfs.FS {
			opt := layers(t, 1)
			build(opt.Lower[0])
			return open(t, opt)
		},
		Lacks: lacks,
	})
}
