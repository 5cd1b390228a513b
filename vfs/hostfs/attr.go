package hostfs

import (
	"context"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Lookup implements vfs.FS.
func (fs *FS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (e vfs.Entry, err error) {
	e.Volatile = true
	p, err := fs.place(parent, name)
	if err != nil {
		return e, err
	}
	// Shared, so that no change of ours comes between what the host says and
	// what the table is told.
	p.dir.names.RLock()
	defer p.dir.names.RUnlock()
	s, err := fs.enter(p)
	if err != nil {
		return e, err
	}
	defer s.leave()
	f, err := fs.look(s.fd, name)
	if err != nil {
		return e, err
	}
	n, err := fs.intern(p, name, &f)
	if err != nil {
		return e, err
	}
	e.Node, e.Attr = n.id, f.attr
	return e, nil
}

// GetAttr implements vfs.FS.
func (fs *FS) GetAttr(ctx context.Context, id vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	n, err := fs.node(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	if hh, ok := h.(*handle); ok && hh.n == n {
		return n.stat(hh.held.fd)
	}
	if n.dir == nil {
		var a vfs.Attr
		err := fs.byName(n, func(dirfd int, name string) error {
			got, id, err := at.Stat(dirfd, name)
			if err == nil && !n.matches(id, &got) {
				err = syscall.ESTALE
			}
			a = got
			return err
		})
		if err == nil {
			n.saw(&a)
			a.Volatile = true
			return a, nil
		}
		if err != syscall.ESTALE {
			return vfs.Attr{}, err
		}
	}
	s, err := fs.reach(n)
	if err != nil {
		if last := n.lastAttr(); last != nil && err == syscall.ESTALE {
			return *last, nil
		}
		return vfs.Attr{}, err
	}
	defer s.leave()
	return n.stat(s.fd)
}

func (n *node) lastAttr() *vfs.Attr {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	return n.last
}

// stat returns the attributes of n by a descriptor of it.
func (n *node) stat(fd int) (vfs.Attr, error) {
	a, _, err := at.Stat(fd, "")
	if err != nil {
		return vfs.Attr{}, err
	}
	n.saw(&a)
	a.Volatile = true
	if n.dir != nil && n.removed() {
		a.Nlink = 0 // some hosts leave a removed directory its link to itself
	}
	return a, nil
}

// removed tells whether n lost its last name by our doing.
func (n *node) removed() bool {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	return n.pin != nil
}

// SetAttr implements vfs.FS.
func (fs *FS) SetAttr(ctx context.Context, id vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	n, err := fs.node(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	hh, _ := h.(*handle)
	if hh != nil && hh.n != n {
		hh = nil
	}
	if err := checkSetAttr(n, hh, &in); err != nil {
		return vfs.Attr{}, err
	}
	var fd int
	if hh != nil {
		fd = hh.held.fd
	} else {
		s, err := fs.reach(n)
		if err != nil {
			return vfs.Attr{}, err
		}
		defer s.leave()
		fd = s.fd
	}
	changed, err := fs.apply(ctx, n, fd, hh, &in)
	if changed {
		fs.NodeChanged(ctx, id, in.Valid&vfs.SetSize != 0)
	}
	if err != nil {
		return vfs.Attr{}, err
	}
	return n.stat(fd)
}

func checkSetAttr(n *node, h *handle, in *vfs.SetAttr) error {
	if in.Valid&vfs.SetSize != 0 {
		switch {
		case n.dir != nil:
			return syscall.EISDIR
		case n.typ != unix.S_IFREG || in.Size < 0:
			return syscall.EINVAL
		case h != nil && !h.writable():
			return syscall.EBADF
		}
	}
	if in.Valid&vfs.SetMode != 0 && n.typ == unix.S_IFLNK {
		return syscall.EOPNOTSUPP
	}
	for _, t := range [...]struct {
		bit vfs.SetMask
		ts  vfs.Timespec
	}{{vfs.SetAtime, in.Atime}, {vfs.SetMtime, in.Mtime}} {
		if in.Valid&t.bit != 0 && t.ts.Nsec > 999_999_999 {
			return syscall.EINVAL
		}
	}
	return nil
}

// apply makes the changes in the order in which one does not undo the other: a
// new owner and a new size clear the setuid bit, a new size sets the times. What
// the host most likely refuses comes first. It tells whether any took effect.
func (fs *FS) apply(ctx context.Context, n *node, fd int, h *handle, in *vfs.SetAttr) (changed bool, err error) {
	if in.Valid&(vfs.SetUID|vfs.SetGID) != 0 {
		uid, gid := -1, -1
		if in.Valid&vfs.SetUID != 0 {
			uid = int(int32(in.UID))
		}
		if in.Valid&vfs.SetGID != 0 {
			gid = int(int32(in.GID))
		}
		if err := at.Chown(fd, "", uid, gid); err != nil {
			return changed, err
		}
		changed = true
	}
	if in.Valid&vfs.SetSize != 0 {
		if h != nil {
			err = h.truncate(in.Size)
		} else {
			err = at.Truncate(fd, in.Size)
		}
		if err != nil {
			return changed, err
		}
		changed = true
		if err := fs.clearSetID(ctx, n, fd); err != nil {
			return changed, err
		}
	}
	if in.Valid&vfs.SetMode != 0 {
		if err := at.Chmod(fd, "", in.Mode&07777); err != nil {
			return changed, err
		}
		changed = true
	}
	const times = vfs.SetAtime | vfs.SetMtime | vfs.SetAtimeNow | vfs.SetMtimeNow
	if in.Valid&times != 0 {
		atime := timeArg(in.Valid&vfs.SetAtimeNow != 0, in.Valid&vfs.SetAtime != 0, in.Atime)
		mtime := timeArg(in.Valid&vfs.SetMtimeNow != 0, in.Valid&vfs.SetMtime != 0, in.Mtime)
		if err := at.SetTimes(fd, "", atime, mtime); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

func timeArg(now, set bool, t vfs.Timespec) *unix.Timespec {
	switch {
	case now:
		return &unix.Timespec{Nsec: unix.UTIME_NOW}
	case set:
		return &unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
	}
	return nil
}

// clearSetID does what the kernel does when an ordinary user, or a capsule, changes a file, and
// does not do when this process is privileged: clear setuid and setgid. fd is
// any descriptor of n.
func (fs *FS) clearSetID(ctx context.Context, n *node, fd int) error {
	if !fs.privileged || !n.setID.Load() {
		return nil
	}
	if who := vfs.CallerFrom(ctx); who.UID == 0 && who.Capsule == "" {
		return nil
	}
	a, _, err := at.Stat(fd, "")
	if err != nil {
		return err
	}
	if !hasSetID(a.Mode) {
		return nil
	}
	mode := a.Mode &^ unix.S_ISUID
	if mode&unix.S_IXGRP != 0 {
		mode &^= unix.S_ISGID
	}
	return at.Chmod(fd, "", mode&07777)
}

// Readlink implements vfs.FS.
func (fs *FS) Readlink(ctx context.Context, id vfs.NodeID) (string, error) {
	n, err := fs.node(id)
	if err != nil {
		return "", err
	}
	if n.typ != unix.S_IFLNK {
		return "", syscall.EINVAL
	}
	s, err := fs.reach(n)
	if err != nil {
		return "", err
	}
	defer s.leave()
	return at.Readlink(s.fd, "")
}

// GetXattr implements vfs.FS.
func (fs *FS) GetXattr(ctx context.Context, id vfs.NodeID, name string, dest []byte) (int, error) {
	s, err := fs.reachID(id)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return at.GetXattr(s.fd, "", name, dest)
}

// SetXattr implements vfs.FS.
func (fs *FS) SetXattr(ctx context.Context, id vfs.NodeID, name string, value []byte, flags int) error {
	s, err := fs.reachID(id)
	if err != nil {
		return err
	}
	defer s.leave()
	if err := at.SetXattr(s.fd, "", name, value, flags); err != nil {
		return err
	}
	fs.NodeChanged(ctx, id, false)
	return nil
}

// ListXattr implements vfs.FS.
func (fs *FS) ListXattr(ctx context.Context, id vfs.NodeID, dest []byte) (int, error) {
	s, err := fs.reachID(id)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return at.ListXattr(s.fd, "", dest)
}

// RemoveXattr implements vfs.FS.
func (fs *FS) RemoveXattr(ctx context.Context, id vfs.NodeID, name string) error {
	s, err := fs.reachID(id)
	if err != nil {
		return err
	}
	defer s.leave()
	if err := at.RemoveXattr(s.fd, "", name); err != nil {
		return err
	}
	fs.NodeChanged(ctx, id, false)
	return nil
}

func (fs *FS) reachID(id vfs.NodeID) (spot, error) {
	n, err := fs.node(id)
	if err != nil {
		return spot{}, err
	}
	return fs.reach(n)
}

// StatFS implements vfs.FS.
func (fs *FS) StatFS(ctx context.Context, id vfs.NodeID) (vfs.StatFS, error) {
	s, err := fs.reachID(id)
	if err != nil {
		return vfs.StatFS{}, err
	}
	defer s.leave()
	st, err := at.StatFS(s.fd)
	if err != nil {
		return vfs.StatFS{}, err
	}
	return vfs.StatFS{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), NameLen: uint32(st.Namelen),
	}, nil
}

// Path implements vfs.FS. It tells the names last seen: another process may have
// renamed something since.
func (fs *FS) Path(ctx context.Context, id vfs.NodeID) (string, error) {
	n, err := fs.node(id)
	if err != nil {
		return "", err
	}
	fs.tree.RLock()
	defer fs.tree.RUnlock()
	var buf [16]string
	parts := buf[:0]
	for n != fs.root {
		last, ok := n.lastName()
		if !ok {
			return "", syscall.ENOENT
		}
		parts = append(parts, last.name)
		n = last.parent
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/"), nil
}
