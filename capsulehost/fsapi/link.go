package fsapi

import (
	"context"
	"errors"
	"strings"
	"syscall"

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
	leaves := func() error { return f.view.Refuse(ctx, t.Scheme, t.Full, vfs.Read, vfs.ErrEscape) }
	if strings.HasPrefix(target, "/") {
		return "", leaves()
	}
	dir := strings.TrimSuffix(t.Full, t.Name)
	to, err := vfs.Walk(ctx, t.FS, vfs.RootID, dir+target, 0)
	if err == nil {
		defer to.Release()
		return schemePath(t.Scheme, to.Path)
	}
	var we *vfs.WalkError
	switch {
	case errors.Is(err, vfs.ErrEscape):
		return "", leaves()
	case !errors.As(err, &we):
		return "", err
	}
	switch vfs.Errno(err) {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.EACCES, syscall.ENAMETOOLONG:
		// The link leads nowhere, or to where nobody may look. Behind the name
		// that could not be walked no link can be, so ".." may be taken by text.
		p, err := clean(we.Path)
		if err != nil {
			return "", leaves()
		}
		return schemePath(t.Scheme, p)
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
