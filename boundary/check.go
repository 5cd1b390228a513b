package boundary

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// place is a name in a directory, and what the rules say of it.
type place struct {
	rules   *rules
	dir     *dirState
	verdict ignore.Verdict
}

// at returns the place of name in parent.
//
// Errors: as FS.dir; EINVAL, ENAMETOOLONG.
func (f *FS) at(ctx context.Context, parent vfs.NodeID, name string) (place, error) {
	if err := vfs.CheckName(name); err != nil {
		return place{}, err
	}
	r, s, err := f.dir(ctx, parent)
	if err != nil {
		return place{}, err
	}
	return place{r, s, s.rules.Judge(name)}, nil
}

// checkNew tells whether something may be made as name in parent.
func (f *FS) checkNew(ctx context.Context, parent vfs.NodeID, name string) (place, error) {
	p, err := f.at(ctx, parent, name)
	switch {
	case err != nil:
		return p, err
	case !p.verdict.Visible():
		return p, vfs.ErrHidden
	case name == ignore.FileName:
		return p, ErrIgnoreFile
	}
	return p, nil
}

// saw takes note of a node that was found, or made, at a place where it is
// visible.
func (p *place) saw(e *vfs.Entry, name string, c class) {
	if e.Attr.IsDir() {
		p.rules.note(p.dir, e.Node, name)
	}
	if c == ordinary && name != ignore.FileName {
		p.rules.nodes.add(e.Node)
	}
}

// class is what examine finds of a node.
type class uint8

const (
	ordinary class = iota
	ignoreFile
	hidden
)

// checkNode tells whether node may be used at all.
func (f *FS) checkNode(ctx context.Context, node vfs.NodeID) error {
	if node == vfs.RootID || f.verified(f.rules.Load(), node) {
		return nil
	}
	c, err := f.examine(ctx, node)
	if err == nil && c == hidden {
		return vfs.ErrHidden
	}
	return err
}

// checkWrite tells whether node may be changed.
func (f *FS) checkWrite(ctx context.Context, node vfs.NodeID) error {
	if node == vfs.RootID || f.verified(f.rules.Load(), node) {
		return nil
	}
	switch c, err := f.examine(ctx, node); {
	case err != nil:
		return err
	case c == hidden:
		return vfs.ErrHidden
	case c == ignoreFile:
		return ErrIgnoreFile
	}
	return nil
}

// examine finds out what a node is that is not known to be visible: rules may
// have changed since it was looked up.
func (f *FS) examine(ctx context.Context, node vfs.NodeID) (class, error) {
	a, err := f.FS.GetAttr(ctx, node, nil)
	if err != nil {
		return 0, err
	}
	for range 16 {
		r := f.rules.Load()
		c, err := f.classify(ctx, r, node, &a)
		if err == errChanged {
			continue
		}
		if err == nil && c == ordinary {
			r.nodes.add(node)
		}
		return c, err
	}
	return 0, syscall.EIO
}

// classify judges a node by its identity and by its path. Of a directory, it
// does not look into it: it may be one that the host does not let us search.
func (f *FS) classify(ctx context.Context, r *rules, node vfs.NodeID, a *vfs.Attr) (class, error) {
	c, err := f.linked(ctx, a)
	if err != nil || c == hidden {
		return c, err
	}
	err = f.whileMoving(ctx, func() error {
		path, err := f.FS.Path(ctx, node)
		if errors.Is(err, syscall.ENOENT) {
			return nil // without a name it is judged by its identity alone
		}
		if err != nil {
			return err
		}
		i := strings.LastIndexByte(path, '/')
		s, _, err := f.descend(ctx, r, path[:max(i, 0)])
		if err != nil {
			return err
		}
		name := path[i+1:]
		switch hides, _ := s.rules.Match(name, a.IsDir()); {
		case hides:
			c = hidden
		case name == ignore.FileName:
			c = ignoreFile
		}
		return nil
	})
	return c, err
}

// Hidden tells whether the rules hide a path below the root, names joined by
// '/', and which one does. Nothing need be there: for what is to be written
// elsewhere, a commit for instance. The caller sees to it that no directory is
// renamed meanwhile.
//
// Errnos: those of Lookup.
func (f *FS) Hidden(ctx context.Context, path string, isDir bool) (bool, *ignore.Rule, error) {
	return f.Filter().Hidden(ctx, path, isDir)
}

// rulesAt returns the rules in a directory that need not exist: where none is,
// there is no ignore file.
func (f *FS) rulesAt(ctx context.Context, r *rules, path string) (*ignore.Dir, error) {
	s, _, err := f.descend(ctx, r, path)
	if err == nil {
		return s.rules, nil
	}
	if err != errMoved {
		return nil, err
	}
	i := strings.LastIndexByte(path, '/')
	d, err := f.rulesAt(ctx, r, path[:max(i, 0)])
	if err != nil {
		return nil, err
	}
	return d.Enter(path[i+1:], nil), nil
}
