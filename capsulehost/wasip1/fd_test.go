package wasip1

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPrestat(t *testing.T) {
	g := newGuest(t)
	names := []string{"/workspace", "/tmp", "/", "."} // the view has no home
	p, buf := g.room(8), g.room(16)
	for i, name := range names {
		fd := uint64(3 + i)
		g.ok("fd_prestat_get", fd, p)
		equal(t, "prestat", g.u64(p), uint64(len(name))<<32)
		g.ok("fd_prestat_dir_name", fd, buf, uint64(len(name)))
		equal(t, "name", string(g.bytes(buf, uint32(len(name)))), name)
		g.ok("fd_prestat_dir_name", fd, buf, 16)
		g.want(ENAMETOOLONG, "fd_prestat_dir_name", fd, buf, uint64(len(name)-1))
		g.want(EFAULT, "fd_prestat_dir_name", fd, beyond, uint64(len(name)))
		g.want(EFAULT, "fd_prestat_get", fd, beyond-4)
	}
	for _, fd := range []uint64{0, 1, 2, 7, 0xffffffff, g.open(".", openDirectory, 0)} {
		g.want(EBADF, "fd_prestat_get", fd, p)
		g.want(EBADF, "fd_prestat_dir_name", fd, buf, 16)
	}
}

func TestCloseAndRenumber(t *testing.T) {
	g := newGuest(t)
	a, b := g.open("a", openCreat, 0), g.open("b", openCreat, 0)
	equal(t, "the lowest free number", a, 7)
	equal(t, "the next", b, 8)
	g.ok("fd_close", a)
	g.want(EBADF, "fd_close", a)
	equal(t, "the lowest again", g.open("a", 0, 0), a)

	g.want(EBADF, "fd_renumber", a, 99)
	g.want(EBADF, "fd_renumber", 99, a)
	g.ok("fd_renumber", a, a)
	g.ok("fd_renumber", a, b)
	g.want(EBADF, "fd_close", a)
	g.write(b, "to a")
	equal(t, "what was renumbered", g.content("a"), "to a")

	// Streams and preopened directories are no exception.
	g.ok("fd_renumber", b, 1)
	g.write(1, ", redirected")
	equal(t, "stdout", g.content("a"), "to a, redirected")
	g.ok("fd_close", 0)
	equal(t, "the lowest of all", g.open("a", 0, 0), 0)
	g.ok("fd_close", fdTmp)
	g.want(EBADF, "fd_prestat_get", fdTmp, g.room(8))
	g.ok("fd_renumber", fdWork, fdDot)
	p := g.room(16)
	g.ok("fd_prestat_get", fdDot, p)
	equal(t, "the moved directory's name", g.u64(p), uint64(len("/workspace"))<<32)
	equal(t, "use of it", g.path("path_create_directory", fdDot, "d"), Success)
}

func TestTableIsBounded(t *testing.T) {
	g := newGuest(t, func(c *Config) { c.MaxFiles = 10 })
	var fds []uint64
	for i := range 3 {
		fds = append(fds, g.open(fmt.Sprint(i), openCreat, 0))
	}
	for range 3 {
		if _, errno := g.openAt(fdWork, "more", 0, uint64(openCreat|openTrunc), allRights, 0, 0); errno != EMFILE {
			t.Errorf("one too many: %d", errno)
		}
	}
	if _, err := os.Stat(filepath.Join(g.dir, "more")); err == nil {
		t.Error("a file was made by a path_open that failed")
	}
	g.write(fds[0], "kept")
	if _, errno := g.openAt(fdWork, "0", 0, uint64(openTrunc), allRights, 0, 0); errno != EMFILE || g.content("0") != "kept" {
		t.Errorf("truncating with a full table: %d", errno)
	}
	g.ok("fd_close", fds[1])
	equal(t, "after a close", g.open("1", 0, 0), fds[1])
}

// TestCloseUnderway closes the instance with everything open, and calls after.
func TestCloseUnderway(t *testing.T) {
	g := newGuest(t)
	g.file("d/x", "")
	g.open("d/x", 0, 0)
	dir := g.open("d", openDirectory, 0)
	g.ok("fd_readdir", dir, g.room(64), 64, 0, g.room(4))
	sub, errno := g.openAt(dir, ".", 0, 0, dirRights, allRights, 0)
	equal(t, "path_open of .", errno, Success)
	g.ok("fd_close", dir) // sub shares its node
	equal(t, "through the other", g.path("path_create_directory", sub, "y"), Success)
	d, errno := g.in.table.get(uint32(sub))
	equal(t, "get", errno, Success)
	if err := g.in.Close(); err != nil {
		t.Error(err)
	}
	if err := g.in.Close(); err != nil {
		t.Error(err)
	}
	if err := g.in.table.put(d); err != nil {
		t.Error(err)
	}
	g.want(EBADF, "fd_close", sub)
	g.want(EBADF, "fd_fdstat_get", 0, g.room(24))
	p, n := g.str("d")
	g.want(EBADF, "path_open", fdWork, 0, p, n, 0, 0, 0, 0, g.room(4))
	if _, errno := g.in.table.add(&desc{}); errno != EBADF {
		t.Errorf("adding to a closed table: %d", errno)
	}
}

