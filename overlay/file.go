package overlay

import (
	"context"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// openFlags are the flags of open(2) that mean something to a handle.
const openFlags = unix.O_ACCMODE | unix.O_APPEND | unix.O_TRUNC | unix.O_SYNC | unix.O_DSYNC | unix.O_DIRECT | unix.O_NOATIME

// handle is an open regular file. Its descriptor is of the real file that was
// behind the node when it was last used, and is opened anew when another one
// is; so a reader of a lower file follows the node through its copy-up.
type handle struct {
	fs    *FS
	n     *node
	flags int // of open(2), O_TRUNC apart

	// mu guards the descriptor: used under its shared side, and node.mu's.
	mu       sync.RWMutex
	fd       int    // -1 before the first use
	gen      uint32 // node.gen when it was opened
	writable bool   // it is of an upper file and open for what flags say
	pinned   bool   // given out by PassthroughFD
}

var (
	_ vfs.Handle      = (*handle)(nil)
	_ vfs.Passthrough = (*handle)(nil)
	_ CopyUpper       = (*handle)(nil)
)

// CopyUpper is implemented by the handles of an overlay. CopyUpForWrite makes
// the copy-up that the first write through the handle would make, so that a
// front end can have PassthroughFD answer ok from the start; for a handle that
// is not open for writing, and a file that is in the upper layer already, it
// does nothing. Errnos: those of a write.
type CopyUpper interface {
	CopyUpForWrite(ctx context.Context) error
}

// newHandle opens n, of which the caller holds a reference, with a descriptor
// that is open already or -1.
func (fs *FS) newHandle(n *node, flags, fd int) *handle {
	n.ref()
	n.opens.Add(1)
	h := &handle{fs: fs, n: n, flags: flags, fd: fd}
	if h.writes() {
		n.writers.Add(1)
	}
	if fd >= 0 {
		n.mu.RLock()
		h.gen, h.writable = n.gen, h.writes()
		n.mu.RUnlock()
	}
	return h
}

func (h *handle) writes() bool { return h.flags&unix.O_ACCMODE != unix.O_RDONLY }
func (h *handle) reads() bool  { return h.flags&unix.O_ACCMODE != unix.O_WRONLY }

// Open implements [vfs.FS].
func (fs *FS) Open(ctx context.Context, id vfs.NodeID, flags int) (vfs.Handle, error) {
	n, err := fs.node(id)
	if err != nil {
		return nil, err
	}
	defer fs.put(n)
	if flags&unix.O_ACCMODE == unix.O_ACCMODE {
		return nil, syscall.EINVAL
	}
	switch n.typ {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return nil, syscall.EISDIR
	case unix.S_IFLNK:
		return nil, syscall.ELOOP
	default:
		return nil, syscall.ENXIO
	}
	flags &= openFlags
	if flags&unix.O_TRUNC != 0 {
		if err := fs.truncateAtOpen(ctx, n); err != nil {
			return nil, err
		}
		flags &^= unix.O_TRUNC
	}
	h := fs.newHandle(n, flags, -1)
	// The descriptor is opened now, for its errors belong to the open.
	err = fs.moves.steady(func() error {
		n.mu.RLock()
		defer n.mu.RUnlock()
		_, err := h.file()
		if err == nil {
			h.mu.RUnlock()
			if h.writes() {
				err = fs.mayWriteLocked(n)
			}
		}
		return err
	})
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// mayWriteLocked tells whether the host would let an ordinary user write to a
// lower file; its upper copy will be as it is. A host's filesystem that is
// read-only is no obstacle. n.mu is held, shared or not.
func (fs *FS) mayWriteLocked(n *node) error {
	if n.up || fs.ly.privileged {
		return nil
	}
	s, err := n.spotLocked()
	if err != nil {
		return err
	}
	defer s.release()
	err = unix.Faccessat2(s.fd, s.name, unix.W_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW)
	if err == syscall.EACCES {
		return err
	}
	return nil
}

// openAnyway opens the upper file for a handle that was open already when the
// permission bits were taken from an ordinary user who owns the file. n.mu is
// held shared.
func (fs *FS) openAnyway(n *node, flags int) (int, error) {
	fs.modes.Lock()
	defer fs.modes.Unlock()
	s, err := n.spotLocked()
	if err != nil {
		return -1, err
	}
	defer s.release()
	a, _, err := at.Stat(s.fd, s.name)
	if err != nil {
		return -1, gone(err)
	}
	if err := at.Chmod(s.fd, s.name, a.Mode&0o7777|0o600); err != nil {
		return -1, syscall.EACCES
	}
	fd, err := fs.openReal(n, flags)
	if cerr := at.Chmod(s.fd, s.name, a.Mode&0o7777); err == nil && cerr != nil {
		unix.Close(fd)
		return -1, cerr
	}
	return fd, err
}

func (fs *FS) truncateAtOpen(ctx context.Context, n *node) error {
	defer fs.gate.enter(n.id).RUnlock()
	n.mu.RLock()
	err := fs.mayWriteLocked(n)
	n.mu.RUnlock()
	if err != nil {
		return err
	}
	if err := fs.copyUp(ctx, n, 0); err != nil {
		return err
	}
	n.mu.RLock()
	err = fs.truncateLocked(n, nil, 0)
	n.mu.RUnlock()
	if err == nil {
		fs.NodeChanged(ctx, n.id, true)
	}
	return err
}

// openReal opens the real file of n; n.mu is held, shared or not.
func (fs *FS) openReal(n *node, flags int) (int, error) {
	s, err := n.spotLocked()
	if err != nil {
		return -1, err
	}
	defer s.release()
	var fd int
	switch {
	case s.name == "":
		fd, err = at.Reopen(s.fd, flags)
	case n.up:
		fd, err = at.Open(s.fd, s.name, flags, 0)
	default:
		fd, err = openLower(s.fd, s.name, flags)
	}
	if err != nil {
		return -1, gone(err)
	}
	_, id, err := at.Stat(fd, "")
	if err == nil && id != n.real {
		err = syscall.ESTALE
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// file returns the descriptor of the real file with h.mu held shared, which the
// caller gives back. It is open for writing if the handle is and the node is in
// the upper layer. h.n.mu is held shared.
func (h *handle) file() (int, error) {
	for {
		h.mu.RLock()
		if h.fd >= 0 && h.gen == h.n.gen {
			return h.fd, nil
		}
		h.mu.RUnlock()
		h.mu.Lock()
		if h.fd < 0 || h.gen != h.n.gen {
			flags := h.flags
			if !h.n.up {
				// O_NONBLOCK: the host may have put a fifo in its place.
				// O_NOATIME: nothing below is changed, so no access time either.
				flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOATIME | flags&unix.O_DIRECT
			}
			fd, err := h.fs.openReal(h.n, flags)
			if err == syscall.EPERM && flags&unix.O_NOATIME != 0 {
				flags &^= unix.O_NOATIME // another's file; who asked for it was checked by the kernel
				fd, err = h.fs.openReal(h.n, flags)
			}
			if err == syscall.ESTALE && h.fd >= 0 && h.n.spare >= 0 {
				fd, err = at.Reopen(h.n.spare, flags)
			}
			if err == syscall.EACCES && h.fd >= 0 {
				fd, err = h.fs.openAnyway(h.n, flags)
			}
			if err != nil {
				h.mu.Unlock()
				return -1, err
			}
			closeFD(h.fd)
			h.fd, h.gen, h.writable = fd, h.n.gen, h.n.up && h.writes()
		}
		h.mu.Unlock()
	}
}

// write has f write to the descriptor of the upper file, after a copy-up if
// there is none yet.
func (h *handle) write(ctx context.Context, f func(fd int) error) error {
	n := h.n
	defer h.fs.gate.enter(n.id).RUnlock()
	for {
		n.mu.RLock()
		if !n.up {
			n.mu.RUnlock()
			if err := h.fs.copyUp(ctx, n, wholeFile); err != nil {
				return err
			}
			continue
		}
		fd, err := h.file()
		if err == nil {
			err = f(fd)
			h.mu.RUnlock()
		}
		n.mu.RUnlock()
		return err
	}
}

// Node implements [vfs.Handle].
func (h *handle) Node() vfs.NodeID { return h.n.id }

// ReadAt implements [vfs.Handle].
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !h.reads() {
		return 0, syscall.EBADF
	}
	if off < 0 {
		return 0, syscall.EINVAL
	}
	h.n.mu.RLock()
	defer h.n.mu.RUnlock()
	fd, err := h.file()
	if err != nil {
		return 0, err
	}
	defer h.mu.RUnlock()
	return at.Pread(fd, p, off)
}

// WriteAt implements [vfs.Handle].
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (done int, err error) {
	if !h.writes() {
		return 0, syscall.EBADF
	}
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if len(p) == 0 {
		return 0, nil
	}
	err = h.write(ctx, func(fd int) error {
		if err := h.fs.dropPrivileges(ctx, h.n); err != nil {
			return err
		}
		done, err = pwrite(fd, p, off)
		return err
	})
	if done > 0 {
		h.fs.NodeChanged(ctx, h.n.id, true)
	}
	return done, err
}

// dropPrivileges clears setuid and setgid before a write as the kernel does, if
// it does not do so by itself because this process is privileged. n.mu is held.
func (fs *FS) dropPrivileges(ctx context.Context, n *node) error {
	if !n.suid.Load() || !fs.ly.privileged {
		return nil
	}
	if who := vfs.CallerFrom(ctx); who.UID == 0 && who.Capsule == "" {
		return nil
	}
	s, err := n.spotLocked()
	if err != nil {
		return err
	}
	defer s.release()
	a, _, err := at.Stat(s.fd, s.name)
	if err != nil {
		return gone(err)
	}
	if mode := withoutPrivileges(a.Mode); mode != a.Mode&0o7777 {
		err = at.Chmod(s.fd, s.name, mode)
	}
	n.suid.Store(false)
	return err
}

// withoutPrivileges returns the permission bits without setuid, and without
// setgid where that means execution with the file's group.
func withoutPrivileges(mode uint32) uint32 {
	mode &= 0o7777
	mode &^= unix.S_ISUID
	if mode&unix.S_IXGRP != 0 {
		mode &^= unix.S_ISGID
	}
	return mode
}

// Sync implements [vfs.Handle]. What is still the lower file has nothing of
// ours to be written.
func (h *handle) Sync(ctx context.Context, dataOnly bool) error {
	h.n.mu.RLock()
	defer h.n.mu.RUnlock()
	if !h.n.up {
		return nil
	}
	fd, err := h.file()
	if err != nil {
		return err
	}
	defer h.mu.RUnlock()
	if dataOnly {
		return at.Retry(func() error { return unix.Fdatasync(fd) })
	}
	return syncFile(fd)
}

// allocateModes are the flags of fallocate(2) that there are.
const allocateModes = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_NO_HIDE_STALE | unix.FALLOC_FL_COLLAPSE_RANGE |
	unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_INSERT_RANGE | unix.FALLOC_FL_UNSHARE_RANGE

// Allocate implements [vfs.Handle].
func (h *handle) Allocate(ctx context.Context, mode uint32, off, size int64) error {
	switch { // in the order of fallocate(2)
	case off < 0 || size <= 0:
		return syscall.EINVAL
	case mode&^allocateModes != 0:
		return syscall.EOPNOTSUPP
	case !h.writes():
		return syscall.EBADF
	}
	err := h.write(ctx, func(fd int) error {
		if err := h.fs.dropPrivileges(ctx, h.n); err != nil {
			return err
		}
		for {
			if err := unix.Fallocate(fd, mode, off, size); err != syscall.EINTR {
				return err
			}
			if ctx.Err() != nil {
				return syscall.EINTR
			}
		}
	})
	if err == nil {
		h.fs.NodeChanged(ctx, h.n.id, true)
	}
	return err
}

// Seek implements [vfs.Handle].
func (h *handle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, syscall.EINVAL
	}
	if off < 0 {
		return 0, syscall.ENXIO
	}
	h.n.mu.RLock()
	defer h.n.mu.RUnlock()
	fd, err := h.file()
	if err != nil {
		return 0, err
	}
	defer h.mu.RUnlock()
	return unix.Seek(fd, off, whence)
}

// PassthroughFD implements [vfs.Passthrough]: it is ok only for a file in the
// upper layer, which then stays the node's file until Close. A descriptor of a
// lower file never leaves this package, as the kernel would go on reading it
// after the copy-up, and might write to it on the host.
func (h *handle) PassthroughFD() (int, bool) {
	h.n.mu.RLock()
	defer h.n.mu.RUnlock()
	if !h.n.up {
		return -1, false
	}
	fd, err := h.file()
	if err != nil {
		return -1, false
	}
	h.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.pinned {
		h.pinned = true
		h.n.pins.Add(1)
	}
	return fd, true
}

// CopyUpForWrite implements [CopyUpper].
func (h *handle) CopyUpForWrite(ctx context.Context) error {
	if !h.writes() {
		return nil
	}
	return h.write(ctx, func(int) error { return nil })
}

// Close implements [vfs.Handle].
func (h *handle) Close() error {
	h.mu.Lock()
	fd, pinned := h.fd, h.pinned
	h.fd = -1
	h.mu.Unlock()
	if pinned {
		h.n.pins.Add(-1)
	}
	if h.writes() {
		h.n.writers.Add(-1)
	}
	var err error
	if fd >= 0 {
		// EINTR: the descriptor is closed all the same.
		if err = unix.Close(fd); err == syscall.EINTR {
			err = nil
		}
	}
	if h.n.opens.Add(-1) == 0 {
		h.n.unspare()
	}
	h.fs.put(h.n)
	return err
}
