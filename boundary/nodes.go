package boundary

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// GetAttr implements vfs.FS. What is open may be looked at.
func (f *FS) GetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	if h == nil {
		if err := f.checkNode(ctx, node); err != nil {
			return vfs.Attr{}, err
		}
	}
	return f.FS.GetAttr(ctx, node, h)
}

// SetAttr implements vfs.FS.
func (f *FS) SetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	if err := f.checkWrite(ctx, node); err != nil {
		return vfs.Attr{}, err
	}
	return f.FS.SetAttr(ctx, node, h, in)
}

// Readlink implements vfs.FS.
func (f *FS) Readlink(ctx context.Context, node vfs.NodeID) (string, error) {
	if err := f.checkNode(ctx, node); err != nil {
		return "", err
	}
	return f.FS.Readlink(ctx, node)
}

// Open implements vfs.FS.
func (f *FS) Open(ctx context.Context, node vfs.NodeID, flags int) (vfs.Handle, error) {
	check := f.checkNode
	if flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0 {
		check = f.checkWrite
	}
	if err := check(ctx, node); err != nil {
		return nil, err
	}
	return f.FS.Open(ctx, node, flags)
}

// Replace implements vfs.FS.
func (f *FS) Replace(ctx context.Context, node vfs.NodeID, tmp vfs.Handle) error {
	if err := f.checkWrite(ctx, node); err != nil {
		return err
	}
	return f.FS.Replace(ctx, node, tmp)
}

// GetXattr implements vfs.FS.
func (f *FS) GetXattr(ctx context.Context, node vfs.NodeID, name string, dest []byte) (int, error) {
	if err := f.checkNode(ctx, node); err != nil {
		return 0, err
	}
	return f.FS.GetXattr(ctx, node, name, dest)
}

// SetXattr implements vfs.FS.
func (f *FS) SetXattr(ctx context.Context, node vfs.NodeID, name string, value []byte, flags int) error {
	if err := f.checkWrite(ctx, node); err != nil {
		return err
	}
	return f.FS.SetXattr(ctx, node, name, value, flags)
}

// ListXattr implements vfs.FS.
func (f *FS) ListXattr(ctx context.Context, node vfs.NodeID, dest []byte) (int, error) {
	if err := f.checkNode(ctx, node); err != nil {
		return 0, err
	}
	return f.FS.ListXattr(ctx, node, dest)
}

// RemoveXattr implements vfs.FS.
func (f *FS) RemoveXattr(ctx context.Context, node vfs.NodeID, name string) error {
	if err := f.checkWrite(ctx, node); err != nil {
		return err
	}
	return f.FS.RemoveXattr(ctx, node, name)
}

// StatFS implements vfs.FS.
func (f *FS) StatFS(ctx context.Context, node vfs.NodeID) (vfs.StatFS, error) {
	if err := f.checkNode(ctx, node); err != nil {
		return vfs.StatFS{}, err
	}
	return f.FS.StatFS(ctx, node)
}

// OpenDir implements vfs.FS. A listing leaves out what the rules hide when it is
// read. It is EACCES where this process may not search the directory, for its
// ignore file.
func (f *FS) OpenDir(ctx context.Context, node vfs.NodeID) (vfs.DirHandle, error) {
	_, s, err := f.dir(ctx, node)
	if err == nil && s.hidden() {
		err = vfs.ErrHidden
	}
	if err != nil && err != errNameless {
		return nil, err
	}
	d, err := f.FS.OpenDir(ctx, node)
	if err != nil {
		return nil, err
	}
	return &dirHandle{DirHandle: d, fs: f, node: node}, nil
}

// dirHandle is an open directory.
type dirHandle struct {
	vfs.DirHandle // below
	fs            *FS
	node          vfs.NodeID
}

// rules returns the rules for the listing; none for a directory that was
// removed, which is empty.
func (d *dirHandle) rules(ctx context.Context) (place, error) {
	r, s, err := d.fs.dir(ctx, d.node)
	switch {
	case err == errNameless:
		return place{}, nil
	case err != nil:
		return place{}, err
	case s.hidden():
		return place{}, vfs.ErrHidden
	}
	return place{rules: r, dir: s}, nil
}

// leavesOut tells whether a listing at p has no entry de.
func (d *dirHandle) leavesOut(ctx context.Context, p place, de *vfs.DirEntry) bool {
	if p.dir == nil || de.Name == "." || de.Name == ".." {
		return false
	}
	v := p.dir.rules.Judge(de.Name)
	if v.Hidden(true) == v.Hidden(false) {
		return v.Hidden(true) || p.rules.knowsHidden(de)
	}
	if de.Type != 0 {
		return v.Hidden(de.Type == unix.S_IFDIR)
	}
	e, err := d.fs.FS.Lookup(ctx, d.node, de.Name)
	if err != nil {
		return true
	}
	d.fs.FS.Forget(e.Node, 1)
	return v.Hidden(e.Attr.IsDir())
}

// ReadDir implements vfs.DirHandle.
func (d *dirHandle) ReadDir(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
	p, err := d.rules(ctx)
	if err != nil {
		return err
	}
	if p.dir == nil {
		return d.DirHandle.ReadDir(ctx, off, fn)
	}
	return d.DirHandle.ReadDir(ctx, off, func(de vfs.DirEntry) bool {
		return d.leavesOut(ctx, p, &de) || fn(de)
	})
}

// ReadDirPlus implements vfs.DirHandle.
func (d *dirHandle) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	p, err := d.rules(ctx)
	if err != nil {
		return err
	}
	if p.dir == nil {
		return d.DirHandle.ReadDirPlus(ctx, off, fn)
	}
	var failed error
	err = d.DirHandle.ReadDirPlus(ctx, off, func(de vfs.DirEntry, e vfs.Entry) bool {
		if e.Node == 0 {
			return d.leavesOut(ctx, p, &de) || fn(de, e)
		}
		q := place{p.rules, p.dir, p.dir.rules.Judge(de.Name)}
		c, err := d.fs.seen(ctx, &q, &e)
		if err == vfs.ErrHidden {
			d.fs.FS.Forget(e.Node, 1)
			return true
		}
		if err != nil {
			failed = err
			return false
		}
		if !fn(de, e) {
			return false
		}
		q.saw(&e, de.Name, c)
		return true
	})
	if failed != nil {
		return failed
	}
	return err
}
