package vfstest

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func sparseCases() []testCase {
	data := strings.Repeat("d", 64<<10)
	return []testCase{
		{"Seek", Tree{file("f", data)}, func(e *env) {
			h := e.open(e.at("f").Node, unix.O_RDWR)
			seek := func(off int64, whence int, want int64) {
				e.Helper()
				got, err := h.Seek(e.ctx, off, whence)
				e.ok(err)
				if got != want {
					e.Fatalf("Seek(%d, %d) is %d, want %d", off, whence, got, want)
				}
			}
			const end = 64 << 10
			seek(0, unix.SEEK_DATA, 0)
			seek(100, unix.SEEK_DATA, 100)
			seek(0, unix.SEEK_HOLE, end)
			for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
				_, err := h.Seek(e.ctx, end, whence)
				e.want(err, syscall.ENXIO)
				_, err = h.Seek(e.ctx, end+100, whence)
				e.want(err, syscall.ENXIO)
				_, err = h.Seek(e.ctx, -1, whence)
				e.want(err, syscall.EINVAL, syscall.ENXIO)
			}
			_, err := h.Seek(e.ctx, 0, 99)
			e.want(err, syscall.EINVAL)
			// A hole of a mebibyte, then data. Where the host has no holes it is
			// all data.
			e.writeAt(h, "tail", 2<<20)
			hole, err := h.Seek(e.ctx, 0, unix.SEEK_HOLE)
			e.ok(err)
			if hole < end || hole > 2<<20+4 {
				e.Fatalf("first hole at %d", hole)
			}
			if hole < 2<<20 {
				at, err := h.Seek(e.ctx, hole, unix.SEEK_DATA)
				e.ok(err)
				if at < end || at > 2<<20 {
					e.Fatalf("data behind the hole at %d", at)
				}
			}
			seek(2<<20, unix.SEEK_HOLE, 2<<20+4)
			e.readAt(h, 2<<20-2, "\x00\x00tail")
			e.setAttr(h.Node(), h, vfs.SetAttr{Valid: vfs.SetSize, Size: 4 << 20})
			if got, err := h.Seek(e.ctx, 3<<20, unix.SEEK_DATA); err == nil && got < 3<<20 {
				e.Fatalf("data at %d", got)
			} else if err != nil {
				e.want(err, syscall.ENXIO)
			}
		}},
		{"Allocate", Tree{file("f", "0123456789")}, func(e *env) {
			f := e.at("f").Node
			h := e.open(f, unix.O_RDWR)
			if e.lacks(Fallocate) {
				e.want(h.Allocate(e.ctx, 0, 0, 4096), syscall.EOPNOTSUPP)
				return
			}
			e.ok(h.Allocate(e.ctx, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
			if a := e.attr(f); a.Size != 10 || a.Blocks*512 < 1<<20 {
				e.Errorf("allocated, size kept: size %d, %d blocks", a.Size, a.Blocks)
			}
			e.ok(h.Allocate(e.ctx, 0, 0, 100))
			if a := e.attr(f); a.Size != 100 {
				e.Errorf("size is %d, want 100", a.Size)
			}
			e.readAt(h, 0, "0123456789"+strings.Repeat("\x00", 90))
			e.want(h.Allocate(e.ctx, 0, -1, 10), syscall.EINVAL)
			e.want(h.Allocate(e.ctx, 0, 0, 0), syscall.EINVAL)
			e.want(h.Allocate(e.ctx, 0, 0, -5), syscall.EINVAL)
			e.want(h.Allocate(e.ctx, 0, 1<<62, 1<<62), syscall.EFBIG)
			e.want(h.Allocate(e.ctx, 1<<31, 0, 10), syscall.EOPNOTSUPP)
		}},
		{"Allocate/PunchAndZero", Tree{file("f", data)}, func(e *env) {
			f := e.at("f").Node
			h := e.open(f, unix.O_RDWR)
			early := e.open(f, unix.O_RDONLY)
			if e.lacks(Fallocate) {
				e.want(h.Allocate(e.ctx, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096), syscall.EOPNOTSUPP)
				return
			}
			for i, mode := range []uint32{unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE} {
				off := int64(i+1) * 16 << 10
				err := h.Allocate(e.ctx, mode, off, 8<<10)
				if vfs.Errno(err) == syscall.EOPNOTSUPP {
					continue // the host's filesystem has its own limits
				}
				e.ok(err)
				for _, r := range []vfs.Handle{h, early} {
					buf := make([]byte, 8<<10+2)
					if n, err := r.ReadAt(e.ctx, buf, off-1); err != nil || n != len(buf) {
						e.Fatalf("ReadAt: %d, %v", n, err)
					}
					if want := "d" + strings.Repeat("\x00", 8<<10) + "d"; string(buf) != want {
						e.Errorf("mode %#x left %q", mode, clip(strings.Trim(string(buf), "\x00")))
					}
				}
				if a := e.attr(f); a.Size != 64<<10 {
					e.Errorf("size is %d", a.Size)
				}
			}
			e.want(h.Allocate(e.ctx, unix.FALLOC_FL_PUNCH_HOLE, 0, 4096), syscall.EOPNOTSUPP)
		}},
	}
}

func copyCases() []testCase {
	src := strings.Repeat("0123456789abcdef", 8<<10) // 128 KiB
	tree := Tree{file("s", src), file("d", "dddddddd")}
	return []testCase{
		{"CopyRange", tree, func(e *env) {
			s, d := e.open(e.at("s").Node, unix.O_RDONLY), e.open(e.at("d").Node, unix.O_RDWR)
			if e.lacks(CopyRange) {
				_, err := s.CopyRange(e.ctx, 0, d, 0, 10)
				e.want(err, syscall.EOPNOTSUPP)
				return
			}
			early := e.open(d.Node(), unix.O_RDONLY)
			e.copy(s, 4, d, 2, 3, 3)
			e.readAt(d, 0, "dd456ddd")
			e.readAt(early, 0, "dd456ddd")
			e.copy(s, 0, d, 0, int64(len(src)), int64(len(src)))
			e.readAt(d, 0, src)
			e.copy(s, int64(len(src))-5, d, 1<<20, 100, 5) // past the end
			e.readAt(d, 1<<20-1, "\x00bcdef")
			e.copy(s, int64(len(src)), d, 0, 100, 0)
			e.copy(s, 1<<40, d, 0, 100, 0)
			e.copy(s, 0, d, 0, 0, 0)
			e.readAt(early, 0, src+strings.Repeat("\x00", 1<<20-len(src))+"bcdef")
		}},
		{"CopyRange/SameFile", tree, func(e *env) {
			if e.lacks(CopyRange) {
				return // CopyRange has checked what is promised then
			}
			h := e.open(e.at("s").Node, unix.O_RDWR)
			other := e.open(e.at("s").Node, unix.O_RDWR)
			e.copy(h, 0, h, int64(len(src)), 16, 16)
			e.readAt(h, int64(len(src)), "0123456789abcdef")
			e.copy(other, 1, h, 0, 1, 1)
			e.readAt(h, 0, "1123456789abcdef"+src[16:]+"0123456789abcdef")
			for _, c := range [][3]int64{{0, 1, 16}, {8, 0, 16}, {0, 0, 16}} {
				_, err := h.CopyRange(e.ctx, c[0], other, c[1], c[2])
				e.want(err, syscall.EINVAL)
			}
		}},
		{"CopyRange/Errors", tree, func(e *env) {
			if e.lacks(CopyRange) {
				return // CopyRange has checked what is promised then
			}
			s, d := e.at("s").Node, e.at("d").Node
			r, w := e.open(s, unix.O_RDONLY), e.open(d, unix.O_WRONLY)
			bad := func(from vfs.Handle, off int64, to vfs.Handle, dstOff, n int64, errnos ...syscall.Errno) {
				e.Helper()
				_, err := from.CopyRange(e.ctx, off, to, dstOff, n)
				e.want(err, errnos...)
			}
			bad(e.open(s, unix.O_WRONLY), 0, w, 0, 1, syscall.EBADF)
			bad(r, 0, e.open(d, unix.O_RDONLY), 0, 1, syscall.EBADF)
			bad(r, -1, w, 0, 1, syscall.EINVAL)
			bad(r, 0, w, -1, 1, syscall.EINVAL)
			bad(r, 0, w, 0, -1, syscall.EINVAL)
			bad(r, 0, w, 1<<63-5, 10, syscall.EFBIG, syscall.EINVAL)
			e.contents(d, "dddddddd")
		}},
		{"CopyRange/Unlinked", tree, func(e *env) {
			if e.lacks(CopyRange) {
				return // CopyRange has checked what is promised then
			}
			s, d := e.open(e.at("s").Node, unix.O_RDONLY), e.open(e.at("d").Node, unix.O_RDWR)
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "s"))
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "d"))
			e.copy(s, 0, d, 0, 4, 4)
			e.readAt(d, 0, "0123dddd")
		}},
	}
}

// copy copies, in as many calls as it takes.
func (e *env) copy(s vfs.Handle, off int64, d vfs.Handle, dstOff, n, want int64) {
	e.Helper()
	var done int64
	for done < n {
		k, err := s.CopyRange(e.ctx, off+done, d, dstOff+done, n-done)
		e.ok(err)
		if k == 0 {
			break
		}
		done += k
	}
	if done != want {
		e.Fatalf("copied %d bytes, want %d", done, want)
	}
}
