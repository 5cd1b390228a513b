package fsapi

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// copyStep is how much is copied between two looks at the context; copyBuffer
// how much at a time where the host cannot copy by itself. Bytes.
const (
	copyStep   = 64 << 20
	copyBuffer = 256 << 10
)

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// Copy copies a regular file in the host, also across schemes, with its
// permission bits (not setuid, setgid and sticky). What dst held is replaced in
// one step; a failure leaves it. Holes stay holes. The file's size counts
// against the quota. Copying a file onto itself changes nothing.
//
// Errnos: EISDIR, ENXIO (src or dst is a fifo, socket or device), EDQUOT,
// ENOSPC.
func (f *FS) Copy(ctx context.Context, src, dst string) error {
	from, err := f.view.Resolve(ctx, src, vfs.Follow, vfs.Read)
	if err == nil {
		defer from.Release()
		err = f.openable(&from.Target, opening{})
	}
	if err != nil {
		// A denied dst is answered as denied whatever is wrong with src;
		// otherwise src comes first, as where a program opens one and then the other.
		if to, derr := f.view.Resolve(ctx, dst, vfs.Follow, vfs.Write); derr == nil {
			to.Release()
		} else if errors.Is(derr, vfs.ErrCapability) {
			return derr
		}
		return err
	}
	return f.put(ctx, dst, 0, func(to *view.Target) error {
		if to.Scheme == from.Scheme && to.Entry.Node == from.Entry.Node {
			return nil
		}
		return f.copy(ctx, &from, to)
	})
}

func (f *FS) copy(ctx context.Context, from, to *view.Target) (err error) {
	in, err := from.FS.Open(ctx, from.Entry.Node, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	a, err := from.FS.GetAttr(ctx, from.Entry.Node, in)
	if err != nil {
		return err
	}
	return f.deliver(ctx, to, a.Mode&0o777, source{
		size:  a.Size,
		chmod: true,
		fill: func(ctx context.Context, out vfs.Handle, fresh bool) (int64, error) {
			if err := copyData(ctx, in, out, a.Size, fresh); err != nil {
				return 0, err
			}
			_, err := to.FS.SetAttr(ctx, out.Node(), out, vfs.SetAttr{Valid: vfs.SetSize, Size: a.Size})
			return a.Size, err
		},
	})
}

// copyData copies the first size bytes of in to out; into a fresh file only
// where in has data.
func copyData(ctx context.Context, in, out vfs.Handle, size int64, fresh bool) error {
	for off := int64(0); off < size; {
		end := size
		if fresh {
			data, err := in.Seek(ctx, off, unix.SEEK_DATA)
			if errors.Is(err, syscall.ENXIO) {
				return nil // a hole up to the end
			}
			if err == nil {
				off = data
				end, err = in.Seek(ctx, off, unix.SEEK_HOLE)
			}
			if err != nil { // cannot tell holes: all counts as data
				end, fresh = size, false
			}
		}
		end = min(end, size)
		for off < end {
			n, err := copyRange(ctx, in, out, off, min(end-off, copyStep))
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if n == 0 {
				return nil // in was truncated meanwhile
			}
			off += n
		}
	}
	return nil
}

// copyRange copies up to n bytes at off of in to the same place of out: in the
// host if it can, else through a buffer.
func copyRange(ctx context.Context, in, out vfs.Handle, off, n int64) (int64, error) {
	done, err := in.CopyRange(ctx, off, out, off, n)
	if !errors.Is(err, syscall.EXDEV) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return done, err
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	got, err := in.ReadAt(ctx, buf[:min(n, copyBuffer)], off)
	if err != nil || got == 0 {
		return 0, err
	}
	wrote, err := out.WriteAt(ctx, buf[:got], off)
	return int64(wrote), err
}
