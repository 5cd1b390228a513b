package boundary

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// Filter judges paths, of a change set for instance, as [FS.Hidden] does. It
// keeps what it found of the last one's directory, so that paths in their order
// cost little. It is for one goroutine, and for one listing: it does not see a
// directory that is renamed meanwhile.
type Filter struct {
	fs     *FS
	rules  *rules // with which parent was found
	parent string
	dir    *ignore.Dir // of parent; nil at first
}

// Filter returns a new filter.
func (f *FS) Filter() *Filter { return &Filter{fs: f} }

// Hidden tells whether the rules hide a path below the root, names joined by
// '/', and which one does: nil if the path is another name of a hidden file.
// Nothing need be there.
//
// Errnos: those of Lookup.
func (x *Filter) Hidden(ctx context.Context, path string, isDir bool) (bool, *ignore.Rule, error) {
	if path == "" {
		return false, nil, nil
	}
	i := strings.LastIndexByte(path, '/')
	parent, name := path[:max(i, 0)], path[i+1:]
	for range 16 {
		r := x.fs.rules.Load()
		if x.dir == nil || x.rules != r || x.parent != parent {
			d, err := x.fs.rulesAt(ctx, r, parent)
			if err == errChanged {
				continue
			}
			if err != nil {
				return true, nil, err
			}
			x.rules, x.parent, x.dir = r, parent, d
		}
		if hides, rule := x.dir.Match(name, isDir); hides || isDir {
			return hides, rule, nil
		}
		hides, err := x.linked(ctx, path)
		return hides, nil, err
	}
	return true, nil, syscall.EIO
}

// linked tells whether a path is another name of a hidden file.
func (x *Filter) linked(ctx context.Context, path string) (bool, error) {
	t, err := vfs.Walk(ctx, x.fs.FS, vfs.RootID, path, 0)
	switch {
	case err == nil:
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, vfs.ErrEscape):
		return false, nil // nothing is there, or not any more
	default:
		return true, err
	}
	defer t.Release()
	if !t.Exists() {
		return false, nil
	}
	c, err := x.fs.linked(ctx, &t.Entry.Attr)
	return c == hidden || err != nil, err
}
