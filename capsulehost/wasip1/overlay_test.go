package wasip1_test

import (
	"context"
	"os"
	"testing"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
)

// openOverlay opens an overlay over dir, with its layers in a directory of its
// own.
func openOverlay(t *testing.T, dir string) vfs.FS {
	t.Helper()
	state := t.TempDir()
	opt := overlay.Options{Lower: []string{dir}, Upper: state + "/upper", Work: state + "/work", State: state + "/state"}
	for _, d := range []string{opt.Upper, opt.Work, opt.State} {
		must(t, os.Mkdir(d, 0o755))
	}
	fs, err := overlay.Open(context.Background(), opt)
	must(t, err)
	t.Cleanup(func() { fs.Close() })
	return fs
}
