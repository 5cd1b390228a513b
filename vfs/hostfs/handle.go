package hostfs

import (
	"context"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// maxIO is the most that one system call is asked for: what Linux does at most.
const maxIO = 0x7ffff000

// copyStep is how much is copied between two looks at the context.
const copyStep = 64 << 20

// handle is an open file. Its descriptor's offset is never used.
type handle struct {
	fs    *FS
	n     *node
	held  *held
	flags int  // as openFlags leaves them
	tmp   bool // from Tmpfile
}

var (
	_ vfs.Handle      = (*handle)(nil)
	_ vfs.Passthrough = (*handle)(nil)
)

// newHandle makes a handle of n from a descriptor, which becomes its own. The
// caller has a reference to n.
//
// Errnos: ESTALE (another file takes n's place).
func (fs *FS) newHandle(n *node, fd, flags int) (*handle, error) {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	if n.closed {
		return nil, syscall.ESTALE
	}
	h := &handle{fs: fs, n: n, held: newHeld(fd), flags: flags}
	n.holds++
	n.open = append(n.open, h.held)
	return h, nil
}

func (h *handle) readable() bool { return h.flags&unix.O_ACCMODE != unix.O_WRONLY }
func (h *handle) writable() bool { return h.flags&unix.O_ACCMODE != unix.O_RDONLY }

// Node implements vfs.Handle.
func (h *handle) Node() vfs.NodeID { return h.n.id }

// PassthroughFD implements vfs.Passthrough: the file of a handle never changes.
func (h *handle) PassthroughFD() (fd int, ok bool) { return h.held.fd, true }

// ReadAt implements vfs.Handle.
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	switch {
	case !h.readable():
		return 0, syscall.EBADF
	case off < 0:
		return 0, syscall.EINVAL
	}
	if h.flags&unix.O_DIRECT == 0 {
		return at.Pread(h.held.fd, p, off)
	}
	// A short direct read can't go on where it stopped, which is not on a block
	// boundary: the file ends there.
	n := 0
	err := at.Retry(func() (err error) {
		n, err = unix.Pread(h.held.fd, p[:min(len(p), maxIO)], off)
		return err
	})
	return max(n, 0), err
}

// WriteAt implements vfs.Handle.
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	switch {
	case !h.writable():
		return 0, syscall.EBADF
	case h.flags&unix.O_APPEND != 0:
		off = 0 // Linux appends wherever pwrite(2) is told to write
	case off < 0:
		return 0, syscall.EINVAL
	}
	if err := h.fs.clearSetID(ctx, h.n, h.held.fd); err != nil {
		return 0, err
	}
	for n < len(p) {
		k, err := unix.Pwrite(h.held.fd, p[n:min(len(p), n+maxIO)], off+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err == nil && k == 0 {
			err = syscall.EIO
		}
		if err != nil {
			if n > 0 {
				h.fs.NodeChanged(ctx, h.n.id, true)
			}
			return n, err
		}
		n += k
	}
	if n > 0 {
		h.fs.NodeChanged(ctx, h.n.id, true)
	}
	return n, nil
}

// Sync implements vfs.Handle.
func (h *handle) Sync(ctx context.Context, dataOnly bool) error {
	if dataOnly {
		return at.Retry(func() error { return unix.Fdatasync(h.held.fd) })
	}
	return at.Retry(func() error { return unix.Fsync(h.held.fd) })
}

// Allocate implements vfs.Handle.
func (h *handle) Allocate(ctx context.Context, mode uint32, off, size int64) error {
	switch {
	case !h.writable():
		return syscall.EBADF
	case off < 0 || size <= 0:
		return syscall.EINVAL
	}
	if err := h.fs.clearSetID(ctx, h.n, h.held.fd); err != nil {
		return err
	}
	if err := at.Retry(func() error { return unix.Fallocate(h.held.fd, mode, off, size) }); err != nil {
		return err
	}
	h.fs.NodeChanged(ctx, h.n.id, true)
	return nil
}

// Seek implements vfs.Handle.
func (h *handle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE || off < 0 {
		return 0, syscall.EINVAL
	}
	return unix.Seek(h.held.fd, off, whence)
}

// CopyRange implements vfs.Handle. copy_file_range(2) shares blocks itself
// where the host can, whole ones of a range too.
func (h *handle) CopyRange(ctx context.Context, off int64, dst vfs.Handle, dstOff, n int64) (int64, error) {
	d, ok := dst.(*handle)
	switch {
	case !ok || d.fs != h.fs:
		return 0, syscall.EXDEV
	case !h.readable() || !d.writable() || d.flags&unix.O_APPEND != 0:
		return 0, syscall.EBADF
	case off < 0 || dstOff < 0 || n < 0:
		return 0, syscall.EINVAL
	case off+n < off || dstOff+n < dstOff:
		return 0, syscall.EFBIG
	case h.n == d.n && off < dstOff+n && dstOff < off+n:
		return 0, syscall.EINVAL
	}
	if err := d.fs.clearSetID(ctx, d.n, d.held.fd); err != nil {
		return 0, err
	}
	done, err := int64(0), error(nil)
	for done < n && err == nil {
		if done > 0 && ctx.Err() != nil {
			break // part of it is done, and is told
		}
		from, to := off+done, dstOff+done
		var k int
		k, err = unix.CopyFileRange(h.held.fd, &from, d.held.fd, &to, int(min(n-done, copyStep)), 0)
		switch {
		case err == syscall.EINTR:
			err = nil
			continue
		case err == syscall.ENOSYS:
			err = syscall.EOPNOTSUPP
		}
		if err != nil || k == 0 {
			break
		}
		done += int64(k)
	}
	if done > 0 {
		h.fs.NodeChanged(ctx, d.n.id, true)
		err = nil // the next call meets it again
	}
	return done, err
}

func (h *handle) truncate(size int64) error {
	return at.Retry(func() error { return unix.Ftruncate(h.held.fd, size) })
}

// Close implements vfs.Handle.
func (h *handle) Close() error {
	spare := h.fs.release(h.n, h.held)
	if spare != nil {
		spare.done()
	}
	err := h.held.done()
	h.fs.unhold(h.n)
	return err
}

// release takes f from n's open files. A nameless file that is still referred
// to is pinned in the place of its last open one, in one step: whoever reaches
// for the node meanwhile finds one or the other. A pin that is not needed after
// all is returned.
func (fs *FS) release(n *node, f *held) (spare *held) {
	s := n.shard
	var a vfs.Attr
	for tried := false; ; tried = true {
		s.mu.Lock()
		last := len(n.open) == 1 && len(n.aliases) == 0 && n.pin == nil && n.refs > 0
		if !last || tried {
			n.open = slices.DeleteFunc(n.open, func(o *held) bool { return o == f })
			if last && spare != nil && fs.pinLocked(n, spare, &a) {
				spare = nil
			}
			s.mu.Unlock()
			return spare
		}
		s.mu.Unlock()
		// Without a pin it answers ESTALE from now on.
		var err error
		if a, err = n.stat(f.fd); err != nil {
			continue
		}
		if fd, err := at.Reopen(f.fd, unix.O_PATH); err == nil {
			spare = newHeld(fd)
		}
	}
}
