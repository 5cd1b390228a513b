package overlay

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Rmdir implements [vfs.FS].
func (fs *FS) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	return fs.remove(ctx, parent, name, func(p *node) (*node, error) {
		for {
			n, err := fs.entryOf(ctx, p, name)
			if err != nil {
				return nil, err
			}
			again, err := fs.rmdirOf(ctx, p, name, n)
			if !again && err == nil {
				return n, nil
			}
			fs.put(n)
			if !again {
				return nil, err
			}
		}
	})
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
