package wasip1

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// fdFdstatGet is (fd, fdstat).
func (c call) fdFdstatGet() Errno {
	d, errno := c.lock(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	b, errno := c.mem.bytes(c.u32(1), 24)
	if errno != Success {
		return errno
	}
	clear(b)
	b[0] = byte(d.ftype())
	binary.LittleEndian.PutUint16(b[2:], uint16(d.flags))
	binary.LittleEndian.PutUint64(b[8:], uint64(d.base))
	binary.LittleEndian.PutUint64(b[16:], uint64(d.inherit))
	return Success
}

func (d *desc) ftype() filetype {
	switch d.kind {
	case kindStream:
		return d.stream.ftype
	case kindFile:
		return typeRegular
	}
	return typeDirectory
}

// fdFdstatSetFlags is (fd, flags). How a file is written belongs to its handle,
// so a change of that opens the file anew.
func (c call) fdFdstatSetFlags() Errno {
	d, errno := c.lock(c.u32(0), rightFdstatSetFlags, ENOTCAPABLE)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	if c.u32(1)&^uint32(allFlags) != 0 {
		return EINVAL
	}
	flags := fdflags(c.u32(1))
	if d.kind == kindFile && flags.open() != d.flags.open() {
		h, err := d.node.fs.Open(c.ctx, d.node.id, d.mode|flags.open())
		if err != nil {
			return errnoOf(err)
		}
		old := d.file
		d.file, d.flags = h, flags
		return errnoOf(old.Close())
	}
	d.flags = flags
	return Success
}

// open is the flags as open(2) has them.
func (f fdflags) open() int {
	flags := 0
	if f&flagAppend != 0 {
		flags |= unix.O_APPEND
	}
	if f&(flagSync|flagRsync) != 0 {
		flags |= unix.O_SYNC
	} else if f&flagDsync != 0 {
		flags |= unix.O_DSYNC
	}
	return flags
}

// accessMode is the access mode of open(2) that rights ask for.
func accessMode(r rights) int {
	switch r & (rightFdRead | rightFdWrite) {
	case rightFdRead | rightFdWrite:
		return unix.O_RDWR
	case rightFdWrite:
		return unix.O_WRONLY
	}
	return unix.O_RDONLY
}

// fdFdstatSetRights is (fd, base, inheriting). Rights only go.
func (c call) fdFdstatSetRights() Errno {
	d, errno := c.lock(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	base, inherit := rights(c.u64(1)), rights(c.u64(2))
	if base&^d.base != 0 || inherit&^d.inherit != 0 {
		return ENOTCAPABLE
	}
	d.base, d.inherit = base, inherit
	return Success
}

// fdFilestatGet is (fd, filestat).
func (c call) fdFilestatGet() Errno {
	b, errno := c.mem.bytes(c.u32(1), filestatSize)
	if errno != Success {
		return errno
	}
	if d, errno := c.lock(c.u32(0), rightFdFilestatGet, ENOTCAPABLE); errno != Success {
		return errno
	} else if c.unlock(d); d.kind == kindStream {
		clear(b)
		b[16] = byte(d.stream.ftype)
		return Success
	}
	s, errno := c.Stat(c.u32(0))
	if errno == Success {
		putFilestat(b, &s)
	}
	return errno
}

// Stat are the attributes of something and the tree that it is in; none is the
// directory of the preopens.
type Stat struct {
	Scheme view.Scheme
	vfs.Attr
}

// Stat returns the attributes of a descriptor; EBADF for a stream, which has
// none.
func (c Ops) Stat(fd uint32) (Stat, Errno) {
	d, errno := c.lock(fd, rightFdFilestatGet, ENOTCAPABLE)
	if errno != Success {
		return Stat{}, errno
	}
	defer c.unlock(d)
	switch d.kind {
	case kindStream:
		return Stat{}, EBADF
	case kindRoot:
		return c.rootStat(), Success
	}
	// What was opened may be looked at, to whatever end it was opened.
	if d.granted == 0 {
		if errno := c.permit(d, vfs.Read); errno != Success {
			return Stat{}, errno
		}
	}
	a, err := d.node.fs.GetAttr(c.ctx, d.node.id, d.file)
	return Stat{d.scheme, a}, errnoOf(err)
}

const filestatSize = 64

// putFilestat writes attributes as a filestat. Each tree is a device.
func putFilestat(b []byte, a *Stat) {
	clear(b[:filestatSize])
	le := binary.LittleEndian
	le.PutUint64(b, uint64(a.Scheme))
	le.PutUint64(b[8:], a.Ino)
	b[16] = byte(typeOfMode(a.Mode))
	le.PutUint64(b[24:], uint64(a.Nlink))
	le.PutUint64(b[32:], uint64(max(a.Size, 0)))
	le.PutUint64(b[40:], timestamp(a.Atime))
	le.PutUint64(b[48:], timestamp(a.Mtime))
	le.PutUint64(b[56:], timestamp(a.Ctime))
}

// rootIno is the inode number of the directory of the preopens, on device 0.
const rootIno = 1

func (c Ops) rootStat() Stat {
	t := vfs.TimespecOf(c.start)
	return Stat{0, vfs.Attr{Ino: rootIno, Mode: unix.S_IFDIR, Nlink: uint32(2 + len(c.root)), Atime: t, Mtime: t, Ctime: t}}
}

func typeOfMode(mode uint32) filetype {
	switch mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return typeBlockDevice
	case unix.S_IFCHR:
		return typeCharacterDevice
	case unix.S_IFDIR:
		return typeDirectory
	case unix.S_IFREG:
		return typeRegular
	case unix.S_IFSOCK:
		return typeSocketStream
	case unix.S_IFLNK:
		return typeSymlink
	}
	return typeUnknown // a fifo: preview1 has no type for it
}

// timestamp is t in ns. preview1 has no time before 1970 and none after 2554;
// the nearest that it has stands for them.
func timestamp(t vfs.Timespec) uint64 {
	const last = math.MaxUint64 / 1_000_000_000
	switch {
	case t.Sec < 0:
		return 0
	case t.Sec >= last:
		return math.MaxUint64
	}
	return uint64(t.Sec)*1_000_000_000 + uint64(t.Nsec)
}

// times makes the change that set_times asks for.
func times(atime, mtime uint64, flags uint32) (vfs.SetAttr, Errno) {
	const atim, atimNow, mtim, mtimNow = 1, 2, 4, 8
	in := vfs.SetAttr{Atime: timespec(atime), Mtime: timespec(mtime)}
	if flags&^(atim|atimNow|mtim|mtimNow) != 0 {
		return in, EINVAL
	}
	switch flags & (atim | atimNow) {
	case atim:
		in.Valid |= vfs.SetAtime
	case atimNow:
		in.Valid |= vfs.SetAtimeNow
	case atim | atimNow:
		return in, EINVAL
	}
	switch flags & (mtim | mtimNow) {
	case mtim:
		in.Valid |= vfs.SetMtime
	case mtimNow:
		in.Valid |= vfs.SetMtimeNow
	case mtim | mtimNow:
		return in, EINVAL
	}
	return in, Success
}

func timespec(ns uint64) vfs.Timespec {
	return vfs.Timespec{Sec: int64(ns / 1_000_000_000), Nsec: uint32(ns % 1_000_000_000)}
}

// fdFilestatSetSize is (fd, size).
func (c call) fdFilestatSetSize() Errno { return c.SetSize(c.u32(0), c.u64(1)) }

// SetSize makes an open file size bytes long. What it grows by counts against
// the quota as if zeros had been written. A file that is not open for writing is
// EINVAL, as for ftruncate.
func (c Ops) SetSize(fd uint32, size uint64) Errno {
	d, errno := c.lockFile(fd, rightFdFilestatSetSize, ENOTCAPABLE)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	switch {
	case d.base&rightFdWrite == 0:
		return EINVAL
	case size > math.MaxInt64:
		return EFBIG
	}
	a, err := d.node.fs.GetAttr(c.ctx, d.node.id, d.file)
	if err != nil {
		return errnoOf(err)
	}
	grow := uint64(max(int64(size)-a.Size, 0))
	if err := c.view.Quota.TakeBytes(grow); err != nil {
		return errnoOf(err)
	}
	if _, err = d.node.fs.SetAttr(c.ctx, d.node.id, d.file, vfs.SetAttr{Valid: vfs.SetSize, Size: int64(size)}); err != nil {
		c.view.Quota.GiveBytes(grow)
	}
	return errnoOf(err)
}

// fdFilestatSetTimes is (fd, atime, mtime, flags).
func (c call) fdFilestatSetTimes() Errno {
	in, errno := times(c.u64(1), c.u64(2), c.u32(3))
	if errno != Success {
		return errno
	}
	return c.SetTimes(c.u32(0), in)
}

// SetTimes sets times of what a descriptor stands for.
func (c Ops) SetTimes(fd uint32, in vfs.SetAttr) Errno {
	d, errno := c.lock(fd, 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	switch {
	case d.kind == kindStream:
		return EBADF
	case d.base&rightFdFilestatSetTimes == 0:
		return ENOTCAPABLE
	case d.kind == kindRoot:
		return EROFS
	}
	if errno := c.permit(d, vfs.Write); errno != Success {
		return errno
	}
	_, err := d.node.fs.SetAttr(c.ctx, d.node.id, d.file, in)
	return errnoOf(err)
}
