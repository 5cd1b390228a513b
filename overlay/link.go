package overlay

import (
	"context"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Link implements [vfs.FS].
func (fs *FS) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := vfs.CheckName(name); err != nil {
		return vfs.Entry{}, err
	}
	defer fs.gate.enter(id).RUnlock()
	n, err := fs.node(id)
	if err != nil {
		return vfs.Entry{}, err
	}
	defer fs.put(n)
	if n.isDir() {
		return vfs.Entry{}, syscall.EPERM
	}
	p, err := fs.dirNode(parent)
	if err != nil {
		return vfs.Entry{}, err
	}
	defer fs.put(p)
	if err := fs.prepareParent(ctx, p, name); err != nil {
		return vfs.Entry{}, err
	}
	n.mu.RLock()
	lost := n.nameless && !n.tmp
	n.mu.RUnlock()
	if lost { // nothing to copy up for; linkIn looks again
		return vfs.Entry{}, syscall.ENOENT
	}
	if err := fs.copyUp(ctx, n, wholeFile); err != nil {
		return vfs.Entry{}, err
	}
	a, err := fs.linkIn(n, p, name)
	if err != nil {
		return vfs.Entry{}, err
	}
	n.ref() // the caller's
	e := fs.entry(n, a, false)
	fs.EntryChanged(ctx, p.id, name)
	fs.NodeChanged(ctx, n.id, false)
	fs.NodeChanged(ctx, p.id, true)
	return e, nil
}

// linkIn gives n, which is in the upper layer, the name in p.
func (fs *FS) linkIn(n, p *node, name string) (vfs.Attr, error) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	up, fd, err := p.d.acquireUpperLocked()
	if err != nil {
		return vfs.Attr{}, err
	}
	defer up.Release()
	white, err := fs.freeNameLocked(p, fd, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	var stale *node // what the host had there, and has no more
	defer func() {
		if stale != nil {
			fs.detach(p, name, stale, true)
			fs.put(stale)
		}
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nameless && !n.tmp {
		return vfs.Attr{}, syscall.ENOENT // its last name went meanwhile
	}
	if n.ino.Load() != fs.devs.ino(n.real) {
		if err := fs.makeImpure(p, fd); err != nil {
			return vfs.Attr{}, err
		}
	}
	s, err := n.spotLocked()
	if err != nil {
		return vfs.Attr{}, err
	}
	defer s.release()
	n.changed.Store(true) // who found it with one name knows better now
	err = fs.linkOnDisk(s, fd, name, white)
	if err == syscall.EEXIST && !white {
		// A stray whiteout, see makeIn.
		if a, _, serr := at.Stat(fd, name); serr == nil && isWhiteout(&a) {
			err = fs.linkOnDisk(s, fd, name, true)
		}
	}
	if err != nil {
		return vfs.Attr{}, err
	}
	fs.step("link.done")
	p.d.version++
	if n.orphan >= 0 || n.dir == fs.parking {
		fs.dropOrphanLocked(n)
		n.dir, n.name = up, name
	}
	n.nameless, n.tmp = false, false
	p.d.kmu.Lock()
	if old := p.d.kids[name]; old != nil && old != n && old.tryRef() {
		stale = old
	}
	p.d.setKidLocked(name, n)
	p.d.kmu.Unlock()
	p.ref()
	n.addLinkLocked(link{parent: p, name: name, inUpper: true})
	fs.nodes.setIdent(n.real, n)
	return n.statLocked()
}

func (fs *FS) linkOnDisk(s spot, fd int, name string, white bool) error {
	link := func(dirfd int, as string) error {
		if s.name == "" {
			return at.LinkFD(s.fd, dirfd, as)
		}
		return at.Link(s.fd, s.name, dirfd, as)
	}
	if !white {
		return link(fd, name)
	}
	tmp := fs.tmpName()
	if err := link(fs.ly.scratch, tmp); err != nil {
		return err
	}
	err := at.Rename(fs.ly.scratch, tmp, fd, name, 0)
	if err != nil {
		at.Unlink(fs.ly.scratch, tmp, 0)
	}
	return err
}
