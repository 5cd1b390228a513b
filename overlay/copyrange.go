package overlay

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// CopyRange implements [vfs.Handle].
func (h *handle) CopyRange(ctx context.Context, off int64, dst vfs.Handle, dstOff, n int64) (int64, error) {
	d, ok := dst.(*handle)
	if !ok || d.fs != h.fs {
		return 0, syscall.EXDEV
	}
	if !h.reads() || !d.writes() || d.flags&unix.O_APPEND != 0 {
		return 0, syscall.EBADF
	}
	if off < 0 || dstOff < 0 || n < 0 {
		return 0, syscall.EINVAL
	}
	if off+n < off || dstOff+n < dstOff {
		return 0, syscall.EFBIG
	}
	done, err := h.copyTo(ctx, off, d, dstOff, n)
	if done > 0 {
		h.fs.NodeChanged(ctx, d.n.id, true)
		return done, nil
	}
	return 0, err
}

func (h *handle) copyTo(ctx context.Context, off int64, d *handle, dstOff, n int64) (done int64, err error) {
	defer h.fs.gate.enter(d.n.id).RUnlock()
	for {
		unlock := lockNodes(h.n, d.n, shared)
		if d.n.up {
			defer unlock()
			break
		}
		unlock()
		if err := h.fs.copyUp(ctx, d.n, wholeFile); err != nil {
			return 0, err
		}
	}
	src, err := h.file()
	if err != nil {
		return 0, err
	}
	defer h.mu.RUnlock()
	dfd := src
	if d != h {
		if dfd, err = d.file(); err != nil {
			return 0, err
		}
		defer d.mu.RUnlock()
	}
	if h.n == d.n {
		// As the kernel: what lies behind the end does not overlap.
		a, _, err := at.Stat(src, "")
		if err != nil {
			return 0, err
		}
		n = max(min(n, a.Size-off), 0)
		if off < dstOff+n && dstOff < off+n {
			return 0, syscall.EINVAL
		}
	}
	if err := h.fs.dropPrivileges(ctx, d.n); err != nil {
		return 0, err
	}
	for done < n {
		if ctx.Err() != nil {
			return done, syscall.EINTR
		}
		from, to := off+done, dstOff+done
		k, err := unix.CopyFileRange(src, &from, dfd, &to, int(min(n-done, copyChunk)), 0)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.ENOSYS:
			return done, syscall.EOPNOTSUPP
		case err != nil:
			return done, err
		case k == 0:
			return done, nil
		}
		done += int64(k)
	}
	return done, nil
}
