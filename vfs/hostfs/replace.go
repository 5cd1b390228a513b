package hostfs

import (
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

const xattrMax = 64 << 10 // bytes, of a value and of all names

// Replace implements vfs.FS. See the package comment.
func (fs *FS) Replace(ctx context.Context, id vfs.NodeID, tmp vfs.Handle) error {
	n, err := fs.node(id)
	if err != nil {
		return err
	}
	h, ok := tmp.(*handle)
	switch {
	case n.dir != nil:
		return syscall.EISDIR
	case n.typ != unix.S_IFREG || !ok || h.fs != fs || !h.tmp || !h.writable() || h.n == n:
		return syscall.EINVAL
	case fs.stage == nil:
		return syscall.EOPNOTSUPP
	}
	if n.used() {
		return syscall.EOPNOTSUPP // found out before anything is synced
	}
	if err := h.Sync(ctx, false); err != nil {
		return err
	}
	err = syscall.ESTALE
	for _, a := range n.names() {
		// Of a file that was renamed on the host, names that it had before are known.
		if err = fs.replaceAt(ctx, a, n, h); !notThere(err) {
			break
		}
		err = syscall.ESTALE
	}
	return err
}

// replaceAt is Replace of n by a name that it may have.
func (fs *FS) replaceAt(ctx context.Context, a alias, n *node, h *handle) error {
	if !a.parent.hold() {
		return syscall.ESTALE
	}
	defer fs.unhold(a.parent)
	if err := fs.replace(ctx, a.parent, a.name, n, h); err != nil {
		return err
	}
	fs.EntryChanged(ctx, a.parent.id, a.name)
	fs.NodeChanged(ctx, a.parent.id, true)
	fs.NodeChanged(ctx, n.id, false)
	return nil
}

// replace puts the file of h in the place of n, which is name in p.
func (fs *FS) replace(ctx context.Context, p *node, name string, n *node, h *handle) (err error) {
	p.dir.names.Lock()
	defer p.dir.names.Unlock()
	s, err := fs.enter(p)
	if err != nil {
		return err
	}
	defer s.leave()
	t, err := fs.openTarget(s.fd, name)
	if err != nil {
		return err
	}
	defer t.close()
	if !n.matches(t.ident, &t.attr) {
		return syscall.ESTALE
	}
	if t.attr.Nlink != 1 || !n.close() {
		return syscall.EOPNOTSUPP
	}
	defer func() {
		if err != nil {
			n.reopen()
		}
	}()
	if err := dress(h.held.fd, &t); err != nil {
		return err
	}
	fs.step("dressed")
	if err := fs.takeName(ctx, h.held.fd, p, s.fd, name, &t.found); err != nil {
		return err
	}
	fs.step("replaced")
	fs.unnamed(p, name, &t)
	if f, err := fs.look(h.held.fd, ""); err == nil {
		if fresh, err := fs.intern(p, name, &f); err == nil {
			fs.unref(fresh, 1)
		}
	} // or else a lookup will find it
	return nil
}

// used tells whether somebody has n open by this filesystem.
func (n *node) used() bool {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	return len(n.open) > 0
}

// close has n not be opened from now on, and tells whether nobody has it open.
func (n *node) close() bool {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	n.closed = len(n.open) == 0
	return n.closed
}

// reopen undoes close.
func (n *node) reopen() {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	n.closed = false
}

// dress gives the new file fd what t has beside its contents: owner, permission
// bits, as after a write, and extended attributes. EOPNOTSUPP where this process
// cannot; EACCES, EPERM and ETXTBSY where t is not to be written to.
func dress(fd int, t *target) error {
	w, err := at.Reopen(t.fd, unix.O_WRONLY)
	if err != nil {
		return err
	}
	unix.Close(w)
	a, _, err := at.Stat(fd, "")
	if err != nil {
		return err
	}
	if a.UID != t.attr.UID || a.GID != t.attr.GID {
		if err := at.Chown(fd, "", int(t.attr.UID), int(t.attr.GID)); err != nil {
			return syscall.EOPNOTSUPP
		}
	}
	if err := dressXattrs(fd, t.fd); err != nil {
		return err
	}
	mode := t.attr.Mode & 07777
	if hasSetID(mode) {
		mode &^= unix.S_ISUID
		if mode&unix.S_IXGRP != 0 {
			mode &^= unix.S_ISGID
		}
	}
	return at.Chmod(fd, "", mode)
}

// dressXattrs makes the extended attributes of fd those of old, but for what a
// write takes away.
func dressXattrs(fd, old int) error {
	want, err := xattrs(old)
	if err != nil {
		return err
	}
	delete(want, "security.capability")
	have, err := xattrs(fd)
	if err != nil {
		return err
	}
	for name := range have {
		if _, ok := want[name]; !ok && at.RemoveXattr(fd, "", name) != nil {
			return syscall.EOPNOTSUPP
		}
	}
	for name, value := range want {
		if now, ok := have[name]; ok && now == value {
			continue
		}
		if at.SetXattr(fd, "", name, []byte(value), 0) != nil {
			return syscall.EOPNOTSUPP
		}
	}
	return nil
}

// xattrs returns the extended attributes of the file fd, of any descriptor.
func xattrs(fd int) (map[string]string, error) {
	list, err := grown(func(b []byte) (int, error) { return at.ListXattr(fd, "", b) })
	if err == syscall.EOPNOTSUPP {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for name := range strings.SplitSeq(list, "\x00") {
		if name == "" {
			continue
		}
		value, err := grown(func(b []byte) (int, error) { return at.GetXattr(fd, "", name, b) })
		if err == syscall.ENODATA {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[name] = value
	}
	return out, nil
}

// grown calls read with a larger buffer until it is large enough.
func grown(read func([]byte) (int, error)) (string, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := read(b)
		if err == syscall.ERANGE && size < xattrMax {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(b[:n]), nil
	}
}
