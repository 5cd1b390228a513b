package overlay

import (
	"context"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

const (
	copyChunk  = 8 << 20   // bytes between two looks at the context
	copyBuffer = 256 << 10 // bytes, where the host cannot copy by itself
)

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// copyData copies the first limit bytes of src, which is size bytes long, to
// dst, an empty file, by sharing its blocks where the filesystem can, and
// leaving its holes holes.
func copyData(ctx context.Context, src, dst int, size, limit int64) error {
	if limit == size && unix.IoctlFileClone(dst, src) == nil {
		return nil
	}
	if err := ftruncate(dst, limit); err != nil {
		return err
	}
	for off := int64(0); off < limit; {
		start, err := unix.Seek(src, off, unix.SEEK_DATA)
		if err == syscall.ENXIO {
			return nil // only a hole follows
		}
		end := limit
		if err != nil {
			start = off // the filesystem does not know
		} else if hole, err := unix.Seek(src, start, unix.SEEK_HOLE); err == nil {
			end = min(hole, limit)
		}
		if start >= limit {
			return nil
		}
		if err := copyRange(ctx, src, dst, start, end); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// copyRange copies the bytes from off to end to the same place in dst. A file
// that turns out to be shorter ends the copy.
func copyRange(ctx context.Context, src, dst int, off, end int64) error {
	for off < end {
		if ctx.Err() != nil {
			return syscall.EINTR
		}
		in, out := off, off
		n, err := unix.CopyFileRange(src, &in, dst, &out, int(min(end-off, copyChunk)), 0)
		switch err {
		case nil:
			if n == 0 {
				return nil
			}
			off += int64(n)
		case syscall.EINTR:
		case syscall.EXDEV, syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.EPERM:
			return copyByHand(ctx, src, dst, off, end)
		default:
			return err
		}
	}
	return nil
}

func copyByHand(ctx context.Context, src, dst int, off, end int64) error {
	bp := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(bp)
	for off < end {
		if ctx.Err() != nil {
			return syscall.EINTR
		}
		n, err := at.Pread(src, (*bp)[:min(end-off, copyBuffer)], off)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if _, err := pwrite(dst, (*bp)[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// pwrite writes all of p at off, and returns how much of it an error left.
func pwrite(fd int, p []byte, off int64) (int, error) {
	done := 0
	for {
		n, err := unix.Pwrite(fd, p[done:], off+int64(done))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		if done += n; done >= len(p) {
			return done, nil
		}
		if n == 0 {
			return done, syscall.EIO
		}
	}
}

func ftruncate(fd int, size int64) error {
	return at.Retry(func() error { return unix.Ftruncate(fd, size) })
}

func syncFile(fd int) error {
	return at.Retry(func() error { return unix.Fsync(fd) })
}

// openLower opens a file of a lower layer, without leaving a trace of the read
// in its access time where that is allowed.
func openLower(dirfd int, name string, flags int) (int, error) {
	fd, err := at.Open(dirfd, name, flags|unix.O_NOATIME, 0)
	if err == syscall.EPERM && flags&unix.O_NOATIME == 0 {
		return at.Open(dirfd, name, flags, 0)
	}
	return fd, err
}
