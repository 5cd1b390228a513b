package overlay

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// renaming is one attempt at a rename of x, oldName in from, to newName in to,
// where y is or nil.
type renaming struct {
	fs               *FS
	from, to         *node
	oldName, newName string
	exchange         bool
	x, y             *node

	// Once the locks are held.
	fromUp, toUp *at.Dir
	fromFD, toFD int
	cover        bool // a lower entry has the old name: a whiteout must stay
	white        bool // a whiteout has the new name
}

// redirectSafe is the length of a redirect, in bytes, that fits the extended
// attributes of any filesystem that has them.
const redirectSafe = 1 << 10

// Rename implements [vfs.FS].
func (fs *FS) Rename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	if err := vfs.CheckName(oldName); err != nil {
		return err
	}
	if err := vfs.CheckName(newName); err != nil {
		return err
	}
	if flags&^(vfs.NoReplace|vfs.Exchange) != 0 || flags == vfs.NoReplace|vfs.Exchange {
		return syscall.EINVAL
	}
	defer fs.gate.enter(oldParent).RUnlock()
	from, err := fs.dirNode(oldParent)
	if err != nil {
		return err
	}
	defer fs.put(from)
	to, err := fs.dirNode(newParent)
	if err != nil {
		return err
	}
	defer fs.put(to)
	for {
		r := &renaming{fs: fs, from: from, to: to, oldName: oldName, newName: newName, exchange: flags&vfs.Exchange != 0}
		again, err := r.try(ctx, flags)
		if again {
			r.release()
			continue
		}
		if err == nil && r.x != r.y {
			r.tell(ctx)
		}
		r.release()
		return err
	}
}

func (r *renaming) release() {
	if r.x != nil {
		r.fs.put(r.x)
	}
	if r.y != nil {
		r.fs.put(r.y)
	}
}

func (r *renaming) tell(ctx context.Context) {
	fs := r.fs
	fs.EntryChanged(ctx, r.from.id, r.oldName)
	fs.EntryChanged(ctx, r.to.id, r.newName)
	fs.NodeChanged(ctx, r.x.id, false)
	if r.y != nil {
		fs.NodeChanged(ctx, r.y.id, false)
	}
	fs.NodeChanged(ctx, r.from.id, true)
	if r.to != r.from {
		fs.NodeChanged(ctx, r.to.id, true)
	}
}

// try looks the names up, brings what has to be in the upper layer there, and
// renames; again says that something changed meanwhile.
func (r *renaming) try(ctx context.Context, flags vfs.RenameFlags) (again bool, err error) {
	fs := r.fs
	if r.x, err = fs.entryOf(ctx, r.from, r.oldName); err != nil {
		return false, err
	}
	r.y, err = fs.entryOf(ctx, r.to, r.newName)
	switch {
	case err == syscall.ENOENT && !r.exchange:
	case err != nil:
		return false, err
	case flags&vfs.NoReplace != 0:
		return false, syscall.EEXIST
	}
	if r.x == r.y {
		return false, nil // two names of one file, or one name
	}
	fs.step("rename.found")
	if err := r.check(); err != nil {
		return r.failed(err)
	}
	if err := r.copyUp(ctx); err != nil {
		return r.failed(err)
	}
	if r.x.isDir() || r.y != nil && r.y.isDir() {
		fs.renames.Lock()
		defer fs.renames.Unlock()
	}
	defer lockDirs(r.from, r.to, r.x, r.y)()
	if changed, err := r.changedLocked(); changed || err != nil {
		return changed, err
	}
	if err := r.checkLoop(); err != nil {
		return false, err
	}
	if err := r.checkMounts(); err != nil {
		return false, err
	}
	if !r.exchange && r.y != nil && r.y.isDir() {
		if empty, err := fs.emptyLocked(r.y.d); err != nil || !empty {
			if err == nil {
				err = syscall.ENOTEMPTY
			}
			return false, err
		}
	}
	if r.x.isDir() || r.y != nil && r.y.isDir() {
		fs.renamed.Add(1)
	}
	return false, r.do()
}

// copyUp brings what has to be in the upper layer there.
func (r *renaming) copyUp(ctx context.Context) error {
	for _, n := range []*node{r.from, r.to} {
		if err := r.fs.copyUp(ctx, n, wholeFile); err != nil {
			return err
		}
	}
	if err := r.fs.copyUpAs(ctx, r.x, r.from, r.oldName); err != nil || !r.exchange {
		return err
	}
	return r.fs.copyUpAs(ctx, r.y, r.to, r.newName)
}

