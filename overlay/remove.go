package overlay

import (
	"context"
	"slices"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// lockDirs takes the namespace locks of directories exclusively, in the order
// of their ids. Nil and repeated ones are fine.
func lockDirs(dirs ...*node) (unlock func()) {
	list := make([]*node, 0, 4)
	for _, n := range dirs {
		if n != nil && n.d != nil && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *node) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	for _, n := range list {
		n.d.mu.Lock()
	}
	return func() {
		for i := len(list) - 1; i >= 0; i-- {
			list[i].d.mu.Unlock()
		}
	}
}

// entryOf looks name up in p for a change, with a reference.
func (fs *FS) entryOf(ctx context.Context, p *node, name string) (*node, error) {
	var e vfs.Entry
	return fs.lookupIn(ctx, p, name, &e)
}

// Unlink implements [vfs.FS].
func (fs *FS) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	return fs.remove(ctx, parent, name, func(p *node) (*node, error) {
		if p.d.upper.Load() == nil {
			// What is to be removed is in a lower layer: make room for a whiteout.
			n, err := fs.entryOf(ctx, p, name)
			if err != nil {
				return nil, err
			}
			dir := n.isDir()
			fs.put(n)
			if dir {
				return nil, syscall.EISDIR
			}
			if err := fs.copyUp(ctx, p, wholeFile); err != nil {
				return nil, err
			}
		}
		return fs.unlinkIn(p, name)
	})
}

// remove has from remove name from the directory parent, tells who watches, and
// drops the reference that from returns to what had the name.
func (fs *FS) remove(ctx context.Context, parent vfs.NodeID, name string, from func(p *node) (*node, error)) error {
	if err := vfs.CheckName(name); err != nil {
		return err
	}
	defer fs.gate.enter(parent).RUnlock()
	p, err := fs.dirNode(parent)
	if err != nil {
		return err
	}
	defer fs.put(p)
	n, err := from(p)
	if err != nil {
		return err
	}
	fs.EntryChanged(ctx, p.id, name)
	fs.NodeChanged(ctx, n.id, false)
	fs.NodeChanged(ctx, p.id, true)
	fs.put(n)
	return nil
}

// unlinkIn removes name from p, which is in the upper layer, and returns what
// had it, with a reference.
func (fs *FS) unlinkIn(p *node, name string) (*node, error) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	var a vfs.Attr
	n, err := fs.lookupLocked(p, name, &a)
	if err == errRemerge {
		return nil, syscall.EISDIR
	}
	if err != nil {
		return nil, err
	}
	if n.isDir() {
		fs.put(n)
		return nil, syscall.EISDIR
	}
	if err := fs.unlinkLocked(p, name, n); err != nil {
		fs.put(n)
		return nil, err
	}
	return n, nil
}

// unlinkLocked removes the name of the non-directory n. p.d.mu is held
// exclusively.
func (fs *FS) unlinkLocked(p *node, name string, n *node) error {
	up, fd, err := p.d.acquireUpperLocked()
	if err != nil {
		return err
	}
	defer up.Release()
	n.mu.Lock()
	defer n.mu.Unlock()
	// Only now does the link count stand still: other names come and go in
	// other directories.
	a, err := n.statLocked()
	if err != nil {
		return err
	}
	low, err := fs.goesLocked(p, name)
	if err != nil {
		return err
	}
	inUpper := fs.nameInUpperLocked(n, p, name)
	v, err := fs.holdLocked(n, p, fd, name, inUpper, a.Nlink)
	if err != nil {
		return err
	}
	switch {
	case low == nil:
		err = at.Unlink(fd, name, 0)
	case inUpper:
		err = fs.whiteoutOver(fd, name)
	default:
		err = fs.white.make(fs, fd, name)
	}
	if err != nil {
		fs.unhold(v)
		return err
	}
	fs.step("unlink.done")
	p.d.version++
	return fs.lostNameLocked(n, p, name, inUpper, a.Nlink, v)
}

// nameInUpperLocked tells whether name in p, a name of n, is an entry of the
// upper directory. n.mu is held.
func (fs *FS) nameInUpperLocked(n *node, p *node, name string) bool {
	if !n.up {
		return false
	}
	l := n.findLinkLocked(p, name)
	return l == nil || l.inUpper
}

// whiteoutOver puts a whiteout in the place of a non-directory.
func (fs *FS) whiteoutOver(fd int, name string) error {
	tmp, err := fs.whiteoutTmp()
	if err != nil {
		return err
	}
	if err := at.Rename(fs.ly.scratch, tmp, fd, name, 0); err != nil {
		at.Unlink(fs.ly.scratch, tmp, 0)
		return err
	}
	return nil
}
