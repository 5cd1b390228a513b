package boundary

import (
	"context"
	"errors"
	"syscall"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// Lookup implements vfs.FS. A hidden name is ErrHidden, also where nothing is.
func (f *FS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	p, err := f.at(ctx, parent, name)
	if err == errNameless {
		return f.lookupNameless(ctx, parent, name)
	}
	if err != nil {
		return vfs.Entry{}, err
	}
	if p.verdict.Hidden(true) && p.verdict.Hidden(false) {
		return vfs.Entry{}, vfs.ErrHidden
	}
	e, err := f.FS.Lookup(ctx, parent, name)
	if err != nil {
		if !p.verdict.Visible() {
			return vfs.Entry{}, vfs.ErrHidden // whatever it is that is not there
		}
		return e, err
	}
	c, err := f.seen(ctx, &p, &e)
	if err != nil {
		f.FS.Forget(e.Node, 1)
		return vfs.Entry{}, err
	}
	p.saw(&e, name, c)
	return e, nil
}

// lookupNameless looks into a directory that was removed: it is empty.
func (f *FS) lookupNameless(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	e, err := f.FS.Lookup(ctx, parent, name)
	if err != nil {
		return e, err
	}
	f.FS.Forget(e.Node, 1)
	return vfs.Entry{}, vfs.ErrHidden
}

// seen tells what is at p, whose type is known now. ErrHidden.
func (f *FS) seen(ctx context.Context, p *place, e *vfs.Entry) (class, error) {
	if p.verdict.Hidden(e.Attr.IsDir()) {
		return hidden, vfs.ErrHidden
	}
	c, err := f.linked(ctx, &e.Attr)
	if err == nil && c == hidden {
		err = vfs.ErrHidden
	}
	return c, err
}

// Create implements vfs.FS.
func (f *FS) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	p, err := f.checkNew(ctx, parent, name)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	e, h, err := f.FS.Create(ctx, parent, name, flags, mode)
	if err == nil {
		p.saw(&e, name, ordinary)
	}
	return e, h, err
}

// Tmpfile implements vfs.FS.
func (f *FS) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	r, s, err := f.dir(ctx, parent)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	if s.hidden() {
		return vfs.Entry{}, nil, vfs.ErrHidden
	}
	e, h, err := f.FS.Tmpfile(ctx, parent, flags, mode)
	if err == nil {
		r.nodes.add(e.Node)
	}
	return e, h, err
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	return f.make(ctx, parent, name, func() (vfs.Entry, error) { return f.FS.Mkdir(ctx, parent, name, mode) })
}

// Mknod implements vfs.FS.
func (f *FS) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	return f.make(ctx, parent, name, func() (vfs.Entry, error) { return f.FS.Mknod(ctx, parent, name, mode, rdev) })
}

// Symlink implements vfs.FS. The target may be hidden: following the link leads
// to Lookup.
func (f *FS) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	return f.make(ctx, parent, name, func() (vfs.Entry, error) { return f.FS.Symlink(ctx, parent, name, target) })
}

// Link implements vfs.FS.
func (f *FS) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := f.checkWrite(ctx, node); err != nil {
		return vfs.Entry{}, err
	}
	return f.make(ctx, parent, name, func() (vfs.Entry, error) { return f.FS.Link(ctx, node, parent, name) })
}

func (f *FS) make(ctx context.Context, parent vfs.NodeID, name string, do func() (vfs.Entry, error)) (vfs.Entry, error) {
	p, err := f.checkNew(ctx, parent, name)
	if err != nil {
		return vfs.Entry{}, err
	}
	e, err := do()
	if err == nil {
		p.saw(&e, name, ordinary)
	}
	return e, err
}

// Unlink implements vfs.FS.
func (f *FS) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := f.checkGone(ctx, parent, name); err != nil {
		return err
	}
	return f.FS.Unlink(ctx, parent, name)
}

// Rmdir implements vfs.FS. A directory with hidden entries is ENOTEMPTY, for
// below they are there.
func (f *FS) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := f.checkGone(ctx, parent, name); err != nil {
		return err
	}
	return f.FS.Rmdir(ctx, parent, name)
}

// checkGone tells whether name may be removed from parent.
func (f *FS) checkGone(ctx context.Context, parent vfs.NodeID, name string) error {
	p, err := f.at(ctx, parent, name)
	switch {
	case err != nil:
		return err
	case name == ignore.FileName && !p.verdict.Hidden(false):
		return ErrIgnoreFile
	case p.verdict.Visible():
		return nil
	case p.verdict.Hidden(true) && p.verdict.Hidden(false):
		return vfs.ErrHidden
	}
	// Only what may be seen may be removed. Should something else take its
	// place now, its type is the other one, and the call of that type fails.
	e, err := f.FS.Lookup(ctx, parent, name)
	if err != nil {
		return vfs.ErrHidden
	}
	defer f.FS.Forget(e.Node, 1)
	if p.verdict.Hidden(e.Attr.IsDir()) {
		return vfs.ErrHidden
	}
	return nil
}

// Rename implements vfs.FS. The package comment tells which are refused.
//
// Errnos: EXDEV for what is no directory, where rules say different things of
// the two places.
func (f *FS) Rename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	from, err := f.checkNew(ctx, oldParent, oldName)
	if err != nil {
		return err
	}
	to, err := f.checkNew(ctx, newParent, newName)
	if err != nil {
		return err
	}
	a, b := from.dir.rules.Enter(oldName, nil), to.dir.rules.Enter(newName, nil)
	if !a.Same(b) {
		return f.refuseRename(ctx, oldParent, oldName, newParent, newName, flags)
	}
	f.renaming.Add(1)
	err = f.FS.Rename(ctx, oldParent, oldName, newParent, newName, flags)
	f.renamed.Add(1)
	if err == nil {
		from.rules.moved(from.dir.child(oldName), to.dir.child(newName), flags&vfs.Exchange != 0)
	}
	return err
}

// refuseRename answers a rename that must not be; what is there decides only
// how.
func (f *FS) refuseRename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	e, err := f.FS.Lookup(ctx, oldParent, oldName)
	if err != nil {
		return err
	}
	f.FS.Forget(e.Node, 1)
	if e.Attr.IsDir() {
		return vfs.ErrHidden
	}
	e, err = f.FS.Lookup(ctx, newParent, newName)
	switch {
	case errors.Is(err, syscall.ENOENT) && flags&vfs.Exchange != 0:
		return syscall.ENOENT
	case errors.Is(err, syscall.ENOENT):
		return syscall.EXDEV
	case err != nil:
		return err
	}
	f.FS.Forget(e.Node, 1)
	switch {
	case flags&vfs.NoReplace != 0:
		return syscall.EEXIST
	case e.Attr.IsDir() && flags&vfs.Exchange != 0:
		return vfs.ErrHidden
	case e.Attr.IsDir():
		return syscall.EISDIR
	}
	return syscall.EXDEV
}