// check finds what is wrong with the types and places before anything is
// copied.
func (r *renaming) check() error {
	if err := r.checkLoop(); err != nil {
		return err
	}
	// A directory above may be on its way, or go, until it counts.
	if err := r.checkMounts(); err != nil && !vanished(err) {
		return err
	}
	if r.y == nil || r.exchange {
		return nil
	}
	switch {
	case r.x.isDir() && !r.y.isDir():
		return syscall.ENOTDIR
	case !r.x.isDir() && r.y.isDir():
		return syscall.EISDIR
	case !r.y.isDir():
		return nil
	}
	r.y.d.mu.RLock()
	empty, err := r.fs.emptyLocked(r.y.d)
	r.y.d.mu.RUnlock()
	if err == nil && !empty {
		err = syscall.ENOTEMPTY
	}
	return err
}

// failed returns what to make of an error from before the locks were held: again
// if the names stand for something else by now, which may be why, or ENOENT if a
// directory is gone.
func (r *renaming) failed(err error) (again bool, _ error) {
	defer lockDirs(r.from, r.to)()
	changed, now := r.changedLocked()
	if now != nil {
		err = now
	}
	return changed && now == nil, err
}

func (r *renaming) changedLocked() (bool, error) {
	if r.from.d.dead || r.to.d.dead {
		return false, syscall.ENOENT
	}
	if !r.fs.stillEntry(r.from, r.oldName, r.x) {
		return true, nil
	}
	if r.y != nil {
		return !r.fs.stillEntry(r.to, r.newName, r.y), nil
	}
	_, err := r.fs.find(r.to, r.newName)
	if err == syscall.ENOENT {
		return false, nil
	}
	return err == nil, err
}

// checkLoop refuses to move a directory below itself. It counts only while
// FS.renames is held, so that no directory changes its parent.
func (r *renaming) checkLoop() error {
	if r.from == r.to {
		return nil
	}
	if r.x.isDir() && isAbove(r.x, r.to) {
		return syscall.EINVAL
	}
	if r.y != nil && r.y.isDir() && isAbove(r.y, r.from) {
		if r.exchange {
			return syscall.EINVAL
		}
		return syscall.ENOTEMPTY
	}
	return nil
}

// isAbove tells whether d is n or above it.
func isAbove(d, n *node) bool {
	for n != nil {
		if n == d {
			return true
		}
		n.mu.RLock()
		up := n.link.parent
		n.mu.RUnlock()
		n = up
	}
	return false
}

// do renames on disk and in memory. All namespace locks are held exclusively,
// and every directory and node that it concerns is in the upper layer.
func (r *renaming) do() (err error) {
	fs := r.fs
	if r.fromUp, r.fromFD, err = r.from.d.acquireUpperLocked(); err != nil {
		return err
	}
	defer r.fromUp.Release()
	if r.toUp, r.toFD, err = r.to.d.acquireUpperLocked(); err != nil {
		return err
	}
	defer r.toUp.Release()
	low, err := fs.goesLocked(r.from, r.oldName)
	if err != nil {
		return err
	}
	r.cover = low != nil
	if _, err := fs.goesLocked(r.to, r.newName); err != nil {
		return err
	}
	a, _, err := at.Stat(r.toFD, r.newName)
	if err != nil && err != syscall.ENOENT {
		return err
	}
	r.white = err == nil && isWhiteout(&a)

	defer lockNodes(r.x, r.y, exclusive)()
	if err := r.prepare(r.x, r.from, r.fromFD, r.oldName, r.to, r.toFD); err != nil {
		return err
	}
	fs.step("rename.prepared")
	if r.exchange {
		if err := r.prepare(r.y, r.to, r.toFD, r.newName, r.from, r.fromFD); err != nil {
			return err
		}
		return r.swap()
	}
	return r.move()
}

// prepare makes n, name in dir, ready to be moved to the directory to: marks
// that say the same where it is as where it will be.
func (r *renaming) prepare(n, dir *node, fd int, name string, to *node, toFD int) error {
	fs := r.fs
	if !n.isDir() {
		if !fs.nameInUpperLocked(n, dir, name) {
			if err := fs.linkUpLocked(n, fd, name); err != nil {
				return err
			}
			if l := n.findLinkLocked(dir, name); l != nil {
				l.inUpper = true
			}
		}
	} else if err := r.markMoved(n, dir, fd, name, to); err != nil {
		return err
	}
	fs.step("rename.marked")
	if n.ino.Load() != fs.devs.ino(n.real) || n.isDir() && len(n.d.lowers) > 0 {
		return fs.makeImpure(to, toFD)
	}
	return nil
}

