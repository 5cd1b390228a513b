package boundary_test

import (
	"testing"
	"time"

	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// unrelated is rules of all kinds that hide nothing of the suite's, without a
// directory rule that could be of one of its names.
var unrelated = []string{"*.unrelated", "/unrelated/secret", "un?el[a-z]ted-*-x", "unrelated/**/deep/*.key", "!kept"}

func hostLayer(t *testing.T, dir string, opt boundary.Options) *boundary.FS {
	t.Helper()
	host, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return layer(t, host, opt)
}

func layer(t *testing.T, below vfs.FS, opt boundary.Options) *boundary.FS {
	t.Helper()
	if opt.Report == nil {
		opt.Report = func(err error) { t.Errorf("reported: %v", err) }
	}
	fs, err := boundary.New(below, opt)
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

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  boundary.Options
	}{
		{"no rules", boundary.Options{}},
		{"unrelated rules", boundary.Options{Deny: unrelated}},
		{"looking at every use", boundary.Options{Deny: unrelated, Revalidate: time.Nanosecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			vfstest.Run(t, vfstest.Config{
				Seed: func(t *testing.T, build func(dir string)) vfs.FS {
					dir := t.TempDir()
					build(dir)
					return hostLayer(t, dir, c.opt)
				},
				Lacks: map[vfstest.Feature]string{
					vfstest.Replace: "the host can't replace a file's contents in one step and keep its inode",
				},
			})
		})
	}
}
