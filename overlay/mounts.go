package overlay

import (
	"syscall"

	"github.com/astridfs/astridfs/vfs/at"
)

// The view is one filesystem where the workspace may be several, mounted in one
// another. Files move and have names across them, since a commit can copy; a
// directory is moved by its name alone, and nothing moves a mount point. So what
// the host would refuse at the commit is refused at once, by the same errno.

// goesLocked has the lower entry that name in p shows, and will not any more,
// recorded, and returns its directory, or nil if there is none. EBUSY where the
// workspace has another filesystem mounted.
func (fs *FS) goesLocked(p *node, name string) (*ldir, error) {
	low, a, id, err := fs.lowerEntry(p, name)
	if err != nil || low == nil {
		return nil, err
	}
	if err := fs.busy(low, name); err != nil {
		return nil, err
	}
	return low, fs.diverge(low, name, a, id)
}

// busy is EBUSY if name in the lower directory low is a mount point of the
// workspace.
func (fs *FS) busy(low *ldir, name string) error {
	if fs.log == nil || low.layer != fs.log.bottom {
		return nil // never committed
	}
	return location{low.at, name}.use(func(fd int, name string) error {
		_, root, err := at.MountOf(fd, name)
		if err == nil && root {
			err = syscall.EBUSY
		}
		return err
	})
}

// mountOf tells which mount an object of the workspace is on.
func mountOf(l location) (mount uint64, err error) {
	err = l.use(func(fd int, name string) error {
		mount, _, err = at.MountOf(fd, name)
		return err
	})
	return mount, err
}

// mountFor tells which mount of the workspace the directory n is on, or would
// be once it is committed.
func (fs *FS) mountFor(n *node) (uint64, error) {
	for {
		n.mu.RLock()
		up := n.link.parent
		var bottom *ldir
		if k := len(n.d.lowers); k > 0 && n.d.lowers[k-1].layer == fs.log.bottom {
			bottom = n.d.lowers[k-1]
		}
		n.mu.RUnlock()
		switch {
		case bottom != nil:
			return mountOf(location{dir: bottom.at})
		case up == nil:
			return 0, syscall.ENOENT // removed meanwhile
		}
		n = up
	}
}

// checkMounts refuses to move a directory to another mount (EXDEV), or one that
// is a mount point itself (EBUSY). It counts only while FS.renames is held, so
// that nothing above moves; do looks at mount points once more.
func (r *renaming) checkMounts() error {
	fs := r.fs
	dirs := r.x.isDir() || r.exchange && r.y.isDir()
	if fs.log == nil || r.from == r.to || !dirs {
		return nil
	}
	from, err := fs.mountFor(r.from)
	if err != nil {
		return err
	}
	to, err := fs.mountFor(r.to)
	if err == nil && from != to {
		err = syscall.EXDEV
	}
	return err
}
