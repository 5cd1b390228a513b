package fusefs_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func posixFileCases() []posixCase {
	return []posixCase{
		{"nameTooLong", false, func(p *place) {
			p.write("f", "", 0o644)
			p.mkdir("d", 0o755)
			p.mkdir(strings.Repeat("l", 255), 0o755)
			p.write(strings.Repeat("l", 255)+"/f", "kept", 0o644)
		}, func(p *place) {
			long, most := p.at(strings.Repeat("n", 256)), p.at(strings.Repeat("m", 255))
			for what, err := range map[string]error{
				"stat":        unix.Stat(long, new(unix.Stat_t)),
				"mkdir":       unix.Mkdir(long, 0o755),
				"mknod":       unix.Mknod(long, unix.S_IFIFO|0o600, 0),
				"symlink":     unix.Symlink("f", long),
				"link":        unix.Link(p.at("f"), long),
				"link of":     unix.Link(long, p.at("x")),
				"rename":      unix.Rename(p.at("f"), long),
				"rename of":   unix.Rename(long, p.at("x")),
				"unlink":      unix.Unlink(long),
				"rmdir":       unix.Rmdir(long),
				"chmod":       unix.Chmod(long, 0o644),
				"truncate":    unix.Truncate(long, 0),
				"long target": unix.Symlink(strings.Repeat("t", 4096), p.at("x")),
				"long path":   unix.Mkdir(p.dir+"/"+strings.Repeat("d/../", 1000)+"x", 0o755),
			} {
				p.want(what, err, syscall.ENAMETOOLONG)
			}
			target := strings.Repeat("t", 4000)
			p.ok(os.Symlink(target, p.at("longlink")))
			if got, err := os.Readlink(p.at("longlink")); err != nil || got != target {
				p.Errorf("the target has %d bytes, %v", len(got), err)
			}
			p.ok(os.Rename(p.at("f"), most))
			p.ok(os.Link(most, p.at("d/"+strings.Repeat("o", 255))))
			p.ok(os.Rename(p.at(strings.Repeat("l", 255)), p.at("d/moved")))
			p.ok(os.Rename(p.at("d/moved"), p.at("d/"+strings.Repeat("p", 255))))
			if got := read(p.T, p.at("d/"+strings.Repeat("p", 255)+"/f")); string(got) != "kept" {
				p.Errorf("it holds %q", got)
			}
		}},
		{"textBusy", false, func(p *place) {
			bin, err := os.ReadFile("/bin/sleep")
			p.ok(err)
			p.write("sleep", string(bin), 0o755)
		}, func(p *place) {
			try := func(flags int) error {
				fd, err := unix.Open(p.at("sleep"), flags, 0)
				if err == nil {
					unix.Close(fd)
				}
				return err
			}
			cmd := exec.Command(p.at("sleep"), "60")
			p.ok(cmd.Start())
			p.want("open for writing", try(unix.O_WRONLY), syscall.ETXTBSY)
			p.want("open for both", try(unix.O_RDWR), syscall.ETXTBSY)
			p.want("open truncating", try(unix.O_WRONLY|unix.O_TRUNC), syscall.ETXTBSY)
			p.want("truncate", unix.Truncate(p.at("sleep"), 0), syscall.ETXTBSY)
			p.want("chmod", unix.Chmod(p.at("sleep"), 0o700), 0) // copies it up, while it runs
			p.want("open for writing", try(unix.O_WRONLY), syscall.ETXTBSY)
			p.want("open for reading", try(unix.O_RDONLY), 0)
			p.ok(cmd.Process.Kill())
			cmd.Wait() // killed, which is its error
			f := p.open("sleep", os.O_RDWR)
			p.want("exec of what is open for writing", exec.Command(p.at("sleep"), "0").Run(), syscall.ETXTBSY)
			p.ok(f.Close())
			p.want("exec", exec.Command(p.at("sleep"), "0").Run(), 0)
		}},
		{"times", false, func(p *place) { p.write("f", "x", 0o644) }, func(p *place) {
			before := p.stat("f")
			if before.Mask&unix.STATX_BTIME == 0 || before.Btime.Sec == 0 {
				p.Errorf("no birth time: mask %#x, %v", before.Mask, before.Btime)
			}
			for _, want := range []unix.Timespec{{Sec: 1, Nsec: 1}, {Sec: 1<<31 - 1, Nsec: 999999999}, {Sec: 1 << 33, Nsec: 987654321}, {Sec: -1000, Nsec: 5}} {
				p.ok(unix.UtimesNanoAt(unix.AT_FDCWD, p.at("f"), []unix.Timespec{want, want}, 0))
				st := p.stat("f")
				for what, got := range map[string]unix.StatxTimestamp{"access": st.Atime, "modification": st.Mtime} {
					if got.Sec != want.Sec || int64(got.Nsec) != want.Nsec {
						p.Errorf("%s: set to %v, got %v", what, want, got)
					}
				}
				if st.Btime != before.Btime {
					p.Errorf("born at %v, before that at %v", st.Btime, before.Btime)
				}
				if st.Ctime.Sec < before.Ctime.Sec {
					p.Errorf("changed at %v, before that at %v", st.Ctime, before.Ctime)
				}
			}
		}},
		{"direct", false, func(p *place) { p.write("f", strings.Repeat("0123456789abcdef", 1024), 0o644) }, func(p *place) {
			want := bytes.Repeat([]byte("0123456789abcdef"), 1024)
			buffered := p.open("f", os.O_RDWR)
			page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
			p.ok(err)
			defer unix.Munmap(page)
			r := p.open("f", os.O_RDONLY|unix.O_DIRECT)
			n, err := r.ReadAt(page, 8192)
			p.ok(err)
			wantBytes(p.T, "read directly", page[:n], want[8192:12288])
			w := p.open("f", os.O_RDWR|unix.O_DIRECT)
			copy(page, bytes.Repeat([]byte("direct! "), 512))
			_, err = w.WriteAt(page, 4096)
			p.ok(err)
			copy(want[4096:], page)
			wantBytes(p.T, "read through the cache", read(p.T, p.at("f")), want)
			_, err = buffered.WriteAt([]byte("cached"), 0)
			p.ok(err)
			copy(want, "cached")
			n, err = r.ReadAt(page, 0)
			p.ok(err)
			wantBytes(p.T, "read directly after a write through the cache", page[:n], want[:4096])
		}},
		// A reader that goes on while a write passes by the page cache, without
		// anybody waiting for it, leaves no old page there.
		{"asyncDirect", false, func(p *place) { p.write("f", strings.Repeat("0", 1<<16), 0o644) }, func(p *place) {
			reader := p.open("f", os.O_RDONLY)
			w := p.open("f", os.O_RDWR|unix.O_DIRECT)
			page, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			p.ok(err)
			defer unix.Munmap(page)
			var ring uintptr
			if _, _, e := unix.Syscall(unix.SYS_IO_SETUP, 8, uintptr(unsafe.Pointer(&ring)), 0); e != 0 {
				p.Fatalf("io_setup: %v", e)
			}
			defer unix.Syscall(unix.SYS_IO_DESTROY, ring, 0, 0)
			var stop atomic.Bool
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 1<<16)
				for !stop.Load() {
					if _, err := reader.ReadAt(buf, 0); err != nil {
						p.Errorf("reading: %v", err)
						return
					}
				}
			}()
			defer func() {
				stop.Store(true)
				<-done
			}()
			got := make([]byte, 1<<16)
			for i := range 300 {
				want := byte('a' + i%26)
				for j := range page {
					page[j] = want
				}
				// struct iocb and io_event of linux/aio_abi.h
				cb := &struct {
					data           uint64
					key, rwFlags   uint32
					op             uint16
					prio           int16
					fd             uint32
					buf, size      uint64
					off            int64
					reserved       uint64
					flags, eventFD uint32
				}{op: 1, fd: uint32(w.Fd()), buf: uint64(uintptr(unsafe.Pointer(&page[0]))), size: 1 << 16}
				var event [4]uint64
				if n, _, e := unix.Syscall(unix.SYS_IO_SUBMIT, ring, 1, uintptr(unsafe.Pointer(&cb))); n != 1 {
					p.Fatalf("io_submit: %v", e)
				}
				if n, _, e := unix.Syscall6(unix.SYS_IO_GETEVENTS, ring, 1, 1, uintptr(unsafe.Pointer(&event[0])), 0, 0); n != 1 || event[2] != 1<<16 {
					p.Fatalf("io_getevents: %d, %v, %d", n, e, int64(event[2]))
				}
				_, err := reader.ReadAt(got, 0)
				p.ok(err)
				if k := bytes.IndexFunc(got, func(r rune) bool { return r != rune(want) }); k >= 0 {
					p.Errorf("write %d: at %d is %q, want %q", i, k, got[k], want)
					break
				}
			}
		}},
		{"fallocate", false, func(p *place) { p.write("f", strings.Repeat("x", 16384), 0o644) }, func(p *place) {
			f := p.open("f", os.O_RDWR)
			fd := int(f.Fd())
			want := bytes.Repeat([]byte("x"), 16384)
			check := func(what string) {
				p.Helper()
				wantBytes(p.T, what, read(p.T, p.at("f")), want)
			}
			p.want("without a length", unix.Fallocate(fd, 0, 0, 0), syscall.EINVAL)
			p.want("too far", unix.Fallocate(fd, 0, 1<<62, 1<<62), syscall.EFBIG)
			p.want("a hole that lengthens", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE, 0, 4096), syscall.EOPNOTSUPP)
			p.want("open for reading", unix.Fallocate(int(p.open("f", os.O_RDONLY).Fd()), 0, 0, 1), syscall.EBADF)
			check("after errors")
			p.want("keeping the size", unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 65536), 0)
			check("after allocating behind the end")
			p.want("hole", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 4096), 0)
			clear(want[4096:8192])
			check("after a hole")
			switch err := unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 16000, 1000); err {
			case nil:
				clear(want[16000:])
				want = append(want, make([]byte, 616)...)
			default:
				p.want("zeroes", err, syscall.EOPNOTSUPP) // the host's to say
			}
			check("after zeroes")
			p.want("collapse", unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), syscall.EOPNOTSUPP)
			p.want("insert", unix.Fallocate(fd, unix.FALLOC_FL_INSERT_RANGE, 0, 4096), syscall.EOPNOTSUPP)
			p.want("lengthening", unix.Fallocate(fd, 0, 20000, 480), 0)
			want = append(want, make([]byte, 20480-len(want))...)
			check("at last")
		}},
		{"sparse", false, func(p *place) {
			p.ok(os.WriteFile(p.at("f"), []byte("begin"), 0o644))
			p.ok(os.Truncate(p.at("f"), 1<<30))
			f := p.open("f", os.O_WRONLY)
			_, err := f.WriteAt([]byte("end"), 1<<30-3)
			p.ok(err)
			_, err = f.WriteAt([]byte("middle"), 1<<29)
			p.ok(err)
			p.ok(f.Close())
		}, func(p *place) {
			p.ok(os.Chmod(p.at("f"), 0o600)) // copies up
			f := p.open("f", os.O_RDWR)
			_, err := f.WriteAt([]byte("more"), 1<<28)
			p.ok(err)
			if st := p.stat("f"); st.Size != 1<<30 || st.Blocks*512 > 4<<20 {
				p.Errorf("%d bytes in %d blocks", st.Size, st.Blocks)
			}
			var data []int64
			for off := int64(0); ; {
				start, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
				if err == syscall.ENXIO {
					break
				}
				p.ok(err)
				data = append(data, start>>20)
				off, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
				p.ok(err)
			}
			if want := []int64{0, 256, 512, 1023}; !slices.Equal(data, want) {
				p.Errorf("data begins at %d MiB, want %d", data, want)
			}
		}},
		{"statx", false, func(p *place) { p.write("f", "12345", 0o640); p.mkdir("d", 0o755) }, func(p *place) {
			f, d := p.stat("f"), p.stat("d")
			for _, st := range []unix.Statx_t{f, d} {
				if st.Mask&unix.STATX_BASIC_STATS != unix.STATX_BASIC_STATS || st.Blksize == 0 || st.Mask&unix.STATX_MNT_ID == 0 {
					p.Errorf("mask %#x, blocks of %d", st.Mask, st.Blksize)
				}
			}
			var old unix.Stat_t
			p.ok(unix.Stat(p.at("f"), &old))
			if f.Mode != unix.S_IFREG|0o640 || f.Size != 5 || f.Nlink != 1 || f.Ino != old.Ino || unix.Mkdev(f.Dev_major, f.Dev_minor) != old.Dev ||
				f.Dev_minor != d.Dev_minor || f.Mnt_id != d.Mnt_id || int64(f.Blocks) != old.Blocks || f.Uid != old.Uid || f.Mtime.Nsec != uint32(old.Mtim.Nsec) {
				p.Errorf("statx has %+v\nstat has %+v", f, old)
			}
			p.want("bad flags", unix.Statx(unix.AT_FDCWD, p.at("f"), 1<<30, 0, new(unix.Statx_t)), syscall.EINVAL)
		}},
		{"renameFlags", false, func(p *place) {
			p.write("a", "a", 0o644)
			p.write("b", "b", 0o644)
			p.mkdir("d", 0o755)
			p.write("d/in", "in", 0o644)
		}, func(p *place) {
			rename := func(from, to string, flags uint) error {
				return unix.Renameat2(unix.AT_FDCWD, p.at(from), unix.AT_FDCWD, p.at(to), flags)
			}
			p.want("noreplace on a file", rename("a", "b", unix.RENAME_NOREPLACE), syscall.EEXIST)
			p.want("noreplace on itself", rename("a", "a", unix.RENAME_NOREPLACE), syscall.EEXIST)
			p.want("exchange with nothing", rename("a", "none", unix.RENAME_EXCHANGE), syscall.ENOENT)
			p.want("exchange and noreplace", rename("a", "b", unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE), syscall.EINVAL)
			p.want("exchange and whiteout", rename("a", "b", unix.RENAME_EXCHANGE|unix.RENAME_WHITEOUT), syscall.EINVAL)
			p.want("whiteout", rename("a", "c", unix.RENAME_WHITEOUT), syscall.EINVAL, syscall.EPERM)
			p.want("unknown", rename("a", "b", 1<<20), syscall.EINVAL)
			if got := string(read(p.T, p.at("a"))) + string(read(p.T, p.at("b"))); got != "ab" {
				p.Errorf("a and b hold %q", got)
			}
			p.want("noreplace", rename("a", "new", unix.RENAME_NOREPLACE), 0)
			p.want("exchange with a directory", rename("new", "d", unix.RENAME_EXCHANGE), 0)
			if got := string(read(p.T, p.at("d"))) + string(read(p.T, p.at("new/in"))); got != "ain" {
				p.Errorf("exchanged they hold %q", got)
			}
			p.want("exchange into what is exchanged", rename("new", "new/in", unix.RENAME_EXCHANGE), syscall.EINVAL)
		}},
		{"tmpfile", false, func(p *place) { p.mkdir("d", 0o755); p.write("d/there", "", 0o644) }, func(p *place) {
			fd, err := unix.Open(p.at("d"), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o640)
			if err == syscall.EOPNOTSUPP && !p.tmpfiles() {
				return
			}
			p.ok(err)
			f := os.NewFile(uintptr(fd), "tmpfile")
			defer f.Close()
			_, err = f.WriteString("nameless")
			p.ok(err)
			proc := "/proc/self/fd/" + strconv.Itoa(fd)
			p.want("link over a name", unix.Linkat(unix.AT_FDCWD, proc, unix.AT_FDCWD, p.at("d/there"), unix.AT_SYMLINK_FOLLOW), syscall.EEXIST)
			p.ok(unix.Linkat(unix.AT_FDCWD, proc, unix.AT_FDCWD, p.at("d/named"), unix.AT_SYMLINK_FOLLOW))
			_, err = f.WriteString(", then named")
			p.ok(err)
			if got, st := read(p.T, p.at("d/named")), p.stat("d/named"); string(got) != "nameless, then named" || st.Nlink != 1 || st.Mode&0o777 != 0o640 {
				p.Errorf("it holds %q, with mode %o and %d links", got, st.Mode, st.Nlink)
			}
			excl, err := unix.Open(p.at("d"), unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
			p.ok(err)
			defer unix.Close(excl)
			p.want("link of an exclusive one", unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(excl), unix.AT_FDCWD, p.at("d/x"), unix.AT_SYMLINK_FOLLOW), syscall.ENOENT)
		}},
		{"inotify", false, func(p *place) {
			p.mkdir("d", 0o755)
			p.write("d/f", "old", 0o644)
			p.write("d/gone", "", 0o644)
		}, func(p *place) {
			in, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
			p.ok(err)
			defer unix.Close(in)
			const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
			_, err = unix.InotifyAddWatch(in, p.at("d"), mask)
			p.ok(err)
			_, err = unix.InotifyAddWatch(in, p.at("d/f"), unix.IN_MODIFY)
			p.ok(err)
			f := p.open("d/f", os.O_WRONLY)
			_, err = f.WriteString("new") // copies up
			p.ok(err)
			p.ok(os.Chmod(p.at("d/f"), 0o600))
			p.ok(os.Rename(p.at("d/f"), p.at("d/g")))
			p.ok(os.Remove(p.at("d/gone")))
			p.ok(os.Mkdir(p.at("d/made"), 0o755))
			_, err = f.WriteString("er") // the watched file, wherever it is
			p.ok(err)
			want := []string{"modify f", "modify ", "attrib f", "from f", "to g", "delete gone", "create made", "modify g", "modify "}
			if got := events(p, in); !slices.Equal(got, want) {
				p.Errorf("got %q\nwant %q", got, want)
			}
		}},
		{"xattrLimits", false, func(p *place) { p.write("f", "", 0o644) }, func(p *place) {
			bare := &place{p.T, p.TempDir()}
			bare.write("f", "", 0o644)
			for _, c := range []struct {
				name  string
				size  int
				flags int
			}{
				{"user.none", 1, unix.XATTR_REPLACE}, {"user.a", 1, 0}, {"user.a", 1, unix.XATTR_CREATE}, {"user.a", 2, unix.XATTR_REPLACE}, {"user.empty", 0, 0},
				{"user." + strings.Repeat("n", 250), 10, 0}, {"user." + strings.Repeat("n", 251), 10, 0}, {"user.", 1, 0}, {"user", 1, 0}, {"", 1, 0}, {"nonsense.x", 1, 0},
				{"user.big", 3000, 0}, {"user.bigger", 65536, 0}, {"user.toobig", 65537, 0},
			} {
				set := func(p *place) error { return unix.Setxattr(p.at("f"), c.name, make([]byte, c.size), c.flags) }
				if got, want := set(p), set(bare); got != want {
					p.Errorf("setting %.20q of %d bytes: %v, on the host %v", c.name, c.size, got, want)
				}
				get := func(p *place, room int) (int, error) { return unix.Getxattr(p.at("f"), c.name, make([]byte, room)) }
				for _, room := range []int{0, 1, 70000} {
					n, err := get(p, room)
					if wn, want := get(bare, room); n != wn || err != want {
						p.Errorf("getting %.20q into %d bytes: %d, %v; on the host %d, %v", c.name, room, n, err, wn, want)
					}
				}
			}
			_, err := unix.Listxattr(p.at("f"), make([]byte, 5))
			p.want("a short list", err, syscall.ERANGE)
			for _, name := range []string{"trusted.overlay.opaque", "user.overlay.redirect", "user.overlay.anything"} {
				if os.Geteuid() == 0 || strings.HasPrefix(name, "user.") {
					p.want("setting "+name, unix.Setxattr(p.at("f"), name, []byte("y"), 0), syscall.EPERM, syscall.EOPNOTSUPP, syscall.EACCES)
				}
			}
		}},
		// A mapping outlives its descriptor, and what is stored through it is read
		// by all and moves the times.
		{"mapping", false, func(p *place) { p.write("f", strings.Repeat("-", 8192), 0o644) }, func(p *place) {
			early := p.open("f", os.O_RDONLY)
			p.write("f", strings.Repeat("=", 8192), 0o644) // copied up, by one who does not map
			p.ok(early.Close())
			f := p.open("f", os.O_RDWR)
			m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			p.ok(err)
			p.ok(f.Close())
			time.Sleep(100 * time.Millisecond) // for the close to be over; not relied on
			r := p.open("f", os.O_RDONLY)
			look := func(what string, f *os.File, off int64, want byte) {
				p.Helper()
				var b [1]byte
				if _, err := f.ReadAt(b[:], off); err != nil || b[0] != want {
					p.Errorf("%s: read %q, %v, want %q", what, b[0], err, want)
				}
			}
			look("before", r, 0, '=')
			shared, err := unix.Mmap(int(r.Fd()), 0, 8192, unix.PROT_READ, unix.MAP_SHARED)
			p.ok(err)
			if shared[4096] != '=' {
				p.Errorf("mapped by another: %q", shared[4096])
			}
			for _, c := range []byte("abc") {
				p.ok(unix.UtimesNanoAt(unix.AT_FDCWD, p.at("f"), []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
				if got := p.stat("f").Mtime.Sec; got != 1 {
					p.Errorf("the time was set to 1 and is %d", got)
				}
				m[0], m[4096] = c, c
				look("opened before", r, 0, c)
				late := p.open("f", os.O_RDONLY)
				look("opened after", late, 4096, c)
				p.ok(late.Close())
				if shared[4096] != c {
					p.Errorf("mapped by another: %q, want %q", shared[4096], c)
				}
				p.ok(unix.Msync(m, unix.MS_SYNC))
				if p.stat("f").Mtime.Sec == 1 && storesTellTime(p.T) {
					p.Errorf("stored %q, and the time of modification is the old one", c)
				}
				w := p.open("f", os.O_WRONLY)
				_, err := w.WriteAt([]byte{c + 1}, 1)
				p.ok(err)
				p.ok(w.Close())
				if m[1] != c+1 {
					p.Errorf("written %q, mapped %q", c+1, m[1])
				}
			}
			p.ok(unix.Munmap(shared))
			p.ok(r.Close())
			m[0] = 'z'
			look("at last", p.open("f", os.O_RDONLY), 0, 'z')
			p.ok(unix.Munmap(m))
			look("unmapped", p.open("f", os.O_RDONLY), 0, 'z')
		}},
		{"lockThroughCopyUp", false, func(p *place) { p.write("f", "0123456789", 0o644) }, func(p *place) {
			shared := p.open("f", os.O_RDONLY)
			p.ok(unix.Flock(int(shared.Fd()), unix.LOCK_SH))
			p.ok(unix.FcntlFlock(shared.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Len: 4}))
			p.write("f", "copied up", 0o600)
			p.ok(os.Rename(p.at("f"), p.at("g")))
			late := p.open("g", os.O_RDWR)
			p.want("flock", unix.Flock(int(late.Fd()), unix.LOCK_EX|unix.LOCK_NB), syscall.EWOULDBLOCK)
			p.want("fcntl", unix.FcntlFlock(late.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 3, Len: 2}), syscall.EAGAIN, syscall.EACCES)
			p.ok(unix.FcntlFlock(late.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 4, Len: 2}))
			p.ok(shared.Close())
			p.want("flock", unix.Flock(int(late.Fd()), unix.LOCK_EX|unix.LOCK_NB), 0)
			p.want("fcntl", unix.FcntlFlock(late.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}), 0)
		}},
	}
}

