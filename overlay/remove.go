package overlay

import (
	"context"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

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
	if err := vfs.CheckName(name); err != nil {
		return err
	}
	defer fs.gate.enter(parent).RUnlock()
	p, err := fs.dirNode(parent)
	if err != nil {
		return err
	}
	defer fs.put(p)
	if p.d.upper.Load() == nil {
		// What is to be removed is in a lower layer: make room for a whiteout.
		n, err := fs.entryOf(ctx, p, name)
		if err != nil {
			return err
		}
		dir := n.isDir()
		fs.put(n)
		if dir {
			return syscall.EISDIR
		}
		if err := fs.copyUp(ctx, p, wholeFile); err != nil {
			return err
		}
	}
	n, err := fs.unlinkIn(p, name)
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

// held is what keeps a file within reach after a name of it is gone.
type held struct {
	n     *node
	fd    int     // a descriptor for n.orphan, or -1
	dir   *at.Dir // another place, or nil
	name  string
	moved bool
}

func (fs *FS) unhold(v *held) {
	closeFD(v.fd)
	if v.moved && v.dir == fs.parking {
		at.Unlink(fs.ly.scratch, v.name, 0)
	}
}

// holdLocked finds out how n, which is about to lose name in p, is reached
// afterwards. A descriptor is opened if nothing else will do and somebody still
// uses the node. n.mu is held.
func (fs *FS) holdLocked(n *node, p *node, fd int, name string, inUpper bool, nlink uint32) (*held, error) {
	v := &held{n: n, fd: -1}
	if n.orphan >= 0 {
		return v, nil
	}
	if !n.up {
		if nlink <= 1 {
			v.fd = fs.holdLower(n)
		}
		return v, nil
	}
	if n.idx != "" {
		if nlink > 1 {
			return v, nil // by its index entry
		}
	} else {
		if n.dir != p.d.upper.Load() || n.name != name {
			return v, nil
		}
		for _, l := range append([]link{n.link}, n.links...) {
			if l.parent == nil || !l.inUpper || l.parent == p && l.name == name {
				continue
			}
			if dir := l.parent.d.upper.Load(); dir != nil {
				v.dir, v.name, v.moved = dir, l.name, true
				return v, nil
			}
		}
	}
	if n.refs.Load() <= 1 {
		return v, nil // only this operation knows it
	}
	s, err := n.spotLocked()
	if err != nil {
		return nil, err
	}
	defer s.release()
	if nlink <= 1 && fs.crowded() {
		v.dir, v.name, v.moved = fs.parking, fs.tmpName(), true
		return v, gone(at.Link(s.fd, s.name, fs.ly.scratch, v.name))
	}
	v.fd, err = hold(s.fd, s.name, 0)
	return v, err
}

// lostNameLocked records that n lost name in p on disk. nlink is the link count
// shown before.
func (fs *FS) lostNameLocked(n *node, p *node, name string, inUpper bool, nlink uint32, v *held) error {
	var err error
	if n.dropLinkLocked(p, name) {
		fs.put(p) // not the last: the operation holds one
	}
	p.d.forgetKid(name, n)
	if v.moved {
		n.dir, n.name = v.dir, v.name
	}
	if !n.up && (nlink > 1 || n.nlAdj < 0) {
		err = fs.countRemovedLocked(n) // the last one too: a discard may bring some back
	}
	if v.fd >= 0 {
		fs.orphanLocked(n, v.fd)
	}
	if nlink <= 1 {
		n.nameless = true
	}
	if n.up && n.idx == "" && n.orphan < 0 && !v.moved && n.dir == p.d.upper.Load() && n.name == name {
		fs.lostSightLocked(n)
	}
	if !n.up || n.idx == "" {
		return err
	}
	if nlink <= 1 {
		// A discard may bring names of the lower file back.
		if err = fs.countNames(n.idx, 'S', 0); err == nil {
			err = at.Unlink(fs.homeFD(n.idx), n.idx, 0)
		}
		n.idx = ""
		if n.orphan < 0 && !v.moved {
			fs.lostSightLocked(n)
		}
	} else if !inUpper {
		n.nlAdj--
		err = fs.setNlinkLocked(n)
	}
	return err
}

// lostSightLocked records that nothing leads to the upper file of n any more,
// which only the operation under way refers to. Another name of the file that is
// looked up later may bring it back. Without one, the host's filesystem gives
// the inode number to the next file, which must not find n by it.
func (fs *FS) lostSightLocked(n *node) {
	n.dir, n.name = nil, ""
	if n.nameless {
		n.stale = true
		fs.nodes.unregisterIdent(n.real, n)
	}
}

// countRemovedLocked records that one more name of a lower file with several
// links is gone. n.mu is held exclusively.
func (fs *FS) countRemovedLocked(n *node) error {
	s, err := n.spotLocked()
	if err != nil {
		return err
	}
	defer s.release()
	a, id, err := at.Stat(s.fd, s.name)
	if err != nil {
		return gone(err)
	}
	if n.idx == "" {
		n.idx = fs.indexName(n.low, s.fd, s.name, &a, id)
	}
	n.nlAdj--
	return fs.setNlinkLocked(n)
}

// Rmdir implements [vfs.FS].
func (fs *FS) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := vfs.CheckName(name); err != nil {
		return err
	}
	defer fs.gate.enter(parent).RUnlock()
	p, err := fs.dirNode(parent)
	if err != nil {
		return err
	}
	defer fs.put(p)
	for {
		n, err := fs.entryOf(ctx, p, name)
		if err != nil {
			return err
		}
		again, err := fs.rmdirOf(ctx, p, name, n)
		if !again && err == nil {
			fs.EntryChanged(ctx, p.id, name)
			fs.NodeChanged(ctx, n.id, false)
			fs.NodeChanged(ctx, p.id, true)
		}
		fs.put(n)
		if !again {
			return err
		}
	}
}

