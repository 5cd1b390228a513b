// Package join puts filesystems side by side under one root directory.
//
// The root holds a directory for each part and cannot be changed. A part's node
// id is carried in the upper bits of the joined id, its inode number likewise,
// so that no table is needed and two parts never seem to share a file. A link or
// a rename from one part to another answers EXDEV, as between two mounts.
package join

import (
	"context"
	"math"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// Part is one of the filesystems and what it is called in the root.
type Part struct {
	Name string
	FS   vfs.FS
}

// FS is a joined filesystem. It has no lock and closes nothing of its parts.
type FS struct {
	parts []Part
}

var _ vfs.FS = (*FS)(nil)

// partShift is where a part's number stands in a node id, and inoShift in an
// inode number. The root itself is part 0.
const (
	partShift = 60
	inoShift  = 60
	idMask    = 1<<partShift - 1
	maxParts  = 1<<(64-partShift) - 1
)

// New joins parts, at most 15, whose names differ.
func New(parts ...Part) *FS {
	if len(parts) > maxParts {
		parts = parts[:maxParts]
	}
	return &FS{parts: parts}
}

// split returns the part that a node belongs to and the node's id there; the
// part is nil for the root, and ok is false for an id that is none.
func (f *FS) split(node vfs.NodeID) (p *Part, id vfs.NodeID, ok bool) {
	n := int(node >> partShift)
	switch {
	case node == vfs.RootID:
		return nil, 0, true
	case n == 0 || n > len(f.parts):
		return nil, 0, false
	}
	return &f.parts[n-1], node & idMask, true
}

func (f *FS) number(p *Part) int {
	for i := range f.parts {
		if p == &f.parts[i] {
			return i + 1
		}
	}
	return 0
}

// outer returns the joined id of a part's node, and EOVERFLOW for an id that
// leaves no room.
func (f *FS) outer(p *Part, id vfs.NodeID) (vfs.NodeID, error) {
	if id > idMask {
		return 0, syscall.EOVERFLOW
	}
	return vfs.NodeID(f.number(p))<<partShift | id, nil
}

func (f *FS) ino(p *Part, ino uint64) uint64 { return ino ^ uint64(f.number(p)-1)<<inoShift }

func (f *FS) attr(p *Part, a vfs.Attr, err error) (vfs.Attr, error) {
	a.Ino = f.ino(p, a.Ino)
	return a, err
}

// entry joins an entry of a part, for which the caller holds a reference.
func (f *FS) entry(p *Part, e vfs.Entry, err error) (vfs.Entry, error) {
	if err != nil {
		return e, err
	}
	id := e.Node
	if e.Node, err = f.outer(p, id); err != nil {
		p.FS.Forget(id, 1)
		return vfs.Entry{}, err
	}
	e.Attr.Ino = f.ino(p, e.Attr.Ino)
	return e, nil
}

// inside returns the part that a directory belongs to, for a change of what is
// in it: the root answers EROFS.
func (f *FS) inside(node vfs.NodeID) (*Part, vfs.NodeID, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return nil, 0, syscall.ESTALE
	case p == nil:
		return nil, 0, syscall.EROFS
	}
	return p, id, nil
}

// rootAttr describes the root: it takes after the first part's root.
func (f *FS) rootAttr(ctx context.Context) (vfs.Attr, error) {
	a, err := f.parts[0].FS.GetAttr(ctx, vfs.RootID, nil)
	if err != nil {
		return a, err
	}
	a.Ino = math.MaxUint64 >> 1
	a.Mode = unix.S_IFDIR | 0o555
	a.Nlink = uint32(2 + len(f.parts))
	a.Size, a.Blocks = 0, 0
	return a, nil
}

// Lookup implements vfs.FS.
func (f *FS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	p, id, ok := f.split(parent)
	if !ok {
		return vfs.Entry{}, syscall.ESTALE
	}
	if p != nil {
		e, err := p.FS.Lookup(ctx, id, name)
		return f.entry(p, e, err)
	}
	if err := vfs.CheckName(name); err != nil {
		return vfs.Entry{}, err
	}
	for i := range f.parts {
		if p := &f.parts[i]; p.Name == name {
			return f.partRoot(ctx, p)
		}
	}
	return vfs.Entry{}, syscall.ENOENT
}

