package wasip1

import (
	"encoding/binary"
	"math"

	"github.com/astridfs/astridfs/vfs"
)

// chunk is how much of a long read or write is done between two looks at the
// context.
const chunk = 8 << 20

// fdRead is (fd, iovs, iovs_len, nread).
func (c call) fdRead() Errno {
	d, errno := c.lock(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	if errno := readable(d); errno != Success {
		return errno
	}
	v, result, errno := c.buffers(3)
	if errno != Success {
		return errno
	}
	var n int
	switch {
	case len(v.list) == 0:
	case d.kind == kindStream:
		n, errno = d.stream.read(c.ctx, v.list[0], d.flags&flagNonblock != 0)
	default:
		if n, errno = c.readAt(d.file, &v, d.pos); errno == Success {
			d.pos += int64(n)
		}
	}
	if errno == Success {
		binary.LittleEndian.PutUint32(result, uint32(n))
	}
	return errno
}

// fdPread is (fd, iovs, iovs_len, offset, nread).
func (c call) fdPread() Errno {
	d, errno := c.lockFile(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	if errno := readable(d); errno != Success {
		return errno
	}
	if d.base&rightFdSeek == 0 {
		return ENOTCAPABLE
	}
	v, result, errno := c.buffers(4)
	if errno != Success {
		return errno
	}
	off := c.u64(3)
	if off > math.MaxInt64 {
		return EINVAL
	}
	n, errno := c.readAt(d.file, &v, int64(off))
	if errno == Success {
		binary.LittleEndian.PutUint32(result, uint32(n))
	}
	return errno
}

// fdWrite is (fd, iovs, iovs_len, nwritten).
func (c call) fdWrite() Errno {
	d, errno := c.lock(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	if errno := writable(d); errno != Success {
		return errno
	}
	v, result, errno := c.buffers(3)
	if errno != Success {
		return errno
	}
	var n int
	if d.kind == kindStream {
		n, errno = c.writeStream(d.stream, &v)
	} else if n, errno = c.writeAt(d, &v, d.pos); errno == Success && n > 0 {
		d.pos += int64(n)
		if d.flags&flagAppend != 0 {
			errno = c.seekEnd(d)
		}
	}
	if errno == Success {
		binary.LittleEndian.PutUint32(result, uint32(n))
	}
	return errno
}

// fdPwrite is (fd, iovs, iovs_len, offset, nwritten). As Linux has it, a
// descriptor with the append flag writes at the end nevertheless.
func (c call) fdPwrite() Errno {
	d, errno := c.lockFile(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	if errno := writable(d); errno != Success {
		return errno
	}
	if d.base&rightFdSeek == 0 {
		return ENOTCAPABLE
	}
	v, result, errno := c.buffers(4)
	if errno != Success {
		return errno
	}
	off := c.u64(3)
	if off > math.MaxInt64 {
		return EINVAL
	}
	n, errno := c.writeAt(d, &v, int64(off))
	if errno == Success {
		binary.LittleEndian.PutUint32(result, uint32(n))
	}
	return errno
}

func readable(d *desc) Errno {
	switch {
	case d.kind == kindDir || d.kind == kindRoot:
		return EISDIR
	case d.base&rightFdRead == 0:
		return EBADF
	}
	return Success
}

func writable(d *desc) Errno {
	switch {
	case d.kind == kindDir || d.kind == kindRoot:
		return EISDIR
	case d.base&rightFdWrite == 0:
		return EBADF
	}
	return Success
}

// buffers returns the call's iovecs (parameters 1 and 2) and the place for its
// result, whose address is parameter i: both are good before anything is done.
func (c call) buffers(i int) (v iovecs, result []byte, errno Errno) {
	if errno = c.mem.iovecs(&v, c.u32(1), c.u32(2)); errno != Success {
		return v, nil, errno
	}
	result, errno = c.mem.bytes(c.u32(i), 4)
	return v, result, errno
}

// readAt fills the buffers from off on, up to the end of the file.
func (c Ops) readAt(h vfs.Handle, v *iovecs, off int64) (int, Errno) {
	if len(v.list) > 1 && v.total <= gatherSize {
		b := c.gather.get()
		defer c.gather.put(b)
		n, err := h.ReadAt(c.ctx, b[:v.total], off)
		rest := b[:n]
		for _, p := range v.list {
			rest = rest[copy(p, rest):]
		}
		if n > 0 {
			return n, Success
		}
		return 0, errnoOf(err)
	}
	total := 0
	for _, p := range v.list {
		n, errno := c.readOne(h, p, off+int64(total))
		total += n
		if errno != Success && total == 0 {
			return 0, errno
		}
		if errno != Success || n < len(p) {
			break
		}
	}
	return total, Success
}

func (c Ops) readOne(h vfs.Handle, p []byte, off int64) (int, Errno) {
	total := 0
	for total < len(p) {
		if total > 0 && c.ctx.Err() != nil {
			break
		}
		want := min(len(p)-total, chunk)
		n, err := h.ReadAt(c.ctx, p[total:total+want], off+int64(total))
		total += n
		if err != nil && total == 0 {
			return 0, errnoOf(err)
		}
		if err != nil || n < want {
			break
		}
	}
	return total, Success
}

// writeAt writes the buffers at off, or at the end. An error after a part was
// written is not told: the next write meets it again.
func (c Ops) writeAt(d *desc, v *iovecs, off int64) (int, Errno) {
	if v.total == 0 {
		return 0, Success
	}
	if _, ok := span(uint64(off), v.total); !ok {
		return 0, EFBIG
	}
	if err := c.view.Quota.TakeBytes(v.total); err != nil {
		return 0, errnoOf(err)
	}
	n, errno := c.writeAll(d, v, off)
	c.view.Quota.GiveBytes(v.total - uint64(n))
	if n > 0 {
		return n, Success
	}
	return 0, errno
}

// writeAll writes buffers that fit together in one call, so that an append of
// several is one append, and others one by one.
func (c Ops) writeAll(d *desc, v *iovecs, off int64) (int, Errno) {
	if len(v.list) > 1 && v.total <= gatherSize {
		b := c.gather.get()
		defer c.gather.put(b)
		n := 0
		for _, p := range v.list {
			n += copy(b[n:], p)
		}
		n, err := d.file.WriteAt(c.ctx, b[:n], off)
		return n, errnoOf(err)
	}
	size := chunk
	if d.flags&flagAppend != 0 {
		size = math.MaxInt32 // a buffer is appended in one piece
	}
	total := 0
	for _, p := range v.list {
		for len(p) > 0 {
			if total > 0 && c.ctx.Err() != nil {
				return total, EINTR
			}
			want := min(len(p), size)
			n, err := d.file.WriteAt(c.ctx, p[:want], off+int64(total))
			total += n
			if err != nil {
				return total, errnoOf(err)
			}
			if n < want {
				return total, EIO
			}
			p = p[want:]
		}
	}
	return total, Success
}

// writeStream writes the buffers to a stream. What is printed counts against no
// quota.
func (c Ops) writeStream(s *stream, v *iovecs) (int, Errno) {
	if len(v.list) > 1 && v.total <= gatherSize {
		b := c.gather.get()
		defer c.gather.put(b)
		n := 0
		for _, p := range v.list {
			n += copy(b[n:], p)
		}
		return s.write(b[:n])
	}
	total := 0
	for _, p := range v.list {
		n, errno := s.write(p)
		total += n
		if errno != Success && total == 0 {
			return 0, errno
		}
		if errno != Success || n < len(p) {
			break
		}
	}
	return total, Success
}

// seekEnd moves the position behind what is in the file now.
func (c Ops) seekEnd(d *desc) Errno {
	a, err := d.node.fs.GetAttr(c.ctx, d.node.id, d.file)
	if err != nil {
		return errnoOf(err)
	}
	d.pos = a.Size
	return Success
}

// fdSeek is (fd, offset, whence, position).
func (c call) fdSeek() Errno {
	const set, cur, end = 0, 1, 2
	off, whence := int64(c.u64(1)), c.u32(2)
	d, errno := c.lockFile(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	if whence == cur && off == 0 {
		return c.tell(d, 3)
	}
	if d.base&rightFdSeek == 0 {
		return ENOTCAPABLE
	}
	result, errno := c.mem.bytes(c.u32(3), 8)
	if errno != Success {
		return errno
	}
	var from int64
	switch whence {
	case set:
	case cur:
		from = d.pos
	case end:
		a, err := d.node.fs.GetAttr(c.ctx, d.node.id, d.file)
		if err != nil {
			return errnoOf(err)
		}
		from = a.Size
	default:
		return EINVAL
	}
	if off > 0 && from > math.MaxInt64-off {
		return EOVERFLOW
	}
	if from+off < 0 {
		return EINVAL
	}
	d.pos = from + off
	binary.LittleEndian.PutUint64(result, uint64(d.pos))
	return Success
}

// fdTell is (fd, position).
func (c call) fdTell() Errno {
	d, errno := c.lockFile(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	return c.tell(d, 1)
}

// tell answers d's position to the address that is parameter i. The right to
// seek includes it.
func (c call) tell(d *desc, i int) Errno {
	if d.base&(rightFdTell|rightFdSeek) == 0 {
		return ENOTCAPABLE
	}
	return c.mem.put64(c.u32(i), uint64(d.pos))
}
