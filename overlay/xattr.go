package overlay

import (
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// onReal calls f with the place of the real object of node id. With verify set
// it first makes sure that a lower object is still the one that it was.
func (fs *FS) onReal(id vfs.NodeID, f func(fd int, name string) error) error {
	n, err := fs.node(id)
	if err != nil {
		return err
	}
	defer fs.put(n)
	return fs.moves.steady(func() error {
		n.mu.RLock()
		defer n.mu.RUnlock()
		return n.onRealLocked(f)
	})
}

func (n *node) onRealLocked(f func(fd int, name string) error) error {
	if !n.up {
		if _, err := n.statLocked(); err != nil {
			return err
		}
	}
	s, err := n.spotLocked()
	if err != nil {
		return err
	}
	defer s.release()
	return gone(f(s.fd, s.name))
}

// GetXattr implements [vfs.FS].
func (fs *FS) GetXattr(ctx context.Context, id vfs.NodeID, name string, dest []byte) (n int, err error) {
	if isMark(name) {
		return 0, syscall.ENODATA
	}
	err = fs.onReal(id, func(fd int, obj string) error {
		n, err = at.GetXattr(fd, obj, name, dest)
		return err
	})
	return n, err
}

// ListXattr implements [vfs.FS].
func (fs *FS) ListXattr(ctx context.Context, id vfs.NodeID, dest []byte) (int, error) {
	var list string
	err := fs.onReal(id, func(fd int, obj string) (err error) {
		list, err = listXattrs(fd, obj)
		return err
	})
	if err != nil {
		return 0, err
	}
	size := 0
	for attr := range strings.SplitSeq(list, "\x00") {
		if attr == "" || isMark(attr) {
			continue
		}
		end := size + len(attr) + 1
		if len(dest) > 0 {
			if end > len(dest) {
				return 0, syscall.ERANGE
			}
			copy(dest[size:], attr)
			dest[end-1] = 0
		}
		size = end
	}
	return size, nil
}

// SetXattr implements [vfs.FS].
func (fs *FS) SetXattr(ctx context.Context, id vfs.NodeID, name string, value []byte, flags int) error {
	return fs.changeXattr(ctx, id, name, func(fd int, obj string) error {
		if flags != 0 {
			// Tell what would fail before it costs a copy-up.
			_, err := at.GetXattr(fd, obj, name, nil)
			switch {
			case err == nil && flags&unix.XATTR_CREATE != 0:
				return syscall.EEXIST
			case err == syscall.ENODATA && flags&unix.XATTR_REPLACE != 0:
				return err
			}
		}
		return nil
	}, func(fd int, obj string) error {
		return at.SetXattr(fd, obj, name, value, flags)
	})
}

// RemoveXattr implements [vfs.FS].
func (fs *FS) RemoveXattr(ctx context.Context, id vfs.NodeID, name string) error {
	return fs.changeXattr(ctx, id, name, func(fd int, obj string) error {
		_, err := at.GetXattr(fd, obj, name, nil)
		if err == syscall.ERANGE {
			return nil
		}
		return err
	}, func(fd int, obj string) error {
		return at.RemoveXattr(fd, obj, name)
	})
}

// changeXattr has change applied to the upper object, if check finds nothing
// against it.
func (fs *FS) changeXattr(ctx context.Context, id vfs.NodeID, name string, check, change func(fd int, obj string) error) error {
	if isMark(name) {
		return syscall.EPERM
	}
	defer fs.gate.enter(id).RUnlock()
	n, err := fs.node(id)
	if err != nil {
		return err
	}
	defer fs.put(n)
	if strings.HasPrefix(name, "user.") && n.typ != unix.S_IFREG && n.typ != unix.S_IFDIR {
		return syscall.EPERM
	}
	n.mu.RLock()
	if !n.up {
		err = n.onRealLocked(check)
	}
	n.mu.RUnlock()
	if err != nil {
		return err
	}
	if err := fs.copyUp(ctx, n, wholeFile); err != nil {
		return err
	}
	n.mu.RLock()
	err = n.onRealLocked(change)
	n.mu.RUnlock()
	if err == nil {
		fs.NodeChanged(ctx, id, false)
	}
	return err
}
