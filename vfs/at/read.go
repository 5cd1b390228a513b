package at

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pread reads from fd at off until p is full or the file ends, and returns how
// much it read.
func Pread(fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := pread(fd, p[done:], off+int64(done))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

// The kernel copies a page of a file by one string instruction of the processor
// (rep movsb). Where what is written lies some bytes behind what is read, seen
// within a page, that takes five to six times as long on AMD's Zen 3 and 4. A
// block that a guest allocates lies so where its allocator begins with fresh
// pages, behind a header of 8 bytes.
const (
	slowShift  = 16       // bytes; from here on, the buffer would not be faster
	slowRead   = 2 << 10  // bytes; not worth it for fewer
	bounceSize = 64 << 10 // bytes: stays in the processor's cache
	pageMask   = 4096 - 1
)

var bounces = sync.Pool{New: func() any { return new([bounceSize]byte) }}

// shifted tells whether reading at off into p would be slow.
func shifted(p []byte, off int64) bool {
	if len(p) < slowRead {
		return false
	}
	d := pageShift(p, off)
	return d > 0 && d < slowShift
}

// pageShift is how far behind the place in its page that off has p begins.
func pageShift(p []byte, off int64) int {
	return int((uintptr(unsafe.Pointer(unsafe.SliceData(p))) - uintptr(off)) & pageMask)
}

// pread is pread(2), by way of a buffer where that is faster.
func pread(fd int, p []byte, off int64) (int, error) {
	if !shifted(p, off) {
		return unix.Pread(fd, p, off)
	}
	buf := bounces.Get().(*[bounceSize]byte)
	defer bounces.Put(buf)
	n, err := unix.Pread(fd, buf[:min(len(p), bounceSize)], off)
	if n > 0 {
		copy(p, buf[:n])
	}
	return n, err
}
