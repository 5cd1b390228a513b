package overlay

import (
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// judged tells whether the fingerprints say anything of what c covers: only the
// bottom layer is the workspace, which others change.
func (w *walk) judged(c *cover) bool {
	return w.base != nil && !c.moved && (!c.exists() || c.in.layer == w.fs.log.bottom)
}

// recorded returns the fingerprint of what c is at a path of the bottom layer,
// or nil. That of a file with several names may stand under another one, by
// which it was changed.
func (w *walk) recorded(origin string, c *cover) *fingerprint {
	p := w.base.get(origin)
	if p == nil && c.exists() && w.reload() {
		p = w.base.get(origin)
	}
	if p != nil || !c.exists() || c.isDir() || c.attr.Nlink < 2 {
		return p
	}
	q := w.fs.log.printOf(&c.attr, c.id)
	if w.inodes == nil {
		w.inodes = w.base.inodes()
	}
	if k := w.inodes[inode{q.ino, q.dev}]; k != nil {
		return &k.now().print
	}
	return nil
}

// reload reads the fingerprints again if there are more by now, and tells
// whether it did: what somebody changes for the first time while the change set
// is made is recorded after they were read. Should that fail, the older ones
// stand, which can only make a conflict of it.
func (w *walk) reload() bool {
	if w.settled {
		return false
	}
	n := w.fs.log.length()
	if n == w.baseLength {
		return false
	}
	tree, err := w.fs.log.load()
	if err != nil {
		return false
	}
	w.base, w.inodes, w.baseLength = tree, nil, n
	return true
}

// conflict compares what an upper object covers now with what it covered when
// the overlay diverged. diff is how the two differ now: where they agree, there
// is nothing that a commit could overwrite.
func (w *walk) conflict(o *object, diff What) Conflict {
	if !w.judged(&o.low) {
		return NoConflict
	}
	found := w.conflictOf(o, diff)
	if found != NoConflict && w.reload() {
		found = w.conflictOf(o, diff)
	}
	return found
}

func (w *walk) conflictOf(o *object, diff What) Conflict {
	c := &o.low
	p := w.recorded(o.origin, c)
	switch {
	case !c.exists():
		if p == nil || o.opaque || o.hidden {
			return NoConflict // the view has deleted it as well
		}
		return HostRemoved
	case p == nil:
		if c.isDir() && o.attr.IsDir() {
			return NoConflict // both made a directory
		}
		return HostAdded
	case o.attr.IsDir() && c.isDir():
		if p.mode&unix.S_IFMT != unix.S_IFDIR {
			return NoConflict // both put a directory in a file's place
		}
		return w.attrConflict(p, c, &o.attr, diff)
	case c.isDir():
		return w.deletion(o.origin, c)
	case diff&Content != 0:
		if !w.matches(p, c) {
			return HostChanged
		}
		return NoConflict
	}
	return w.attrConflict(p, c, &o.attr, diff)
}

// attrConflict judges a difference in mode, owner and extended attributes
// alone: the workspace may hold the old value of each or the new one.
func (w *walk) attrConflict(p *fingerprint, c *cover, now *vfs.Attr, diff What) Conflict {
	a := &c.attr
	if p.mode&^07777 != a.Mode&^07777 {
		return HostChanged
	}
	mine := diff & attrsDiffer(a, now)
	if mine&Mode != 0 && a.Mode != p.mode || mine&Owner != 0 && (a.UID != p.uid || a.GID != p.gid) {
		return HostChanged
	}
	if diff&Xattrs != 0 && mine == 0 && !a.IsDir() && a.Ctime != p.ctime {
		return HostChanged
	}
	return NoConflict
}

// matches tells whether a lower entry that is no directory is what the
// fingerprint says.
func (w *walk) matches(p *fingerprint, c *cover) bool {
	return *p == w.fs.log.printOf(&c.attr, c.id)
}

// deletion judges the removal of a lower entry, of a directory without looking
// into it.
func (w *walk) deletion(origin string, c *cover) Conflict {
	if !w.judged(c) {
		return NoConflict
	}
	p := w.recorded(origin, c)
	if p == nil {
		return HostAdded
	}
	if !c.isDir() {
		if w.matches(p, c) {
			return NoConflict
		}
		return HostChanged
	}
	// Its times tell of entries that came or went; where each is looked at,
	// what went is none of our concern.
	q := w.fs.log.printOf(&c.attr, c.id)
	if p.mode != q.mode || p.uid != q.uid || p.gid != q.gid || p.ino != q.ino || p.dev != q.dev || p.mtime != q.mtime && !w.opt.deep {
		return HostChanged
	}
	return NoConflict
}

// deletionBelow looks for conflicts in all that a deleted directory held.
func (w *walk) deletionBelow(origin string, c *cover) (Conflict, error) {
	found := NoConflict
	err := w.fs.lowerTree(w.ctx, c, func(rel string, sub *cover) error {
		if w.survey.movedTo(sub) != "" {
			return errSkip
		}
		if found = w.deletion(joinPath(origin, rel), sub); found != NoConflict {
			return errStop
		}
		return nil
	})
	if err == errStop {
		err = nil
	}
	return found, err
}
