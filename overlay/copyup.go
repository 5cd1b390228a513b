package overlay

import (
	"context"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// wholeFile is the limit of a copy-up that takes all contents.
const wholeFile = -1

// flights are the copy-ups under way, so that two changes of one node copy it
// once. Nobody holds a lock of a node or directory while waiting for one.
type flights struct {
	shards [16]struct {
		mu  sync.Mutex
		all map[vfs.NodeID]chan struct{}
	}
}

func (f *flights) init() {
	for i := range f.shards {
		f.shards[i].all = make(map[vfs.NodeID]chan struct{})
	}
}

// join returns nil if the caller is to do the copy-up and leave afterwards,
// else what is closed when another one is done.
func (f *flights) join(id vfs.NodeID) <-chan struct{} {
	s := &f.shards[id%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.all[id]; ok {
		return c
	}
	s.all[id] = make(chan struct{})
	return nil
}

func (f *flights) leave(id vfs.NodeID) {
	s := &f.shards[id%16]
	s.mu.Lock()
	close(s.all[id])
	delete(s.all, id)
	s.mu.Unlock()
}

// copyUp makes sure that n is in the upper layer, with all directories above
// it. Of a regular file's contents the first limit bytes are copied, or all.
// The caller is inside the gate and holds a reference to n and no lock.
//
// Errnos: EINTR (cancelled), ENOSPC, EDQUOT, EIO, ESTALE; the old state is
// there after each.
func (fs *FS) copyUp(ctx context.Context, n *node, limit int64) error {
	for {
		n.mu.RLock()
		up, stale := n.up, n.stale
		n.mu.RUnlock()
		if up {
			return nil
		}
		if stale {
			return syscall.ESTALE
		}
		if err := ctx.Err(); err != nil {
			return syscall.EINTR
		}
		done := fs.copies.join(n.id)
		if done == nil {
			err := fs.copyUpOnce(ctx, n, limit)
			fs.copies.leave(n.id)
			return err
		}
		select {
		case <-done:
		case <-ctx.Done():
			return syscall.EINTR
		}
	}
}

// copyUpParent makes sure that the directory of n's name is in the upper layer
// and returns that name with a reference to the directory; parent is nil for a
// node without a name.
func (fs *FS) copyUpParent(ctx context.Context, n *node) (link, error) {
	for {
		n.mu.RLock()
		l, others := n.link, len(n.links)
		if l.parent != nil {
			l.parent.ref()
		}
		n.mu.RUnlock()
		if l.parent == nil {
			return l, nil
		}
		err := fs.copyUp(ctx, l.parent, wholeFile)
		if err == nil {
			return l, nil
		}
		if err == syscall.ESTALE && others > 0 {
			// The host removed that directory; the file has other names.
			fs.detach(l.parent, l.name, n, false)
			fs.put(l.parent)
			continue
		}
		fs.put(l.parent)
		return link{}, err
	}
}

// copyUpAs is copyUp by way of the name in p, should n have several.
func (fs *FS) copyUpAs(ctx context.Context, n, p *node, name string) error {
	n.mu.Lock()
	for i := range n.links {
		if l := &n.links[i]; l.parent == p && l.name == name {
			*l, n.link = n.link, *l
		}
	}
	n.mu.Unlock()
	return fs.copyUp(ctx, n, wholeFile)
}

func (fs *FS) copyUpOnce(ctx context.Context, n *node, limit int64) error {
	n.mu.RLock()
	up := n.up
	n.mu.RUnlock()
	if up {
		return nil
	}
	l, err := fs.copyUpParent(ctx, n)
	if err != nil {
		return err
	}
	w, err := fs.makeCopy(ctx, n, limit)
	if err == syscall.ESTALE && fs.relocate(n) {
		w, err = fs.makeCopy(ctx, n, limit)
	}
	for tries := 0; err == errTorn && tries < maxTorn; tries++ {
		w, err = fs.makeCopy(ctx, n, limit)
	}
	if err != nil {
		fs.put(l.parent)
		return err
	}
	defer w.close(fs)
	for {
		ok, err := fs.publishCopy(n, l, w)
		fs.put(l.parent)
		for _, other := range w.parted {
			fs.EntryChanged(ctx, other.parent.id, other.name)
			fs.put(other.parent)
		}
		if ok || err != nil {
			return err
		}
		// It was renamed or removed meanwhile.
		if l, err = fs.copyUpParent(ctx, n); err != nil {
			return err
		}
	}
}

// publishCopy puts the finished copy in the place of n's name l. It is false if
// n has another name or none by now.
func (fs *FS) publishCopy(n *node, l link, c *copied) (bool, error) {
	if l.parent == nil {
		return fs.publishNameless(n, c)
	}
	p := l.parent
	// Shared: other names of the directory may change, this one may not. The
	// state of a directory that is copied up changes by one atomic store.
	p.d.mu.RLock()
	defer p.d.mu.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.findLinkLocked(p, l.name) == nil {
		return false, nil
	}
	if here, err := fs.stillNameLocked(n, p, l.name, c); err != nil {
		return false, err
	} else if !here {
		n.dropLinkLocked(p, l.name)
		p.d.forgetKid(l.name, n)
		fs.put(p) // not the last: the caller holds one
		return false, nil
	}
	up := p.d.upper.Load()
	if up == nil {
		return false, syscall.ESTALE
	}
	fd, err := up.Acquire()
	if err != nil {
		return false, gone(err)
	}
	defer up.Release()
	// The parent's own times are the lower's; that a copy is put into it is
	// nothing that happens in the view.
	before, _, err := at.Stat(fd, "")
	if err != nil {
		return false, err
	}
	shut, err := fs.openUp(fd, "", &before)
	if err != nil {
		return false, err
	}
	defer func() { shut() }()
	if err := fs.makeImpure(p, fd); err != nil {
		return false, err
	}
	fs.step("copyup.impure")
	tfd, tname := c.target(fs)
	_, id, err := at.Stat(tfd, tname)
	if err != nil {
		return false, err
	}
	if err := fs.linkIndex(n, c, id); err != nil {
		return false, err
	}
	if err := c.publish(fs, fd, l.name); err != nil {
		if c.idx != "" {
			at.Unlink(fs.homeFD(c.idx), c.idx, 0)
			fs.nodes.unregisterIdent(id, n)
		}
		return false, err
	}
	fs.step("copyup.published")
	if n.d != nil {
		fs.finishDir(fd, l.name, &c.attr)
	}
	shut() // what follows may take FS.modes itself
	shut = func() {}
	setTimes(fd, "", &before) // only for show
	if lk := n.findLinkLocked(p, l.name); lk != nil {
		lk.inUpper = true
	}
	fs.becomeUpperLocked(n, id)
	switch {
	case n.d != nil:
		n.d.upper.Store(up.Child(l.name, id))
	case c.idx != "":
		// All further names are found by the index.
		if err := fs.becomeIndexedLocked(n, c, 2); err != nil {
			return false, err
		}
	default:
		n.dir, n.name = up, l.name
		if n.d == nil && len(n.links) > 0 {
			c.parted = n.partLocked()
		}
	}
	return true, nil
}

// stillNameLocked tells whether name in p, a name of n, may be given to the copy
// c. The host may have taken one of several names away, under which the copy
// would appear as something new, and be missed under the others. p.d.mu is held,
// and n.mu exclusively.
func (fs *FS) stillNameLocked(n, p *node, name string, c *copied) (bool, error) {
	if p.d.dead {
		return false, nil
	}
	if n.d != nil || len(n.links) == 0 && c.attr.Nlink < 2 {
		return true, nil // by which it was just read
	}
	low, _, id, err := fs.lowerEntry(p, name)
	if err != nil || low == nil || id != c.id {
		return false, err
	}
	// It may have been read by another name, for which this was recorded.
	return true, fs.diverge(low, name, c.attr, c.id)
}

// partLocked leaves n, the copy of a lower file that is not marked as the copy
// of all of its names, only its names in the upper layer, and returns the
// others, whose parents the caller has to put. Those stand for the lower file,
// and for other nodes, from now on. n.mu is held exclusively.
func (n *node) partLocked() (parted []link) {
	n.idx, n.nlAdj = "", 0
	var kept []link
	for _, l := range append([]link{n.link}, n.links...) {
		if l.inUpper {
			kept = append(kept, l)
			continue
		}
		l.parent.d.forgetKid(l.name, n)
		parted = append(parted, l)
	}
	n.link, n.links = kept[0], kept[1:] // one was just published
	return parted
}

// openUp lets an ordinary user put a copy into, or a mark on, a directory of
// theirs whose permission bits, those of a, do not allow it: neither is a change
// of the directory in the view. shut takes the permission away again.
func (fs *FS) openUp(fd int, name string, a *vfs.Attr) (shut func(), err error) {
	if fs.ly.privileged || a.Mode&0o300 == 0o300 {
		return func() {}, nil
	}
	fs.modes.Lock()
	if err := at.Chmod(fd, name, a.Mode&0o7777|0o300); err != nil {
		fs.modes.Unlock()
		return nil, err
	}
	return func() {
		at.Chmod(fd, name, a.Mode&0o7777)
		fs.modes.Unlock()
	}, nil
}

// linkIndex enters a copy with several names in the index. From then on every
// lookup of one of these names finds the copy, and by its identity n, which
// becomes that copy before n.mu is released.
func (fs *FS) linkIndex(n *node, c *copied, id at.Ident) error {
	if c.idx == "" {
		return nil
	}
	fs.hard.used.Store(true)
	fs.nodes.setIdent(id, n)
	if err := c.link(fs, fs.homeFD(c.idx), c.idx); err != nil {
		fs.nodes.unregisterIdent(id, n)
		return err
	}
	fs.step("copyup.indexed")
	return nil
}

// finishDir gives a directory the permission bits that it could not be moved
// with; see copyMeta.
func (fs *FS) finishDir(fd int, name string, a *vfs.Attr) {
	if !fs.ly.privileged && a.Mode&0o200 == 0 {
		at.Chmod(fd, name, a.Mode&0o7777)
	}
}

// publishNameless keeps the copy of a node without a name by its descriptor.
func (fs *FS) publishNameless(n *node, c *copied) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link.parent != nil {
		return false, nil
	}
	if c.idx != "" && !n.nameless {
		// Names of it that nobody has looked up remain.
		return true, fs.publishIndexed(n, c)
	}
	tfd, tname := c.target(fs)
	_, id, err := at.Stat(tfd, tname)
	if err != nil {
		return false, err
	}
	if n.d == nil && fs.crowded() {
		parked := fs.tmpName()
		if err := c.publish(fs, fs.ly.scratch, parked); err != nil {
			return false, err
		}
		fs.dropOrphanLocked(n)
		n.dir, n.name, n.idx = fs.parking, parked, ""
		fs.becomeUpperLocked(n, id)
		return true, nil
	}
	fd, err := c.keep(fs)
	if err != nil {
		return false, err
	}
	n.idx = ""
	fs.becomeUpperLocked(n, id)
	fs.orphanLocked(n, fd)
	return true, nil
}

// publishIndexed gives the copy no name but the index's. n.mu is held.
func (fs *FS) publishIndexed(n *node, c *copied) error {
	tfd, tname := c.target(fs)
	_, id, err := at.Stat(tfd, tname)
	if err != nil {
		return err
	}
	if err := fs.linkIndex(n, c, id); err != nil {
		return err
	}
	fs.becomeUpperLocked(n, id)
	return fs.becomeIndexedLocked(n, c, 1)
}

// becomeIndexedLocked records that n is reached by the index. links is the
// upper inode's link count. n.mu is held exclusively.
func (fs *FS) becomeIndexedLocked(n *node, c *copied, links int32) error {
	n.idx, n.dir, n.name = c.idx, fs.hard.home(c.idx), c.idx
	n.nlAdj += int32(c.attr.Nlink) - links
	fs.step("copyup.counting")
	if err := fs.setNlinkLocked(n); err != nil {
		return err
	}
	fs.step("copyup.counted")
	at.Unlink(fs.ly.links, countPrefix+c.idx, 0) // the mark counts from now on
	return nil
}

// becomeUpperLocked records that id in the upper layer is behind n from now on.
// n.mu is held exclusively.
func (fs *FS) becomeUpperLocked(n *node, id at.Ident) {
	old := n.real
	n.changed.Store(true)
	n.up, n.real, n.low = true, id, nil
	n.gen++
	n.dropSpareLocked()
	if n.d == nil {
		fs.nodes.unregisterIdent(old, n)
	}
}

// makeImpure marks the upper directory of p, open as fd, as one whose entries
// may show other inode numbers than their own. It is done before there are any.
func (fs *FS) makeImpure(p *node, fd int) error {
	if p.d.impure.Load() {
		return nil
	}
	p.changed.Store(true)
	if err := fs.ly.setImpure(fd, ""); err != nil {
		return err
	}
	p.d.impure.Store(true)
	return nil
}

// diverge has recorded what a lower entry looks like before it is covered.
func (fs *FS) diverge(l *ldir, name string, a vfs.Attr, id at.Ident) error {
	return fs.base.record(l.layer, l.join(name), a, id)
}

func setTimes(fd int, name string, a *vfs.Attr) error {
	at0 := unix.Timespec{Sec: a.Atime.Sec, Nsec: int64(a.Atime.Nsec)}
	mt := unix.Timespec{Sec: a.Mtime.Sec, Nsec: int64(a.Mtime.Nsec)}
	return at.SetTimes(fd, name, &at0, &mt)
}
