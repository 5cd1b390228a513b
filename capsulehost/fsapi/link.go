package fsapi

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// ReadLink returns where a symbolic link leads, as a scheme path: its target,
// walked from the link's directory, a last link not followed. The target need
// not exist. A path that is no symbolic link is EINVAL; a target outside the
// scheme is vfs.ErrEscape.
func (f *FS) ReadLink(ctx context.Context, path string) (string, error) {
	t, err := f.locate(ctx, path, 0, vfs.Read)
	if err != nil {
		return "", err
	}
	defer t.Release()
	if !t.Entry.Attr.IsSymlink() {
		return "", syscall.EINVAL
	}
	target, err := t.FS.Readlink(ctx, t.Entry.Node)
	if err != nil {
		return "", err
	}
	if target, err = f.leads(ctx, &t, target); err == nil {
		return schemePath(t.Scheme, target)
	}
	if errors.Is(err, vfs.ErrEscape) {
		err = f.view.Refuse(ctx, t.Scheme, t.Full, vfs.Read, vfs.ErrEscape)
	}
	return "", err
}

// leads returns the path from the root of its tree that the symbolic link t with
// this target leads to. It answers vfs.ErrEscape if that is outside of the tree.
func (f *FS) leads(ctx context.Context, t *view.Target, target string) (string, error) {
	if strings.HasPrefix(target, "/") {
		return "", vfs.ErrEscape
	}
	// What is not granted must not show in where the link leads.
	fs := f.view.Shown(t.Scheme, t.FS)
	to, err := vfs.Walk(ctx, fs, vfs.RootID, strings.TrimSuffix(t.Full, t.Name)+target, 0)
	if err == nil {
		defer to.Release()
		return to.Path, nil
	}
	var we *vfs.WalkError
	if errors.Is(err, vfs.ErrEscape) || !errors.As(err, &we) {
		return "", err
	}
	switch vfs.Errno(err) {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.EACCES, syscall.ENAMETOOLONG:
		// The link leads nowhere, or to where nobody may look. What stands behind
		// the name that could not be walked goes by its text.
		return clean(we.Path)
	}
	return "", err
}

// clean takes "." and ".." out of a path; it answers vfs.ErrEscape if the path
// leads above its root.
func clean(path string) (string, error) {
	var out []string
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case "", ".":
		case "..":
			if len(out) == 0 {
				return "", vfs.ErrEscape
			}
			out = out[:len(out)-1]
		default:
			out = append(out, name)
		}
	}
	return strings.Join(out, "/"), nil
}
