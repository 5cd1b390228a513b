package hostfs

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// target is what a name stood for before it was removed or replaced.
type target struct {
	fd int // O_PATH
	found
}

// openTarget opens what name in dirfd stands for. The caller passes the result
// to unnamed or closes it.
func (fs *FS) openTarget(dirfd int, name string) (target, error) {
	fd, err := at.Open(dirfd, name, unix.O_PATH, 0)
	if err != nil {
		return target{fd: -1}, err
	}
	f, err := fs.look(fd, "")
	if err != nil {
		unix.Close(fd)
		return target{fd: -1}, err
	}
	return target{fd, f}, nil
}

func (t *target) close() {
	if t.fd >= 0 {
		unix.Close(t.fd)
		t.fd = -1
	}
}

// unnamed records that t is no longer name in p, and returns the id of its node,
// or 0 if it has none. A node that has no name left and is needed keeps t's
// descriptor; fs.tree is held if t is a directory.
func (fs *FS) unnamed(p *node, name string, t *target) vfs.NodeID {
	s := fs.table.shardOf(t.ident)
	s.mu.Lock()
	n := s.nodes[t.ident]
	if n == nil || !n.is(&t.attr) {
		s.mu.Unlock()
		return 0
	}
	var drop []alias
	if n.dir != nil || t.attr.Nlink <= 1 {
		drop, n.aliases = n.aliases, nil // any that are left are out of date
	} else if n.dropAliasLocked(p, name) {
		drop = []alias{{p, name}}
	}
	var bury *node
	if len(n.aliases) == 0 {
		if n.idleLocked() {
			bury = s.killLocked(n)
		} else if h := newHeld(t.fd); fs.pinLocked(n, h, &t.attr) {
			t.fd = -1
		}
	}
	s.mu.Unlock()
	fs.bury(bury)
	for _, a := range drop {
		fs.unhold(a.parent)
	}
	return n.id
}

// Unlink implements vfs.FS.
func (fs *FS) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	return fs.remove(ctx, parent, name, false)
}

// Rmdir implements vfs.FS.
func (fs *FS) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	return fs.remove(ctx, parent, name, true)
}

func (fs *FS) remove(ctx context.Context, parent vfs.NodeID, name string, dir bool) error {
	p, err := fs.place(parent, name)
	if err != nil {
		return err
	}
	node, err := fs.removeIn(p, name, dir)
	if err != nil {
		return err
	}
	fs.EntryChanged(ctx, parent, name)
	fs.NodeChanged(ctx, parent, true)
	if node != 0 {
		fs.NodeChanged(ctx, node, false)
	}
	return nil
}

func (fs *FS) removeIn(p *node, name string, dir bool) (vfs.NodeID, error) {
	p.dir.names.Lock()
	defer p.dir.names.Unlock()
	s, err := fs.enter(p)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	t, err := fs.openTarget(s.fd, name)
	if err != nil {
		return 0, err
	}
	defer t.close()
	if !dir {
		if t.attr.IsDir() {
			return 0, syscall.EISDIR
		}
		if err := at.Unlink(s.fd, name, 0); err != nil {
			return 0, err
		}
		return fs.unnamed(p, name, &t), nil
	}
	fs.tree.Lock()
	defer fs.tree.Unlock()
	if err := at.Unlink(s.fd, name, unix.AT_REMOVEDIR); err != nil {
		if err == syscall.EEXIST { // which POSIX allows a host to say
			err = syscall.ENOTEMPTY
		}
		return 0, err
	}
	return fs.unnamed(p, name, &t), nil
}

// Rename implements vfs.FS.
func (fs *FS) Rename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	if flags&^(vfs.NoReplace|vfs.Exchange) != 0 || flags == vfs.NoReplace|vfs.Exchange {
		return syscall.EINVAL
	}
	op, err := fs.place(oldParent, oldName)
	if err != nil {
		return err
	}
	np, err := fs.place(newParent, newName)
	if err != nil {
		return err
	}
	lockBoth(op, np)
	moved, covered, err := fs.rename(op, oldName, np, newName, flags)
	unlockBoth(op, np)
	if err != nil {
		return err
	}
	fs.EntryChanged(ctx, oldParent, oldName)
	fs.EntryChanged(ctx, newParent, newName)
	fs.NodeChanged(ctx, oldParent, true)
	if newParent != oldParent {
		fs.NodeChanged(ctx, newParent, true)
	}
	for _, id := range [...]vfs.NodeID{moved, covered} {
		if id != 0 {
			fs.NodeChanged(ctx, id, false)
		}
	}
	return nil
}

// lockBoth locks the names of two directories, which may be one.
func lockBoth(a, b *node) {
	if a.id > b.id {
		a, b = b, a
	}
	a.dir.names.Lock()
	if a != b {
		b.dir.names.Lock()
	}
}

func unlockBoth(a, b *node) {
	a.dir.names.Unlock()
	if a != b {
		b.dir.names.Unlock()
	}
}

// rename returns the ids of the nodes that were moved and replaced (or swapped),
// 0 for what has none. Both parents' names are locked.
func (fs *FS) rename(op *node, oldName string, np *node, newName string, flags vfs.RenameFlags) (moved, covered vfs.NodeID, err error) {
	from, err := fs.enter(op)
	if err != nil {
		return 0, 0, err
	}
	defer from.leave()
	to, err := fs.enter(np)
	if err != nil {
		return 0, 0, err
	}
	defer to.leave()
	src, err := fs.look(from.fd, oldName)
	if err != nil {
		return 0, 0, err
	}
	dst, err := fs.openTarget(to.fd, newName)
	exists := err == nil
	if err != nil && err != syscall.ENOENT {
		return 0, 0, err
	}
	defer dst.close()
	if src.attr.IsDir() || exists && dst.attr.IsDir() {
		fs.tree.Lock()
		defer fs.tree.Unlock()
	}
	if err := at.Rename(from.fd, oldName, to.fd, newName, uint(flags)); err != nil {
		if err == syscall.EEXIST && flags&vfs.NoReplace == 0 {
			err = syscall.ENOTEMPTY // which POSIX allows a host to say so
		}
		return 0, 0, err
	}
	if exists && src.ident == dst.ident {
		return 0, 0, nil // two names of one file: nothing happened
	}
	if exists && flags&vfs.Exchange == 0 {
		covered = fs.unnamed(np, newName, &dst)
	}
	moved = fs.moved(op, oldName, np, newName, &src)
	if flags&vfs.Exchange != 0 {
		covered = fs.moved(np, newName, op, oldName, &dst.found)
	}
	return moved, covered, nil
}

// moved records that what was name in p is newName in np now, and returns the id
// of its node, or 0. fs.tree is held if it is a directory.
func (fs *FS) moved(p *node, name string, np *node, newName string, f *found) vfs.NodeID {
	if !np.hold() {
		return 0
	}
	s := fs.table.shardOf(f.ident)
	s.mu.Lock()
	n := s.nodes[f.ident]
	if n == nil || !n.is(&f.attr) {
		s.mu.Unlock()
		fs.unhold(np)
		return 0
	}
	var gone *node
	if n.dropAliasLocked(p, name) {
		gone = p
	}
	drop := n.addAliasLocked(alias{np, newName})
	s.mu.Unlock()
	if n.dir != nil {
		n.dir.at.Move(np.dir.at, newName)
	}
	fs.unhold(gone)
	fs.unhold(drop)
	return n.id
}