// partRoot returns the entry of a part's root, which is always valid, so that
// references to it are not counted.
func (f *FS) partRoot(ctx context.Context, p *Part) (vfs.Entry, error) {
	a, err := p.FS.GetAttr(ctx, vfs.RootID, nil)
	if err != nil {
		return vfs.Entry{}, err
	}
	a.Ino = f.ino(p, a.Ino)
	id, err := f.outer(p, vfs.RootID)
	return vfs.Entry{Node: id, Attr: a, Volatile: false}, err
}

// Forget implements vfs.FS.
func (f *FS) Forget(node vfs.NodeID, n uint64) {
	if p, id, ok := f.split(node); ok && p != nil && id != vfs.RootID {
		p.FS.Forget(id, n)
	}
}

// GetAttr implements vfs.FS.
func (f *FS) GetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return vfs.Attr{}, syscall.ESTALE
	case p == nil:
		return f.rootAttr(ctx)
	}
	a, err := p.FS.GetAttr(ctx, id, inner(h))
	return f.attr(p, a, err)
}

// SetAttr implements vfs.FS.
func (f *FS) SetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	p, id, err := f.inside(node)
	if err != nil {
		return vfs.Attr{}, err
	}
	a, err := p.FS.SetAttr(ctx, id, inner(h), in)
	return f.attr(p, a, err)
}

// Readlink implements vfs.FS.
func (f *FS) Readlink(ctx context.Context, node vfs.NodeID) (string, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return "", syscall.ESTALE
	case p == nil:
		return "", syscall.EINVAL
	}
	return p.FS.Readlink(ctx, id)
}

// Open implements vfs.FS.
func (f *FS) Open(ctx context.Context, node vfs.NodeID, flags int) (vfs.Handle, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return nil, syscall.ESTALE
	case p == nil:
		return nil, syscall.EISDIR
	}
	h, err := p.FS.Open(ctx, id, flags)
	return f.handle(node, h, err)
}

// Create implements vfs.FS.
func (f *FS) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	p, id, err := f.inside(parent)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	e, h, err := p.FS.Create(ctx, id, name, flags, mode)
	return f.opened(p, e, h, err)
}

// Tmpfile implements vfs.FS.
func (f *FS) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	p, id, err := f.inside(parent)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	e, h, err := p.FS.Tmpfile(ctx, id, flags, mode)
	return f.opened(p, e, h, err)
}

func (f *FS) opened(p *Part, e vfs.Entry, h vfs.Handle, err error) (vfs.Entry, vfs.Handle, error) {
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	if e, err = f.entry(p, e, nil); err != nil {
		h.Close() // EOVERFLOW says more
		return vfs.Entry{}, nil, err
	}
	h, err = f.handle(e.Node, h, nil)
	return e, h, err
}

// Replace implements vfs.FS.
func (f *FS) Replace(ctx context.Context, node vfs.NodeID, tmp vfs.Handle) error {
	p, id, err := f.inside(node)
	if err != nil {
		return err
	}
	if q, _, ok := f.split(tmp.Node()); !ok || q != p {
		return syscall.EINVAL
	}
	return p.FS.Replace(ctx, id, inner(tmp))
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	p, id, err := f.inside(parent)
	if err != nil {
		return vfs.Entry{}, err
	}
	e, err := p.FS.Mkdir(ctx, id, name, mode)
	return f.entry(p, e, err)
}

// Mknod implements vfs.FS.
func (f *FS) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	p, id, err := f.inside(parent)
	if err != nil {
		return vfs.Entry{}, err
	}
	e, err := p.FS.Mknod(ctx, id, name, mode, rdev)
	return f.entry(p, e, err)
}

// Symlink implements vfs.FS.
func (f *FS) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	p, id, err := f.inside(parent)
	if err != nil {
		return vfs.Entry{}, err
	}
	e, err := p.FS.Symlink(ctx, id, name, target)
	return f.entry(p, e, err)
}

// Link implements vfs.FS.
func (f *FS) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	p, dir, err := f.inside(parent)
	if err != nil {
		return vfs.Entry{}, err
	}
	q, id, ok := f.split(node)
	switch {
	case !ok:
		return vfs.Entry{}, syscall.ESTALE
	case q == nil:
		return vfs.Entry{}, syscall.EPERM
	case q != p:
		return vfs.Entry{}, syscall.EXDEV
	}
	e, err := p.FS.Link(ctx, id, dir, name)
	return f.entry(p, e, err)
}