func TestFdstat(t *testing.T) {
	g := newGuest(t)
	st := g.room(24)
	stat := func(fd uint64) (typ filetype, flags fdflags, base, inherit rights) {
		t.Helper()
		g.ok("fd_fdstat_get", fd, st)
		b := g.bytes(st, 24)
		le := binary.LittleEndian
		return filetype(b[0]), fdflags(le.Uint16(b[2:])), rights(le.Uint64(b[8:])), rights(le.Uint64(b[16:]))
	}
	typ, _, base, inherit := stat(fdWork)
	equal(t, "type of a preopened directory", typ, typeDirectory)
	equal(t, "its rights", base, dirRights)
	equal(t, "what it hands on", inherit, allRights)

	fd := g.open("f", openCreat, flagAppend|flagNonblock)
	typ, flags, base, inherit := stat(fd)
	equal(t, "type", typ, typeRegular)
	equal(t, "flags", flags, flagAppend|flagNonblock)
	equal(t, "rights", base, fileRights) // those of a directory are gone
	equal(t, "rights", inherit, fileRights)
	g.ok("fd_fdstat_set_flags", fd, uint64(flagNonblock))
	_, flags, _, _ = stat(fd)
	equal(t, "flags", flags, flagNonblock)

	g.ok("fd_fdstat_set_rights", fd, uint64(rightFdRead|rightFdTell), 0)
	_, _, base, inherit = stat(fd)
	equal(t, "fewer rights", base, rightFdRead|rightFdTell)
	equal(t, "fewer rights", inherit, 0)
	g.want(ENOTCAPABLE, "fd_fdstat_set_rights", fd, uint64(rightFdRead|rightFdWrite), 0)
	g.want(ENOTCAPABLE, "fd_fdstat_set_rights", fd, 0, 1)
	g.want(ENOTCAPABLE, "fd_fdstat_set_flags", fd, 0)
	g.want(ENOTCAPABLE, "fd_filestat_get", fd, g.room(64))
	g.want(ENOTCAPABLE, "fd_advise", fd, 0, 0, 0)
	g.want(ENOTCAPABLE, "fd_sync", fd)
	g.want(ENOTCAPABLE, "fd_datasync", fd)
	g.want(EBADF, "fd_allocate", fd, 0, 1)
	g.want(ENOTCAPABLE, "fd_filestat_set_size", fd, 0)
	g.want(ENOTCAPABLE, "fd_filestat_set_times", fd, 0, 0, 0)

	g.want(EFAULT, "fd_fdstat_get", fd, beyond-8)
	for _, name := range []string{"fd_fdstat_get", "fd_filestat_get", "fd_fdstat_set_flags"} {
		g.want(EBADF, name, 99, st)
	}
	g.want(EBADF, "fd_fdstat_set_rights", 99, 0, 0)
}

// filestat decodes what is at p.
func (g *guest) filestat(p uint64) (s struct {
	dev, ino, nlink, size, atim, mtim, ctim uint64
	typ                                     filetype
}) {
	b := g.bytes(p, 64)
	le := binary.LittleEndian
	s.dev, s.ino, s.typ, s.nlink, s.size = le.Uint64(b), le.Uint64(b[8:]), filetype(b[16]), le.Uint64(b[24:]), le.Uint64(b[32:])
	s.atim, s.mtim, s.ctim = le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint64(b[56:])
	return s
}