// tmpfiles tells whether the kernel lets a FUSE mount have nameless files.
func (p *place) tmpfiles() bool { return kernel(p.T, 6, 1) }

// events reads what an inotify descriptor has, as "what name".
func events(p *place, in int) []string {
	p.Helper()
	buf := make([]byte, 1<<14)
	n, err := unix.Read(in, buf)
	p.ok(err)
	var list []string
	for buf = buf[:n]; len(buf) >= unix.SizeofInotifyEvent; {
		mask, size := binary.NativeEndian.Uint32(buf[4:]), binary.NativeEndian.Uint32(buf[unsafe.Offsetof(unix.InotifyEvent{}.Len):])
		name := strings.TrimRight(string(buf[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size]), "\x00")
		what := map[uint32]string{unix.IN_CREATE: "create", unix.IN_DELETE: "delete", unix.IN_MODIFY: "modify", unix.IN_ATTRIB: "attrib",
			unix.IN_MOVED_FROM: "from", unix.IN_MOVED_TO: "to"}[mask&^unix.IN_ISDIR]
		list = append(list, what+" "+name)
		buf = buf[unix.SizeofInotifyEvent+size:]
	}
	return list
}

// storesTellTime tells whether the filesystem of temporary files counts each store
// into a mapping as a modification. tmpfs, for one, does so for the first to a page.
func storesTellTime(t *testing.T) bool {
	t.Helper()
	p := &place{t, t.TempDir()}
	p.write("f", "0123456789", 0o644)
	f := p.open("f", os.O_RDWR)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	p.ok(err)
	for _, c := range []byte("ab") {
		p.ok(unix.UtimesNanoAt(unix.AT_FDCWD, p.at("f"), []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
		m[0] = c
		p.ok(unix.Msync(m, unix.MS_SYNC))
	}
	p.ok(unix.Munmap(m))
	return p.stat("f").Mtime.Sec != 1
}
