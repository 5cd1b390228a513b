package vfstest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

func itoa[N int | uintptr](n N) string { return strconv.Itoa(int(n)) }

func pathFileCases() []pathCase {
	return []pathCase{
		{"File/Offsets", Tree{file("f", "0123456789")}, func(p *proc) {
			f := p.open("f", unix.O_RDWR)
			buf := make([]byte, 4)
			_, err := io.ReadFull(f, buf)
			p.ok(err)
			dup, err := unix.Dup(int(f.Fd()))
			p.ok(err)
			defer unix.Close(dup)
			n, err := unix.Write(dup, []byte("ab")) // shares the offset
			if n != 2 || err != nil {
				p.Fatalf("write: %d, %v", n, err)
			}
			rest, err := io.ReadAll(f)
			p.ok(err)
			if string(rest) != "6789" {
				p.Errorf("read %q", rest)
			}
			p.contents("f", "0123ab6789")
			if off, err := f.Seek(-2, io.SeekEnd); off != 8 || err != nil {
				p.Errorf("seek: %d, %v", off, err)
			}
			_, err = f.Seek(-1, io.SeekStart)
			p.want(err, syscall.EINVAL)
		}},
		{"File/Append", Tree{file("f", "01")}, func(p *proc) {
			a, b := p.open("f", unix.O_WRONLY|unix.O_APPEND), p.open("f", unix.O_RDWR)
			_, err := a.WriteString("23")
			p.ok(err)
			_, err = b.WriteAt([]byte("456"), 4)
			p.ok(err)
			_, err = a.WriteString("7")
			p.ok(err)
			p.contents("f", "01234567")
		}},
		{"File/AppendByMany", Tree{file("f", "")}, func(p *proc) {
			var wg sync.WaitGroup
			for w := range 4 {
				f := p.open("f", unix.O_WRONLY|unix.O_APPEND)
				wg.Go(func() {
					for i := range 200 {
						if _, err := f.WriteString(fmt.Sprintf("%d %03d %s\n", w, i, strings.Repeat("x", i))); err != nil {
							p.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b, err := os.ReadFile(p.path("f"))
			p.ok(err)
			lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
			if len(lines) != 800 {
				p.Fatalf("%d lines, want 800", len(lines))
			}
			for _, l := range lines {
				if i, err := strconv.Atoi(l[2:5]); err != nil || len(l) != 6+i {
					p.Fatalf("torn line %q", clip(l))
				}
			}
		}},
		{"File/Unlinked", Tree{file("f", "0123")}, func(p *proc) {
			f := p.open("f", unix.O_RDWR)
			var st unix.Stat_t
			p.ok(unix.Fstat(int(f.Fd()), &st))
			ino := st.Ino
			p.ok(os.Remove(p.path("f")))
			p.ok(os.WriteFile(p.path("f"), []byte("new"), 0644))
			p.ok(unix.Fstat(int(f.Fd()), &st))
			if st.Nlink != 0 || st.Ino != ino || st.Size != 4 {
				p.Errorf("the removed file is %+v", st)
			}
			p.ok(f.Truncate(2))
			p.ok(unix.Fchmod(int(f.Fd()), 0600))
			p.ok(unix.Futimes(int(f.Fd()), []unix.Timeval{{Sec: 1}, {Sec: 2}}))
			_, err := f.WriteAt([]byte("Z"), 5)
			p.ok(err)
			got, err := io.ReadAll(f)
			p.ok(err)
			if string(got) != "01\x00\x00\x00Z" {
				p.Errorf("the removed file holds %q", got)
			}
			p.contents("f", "new")
		}},
		{"File/StatAgrees", Tree{file("f", "x"), dir("d"), {Path: "d/h", LinkTo: "f"}, symlink("s", "f")}, func(p *proc) {
			var a, b, c unix.Stat_t
			p.ok(unix.Stat(p.path("f"), &a))
			p.ok(unix.Stat(p.path("d/h"), &b))
			p.ok(unix.Fstat(int(p.open("s", unix.O_RDONLY).Fd()), &c))
			if a.Ino != b.Ino || a.Ino != c.Ino || a.Dev != b.Dev || a.Nlink != 2 || b.Nlink != 2 || c.Nlink != 2 {
				p.Errorf("one file is %+v, %+v, %+v", a, b, c)
			}
			// The first change must not alter which file it is.
			p.ok(os.Chmod(p.path("d/h"), 0600))
			p.ok(os.WriteFile(p.path("f"), []byte("changed"), 0))
			p.ok(unix.Stat(p.path("d/h"), &b))
			if b.Ino != a.Ino || b.Size != 7 || b.Mode&0777 != 0600 || b.Nlink != 2 {
				p.Errorf("after a change it is %+v, was %+v", b, a)
			}
			entries, err := os.ReadDir(p.path("d"))
			p.ok(err)
			if len(entries) != 1 || entries[0].Name() != "h" || !entries[0].Type().IsRegular() {
				p.Errorf("listed %v", entries)
			}
		}},
		{"File/Splice", Tree{file("f", strings.Repeat("0123456789abcdef", 4096))}, func(p *proc) {
			want := strings.Repeat("0123456789abcdef", 4096)
			src, dst := p.open("f", unix.O_RDONLY), p.open("g", unix.O_RDWR|unix.O_CREAT)
			off := int64(0)
			for off < int64(len(want)) {
				n, err := unix.Sendfile(int(dst.Fd()), int(src.Fd()), &off, len(want))
				p.ok(err)
				if n == 0 {
					break
				}
			}
			p.contents("g", want)
			h := p.open("h", unix.O_RDWR|unix.O_CREAT)
			_, err := io.Copy(h, src) // copy_file_range or splice
			p.ok(err)
			p.contents("h", want)
		}},
		{"File/Vectors", Tree{file("f", "")}, func(p *proc) {
			fd := int(p.open("f", unix.O_RDWR).Fd())
			n, err := unix.Pwritev(fd, [][]byte{[]byte("one "), []byte("two "), []byte("three")}, 2)
			if n != 13 || err != nil {
				p.Fatalf("pwritev: %d, %v", n, err)
			}
			a, b := make([]byte, 6), make([]byte, 100)
			n, err = unix.Preadv(fd, [][]byte{a, b}, 0)
			if n != 15 || err != nil || string(a)+string(b[:9]) != "\x00\x00one two three" {
				p.Errorf("preadv: %d, %v, %q %q", n, err, a, b[:9])
			}
		}},
		{"File/LargeReadBack", nil, func(p *proc) {
			data := make([]byte, 9<<20+123)
			for i := range data {
				data[i] = byte(i * 13 >> 5)
			}
			p.ok(os.WriteFile(p.path("f"), data, 0644))
			got, err := os.ReadFile(p.path("f"))
			p.ok(err)
			if !bytes.Equal(got, data) {
				p.Error("read back, the data is different")
			}
			f := p.open("f", unix.O_RDWR)
			p.ok(f.Sync())
			p.ok(unix.Fdatasync(int(f.Fd())))
			p.ok(unix.Syncfs(int(f.Fd())))
		}},
	}
}

func pathMemoryCases() []pathCase {
	page := strings.Repeat("0123456789abcdef", 256) // 4096 bytes
	return []pathCase{
		{"Mmap/Shared", Tree{file("f", page+page)}, func(p *proc) {
			f := p.open("f", unix.O_RDWR)
			early := p.open("f", unix.O_RDONLY)
			m := p.mmap(f, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if string(m) != page+page {
				p.Fatal("the map holds something else")
			}
			copy(m[4096:], "MAPPED")
			p.ok(unix.Msync(m, unix.MS_SYNC))
			buf := make([]byte, 6)
			_, err := early.ReadAt(buf, 4096)
			p.ok(err)
			if string(buf) != "MAPPED" {
				p.Errorf("read %q", buf)
			}
			_, err = f.WriteAt([]byte("WRITTEN"), 100)
			p.ok(err)
			if string(m[100:107]) != "WRITTEN" {
				p.Errorf("the map holds %q", m[100:107])
			}
		}},
		{"Mmap/EarlyReader", Tree{file("f", page)}, func(p *proc) {
			// Mapped for reading before the file's first change.
			m := p.mmap(p.open("f", unix.O_RDONLY), 4096, unix.PROT_READ, unix.MAP_SHARED)
			if string(m[:4]) != "0123" {
				p.Fatal("the map holds something else")
			}
			w := p.open("f", unix.O_WRONLY)
			_, err := w.WriteAt([]byte("NEW!"), 0)
			p.ok(err)
			p.ok(w.Sync())
			if string(m[:4]) != "NEW!" {
				p.Errorf("the map holds %q", m[:4])
			}
		}},
		{"Mmap/Private", Tree{file("f", page)}, func(p *proc) {
			m := p.mmap(p.open("f", unix.O_RDONLY), 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
			copy(m, "PRIVATE")
			p.contents("f", page)
		}},
		{"Mmap/Unlinked", Tree{file("f", page)}, func(p *proc) {
			f := p.open("f", unix.O_RDWR)
			m := p.mmap(f, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			p.ok(os.Remove(p.path("f")))
			copy(m, "GONE")
			p.ok(unix.Msync(m, unix.MS_SYNC))
			buf := make([]byte, 4)
			_, err := f.ReadAt(buf, 0)
			p.ok(err)
			if string(buf) != "GONE" {
				p.Errorf("read %q", buf)
			}
		}},
	}
}

func (p *proc) mmap(f *os.File, size, prot, flags int) []byte {
	p.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, prot, flags)
	p.ok(err)
	p.Cleanup(func() { unix.Munmap(m) })
	return m
}

func pathLockCases() []pathCase {
	return []pathCase{
		{"Lock/Flock", Tree{file("f", "")}, func(p *proc) {
			a, b := int(p.open("f", unix.O_RDWR).Fd()), int(p.open("f", unix.O_RDWR).Fd())
			p.ok(unix.Flock(a, unix.LOCK_EX))
			p.want(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB), syscall.EWOULDBLOCK)
			p.want(unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB), syscall.EWOULDBLOCK)
			p.ok(unix.Flock(a, unix.LOCK_SH))
			p.ok(unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB))
			p.ok(unix.Flock(a, unix.LOCK_UN))
			p.ok(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB))
			done := make(chan error, 1)
			go func() { done <- unix.Flock(a, unix.LOCK_EX) }()
			p.ok(unix.Flock(b, unix.LOCK_UN))
			p.ok(<-done)
		}},
		{"Lock/Ranges", Tree{file("f", "0123456789")}, func(p *proc) {
			a, b := p.open("f", unix.O_RDWR), p.open("f", unix.O_RDWR)
			lock := func(f *os.File, typ int16, start, n int64) error {
				return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: typ, Start: start, Len: n})
			}
			p.ok(lock(a, unix.F_WRLCK, 0, 4))
			p.want(lock(b, unix.F_WRLCK, 3, 4), syscall.EAGAIN, syscall.EACCES)
			p.want(lock(b, unix.F_RDLCK, 0, 1), syscall.EAGAIN, syscall.EACCES)
			p.ok(lock(b, unix.F_WRLCK, 4, 4))
			p.ok(lock(a, unix.F_UNLCK, 2, 2))
			p.ok(lock(b, unix.F_RDLCK, 2, 2))
			p.ok(a.Close())
			p.ok(lock(b, unix.F_WRLCK, 0, 0)) // closing gave the rest up
			probe := unix.Flock_t{Type: unix.F_WRLCK}
			c := p.open("f", unix.O_RDWR)
			p.ok(unix.FcntlFlock(c.Fd(), unix.F_OFD_GETLK, &probe))
			if probe.Type != unix.F_WRLCK {
				p.Errorf("the lock that is in the way is %+v", probe)
			}
		}},
	}
}

func pathManyCases() []pathCase {
	return []pathCase{
		{"Many/TreeOfFiles", nil, func(p *proc) {
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for i := range 50 {
						dir := p.path(fmt.Sprintf("shared/%d/%d", i%5, w))
						if err := os.MkdirAll(dir, 0755); err != nil {
							p.Error(err)
							return
						}
						name := fmt.Sprintf("%s/f%d", dir, i)
						if err := os.WriteFile(name+".tmp", []byte(name), 0644); err != nil {
							p.Error(err)
						}
						if err := os.Rename(name+".tmp", name); err != nil {
							p.Error(err)
						}
						if b, err := os.ReadFile(name); err != nil || string(b) != name {
							p.Errorf("%s holds %q, %v", name, b, err)
						}
					}
				})
			}
			wg.Wait()
			count := 0
			p.ok(walkFiles(p.path("shared"), func() { count++ }))
			if count != 200 {
				p.Errorf("%d files, want 200", count)
			}
			p.ok(os.RemoveAll(p.path("shared")))
			if entries, err := os.ReadDir(p.dir); err != nil || len(entries) != 0 {
				p.Errorf("left: %v, %v", entries, err)
			}
		}},
		{"Many/OneExclusiveCreator", nil, func(p *proc) {
			for i := range 50 {
				var mu sync.Mutex
				var wg sync.WaitGroup
				won := 0
				for range 4 {
					wg.Go(func() {
						f, err := os.OpenFile(p.path(fmt.Sprintf("f%d", i)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0644)
						if err == nil {
							f.Close()
							mu.Lock()
							won++
							mu.Unlock()
						} else if !os.IsExist(err) {
							p.Error(err)
						}
					})
				}
				wg.Wait()
				if won != 1 {
					p.Fatalf("%d made the file", won)
				}
			}
		}},
	}
}

// walkFiles calls f for each regular file below dir.
func walkFiles(dir string, f func()) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			f()
		} else if e.IsDir() {
			if err := walkFiles(dir+"/"+e.Name(), f); err != nil {
				return err
			}
		}
	}
	return nil
}
