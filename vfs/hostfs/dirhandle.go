package hostfs

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// dirHandle is an open directory.
type dirHandle struct {
	fs *FS
	n  *node
	fd int

	mu     sync.Mutex // held over a listing
	reader *at.DirReader
}

var _ vfs.DirHandle = (*dirHandle)(nil)

// ReadDir implements vfs.DirHandle. fn must not use this handle.
func (d *dirHandle) ReadDir(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n.id != vfs.RootID && d.fs.stage == nil {
		return d.reader.Read(off, fn)
	}
	return d.reader.Read(off, func(e vfs.DirEntry) bool {
		if d.fs.passing(e.Name) {
			return true
		}
		if e.Name == ".." && d.n.id == vfs.RootID { // above the root is the root
			e.Ino = d.n.ident.Ino
		}
		return fn(e)
	})
}

// ReadDirPlus implements vfs.DirHandle. fn must not use this handle.
func (d *dirHandle) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	return vfs.LookupPlus(ctx, d.fs, d.n.id, d, off, fn)
}

// Sync implements vfs.DirHandle.
func (d *dirHandle) Sync(ctx context.Context) error {
	return at.Retry(func() error { return unix.Fsync(d.fd) })
}

// Close implements vfs.DirHandle.
func (d *dirHandle) Close() error {
	d.reader.Reset()
	err := unix.Close(d.fd)
	d.fs.unhold(d.n)
	return err
}