func TestFilestat(t *testing.T) {
	g := newGuest(t)
	g.file("f", "12345")
	if err := os.Link(filepath.Join(g.dir, "f"), filepath.Join(g.dir, "l")); err != nil {
		t.Fatal(err)
	}
	fd, p := g.open("f", 0, 0), g.room(64)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(g.dir, "f"), &st); err != nil {
		t.Fatal(err)
	}
	g.ok("fd_filestat_get", fd, p)
	s := g.filestat(p)
	equal(t, "ino", s.ino, st.Ino)
	equal(t, "nlink", s.nlink, 2)
	equal(t, "size", s.size, 5)
	equal(t, "type", s.typ, typeRegular)
	equal(t, "mtim", s.mtim, uint64(st.Mtim.Nano()))
	equal(t, "ctim", s.ctim, uint64(st.Ctim.Nano()))

	// Times to the nanosecond, one at a time.
	g.ok("fd_filestat_set_times", fd, 1_000_000_007, 2_000_000_009, 1|4)
	g.ok("fd_filestat_get", fd, p)
	equal(t, "atim", g.filestat(p).atim, 1_000_000_007)
	equal(t, "mtim", g.filestat(p).mtim, 2_000_000_009)
	g.ok("fd_filestat_set_times", fd, 5, 6, 4)
	g.ok("fd_filestat_get", fd, p)
	equal(t, "atim", g.filestat(p).atim, 1_000_000_007)
	equal(t, "mtim", g.filestat(p).mtim, 6)
	g.ok("fd_filestat_set_times", fd, 0, 0, 2|8)
	g.ok("fd_filestat_get", fd, p)
	if d := time.Since(time.Unix(0, int64(g.filestat(p).mtim))); d < -time.Minute || d > time.Minute {
		t.Errorf("now is %v ago", d)
	}
	g.ok("fd_filestat_set_times", fd, 0, 0, 0)
	for _, flags := range []uint64{1 | 2, 4 | 8, 16, 0xffffffff} {
		g.want(EINVAL, "fd_filestat_set_times", fd, 0, 0, flags)
	}
	g.want(EBADF, "fd_filestat_set_times", 99, 0, 0, 0)

	// What preview1 can't say is the nearest that it can.
	for sec, want := range map[int64]uint64{-5: 0, math.MaxInt64: math.MaxUint64} {
		equal(t, "timestamp", timestamp(specOf(sec)), want)
	}

	g.ok("fd_filestat_set_size", fd, 3)
	equal(t, "shorter", g.content("l"), "123")
	g.ok("fd_filestat_set_size", fd, 6)
	equal(t, "longer", g.content("l"), "123\x00\x00\x00")
	g.want(EFBIG, "fd_filestat_set_size", fd, 1<<63)
	ro, _ := g.openAt(fdWork, "f", 0, 0, allRights&^rightFdWrite, 0, 0)
	g.want(EINVAL, "fd_filestat_set_size", ro, 0)
	g.want(EISDIR, "fd_filestat_set_size", fdWork, 0)
	g.want(EFAULT, "fd_filestat_get", fd, beyond-63)

	// A removed file has no name and is there still.
	for _, n := range []string{"f", "l"} {
		equal(t, "removing", g.path("path_unlink_file", fdWork, n), Success)
	}
	g.ok("fd_filestat_get", fd, p)
	equal(t, "nlink", g.filestat(p).nlink, 0)

	// The trees are devices of their own, the directory of them one too.
	devs := map[uint64]bool{}
	for _, fd := range []uint64{fdWork, fdTmp, fdRoot} {
		g.ok("fd_filestat_get", fd, p)
		equal(t, "type", g.filestat(p).typ, typeDirectory)
		devs[g.filestat(p).dev] = true
	}
	equal(t, "devices", len(devs), 3)
	g.want(EROFS, "fd_filestat_set_times", fdRoot, 0, 0, 2)
	g.ok("fd_filestat_set_times", fdWork, 7, 8, 1|4)
	g.ok("fd_filestat_get", fdDot, p)
	equal(t, "mtim of a directory", g.filestat(p).mtim, 8)
}

func TestAdviseAllocateSync(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", openCreat, flagDsync)
	for advice := range uint64(6) {
		g.ok("fd_advise", fd, 0, 10, advice)
	}
	g.want(EINVAL, "fd_advise", fd, 0, 10, 6)
	g.want(EINVAL, "fd_advise", fd, math.MaxInt64, 1, 0)
	g.want(EINVAL, "fd_advise", fd, 0, 1<<63, 0)
	g.want(EISDIR, "fd_advise", fdWork, 0, 10, 0)
	g.want(EBADF, "fd_advise", 99, 0, 10, 0)

	g.ok("fd_allocate", fd, 10, 90)
	equal(t, "size", len(g.content("f")), 100)
	g.ok("fd_allocate", fd, 0, 10)
	equal(t, "size", len(g.content("f")), 100)
	g.want(EINVAL, "fd_allocate", fd, 0, 0)
	g.want(EFBIG, "fd_allocate", fd, math.MaxInt64, 1)
	g.want(EISDIR, "fd_allocate", fdWork, 0, 1)

	for _, fd := range []uint64{fd, fdWork, fdRoot, g.open(".", openDirectory, 0)} {
		g.ok("fd_sync", fd)
		g.ok("fd_datasync", fd)
	}
	g.want(EBADF, "fd_sync", 99)
}

