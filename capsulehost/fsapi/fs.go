package fsapi

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// FS is the interface for one guest.
type FS struct {
	view    *view.View
	handles [MaxHandles]handle
}

// New returns the interface on a view, which must outlive it. The caller
// closes it.
func New(v *view.View) *FS { return &FS{view: v} }

// Quota returns the bytes and names that the view's quota has counted.
func (f *FS) Quota() (bytes, files uint64) { return f.view.Quota.Used() }

// races bounds how often a call starts again because another caller changed the
// place between its walk and its effect.
const races = 64

// locate resolves a path for a call that needs something to be there: it
// answers ENOENT where nothing is.
func (f *FS) locate(ctx context.Context, path string, flags vfs.WalkFlags, want vfs.Access) (t view.Target, err error) {
	t, err = f.view.Resolve(ctx, path, flags, want)
	if err == nil && !t.Exists() {
		t.Release()
		err = syscall.ENOENT
	}
	return t, err
}

// name resolves a path for a call that makes, moves or removes a name, which is
// the last component and is never followed, not even with a slash behind it. A
// slash there sets MustBeDir.
func (f *FS) name(ctx context.Context, path string) (view.Target, error) {
	s, rest, err := view.Parse(path)
	if err != nil {
		return view.Target{}, err
	}
	name := strings.TrimRight(rest, "/")
	t, err := f.view.ResolveAt(ctx, s, vfs.RootID, name, 0, vfs.Write)
	t.MustBeDir = t.MustBeDir || len(name) < len(rest)
	return t, err
}

// Exists tells whether something is at path, symbolic links followed. What a
// deny rule hides is not there; every other failure than a missing name is an
// error, a denied path above all.
func (f *FS) Exists(ctx context.Context, path string) (bool, error) {
	t, err := f.view.Resolve(ctx, path, vfs.Follow, vfs.Read)
	switch {
	case err == nil:
		defer t.Release()
		return t.Exists(), nil
	case errors.Is(err, vfs.ErrHidden), errors.Is(err, syscall.ENOENT):
		return false, nil
	}
	return false, err
}

// Stat returns what is known of path. With follow, a last symbolic link is
// followed (fs-stat); without, it is described itself (fs-stat-symlink).
func (f *FS) Stat(ctx context.Context, path string, follow bool) (Stat, error) {
	var flags vfs.WalkFlags
	if follow {
		flags = vfs.Follow
	}
	t, err := f.locate(ctx, path, flags, vfs.Read)
	if err != nil {
		return Stat{}, err
	}
	defer t.Release()
	return statOf(&t.Entry.Attr), nil
}

// Canonicalize returns the scheme path of what path leads to, all symbolic
// links resolved. It must exist.
func (f *FS) Canonicalize(ctx context.Context, path string) (string, error) {
	t, err := f.locate(ctx, path, vfs.Follow, vfs.Read)
	if err != nil {
		return "", err
	}
	defer t.Release()
	return schemePath(t.Scheme, t.Full)
}

// schemePath formats a resolved path for a guest. A symbolic link can lead
// through names that no path of a guest could say; those answer EILSEQ.
func schemePath(s view.Scheme, path string) (string, error) {
	p := view.Format(s, path)
	if view.CheckText(p) != nil {
		return "", syscall.EILSEQ
	}
	return p, nil
}

// Unlink removes a name that is no directory; a symbolic link is removed
// itself.
func (f *FS) Unlink(ctx context.Context, path string) error {
	t, err := f.name(ctx, path)
	if err != nil {
		return err
	}
	defer t.Release()
	switch {
	case !t.Exists():
		return syscall.ENOENT
	case t.Entry.Attr.IsDir():
		return syscall.EISDIR
	case t.MustBeDir:
		return syscall.ENOTDIR
	}
	if err := t.FS.Unlink(ctx, t.Parent, t.Name); err != nil {
		return err
	}
	f.view.Quota.GiveFile()
	return nil
}

// Rename moves src to dst within one scheme, as rename(2) does, and answers
// EXDEV across schemes. Neither path is followed in its last component.
func (f *FS) Rename(ctx context.Context, src, dst string) error {
	from, to, err := f.pair(ctx, src, dst, f.name)
	if err != nil {
		return err
	}
	defer from.Release()
	defer to.Release()
	switch {
	case !from.Exists():
		return syscall.ENOENT
	case from.Scheme != to.Scheme:
		return syscall.EXDEV
	case from.Parent == 0 || to.Parent == 0: // a root, or a path that ends in ".."
		return syscall.EBUSY
	case (from.MustBeDir || to.MustBeDir) && !from.Entry.Attr.IsDir(),
		to.MustBeDir && to.Exists() && !to.Entry.Attr.IsDir():
		return syscall.ENOTDIR
	}
	if err := from.FS.Rename(ctx, from.Parent, from.Name, to.Parent, to.Name, 0); err != nil {
		return err
	}
	if to.Exists() && to.Entry.Node != from.Entry.Node {
		f.view.Quota.GiveFile() // the name that was replaced
	}
	return nil
}

// HardLink makes link a further name of src, which is not followed and is no
// directory (EPERM). Across schemes it answers EXDEV.
func (f *FS) HardLink(ctx context.Context, src, link string) error {
	from, to, err := f.pair(ctx, src, link, func(ctx context.Context, path string) (view.Target, error) {
		return f.locate(ctx, path, 0, vfs.Write)
	})
	if err != nil {
		return err
	}
	defer from.Release()
	defer to.Release()
	switch {
	case from.Scheme != to.Scheme:
		return syscall.EXDEV
	case to.Exists():
		return syscall.EEXIST
	case to.MustBeDir:
		return syscall.ENOENT
	case from.Entry.Attr.IsDir():
		return syscall.EPERM
	}
	return f.link(ctx, &to, from.Entry.Node)
}

// pair resolves the two paths of a call that changes both places, the first one
// by resolve, which may ask more of it.
func (f *FS) pair(ctx context.Context, src, dst string, resolve func(context.Context, string) (view.Target, error)) (from, to view.Target, err error) {
	from, err = resolve(ctx, src)
	to, derr := f.name(ctx, dst)
	switch {
	case err == nil && derr == nil:
		return from, to, nil
	case err == nil:
		from.Release()
		return from, to, derr
	case derr == nil:
		to.Release()
	case errors.Is(derr, vfs.ErrCapability): // whatever is wrong with src
		return from, to, derr
	}
	return from, to, err
}

// link names node at the free place t and counts the name.
func (f *FS) link(ctx context.Context, t *view.Target, node vfs.NodeID) error {
	if err := f.view.Quota.TakeFile(); err != nil {
		return err
	}
	e, err := t.FS.Link(ctx, node, t.Parent, t.Name)
	if err != nil {
		f.view.Quota.GiveFile()
		return err
	}
	t.FS.Forget(e.Node, 1)
	return nil
}

// setBits gives a new node the permission bits that the process's umask took
// from it.
func setBits(ctx context.Context, fs vfs.FS, e *vfs.Entry, h vfs.Handle, mode uint32) error {
	if e.Attr.Mode&mode == mode {
		return nil
	}
	_, err := fs.SetAttr(ctx, e.Node, h, vfs.SetAttr{Valid: vfs.SetMode, Mode: e.Attr.Mode&^unix.S_IFMT | mode})
	return err
}