// Unlink implements vfs.FS.
func (f *FS) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	p, id, err := f.inside(parent)
	if err != nil {
		return err
	}
	return p.FS.Unlink(ctx, id, name)
}

// Rmdir implements vfs.FS.
func (f *FS) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	p, id, err := f.inside(parent)
	if err != nil {
		return err
	}
	return p.FS.Rmdir(ctx, id, name)
}

// Rename implements vfs.FS.
func (f *FS) Rename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	p, from, err := f.inside(oldParent)
	if err != nil {
		return err
	}
	q, to, err := f.inside(newParent)
	if err != nil {
		return err
	}
	if p != q {
		return syscall.EXDEV
	}
	return p.FS.Rename(ctx, from, oldName, to, newName, flags)
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(ctx context.Context, node vfs.NodeID) (vfs.DirHandle, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return nil, syscall.ESTALE
	case p == nil:
		return &rootDir{f}, nil
	}
	d, err := p.FS.OpenDir(ctx, id)
	if err != nil {
		return nil, err
	}
	return &dir{DirHandle: d, fs: f, part: p}, nil
}

// GetXattr implements vfs.FS.
func (f *FS) GetXattr(ctx context.Context, node vfs.NodeID, name string, dest []byte) (int, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return 0, syscall.ESTALE
	case p == nil:
		return 0, syscall.ENODATA
	}
	return p.FS.GetXattr(ctx, id, name, dest)
}

// SetXattr implements vfs.FS.
func (f *FS) SetXattr(ctx context.Context, node vfs.NodeID, name string, value []byte, flags int) error {
	p, id, err := f.inside(node)
	if err != nil {
		return err
	}
	return p.FS.SetXattr(ctx, id, name, value, flags)
}

// ListXattr implements vfs.FS.
func (f *FS) ListXattr(ctx context.Context, node vfs.NodeID, dest []byte) (int, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return 0, syscall.ESTALE
	case p == nil:
		return 0, nil
	}
	return p.FS.ListXattr(ctx, id, dest)
}

// RemoveXattr implements vfs.FS.
func (f *FS) RemoveXattr(ctx context.Context, node vfs.NodeID, name string) error {
	p, id, err := f.inside(node)
	if err != nil {
		return err
	}
	return p.FS.RemoveXattr(ctx, id, name)
}

// StatFS implements vfs.FS.
func (f *FS) StatFS(ctx context.Context, node vfs.NodeID) (vfs.StatFS, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return vfs.StatFS{}, syscall.ESTALE
	case p == nil:
		p, id = &f.parts[0], vfs.RootID
	}
	return p.FS.StatFS(ctx, id)
}

// Path implements vfs.FS.
func (f *FS) Path(ctx context.Context, node vfs.NodeID) (string, error) {
	p, id, ok := f.split(node)
	switch {
	case !ok:
		return "", syscall.ESTALE
	case p == nil:
		return "", nil
	}
	path, err := p.FS.Path(ctx, id)
	if err != nil || path == "" {
		return p.Name, err
	}
	return p.Name + "/" + path, nil
}

// Watch implements vfs.FS.
func (f *FS) Watch(inv vfs.Invalidator) (stop func()) {
	stops := make([]func(), len(f.parts))
	for i := range f.parts {
		stops[i] = f.parts[i].FS.Watch(&watcher{f, &f.parts[i], inv})
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// watcher passes one part's changes on.
type watcher struct {
	fs   *FS
	part *Part
	inv  vfs.Invalidator
}

// own tells whether the change is of inv itself, which the part cannot see: it
// knows the watcher and not inv.
func (w *watcher) own(ctx context.Context) bool { return vfs.CallerFrom(ctx).Origin == w.inv }

// EntryChanged implements vfs.Invalidator.
func (w *watcher) EntryChanged(ctx context.Context, parent vfs.NodeID, name string) {
	if id, err := w.fs.outer(w.part, parent); err == nil && !w.own(ctx) {
		w.inv.EntryChanged(ctx, id, name)
	}
}

// NodeChanged implements vfs.Invalidator.
func (w *watcher) NodeChanged(ctx context.Context, node vfs.NodeID, data bool) {
	if id, err := w.fs.outer(w.part, node); err == nil && !w.own(ctx) {
		w.inv.NodeChanged(ctx, id, data)
	}
}
