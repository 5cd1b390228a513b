package fusefs

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What is told to the kernel without having been asked, and asked of it. Each
// may be called as long as the process lives, and answers EBADF after the end.

// InodeNotify has the kernel drop what it has of a node: its attributes, and its
// pages from off on unless that is negative.
func (c *conn) InodeNotify(node uint64, off, length int64) fuse.Status {
	b := message(24)
	b = binary.NativeEndian.AppendUint64(b, node)
	b = binary.NativeEndian.AppendUint64(b, uint64(off))
	b = binary.NativeEndian.AppendUint64(b, uint64(length))
	return c.notify(fuse.NOTIFY_INVAL_INODE, b)
}

// EntryNotify has the kernel drop what it has of a name.
func (c *conn) EntryNotify(parent uint64, name string) fuse.Status {
	b := message(16 + len(name) + 1)
	b = binary.NativeEndian.AppendUint64(b, parent)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(name)))
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(append(b, name...), 0)
	return c.notify(fuse.NOTIFY_INVAL_ENTRY, b)
}

// PruneNotify has the kernel forget those of the nodes that are not in use;
// ENOSYS before Linux 6.18.
func (c *conn) PruneNotify(nodes []uint64) fuse.Status {
	b := message(16 + 8*len(nodes))
	b = binary.NativeEndian.AppendUint32(b, uint32(len(nodes)))
	b = append(b, make([]byte, 12)...)
	for _, n := range nodes {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	return c.notify(fuse.NOTIFY_PRUNE, b)
}

// message returns room for a header, and n bytes that are to be appended.
func message(n int) []byte { return make([]byte, replySize, replySize+n) }

// notify sends b, a message, with its header filled in. It may wait for locks
// that the kernel holds for requests.
func (c *conn) notify(kind int32, b []byte) fuse.Status {
	*(*fuse.OutHeader)(unsafe.Pointer(&b[0])) = fuse.OutHeader{Length: uint32(len(b)), Status: -kind}
	e := c.control(func(fd uintptr) syscall.Errno {
		_, _, e := syscall.Syscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		return e
	})
	if e == syscall.EINVAL {
		e = syscall.ENOSYS // of a kind that the kernel does not know
	}
	return fuse.Status(e)
}

// control calls f with the descriptor, which stays open meanwhile.
func (c *conn) control(f func(fd uintptr) syscall.Errno) (e syscall.Errno) {
	if err := c.raw.Control(func(fd uintptr) { e = f(fd) }); err != nil {
		return syscall.EBADF
	}
	return e
}

// Requests of ioctl(2) on /dev/fuse.
const (
	ioctlBackingOpen  = 0x4010e501
	ioctlBackingClose = 0x4004e502
)

// RegisterBackingFd gives the kernel a file that it may read and write itself,
// and returns the number by which answers name it.
func (c *conn) RegisterBackingFd(m *fuse.BackingMap) (id int32, errno syscall.Errno) {
	errno = c.control(func(fd uintptr) syscall.Errno {
		r, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, ioctlBackingOpen, uintptr(unsafe.Pointer(m)))
		id = int32(r)
		return e
	})
	return id, errno
}

// UnregisterBackingFd takes back what RegisterBackingFd gave.
func (c *conn) UnregisterBackingFd(id int32) syscall.Errno {
	return c.control(func(fd uintptr) syscall.Errno {
		_, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, ioctlBackingClose, uintptr(unsafe.Pointer(&id)))
		return e
	})
}
