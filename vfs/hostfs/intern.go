package hostfs

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// found is what a system call said of a file.
type found struct {
	attr  vfs.Attr
	ident at.Ident
	birth vfs.Timespec // attr.Btime where it tells inodes apart, otherwise zero
}

// look stats name in dirfd, or dirfd itself with an empty name.
func (fs *FS) look(dirfd int, name string) (f found, err error) {
	if f.ident, err = at.StatInto(dirfd, name, &f.attr); err != nil {
		return found{}, err
	}
	f.attr.Volatile = true
	if fs.bornApart(f.ident.Dev, dirfd) {
		f.birth = f.attr.Btime
	}
	return f, nil
}

// intern returns the node of what was found as name in parent, and adds a
// reference for the caller.
//
// Errnos: ELOOP (the directory is parent or above it, by a bind mount), ESTALE
// (parent is gone).
func (fs *FS) intern(parent *node, name string, f *found) (*node, error) {
	s := fs.table.shardOf(f.ident)
	s.mu.Lock()
	if n := s.nodes[f.ident]; n != nil && n.is(&f.attr) && n.hasAliasLocked(parent, name) {
		s.wakeLocked(n)
		n.refs++
		s.mu.Unlock()
		n.saw(&f.attr)
		return n, nil
	}
	s.mu.Unlock()

	if !parent.hold() {
		return nil, syscall.ESTALE
	}
	s.mu.Lock()
	n, fresh, bury := fs.findLocked(s, f)
	if !fresh && n.dir != nil {
		s.mu.Unlock()
		fs.bury(bury)
		return fs.internMoved(n, parent, name, f)
	}
	s.wakeLocked(n)
	n.refs++
	drop := n.addAliasLocked(alias{parent, name})
	n.closed = false // it has a name that nothing takes
	pin := fs.unpinLocked(n)
	if fresh && n.typ == unix.S_IFDIR {
		n.dir = &directory{at: parent.dir.at.Child(name, f.ident)}
	}
	if fresh {
		fs.table.publish(n)
	}
	s.mu.Unlock()
	fs.bury(bury)
	fs.unhold(drop)
	if pin != nil {
		pin.done()
	}
	n.saw(&f.attr)
	return n, nil
}

// internNameless makes a node for a file without a name and adds a reference and
// a hold for its handle.
func (fs *FS) internNameless(f *found, h *held) *node {
	s := fs.table.shardOf(f.ident)
	s.mu.Lock()
	n, fresh, bury := fs.findLocked(s, f)
	s.wakeLocked(n)
	n.refs++
	n.holds++
	n.open = append(n.open, h)
	if fresh {
		fs.table.publish(n)
	}
	s.mu.Unlock()
	fs.bury(bury)
	return n
}

// findLocked returns the node of what was found, made anew if need be. A node
// whose inode number it took over is to be buried if it is returned as well.
func (fs *FS) findLocked(s *shard, f *found) (n *node, fresh bool, bury *node) {
	if n = s.nodes[f.ident]; n != nil {
		if n.is(&f.attr) {
			return n, false, nil
		}
		delete(s.nodes, f.ident)
		if n.idleLocked() {
			bury = s.killLocked(n)
		}
	}
	return fs.table.addLocked(s, f.ident, &f.attr, f.birth), true, bury
}

// internMoved is intern for a directory that another process renamed. The caller
// has a hold on parent, which is given up or used.
func (fs *FS) internMoved(n, parent *node, name string, f *found) (*node, error) {
	fs.tree.Lock()
	if fs.aboveLocked(n, parent) {
		fs.tree.Unlock()
		fs.unhold(parent)
		return nil, syscall.ELOOP
	}
	n.shard.mu.Lock()
	if n.dead {
		n.shard.mu.Unlock()
		fs.tree.Unlock()
		fs.unhold(parent)
		return fs.intern(parent, name, f) // forgotten meanwhile
	}
	n.shard.wakeLocked(n)
	n.refs++
	drop := n.addAliasLocked(alias{parent, name})
	n.shard.mu.Unlock()
	n.dir.at.Move(parent.dir.at, name)
	fs.tree.Unlock()
	fs.unhold(drop)
	return n, nil
}

// aboveLocked tells whether n is d or above it. fs.tree is held.
func (fs *FS) aboveLocked(n, d *node) bool {
	for d != n {
		if len(d.aliases) == 0 {
			return n == fs.root // the root, or a directory cut off from it
		}
		d = d.aliases[0].parent
	}
	return true
}

// hold keeps n in the table until unhold.
func (n *node) hold() bool {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	if n.dead {
		return false
	}
	n.shard.wakeLocked(n)
	n.holds++
	return true
}

// unhold gives up a hold on n, which may be nil.
func (fs *FS) unhold(n *node) {
	if n == nil {
		return
	}
	n.shard.mu.Lock()
	n.holds--
	b := n.shard.settleLocked(n)
	n.shard.mu.Unlock()
	fs.bury(b)
}

// unref gives back up to k references to n.
func (fs *FS) unref(n *node, k uint64) {
	n.shard.mu.Lock()
	n.refs -= min(k, n.refs)
	b := n.shard.settleLocked(n)
	n.shard.mu.Unlock()
	fs.bury(b)
}

// Forget implements vfs.FS.
func (fs *FS) Forget(id vfs.NodeID, k uint64) {
	if n, err := fs.node(id); err == nil {
		fs.unref(n, k)
	}
}

// bury ends a node that was taken out of its shard, and those directories above
// it that nobody needs then.
func (fs *FS) bury(n *node) {
	if n == nil {
		return
	}
	dying := []*node{n}
	for len(dying) > 0 {
		n := dying[len(dying)-1]
		dying = dying[:len(dying)-1]
		fs.table.unpublish(n)
		for _, a := range fs.destroy(n) {
			p := a.parent
			p.shard.mu.Lock()
			p.holds--
			if b := p.shard.settleLocked(p); b != nil {
				dying = append(dying, b)
			}
			p.shard.mu.Unlock()
		}
	}
}

// destroy closes what n holds and returns the names it had.
func (fs *FS) destroy(n *node) []alias {
	n.shard.mu.Lock()
	n.dead = true
	names := n.aliases
	n.aliases = nil
	pin := fs.unpinLocked(n)
	n.shard.mu.Unlock()
	if pin != nil {
		pin.done()
	}
	if n.dir != nil {
		n.dir.at.Drop()
	}
	return names
}

// pinLocked makes h, if there is room, the descriptor that a nameless n is
// reached by, and tells whether it has; if not, a is what is left of n.
func (fs *FS) pinLocked(n *node, h *held, a *vfs.Attr) bool {
	if n.pin != nil {
		return false
	}
	if fs.pins.Add(1) > fs.maxPins {
		fs.pins.Add(-1)
		last := *a
		last.Nlink = 0
		n.last = &last
		return false
	}
	n.pin = h
	return true
}

// unpinLocked returns n's pin, which the caller ends when it has no lock.
func (fs *FS) unpinLocked(n *node) *held {
	h := n.pin
	if h != nil {
		n.pin = nil
		fs.pins.Add(-1)
	}
	n.last = nil
	return h
}
