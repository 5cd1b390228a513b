package hostfs_test

import (
	"context"
	"testing"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// TestNothingAboveTheRoot: the root's ".." is the root, and does not tell the
// inode number of the host's directory above.
func TestNothingAboveTheRoot(t *testing.T) {
	ctx := context.Background()
	fs, err := hostfs.Open(t.TempDir(), hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	root, err := fs.GetAttr(ctx, vfs.RootID, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := fs.OpenDir(ctx, vfs.RootID)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := 0
	err = d.ReadDir(ctx, 0, func(e vfs.DirEntry) bool {
		if e.Name == "." || e.Name == ".." {
			seen++
			if e.Ino != root.Ino {
				t.Errorf("%q of the root has inode %d, the root %d", e.Name, e.Ino, root.Ino)
			}
		}
		return true
	})
	if err != nil || seen != 2 {
		t.Errorf("%d dots, %v", seen, err)
	}
}
