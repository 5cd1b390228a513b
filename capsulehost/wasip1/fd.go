package wasip1

import (
	"encoding/binary"
	"errors"
	"math"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
)

// lock returns the descriptor fd for this call alone, which unlocks it. A
// descriptor without all of the rights need answers missing.
func (c Ops) lock(fd uint32, need rights, missing Errno) (*desc, Errno) {
	d, errno := c.table.get(fd)
	if errno != Success {
		return nil, errno
	}
	d.mu.Lock()
	if d.base&need != need {
		c.unlock(d)
		return nil, missing
	}
	return d, Success
}

func (c Ops) unlock(d *desc) {
	d.mu.Unlock()
	c.done(d)
}

// done ends the call's use of a descriptor that is not locked.
func (c Ops) done(d *desc) {
	// If another thread closed it meanwhile, that call has answered already,
	// and there is nobody left to be told of an error.
	_ = c.table.put(d)
}

// lockFile is lock for what only a regular file can do. What else a descriptor
// stands for answers EISDIR or ESPIPE, before its rights are looked at.
func (c Ops) lockFile(fd uint32, need rights, missing Errno) (*desc, Errno) {
	d, errno := c.lock(fd, 0, Success)
	if errno != Success {
		return nil, errno
	}
	switch {
	case d.kind == kindStream:
		errno = ESPIPE
	case d.kind != kindFile:
		errno = EISDIR
	case d.base&need != need:
		errno = missing
	default:
		return d, Success
	}
	c.unlock(d)
	return nil, errno
}

// permit asks the gate for an access to what d stands for, if it was not asked
// when d was opened: a preopened directory was given without asking, and what
// was opened to be read may be used to change attributes.
func (c Ops) permit(d *desc, want vfs.Access) Errno {
	if d.granted&want == want || d.node == nil || c.view.Gate == nil {
		return Success
	}
	path := ""
	if d.node.id != vfs.RootID {
		var err error
		path, err = d.node.fs.Path(c.ctx, d.node.id)
		if errors.Is(err, syscall.ENOENT) {
			return EACCES // no name, so nothing that could be granted
		}
		if err != nil {
			return errnoOf(err)
		}
	}
	return errnoOf(c.view.Demand(c.ctx, d.scheme, path, want))
}

// fdClose is (fd).
func (c call) fdClose() Errno { return c.table.remove(c.u32(0)) }

// fdRenumber is (from, to).
func (c call) fdRenumber() Errno { return c.table.renumber(c.u32(0), c.u32(1)) }

// fdPrestatGet is (fd, prestat). Its tag is 0, a directory.
func (c call) fdPrestatGet() Errno {
	name, errno := c.table.preopened(c.u32(0))
	if errno != Success {
		return errno
	}
	b, errno := c.mem.bytes(c.u32(1), 8)
	if errno != Success {
		return errno
	}
	binary.LittleEndian.PutUint64(b, uint64(len(name))<<32)
	return Success
}

// fdPrestatDirName is (fd, buf, len).
func (c call) fdPrestatDirName() Errno {
	name, errno := c.table.preopened(c.u32(0))
	if errno != Success {
		return errno
	}
	n := c.u32(2)
	if uint64(n) < uint64(len(name)) {
		return ENAMETOOLONG
	}
	b, errno := c.mem.bytes(c.u32(1), n)
	if errno != Success {
		return errno
	}
	copy(b, name)
	return Success
}

// fdAdvise is (fd, offset, len, advice). Advice is checked and not taken.
func (c call) fdAdvise() Errno {
	const lastAdvice = 5
	d, errno := c.lockFile(c.u32(0), rightFdAdvise, ENOTCAPABLE)
	if errno != Success {
		return errno
	}
	c.unlock(d)
	if _, ok := span(c.u64(1), c.u64(2)); !ok || c.u32(3) > lastAdvice {
		return EINVAL
	}
	return Success
}

// fdAllocate is (fd, offset, len). The whole length counts against the quota.
func (c call) fdAllocate() Errno {
	d, errno := c.lockFile(c.u32(0), rightFdAllocate, EBADF)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	off, n := c.u64(1), c.u64(2)
	if n == 0 {
		return EINVAL
	}
	if _, ok := span(off, n); !ok {
		return EFBIG
	}
	if err := c.view.Quota.TakeBytes(n); err != nil {
		return errnoOf(err)
	}
	err := d.file.Allocate(c.ctx, 0, int64(off), int64(n))
	if err != nil {
		c.view.Quota.GiveBytes(n)
	}
	return errnoOf(err)
}

// span is the end of n bytes at off, if no offset of a file is exceeded.
func span(off, n uint64) (end int64, ok bool) {
	if off > math.MaxInt64 || n > math.MaxInt64-off {
		return 0, false
	}
	return int64(off + n), true
}

func (c call) fdDatasync() Errno { return c.Sync(c.u32(0), true) }
func (c call) fdSync() Errno     { return c.Sync(c.u32(0), false) }

// Sync has what was written to a file or done in a directory be kept.
func (c Ops) Sync(fd uint32, dataOnly bool) Errno {
	need := rightFdSync
	if dataOnly {
		need = rightFdDatasync
	}
	d, errno := c.lock(fd, 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	switch {
	case d.kind == kindStream:
		return EINVAL // as fsync of a pipe or a terminal
	case d.base&need != need:
		return ENOTCAPABLE
	case d.kind == kindRoot:
		return Success
	case d.kind == kindFile:
		return errnoOf(d.file.Sync(c.ctx, dataOnly))
	}
	dir, errno := c.listing(d)
	if errno != Success {
		return errno
	}
	return errnoOf(dir.Sync(c.ctx))
}
