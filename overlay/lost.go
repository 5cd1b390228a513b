package overlay

import (
	"github.com/astridfs/astridfs/vfs/at"
)

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
