package overlay

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// GetAttr implements [vfs.FS].
func (fs *FS) GetAttr(ctx context.Context, id vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	n, err := fs.node(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer fs.put(n)
	var a vfs.Attr
	err = fs.moves.steady(func() (err error) {
		n.mu.RLock()
		defer n.mu.RUnlock()
		a, err = fs.attrLocked(n, h)
		return err
	})
	return a, err
}

// attrLocked returns the attributes of n, which may be open as h. n.mu is held,
// shared or not.
func (fs *FS) attrLocked(n *node, h vfs.Handle) (vfs.Attr, error) {
	var a vfs.Attr
	err := n.statNamed(&a)
	if err == syscall.ESTALE {
		// What is open may be out of reach by name, as when the host replaced
		// or removed it.
		if n.d != nil {
			a, err = n.statLocked()
		}
		if o, ok := h.(*handle); ok && o.n == n {
			a, err = o.statLocked()
		}
	}
	if fs.opt.LowerStatic {
		a.Volatile = false
	}
	return a, err
}

// statLocked returns the attributes of the open file. h.n.mu is held.
func (h *handle) statLocked() (vfs.Attr, error) {
	fd, err := h.file()
	if err != nil {
		return vfs.Attr{}, err
	}
	defer h.mu.RUnlock()
	a, _, err := at.Stat(fd, "")
	if err == nil {
		h.n.showLocked(&a)
	}
	return a, err
}

// SetAttr implements [vfs.FS].
func (fs *FS) SetAttr(ctx context.Context, id vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	n, err := fs.node(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer fs.put(n)
	if in.Valid == 0 {
		return fs.GetAttr(ctx, id, h)
	}
	o, _ := h.(*handle)
	if err := checkSetAttr(n, o, &in); err != nil {
		return vfs.Attr{}, err
	}
	defer fs.gate.enter(id).RUnlock()
	limit := int64(wholeFile)
	if in.Valid&vfs.SetSize != 0 {
		limit = in.Size
		if o == nil || o.n != n {
			// The copy is made without what is cut off: not if that will be refused.
			n.mu.RLock()
			err := fs.mayWriteLocked(n)
			n.mu.RUnlock()
			if err != nil {
				return vfs.Attr{}, err
			}
		}
	}
	if err := fs.copyUp(ctx, n, limit); err != nil {
		return vfs.Attr{}, err
	}
	n.mu.RLock()
	err = fs.setAttrLocked(ctx, n, o, &in)
	a, serr := fs.attrLocked(n, h)
	n.mu.RUnlock()
	fs.NodeChanged(ctx, n.id, in.Valid&vfs.SetSize != 0)
	if err == nil {
		err = serr
	}
	return a, err
}

func checkSetAttr(n *node, h *handle, in *vfs.SetAttr) error {
	if in.Valid&vfs.SetSize != 0 {
		switch {
		case n.typ == unix.S_IFDIR:
			return syscall.EISDIR
		case n.typ != unix.S_IFREG || in.Size < 0:
			return syscall.EINVAL
		case h != nil && !h.writes():
			return syscall.EINVAL
		}
	}
	if in.Valid&vfs.SetMode != 0 && n.typ == unix.S_IFLNK {
		return syscall.EOPNOTSUPP
	}
	return nil
}

// setAttrLocked changes the real object, which is in the upper layer. n.mu is
// held, shared or not.
func (fs *FS) setAttrLocked(ctx context.Context, n *node, h *handle, in *vfs.SetAttr) error {
	if in.Valid&vfs.SetSize != 0 {
		if err := fs.truncateLocked(n, h, in.Size); err != nil {
			return err
		}
		if err := fs.dropPrivileges(ctx, n); err != nil {
			return err
		}
	}
	if in.Valid&^vfs.SetSize == 0 {
		return nil
	}
	s, err := n.spotLocked()
	if err != nil {
		return err
	}
	defer s.release()
	if in.Valid&(vfs.SetUID|vfs.SetGID) != 0 {
		uid, gid := -1, -1
		if in.Valid&vfs.SetUID != 0 {
			uid = int(in.UID)
		}
		if in.Valid&vfs.SetGID != 0 {
			gid = int(in.GID)
		}
		if err := at.Chown(s.fd, s.name, uid, gid); err != nil {
			return gone(err)
		}
	}
	if in.Valid&vfs.SetMode != 0 {
		if !fs.ly.privileged {
			fs.modes.Lock() // see openAnyway
			defer fs.modes.Unlock()
		}
		if err := at.Chmod(s.fd, s.name, in.Mode&0o7777); err != nil {
			return gone(err)
		}
	}
	atime := timeArg(in.Valid, vfs.SetAtime, vfs.SetAtimeNow, in.Atime)
	mtime := timeArg(in.Valid, vfs.SetMtime, vfs.SetMtimeNow, in.Mtime)
	if atime == nil && mtime == nil {
		return nil
	}
	return gone(at.SetTimes(s.fd, s.name, atime, mtime))
}

func timeArg(valid, set, now vfs.SetMask, t vfs.Timespec) *unix.Timespec {
	switch {
	case valid&now != 0:
		return &unix.Timespec{Nsec: unix.UTIME_NOW}
	case valid&set != 0:
		return &unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
	}
	return nil
}

// truncateLocked sets the size of the upper file, by the open handle h if it is
// not nil. n.mu is held, shared or not.
func (fs *FS) truncateLocked(n *node, h *handle, size int64) error {
	if h != nil && h.n == n && h.writes() {
		fd, err := h.file()
		if err != nil {
			return err
		}
		defer h.mu.RUnlock()
		return ftruncate(fd, size)
	}
	fd, err := fs.openReal(n, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return ftruncate(fd, size)
}

// Readlink implements [vfs.FS].
func (fs *FS) Readlink(ctx context.Context, id vfs.NodeID) (string, error) {
	n, err := fs.node(id)
	if err != nil {
		return "", err
	}
	defer fs.put(n)
	if n.typ != unix.S_IFLNK {
		return "", syscall.EINVAL
	}
	var target string
	err = fs.moves.steady(func() (err error) {
		target, err = fs.readlink(n)
		return err
	})
	return target, err
}

func (fs *FS) readlink(n *node) (string, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	s, err := n.spotLocked()
	if err != nil {
		return "", err
	}
	defer s.release()
	if n.up || s.name == "" {
		target, err := at.Readlink(s.fd, s.name)
		return target, gone(err)
	}
	// Others may have put another link there.
	fd, err := at.Open(s.fd, s.name, unix.O_PATH, 0)
	if err != nil {
		return "", gone(err)
	}
	defer unix.Close(fd)
	if _, id, err := at.Stat(fd, ""); err != nil {
		return "", err
	} else if id != n.real {
		return "", syscall.ESTALE
	}
	return at.Readlink(fd, "")
}

// StatFS implements [vfs.FS].
func (fs *FS) StatFS(ctx context.Context, id vfs.NodeID) (vfs.StatFS, error) {
	n, err := fs.node(id)
	if err != nil {
		return vfs.StatFS{}, err
	}
	fs.put(n)
	st, err := at.StatFS(fs.workFD)
	if err != nil {
		return vfs.StatFS{}, err
	}
	return vfs.StatFS{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), NameLen: uint32(st.Namelen),
	}, nil
}
