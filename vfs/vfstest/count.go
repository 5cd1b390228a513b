package vfstest

import (
	"context"
	"sync"

	"github.com/astridfs/astridfs/vfs"
)

// Counter is a layer that counts the references its callers hold.
type Counter struct {
	vfs.FS

	mu   sync.Mutex
	refs map[vfs.NodeID]int64
}

// NewCounter returns a Counter over fs.
func NewCounter(fs vfs.FS) *Counter {
	return &Counter{FS: fs, refs: map[vfs.NodeID]int64{}}
}

// Held returns how many references to each node are held; none that are not.
func (c *Counter) Held() map[vfs.NodeID]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := make(map[vfs.NodeID]int64, len(c.refs))
	for n, k := range c.refs {
		if k != 0 {
			held[n] = k
		}
	}
	return held
}

func (c *Counter) add(n vfs.NodeID, k int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refs[n] += k; c.refs[n] == 0 {
		delete(c.refs, n)
	}
}

func (c *Counter) count(e vfs.Entry, err error) (vfs.Entry, error) {
	if err == nil {
		c.add(e.Node, 1)
	}
	return e, err
}

// Forget implements vfs.FS.
func (c *Counter) Forget(n vfs.NodeID, k uint64) {
	c.add(n, -int64(k))
	c.FS.Forget(n, k)
}

// Lookup implements vfs.FS.
func (c *Counter) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	return c.count(c.FS.Lookup(ctx, parent, name))
}

// Create implements vfs.FS.
func (c *Counter) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	e, h, err := c.FS.Create(ctx, parent, name, flags, mode)
	e, err = c.count(e, err)
	return e, h, err
}

// Tmpfile implements vfs.FS.
func (c *Counter) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	e, h, err := c.FS.Tmpfile(ctx, parent, flags, mode)
	e, err = c.count(e, err)
	return e, h, err
}

// Mkdir implements vfs.FS.
func (c *Counter) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	return c.count(c.FS.Mkdir(ctx, parent, name, mode))
}

// Mknod implements vfs.FS.
func (c *Counter) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	return c.count(c.FS.Mknod(ctx, parent, name, mode, rdev))
}

// Symlink implements vfs.FS.
func (c *Counter) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	return c.count(c.FS.Symlink(ctx, parent, name, target))
}

// Link implements vfs.FS.
func (c *Counter) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	return c.count(c.FS.Link(ctx, node, parent, name))
}

// OpenDir implements vfs.FS.
func (c *Counter) OpenDir(ctx context.Context, node vfs.NodeID) (vfs.DirHandle, error) {
	d, err := c.FS.OpenDir(ctx, node)
	if err != nil {
		return nil, err
	}
	return &countedDir{d, c}, nil
}

type countedDir struct {
	vfs.DirHandle
	c *Counter
}

// ReadDirPlus implements vfs.DirHandle.
func (d *countedDir) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	return d.DirHandle.ReadDirPlus(ctx, off, func(de vfs.DirEntry, e vfs.Entry) bool {
		if e.Node != 0 {
			d.c.add(e.Node, 1) // before fn, which may give it back
		}
		if fn(de, e) {
			return true
		}
		if e.Node != 0 {
			d.c.add(e.Node, -1)
		}
		return false
	})
}
