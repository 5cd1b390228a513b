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
	r := DirReader{fd: fd}
	defer r.Reset()
	return r.Read(off, fn)
}

// DirReader reads a directory in pieces, as a front end does whose own buffer is
// smaller than what the host gives at once: entries that were read and not taken
// are kept for the next call, which goes on where the last one stopped. Calls
// must not overlap.
type DirReader struct {
	fd   int
	buf  *[]byte // from direntBufs; nil while nothing is kept
	rest []byte  // of buf: what was not taken
	next uint64  // cookie that rest goes on from
}

// NewDirReader returns a DirReader of fd, a directory opened for reading, which
// remains the caller's and whose position it moves.
func NewDirReader(fd int) *DirReader { return &DirReader{fd: fd} }

// Reset gives up what was kept. A DirReader that is not used any more must be
// reset for its memory to be used again.
func (r *DirReader) Reset() {
	if r.buf != nil {
		direntBufs.Put(r.buf)
		r.buf, r.rest = nil, nil
	}
}

// Read is [ReadDir]. From 0 it always sees the present state.
func (r *DirReader) Read(off uint64, fn func(vfs.DirEntry) bool) error {
	if off == 0 || off != r.next || len(r.rest) == 0 {
		r.Reset()
		if err := Retry(func() error { _, err := unix.Seek(r.fd, int64(off), unix.SEEK_SET); return err }); err != nil {
			return err
		}
		r.next = off
	}
	for {
		for len(r.rest) > 0 {
			de, size, ok := parseDirent(r.rest)
			if !ok {
				r.Reset()
				return syscall.EIO
			}
			if !fn(de) {
				return nil
			}
			r.rest, r.next = r.rest[size:], de.Off
		}
		if r.buf == nil {
			r.buf = direntBufs.Get().(*[]byte)
		}
		n, err := unix.Getdents(r.fd, *r.buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			r.Reset()
			return err
		}
		r.rest = (*r.buf)[:n]
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
