package join

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// handle is an open file of a part under its joined id.
type handle struct {
	vfs.Handle
	node vfs.NodeID
}

// Node implements vfs.Handle.
func (h *handle) Node() vfs.NodeID { return h.node }

// CopyRange implements vfs.Handle.
func (h *handle) CopyRange(ctx context.Context, off int64, dst vfs.Handle, dstOff, n int64) (int64, error) {
	if d, ok := dst.(interface {
		joined() (vfs.Handle, vfs.NodeID)
	}); ok {
		to, node := d.joined()
		if node>>partShift != h.node>>partShift {
			return 0, syscall.EXDEV
		}
		dst = to
	}
	return h.Handle.CopyRange(ctx, off, dst, dstOff, n)
}

func (h *handle) joined() (vfs.Handle, vfs.NodeID) { return h.Handle, h.node }

// direct is a handle that the kernel may read and write directly.
type direct struct {
	handle
	vfs.Passthrough
}

// handle wraps a part's open file; an optional interface of it stays.
func (f *FS) handle(node vfs.NodeID, h vfs.Handle, err error) (vfs.Handle, error) {
	if err != nil {
		return nil, err
	}
	if p, ok := h.(vfs.Passthrough); ok {
		return &direct{handle{h, node}, p}, nil
	}
	return &handle{h, node}, nil
}

// inner returns a part's own handle.
func inner(h vfs.Handle) vfs.Handle {
	if j, ok := h.(interface {
		joined() (vfs.Handle, vfs.NodeID)
	}); ok {
		h, _ = j.joined()
	}
	return h
}

// dir is an open directory of a part.
type dir struct {
	vfs.DirHandle
	fs   *FS
	part *Part
}

func (d *dir) entry(e vfs.DirEntry) vfs.DirEntry {
	if e.Ino != 0 {
		e.Ino = d.fs.ino(d.part, e.Ino)
	}
	return e
}

// ReadDir implements vfs.DirHandle.
func (d *dir) ReadDir(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
	return d.DirHandle.ReadDir(ctx, off, func(e vfs.DirEntry) bool { return fn(d.entry(e)) })
}

// ReadDirPlus implements vfs.DirHandle.
func (d *dir) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	var failed error
	err := d.DirHandle.ReadDirPlus(ctx, off, func(de vfs.DirEntry, e vfs.Entry) bool {
		if e.Node != 0 {
			id, err := d.fs.outer(d.part, e.Node)
			if err != nil {
				failed = err
				return false
			}
			e.Node = id
			e.Attr.Ino = d.fs.ino(d.part, e.Attr.Ino)
		}
		return fn(d.entry(de), e)
	})
	if err == nil {
		err = failed
	}
	return err
}

// rootDir is the open root.
type rootDir struct {
	fs *FS
}

// ReadDir implements vfs.DirHandle.
func (d *rootDir) ReadDir(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
	return d.ReadDirPlus(ctx, off, func(e vfs.DirEntry, _ vfs.Entry) bool { return fn(e) })
}

// ReadDirPlus implements vfs.DirHandle. References to the roots of parts are
// not counted, so that there is none to give back.
func (d *rootDir) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	self, err := d.fs.rootAttr(ctx)
	if err != nil {
		return err
	}
	for i := int(min(off, uint64(len(d.fs.parts)+2))); i < len(d.fs.parts)+2; i++ {
		de := vfs.DirEntry{Name: "..", Ino: self.Ino, Type: unix.S_IFDIR, Off: uint64(i + 1)}
		var e vfs.Entry
		switch i {
		case 0:
			de.Name = "."
		case 1:
		default:
			p := &d.fs.parts[i-2]
			if e, err = d.fs.partRoot(ctx, p); err != nil {
				return err
			}
			de.Name, de.Ino = p.Name, e.Attr.Ino
		}
		if !fn(de, e) {
			return nil
		}
	}
	return nil
}

// Sync implements vfs.DirHandle.
func (d *rootDir) Sync(context.Context) error { return nil }

// Close implements vfs.DirHandle.
func (d *rootDir) Close() error { return nil }
