package at

import (
	"bytes"
	"encoding/binary"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

const direntBufSize = 32 << 10

var direntBufs = sync.Pool{New: func() any { b := make([]byte, direntBufSize); return &b }}

// ReadDir calls fn for the entries of fd, a directory opened for reading, from
// the cookie off on, "." and ".." among them, until fn returns false. It moves
// fd's position, so calls on one descriptor must not overlap; the cookies are
// the host's own and stay good while the directory is open. Memory does not
// depend on the size of the directory.
func ReadDir(fd int, off uint64, fn func(vfs.DirEntry) bool) error {
	if err := retry(func() error { _, err := unix.Seek(fd, int64(off), unix.SEEK_SET); return err }); err != nil {
		return err
	}
	bp := direntBufs.Get().(*[]byte)
	defer direntBufs.Put(bp)
	for {
		n, err := unix.Getdents(fd, *bp)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		for b := (*bp)[:n]; len(b) > 0; {
			de, size, ok := parseDirent(b)
			if !ok {
				return syscall.EIO
			}
			b = b[size:]
			if !fn(de) {
				return nil
			}
		}
	}
}

// parseDirent reads one struct linux_dirent64: ino u64, off i64, reclen u16,
// type u8, name with a NUL and padding.
func parseDirent(b []byte) (de vfs.DirEntry, size int, ok bool) {
	const header = 19
	if len(b) < header {
		return de, 0, false
	}
	size = int(binary.NativeEndian.Uint16(b[16:]))
	if size < header || size > len(b) {
		return de, 0, false
	}
	name := b[header:size]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return vfs.DirEntry{
		Name: string(name),
		Ino:  binary.NativeEndian.Uint64(b),
		Off:  binary.NativeEndian.Uint64(b[8:]),
		Type: uint32(b[18]) << 12, // DT_… is the mode's type bits shifted down
	}, size, true
}