// markMoved has the upper directory n, name in dir, say where its lower part is
// and what it hides, whatever it is called.
func (r *renaming) markMoved(n, dir *node, fd int, name string, to *node) error {
	fs := r.fs
	if len(n.d.lowers) == 0 && (n.d.opaque || len(to.d.lowers) == 0) {
		return nil
	}
	if !fs.ly.privileged {
		a, _, err := at.Stat(fd, name)
		if err != nil {
			return err
		}
		shut, err := fs.openUp(fd, name, &a)
		if err != nil {
			return err
		}
		defer shut()
	}
	if len(n.d.lowers) > 0 {
		// That part stays where it is.
		path := n.d.redirect
		if path == "" {
			rest := name
			if above := fs.lowerPath(dir); above != "" {
				rest = above + "/" + name
			}
			path = "/" + rest
		}
		if err := fs.ly.setRedirect(fd, name, path); err != nil {
			if len(path) > redirectSafe {
				return syscall.EXDEV // longer than this host can record
			}
			return err
		}
		n.d.redirect = path
		return nil
	}
	if err := fs.ly.setOpaque(fd, name); err != nil {
		return err
	}
	n.d.opaque = true
	return nil
}

// pin keeps the descriptor of a directory that is moved open meanwhile, by
// which everything below is found.
func pin(n *node) (unpin func(), err error) {
	if n == nil || n.d == nil || n.d.upper.Load() == nil {
		return func() {}, nil
	}
	up := n.d.upper.Load()
	if _, err := up.Acquire(); err != nil {
		return nil, gone(err)
	}
	return up.Release, nil
}

// swap exchanges the two names.
func (r *renaming) swap() error {
	unpinX, err := pin(r.x)
	if err != nil {
		return err
	}
	defer unpinX()
	unpinY, err := pin(r.y)
	if err != nil {
		return err
	}
	defer unpinY()
	err = r.fs.movable(r.fromFD, r.oldName, func() error {
		return r.fs.movable(r.toFD, r.newName, func() error {
			return at.Rename(r.fromFD, r.oldName, r.toFD, r.newName, unix.RENAME_EXCHANGE)
		})
	})
	if err != nil {
		return err
	}
	r.fs.step("rename.done")
	r.relink(r.x, r.from, r.fromUp, r.oldName, r.to, r.toUp, r.newName)
	r.relink(r.y, r.to, r.toUp, r.newName, r.from, r.fromUp, r.oldName)
	r.setKids(r.y)
	return nil
}

// move renames x, over y if there is one.
func (r *renaming) move() (err error) {
	fs := r.fs
	unpin, err := pin(r.x)
	if err != nil {
		return err
	}
	defer unpin()
	done := func() error { return nil }
	undo := func() {}
	if r.y != nil {
		if done, undo, err = r.displace(); err != nil {
			return err
		}
	}
	var flags uint
	clean := false
	switch {
	case r.cover && r.white:
		flags = unix.RENAME_EXCHANGE // the whiteouts change places
	case r.cover:
		flags = unix.RENAME_WHITEOUT
	case r.white && r.x.isDir():
		// A directory cannot replace what is none.
		flags, clean = unix.RENAME_EXCHANGE, true
	}
	err = fs.movable(r.fromFD, r.oldName, func() error {
		return at.Rename(r.fromFD, r.oldName, r.toFD, r.newName, flags)
	})
	if err != nil {
		undo()
		return err
	}
	fs.step("rename.done")
	if clean {
		// Left behind, it hides nothing.
		at.Unlink(r.fromFD, r.oldName, 0)
	}
	err = done()
	r.relink(r.x, r.from, r.fromUp, r.oldName, r.to, r.toUp, r.newName)
	r.setKids(nil)
	return err
}

// relink records that n has another name now; n.mu is held exclusively.
func (r *renaming) relink(n, from *node, fromUp *at.Dir, oldName string, to *node, toUp *at.Dir, newName string) {
	if n.isDir() {
		n.d.upper.Load().Move(toUp, newName)
	} else if n.idx == "" && n.dir == fromUp && n.name == oldName {
		n.dir, n.name = toUp, newName
	}
	if n.dropLinkLocked(from, oldName) {
		r.fs.put(from) // not the last: the operation holds one
	}
	to.ref()
	n.addLinkLocked(link{parent: to, name: newName, inUpper: true})
}

// setKids enters the names: the new one stands for x, the old one for old, or
// nothing.
func (r *renaming) setKids(old *node) {
	set := func(p *node, name string, n *node) {
		p.d.kmu.Lock()
		if n == nil {
			delete(p.d.kids, name)
		} else {
			p.d.setKidLocked(name, n)
		}
		p.d.kmu.Unlock()
		p.d.version++
	}
	set(r.from, r.oldName, old)
	set(r.to, r.newName, r.x)
}