// rmdirOf removes n, which was name in p a moment ago; again says that it is
// not any more.
func (fs *FS) rmdirOf(ctx context.Context, p *node, name string, n *node) (again bool, err error) {
	if !n.isDir() {
		return false, syscall.ENOTDIR
	}
	if p.d.upper.Load() == nil {
		n.d.mu.RLock()
		empty, err := fs.emptyLocked(n.d)
		n.d.mu.RUnlock()
		if err != nil {
			return false, err
		}
		if !empty {
			return false, syscall.ENOTEMPTY
		}
		if err := fs.copyUp(ctx, p, wholeFile); err != nil {
			return false, err
		}
	}
	defer lockDirs(p, n)()
	if !fs.stillEntry(p, name, n) {
		return true, nil
	}
	return false, fs.rmdirLocked(p, name, n)
}

// stillEntry tells whether name in p is known to be n. p.d.mu is held.
func (fs *FS) stillEntry(p *node, name string, n *node) bool {
	p.d.kmu.Lock()
	defer p.d.kmu.Unlock()
	return p.d.kids[name] == n
}

// rmdirLocked removes the directory n. The namespace locks of both are held
// exclusively.
func (fs *FS) rmdirLocked(p *node, name string, n *node) error {
	up, fd, err := p.d.acquireUpperLocked()
	if err != nil {
		return err
	}
	defer up.Release()
	if len(n.d.lowers) > 0 {
		empty, err := fs.emptyLocked(n.d)
		if err != nil {
			return err
		}
		if !empty {
			return syscall.ENOTEMPTY
		}
	}
	low, err := fs.goesLocked(p, name)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	own := n.d.upper.Load()
	orphan, park, parked := -1, false, ""
	if own != nil && n.refs.Load() > 1 {
		if park = fs.crowded(); park {
			// It goes to the work directory.
		} else if orphan, err = hold(fd, name, unix.O_DIRECTORY); err != nil {
			return err
		}
	}
	switch {
	case own == nil:
		err = fs.white.make(fs, fd, name)
	case low != nil:
		parked, err = fs.exchangeWhiteout(fd, name, n, park)
	default:
		parked, err = fs.removeUpperDir(fd, name, n, park)
	}
	if err != nil {
		closeFD(orphan)
		return err
	}
	fs.step("rmdir.done")
	p.d.version++
	if park {
		fs.parkDirLocked(n, parked)
	}
	fs.buryDirLocked(p, name, n, orphan)
	return nil
}

// buryDirLocked records that the directory n is gone on disk. orphan is a
// descriptor of it, or -1. Both namespace locks and n.mu are held exclusively.
func (fs *FS) buryDirLocked(p *node, name string, n *node, orphan int) {
	n.d.dead = true
	n.nameless = true
	if n.d.redirect != "" {
		fs.renamed.Add(1) // nothing shows there any more
	}
	if orphan >= 0 {
		fs.orphanLocked(n, orphan)
	}
	if own := n.d.upper.Load(); own != nil && n.dir != fs.parking {
		own.Drop()
	}
	had := n.dropLinkLocked(p, name)
	p.d.forgetKid(name, n)
	if had {
		fs.put(p)
	}
}

// exchangeWhiteout puts a whiteout in the place of a directory that shows no
// entry, and removes that, or leaves it in the work directory as parked.
func (fs *FS) exchangeWhiteout(fd int, name string, n *node, park bool) (parked string, err error) {
	if len(n.d.lowers) == 0 {
		// Not known to be empty yet; a plain removal would tell, but leave the
		// name without its whiteout for a moment.
		empty, err := fs.emptyLocked(n.d)
		if err != nil {
			return "", err
		}
		if !empty {
			return "", syscall.ENOTEMPTY
		}
	}
	tmp, err := fs.whiteoutTmp()
	if err != nil {
		return "", err
	}
	err = fs.movable(fd, name, func() error {
		return at.Rename(fs.ly.scratch, tmp, fd, name, unix.RENAME_EXCHANGE)
	})
	if err != nil || !park {
		fs.discard(tmp)
	}
	return tmp, err
}

// removeUpperDir removes an upper directory that covers nothing, or moves it to
// the work directory as parked. It may hold whiteouts, which count for nothing.
func (fs *FS) removeUpperDir(fd int, name string, n *node, park bool) (parked string, err error) {
	if !park {
		err := at.Unlink(fd, name, unix.AT_REMOVEDIR)
		if err != syscall.ENOTEMPTY && err != syscall.EEXIST {
			return "", err
		}
	}
	empty, err := fs.emptyLocked(n.d)
	if err != nil {
		return "", err
	}
	if !empty {
		return "", syscall.ENOTEMPTY
	}
	tmp := fs.tmpName()
	err = fs.movable(fd, name, func() error {
		return at.Rename(fd, name, fs.ly.scratch, tmp, unix.RENAME_NOREPLACE)
	})
	if err == nil && !park {
		fs.discard(tmp)
	}
	return tmp, err
}

// movable calls f, which moves the directory name away; an ordinary user may
// have to make it writable first, as its ".." changes.
func (fs *FS) movable(fd int, name string, f func() error) error {
	err := f()
	if err != syscall.EACCES || fs.ly.privileged {
		return err
	}
	a, _, serr := at.Stat(fd, name)
	if serr != nil || a.Mode&0o200 != 0 || at.Chmod(fd, name, a.Mode&0o7777|0o200) != nil {
		return err
	}
	if err = f(); err != nil {
		at.Chmod(fd, name, a.Mode&0o7777)
	}
	return err
}