// entry is one of a listing.
type entry struct {
	name string
	next uint64
	ino  uint64
	typ  filetype
}

// list reads a directory with a buffer of size bytes, as a libc does: what was
// cut off is read again from the cookie of the entry before.
func (g *guest) list(fd uint64, size uint32) (all []entry) {
	g.t.Helper()
	buf, used := g.room(size), g.room(4)
	for cookie := uint64(0); ; {
		g.ok("fd_readdir", fd, buf, uint64(size), cookie, used)
		n := g.u32(used)
		b := g.bytes(buf, n)
		le := binary.LittleEndian
		for len(b) >= 24 {
			e := entry{next: le.Uint64(b), ino: le.Uint64(b[8:]), typ: filetype(b[20])}
			k := 24 + int(le.Uint32(b[16:]))
			if k > len(b) {
				break
			}
			e.name = string(b[24:k])
			all, b, cookie = append(all, e), b[k:], e.next
		}
		if n < size {
			return all
		}
	}
}

func TestReaddir(t *testing.T) {
	g := newGuest(t)
	want := []string{".", ".."}
	for i := range 300 {
		name := fmt.Sprintf("d/file-%03d-%s", i, strings.Repeat("x", i%50))
		g.file(name, "")
		want = append(want, filepath.Base(name))
	}
	g.file("d/dir/x", "")
	if err := os.Symlink("dir", filepath.Join(g.dir, "d", "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(g.dir, "d", "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	want = append(want, "dir", "link", "fifo")
	slices.Sort(want)
	fd := g.open("d", openDirectory, 0)
	for _, size := range []uint32{100, 333, 4096, 65536} {
		g.top = 1024
		var names []string
		for _, e := range g.list(fd, size) {
			names = append(names, e.name)
			switch wantType, ok := map[string]filetype{".": typeDirectory, "..": typeDirectory, "dir": typeDirectory, "link": typeSymlink, "fifo": typeUnknown}[e.name]; {
			case ok:
				equal(t, "type of "+e.name, e.typ, wantType)
			default:
				equal(t, "type of "+e.name, e.typ, typeRegular)
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, want) {
			t.Errorf("with %d bytes: %v", size, names)
		}
	}

	// Each cookie leads to the entry behind its own.
	all := g.list(fd, 65536)
	buf, used := g.room(24), g.room(4)
	for i := range len(all) - 1 {
		g.ok("fd_readdir", fd, buf, 24, all[i].next, used)
		equal(t, "used", g.u32(used), 24)
		equal(t, "ino behind cookie", g.u64(buf+8), all[i+1].ino)
	}
	g.ok("fd_readdir", fd, buf, 24, all[len(all)-1].next, used)
	equal(t, "behind the last", g.u32(used), 0)
	g.ok("fd_readdir", fd, buf, 0, 0, used)
	equal(t, "without a buffer", g.u32(used), 0)
	// From the start again, what is new is seen.
	g.file("d/new", "")
	if l := g.list(fd, 65536); len(l) != len(all)+1 {
		t.Errorf("%d entries after one more, %d before", len(l), len(all))
	}

	st := g.room(64)
	g.ok("fd_filestat_get", fdWork, st)
	for _, e := range g.list(fdWork, 4096) {
		if e.name == "." || e.name == ".." {
			equal(t, "ino of "+e.name+" of the root", e.ino, g.filestat(st).ino)
		}
	}
	var names []string
	for _, e := range g.list(fdRoot, 70) {
		names = append(names, e.name)
		equal(t, "type", e.typ, typeDirectory)
	}
	equal(t, "directory of the preopens", strings.Join(names, " "), ". .. workspace tmp")

	g.want(EFAULT, "fd_readdir", fd, beyond, 1, 0, used)
	g.want(EFAULT, "fd_readdir", fd, buf, 24, 0, beyond)
	g.want(EBADF, "fd_readdir", 99, buf, 24, 0, used)
	g.want(ENOTDIR, "fd_readdir", g.open("d/new", 0, 0), buf, 24, 0, used)
	g.ok("fd_fdstat_set_rights", fd, 0, 0)
	g.want(ENOTCAPABLE, "fd_readdir", fd, buf, 24, 0, used)
}
