package at

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// The system calls that every operation makes, one or several times. Those of
// package unix copy each name to the heap.

// cname is room for a name and the NUL behind it.
type cname [vfs.NameMax + 1]byte

// ptr puts s where the kernel can read it: into b, or on the heap if it is
// longer. EINVAL if s holds a NUL.
func (b *cname) ptr(s string) (unsafe.Pointer, error) {
	if len(s) >= len(b) {
		p, err := unix.BytePtrFromString(s)
		return unsafe.Pointer(p), err
	}
	for i := range len(s) {
		if s[i] == 0 {
			return nil, syscall.EINVAL
		}
		b[i] = s[i]
	}
	b[len(s)] = 0
	return unsafe.Pointer(b), nil
}

// statx is statx(2), restarted after EINTR.
func statx(dirfd int, name string, flags, mask int, st *unix.Statx_t) error {
	var buf cname
	p, err := buf.ptr(name)
	if err != nil {
		return err
	}
	for {
		_, _, e := unix.Syscall6(unix.SYS_STATX, uintptr(dirfd), uintptr(p), uintptr(flags), uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
		switch e {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return e
		}
	}
}

// openat is openat(2), restarted after EINTR.
func openat(dirfd int, name string, flags int, mode uint32) (int, error) {
	var buf cname
	p, err := buf.ptr(name)
	if err != nil {
		return -1, err
	}
	for {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(dirfd), uintptr(p), uintptr(flags|unix.O_LARGEFILE), uintptr(mode), 0, 0)
		switch e {
		case 0:
			return int(fd), nil
		case syscall.EINTR:
		default:
			return -1, e
		}
	}
}
