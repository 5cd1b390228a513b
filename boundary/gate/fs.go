package gate

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// FS is a filesystem seen through grants. A path that is not granted answers
// EACCES ([vfs.ErrCapability]) whether it is there or not, with two exceptions
// without which granted paths could not be reached: a directory above a granted
// path can be walked through (not listed), and a symbolic link can be read, so
// that what counts is the path it leads to.
type FS struct {
	vfs.FS
	grants *Grants
	scheme string
}

// New wraps fs, the root of scheme. It closes nothing of fs.
func New(fs vfs.FS, scheme string, grants *Grants) *FS {
	return &FS{FS: fs, grants: grants, scheme: scheme}
}

// child returns the path of name in parent.
func (f *FS) child(ctx context.Context, parent vfs.NodeID, name string) (string, error) {
	dir, err := f.FS.Path(ctx, parent)
	if err != nil || dir == "" {
		return name, err
	}
	return dir + "/" + name, nil
}

func (f *FS) checkChild(ctx context.Context, parent vfs.NodeID, name string, want vfs.Access) error {
	path, err := f.child(ctx, parent, name)
	if err != nil {
		return err
	}
	return f.grants.Check(f.scheme, path, want)
}

// checkNode checks the node's path. A node without a name was reached when it
// had one and is held by what its handles were granted then; nothing new may be
// opened through it.
func (f *FS) checkNode(ctx context.Context, node vfs.NodeID, want vfs.Access) error {
	path, err := f.FS.Path(ctx, node)
	if errors.Is(err, syscall.ENOENT) {
		return vfs.ErrCapability
	}
	if err != nil {
		return err
	}
	return f.grants.Check(f.scheme, path, want)
}

func (f *FS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	path, err := f.child(ctx, parent, name)
	if err != nil {
		return vfs.Entry{}, err
	}
	e, err := f.FS.Lookup(ctx, parent, name)
	switch {
	case f.grants.Passes(f.scheme, path):
		return e, err
	case err == nil && e.Attr.IsSymlink():
		return e, nil
	case err == nil:
		f.FS.Forget(e.Node, 1)
	}
	return vfs.Entry{}, vfs.ErrCapability
}

func (f *FS) SetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	// Truncating through a handle was granted when it was opened for writing.
	if h == nil || in.Valid&^vfs.SetSize != 0 {
		if err := f.checkNode(ctx, node, vfs.Write); err != nil {
			return vfs.Attr{}, err
		}
	}
	return f.FS.SetAttr(ctx, node, h, in)
}

func (f *FS) Open(ctx context.Context, node vfs.NodeID, flags int) (vfs.Handle, error) {
	want := vfs.Read
	if flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0 {
		want = vfs.Write
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		want |= vfs.Read
	}
	if err := f.checkNode(ctx, node, want); err != nil {
		return nil, err
	}
	return f.FS.Open(ctx, node, flags)
}

func (f *FS) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	if err := f.checkChild(ctx, parent, name, vfs.Write); err != nil {
		return vfs.Entry{}, nil, err
	}
	return f.FS.Create(ctx, parent, name, flags, mode)
}

func (f *FS) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	if err := f.checkNode(ctx, parent, vfs.Write); err != nil {
		return vfs.Entry{}, nil, err
	}
	return f.FS.Tmpfile(ctx, parent, flags, mode)
}

func (f *FS) Replace(ctx context.Context, node vfs.NodeID, tmp vfs.Handle) error {
	if err := f.checkNode(ctx, node, vfs.Write); err != nil {
		return err
	}
	return f.FS.Replace(ctx, node, tmp)
}

func (f *FS) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	if err := f.checkChild(ctx, parent, name, vfs.Write); err != nil {
		return vfs.Entry{}, err
	}
	return f.FS.Mkdir(ctx, parent, name, mode)
}

func (f *FS) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	if err := f.checkChild(ctx, parent, name, vfs.Write); err != nil {
		return vfs.Entry{}, err
	}
	return f.FS.Mknod(ctx, parent, name, mode, rdev)
}

func (f *FS) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	if err := f.checkChild(ctx, parent, name, vfs.Write); err != nil {
		return vfs.Entry{}, err
	}
	return f.FS.Symlink(ctx, parent, name, target)
}

// Link needs write access to both names: the new one is another way to write to
// the file, and to read it.
func (f *FS) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := f.checkChild(ctx, parent, name, vfs.Write); err != nil {
		return vfs.Entry{}, err
	}
	err := f.checkNode(ctx, node, vfs.Write)
	if err != nil && !f.isTmpfile(ctx, node) {
		return vfs.Entry{}, err
	}
	return f.FS.Link(ctx, node, parent, name)
}

// isTmpfile tells whether node never had a name, or has none any more; such a
// node was granted when it was made or reached, and below here only one from
// Tmpfile can be linked.
func (f *FS) isTmpfile(ctx context.Context, node vfs.NodeID) bool {
	_, err := f.FS.Path(ctx, node)
	return errors.Is(err, syscall.ENOENT)
}

func (f *FS) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := f.checkChild(ctx, parent, name, vfs.Write); err != nil {
		return err
	}
	return f.FS.Unlink(ctx, parent, name)
}

func (f *FS) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := f.checkChild(ctx, parent, name, vfs.Write); err != nil {
		return err
	}
	return f.FS.Rmdir(ctx, parent, name)
}

func (f *FS) Rename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	if err := f.checkChild(ctx, oldParent, oldName, vfs.Write); err != nil {
		return err
	}
	if err := f.checkChild(ctx, newParent, newName, vfs.Write); err != nil {
		return err
	}
	return f.FS.Rename(ctx, oldParent, oldName, newParent, newName, flags)
}

func (f *FS) OpenDir(ctx context.Context, node vfs.NodeID) (vfs.DirHandle, error) {
	if err := f.checkNode(ctx, node, vfs.Read); err != nil {
		return nil, err
	}
	return f.FS.OpenDir(ctx, node)
}

func (f *FS) GetXattr(ctx context.Context, node vfs.NodeID, name string, dest []byte) (int, error) {
	if err := f.checkNode(ctx, node, vfs.Read); err != nil {
		return 0, err
	}
	return f.FS.GetXattr(ctx, node, name, dest)
}

func (f *FS) SetXattr(ctx context.Context, node vfs.NodeID, name string, value []byte, flags int) error {
	if err := f.checkNode(ctx, node, vfs.Write); err != nil {
		return err
	}
	return f.FS.SetXattr(ctx, node, name, value, flags)
}

func (f *FS) ListXattr(ctx context.Context, node vfs.NodeID, dest []byte) (int, error) {
	if err := f.checkNode(ctx, node, vfs.Read); err != nil {
		return 0, err
	}
	return f.FS.ListXattr(ctx, node, dest)
}

func (f *FS) RemoveXattr(ctx context.Context, node vfs.NodeID, name string) error {
	if err := f.checkNode(ctx, node, vfs.Write); err != nil {
		return err
	}
	return f.FS.RemoveXattr(ctx, node, name)
}
