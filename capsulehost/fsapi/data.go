package fsapi

import (
	"context"
	"errors"
	"math"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// smallRead is the most that is read by way of a buffer of the host, which costs
// less than asking for the file's size first. Bytes.
const smallRead = 64 << 10

var smallReads = sync.Pool{New: func() any { return new([smallRead]byte) }}

// ReadAt reads up to n bytes at off into dst, which it makes as long as what
// was read: empty at the end of the file.
//
// Errnos: EBADF, EACCES (the handle does not read), EFBIG (n is over MaxChunk).
func (f *FS) ReadAt(ctx context.Context, id uint32, off uint64, n uint32, dst Buffer) error {
	h, err := f.get(id)
	switch {
	case err != nil:
		return err
	case !h.mode.reads():
		return syscall.EACCES
	case n > MaxChunk:
		return syscall.EFBIG
	case n == 0 || off > math.MaxInt64-MaxChunk: // no file reaches there
		_, err := dst.Resize(0)
		return err
	case n <= smallRead:
		return readSmall(ctx, h.file, int64(off), int(n), dst)
	}
	a, err := h.fs.GetAttr(ctx, h.file.Node(), h.file)
	if err != nil {
		return err
	}
	size := int(min(max(a.Size-int64(off), 0), int64(n)))
	p, err := dst.Resize(size)
	if err != nil || size == 0 {
		return err
	}
	if h, err = f.get(id); err != nil { // the guest's allocator has closed it
		return err
	}
	got, err := h.file.ReadAt(ctx, p, int64(off))
	if err == nil && got < size { // it was truncated meanwhile
		_, err = dst.Resize(got)
	}
	return err
}

func readSmall(ctx context.Context, file vfs.Handle, off int64, n int, dst Buffer) error {
	buf := smallReads.Get().(*[smallRead]byte)
	defer smallReads.Put(buf)
	got, err := file.ReadAt(ctx, buf[:n], off)
	if err != nil {
		return err
	}
	return fill(dst, buf[:got])
}

// fill makes dst hold b.
func fill(dst Buffer, b []byte) error {
	p, err := dst.Resize(len(b))
	if err == nil {
		copy(p, b)
	}
	return err
}

// WriteAt writes p at off, or at the end for a handle opened to append, and
// returns how many bytes that were; fewer than len(p) only where the rest
// failed. What is written counts against the quota.
//
// Errnos: EBADF, EACCES (the handle does not write), EFBIG (p is over MaxChunk,
// or off is behind where any file can end), EDQUOT, ENOSPC.
func (f *FS) WriteAt(ctx context.Context, id uint32, off uint64, p []byte) (int, error) {
	h, err := f.get(id)
	switch {
	case err != nil:
		return 0, err
	case !h.mode.writes():
		return 0, syscall.EACCES
	case len(p) > MaxChunk:
		return 0, syscall.EFBIG
	case h.mode == ModeAppend:
		off = 0
	case off > math.MaxInt64-MaxChunk:
		return 0, syscall.EFBIG
	}
	n, err := f.write(ctx, h.file, p, int64(off))
	if n > 0 && n < len(p) {
		return n, nil // the guest meets the error when it writes the rest
	}
	return n, err
}

// write writes p and counts what was written.
func (f *FS) write(ctx context.Context, h vfs.Handle, p []byte, off int64) (int, error) {
	if err := f.view.Quota.TakeBytes(uint64(len(p))); err != nil {
		return 0, err
	}
	n, err := h.WriteAt(ctx, p, off)
	f.view.Quota.GiveBytes(uint64(len(p) - n))
	return n, err
}

// Sync writes a handle's contents, and its metadata unless dataOnly is set, to
// stable storage.
func (f *FS) Sync(ctx context.Context, id uint32, dataOnly bool) error {
	h, err := f.get(id)
	if err != nil {
		return err
	}
	return h.file.Sync(ctx, dataOnly)
}

// StatHandle returns what is known of an open file.
func (f *FS) StatHandle(ctx context.Context, id uint32) (Stat, error) {
	h, err := f.get(id)
	if err != nil {
		return Stat{}, err
	}
	a, err := h.fs.GetAttr(ctx, h.file.Node(), h.file)
	if err != nil {
		return Stat{}, err
	}
	return statOf(&a), nil
}

// SetLen makes an open file size bytes long. What it grows by counts against
// the quota as if zeros had been written.
//
// Errnos: EBADF, EACCES (the handle does not write), EFBIG, EDQUOT, ENOSPC.
func (f *FS) SetLen(ctx context.Context, id uint32, size uint64) error {
	h, err := f.get(id)
	switch {
	case err != nil:
		return err
	case !h.mode.writes():
		return syscall.EACCES
	case size > math.MaxInt64:
		return syscall.EFBIG
	}
	a, err := h.fs.GetAttr(ctx, h.file.Node(), h.file)
	if err != nil {
		return err
	}
	grow := uint64(max(int64(size)-a.Size, 0))
	if err := f.view.Quota.TakeBytes(grow); err != nil {
		return err
	}
	_, err = h.fs.SetAttr(ctx, h.file.Node(), h.file, vfs.SetAttr{Valid: vfs.SetSize, Size: int64(size)})
	if err != nil {
		f.view.Quota.GiveBytes(grow)
	}
	return err
}

// ReadFile reads a whole file into dst, which it makes as long as the file. What
// is long goes there straight, without a copy on the way, but for where that
// would be slower (at.Pread). A file of more than MaxFile bytes is
// EFBIG, also where it becomes so while it is read.
func (f *FS) ReadFile(ctx context.Context, path string, dst Buffer) (err error) {
	fs, h, err := f.open(ctx, path, vfs.Read, opening{flags: unix.O_RDONLY})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	// A small file is read by way of a buffer of the host, which tells where it
	// ends, and so saves asking for its size before and for more after.
	buf := smallReads.Get().(*[smallRead]byte)
	defer smallReads.Put(buf)
	have, err := h.ReadAt(ctx, buf[:], 0)
	if err != nil {
		return err
	}
	if have < smallRead {
		return fill(dst, buf[:have])
	}
	a, err := fs.GetAttr(ctx, h.Node(), h)
	if err != nil {
		return err
	}
	if a.Size > MaxFile {
		return syscall.EFBIG
	}
	room := max(int(a.Size), have)
	p, err := dst.Resize(room)
	if err != nil {
		return err
	}
	copy(p, buf[:])
	for {
		n, err := h.ReadAt(ctx, p[have:], int64(have))
		if err != nil {
			return err
		}
		if have += n; have < room {
			break
		}
		// Only a read that finds nothing says that this is the end.
		n, err = h.ReadAt(ctx, buf[:1], int64(have))
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if have >= MaxFile {
			return syscall.EFBIG
		}
		room = min(2*room, MaxFile)
		if p, err = dst.Resize(room); err != nil {
			return err
		}
	}
	_, err = dst.Resize(have)
	return err
}
