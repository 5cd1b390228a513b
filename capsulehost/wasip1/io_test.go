package wasip1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/view"
)

func TestReadWriteSeek(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", openCreat, 0)
	n, errno := g.write(fd, "hello", "", ", ", "world")
	equal(t, "written", n, 12)
	equal(t, "fd_write", errno, Success)
	equal(t, "content", g.content("f"), "hello, world")

	pos := g.room(8)
	g.ok("fd_tell", fd, pos)
	equal(t, "position", g.u64(pos), 12)
	for _, c := range []struct {
		off    int64
		whence uint64
		want   uint64
		errno  Errno
	}{
		{7, 0, 7, Success},
		{-2, 1, 5, Success},
		{0, 1, 5, Success},
		{-1, 2, 11, Success},
		{100, 2, 112, Success},
		{0, 0, 0, Success},
		{-1, 0, 0, EINVAL},
		{0, 3, 0, EINVAL},
		{math.MaxInt64, 0, math.MaxInt64, Success},
		{1, 1, 0, EOVERFLOW},
		{math.MinInt64, 1, 0, EINVAL},
		{0, 0, 0, Success},
	} {
		g.want(c.errno, "fd_seek", fd, uint64(c.off), c.whence, pos)
		if c.errno == Success {
			equal(t, "position", g.u64(pos), c.want)
		}
	}

	// A read of several buffers fills them in turn, up to the end.
	p, k := g.iovs("....", "....", "..........")
	out := g.room(4)
	g.ok("fd_read", fd, p, k, out)
	equal(t, "read", g.u32(out), 12)
	equal(t, "first", string(g.bytes(uint64(g.u32(p)), 4)), "hell")
	equal(t, "last", string(g.bytes(uint64(g.u32(p+16)), 10)), "orld......")
	got, errno := g.read(fd, 10)
	equal(t, "at the end", got, "")
	equal(t, "fd_read", errno, Success)

	// The position does not move.
	p, k = g.iovs("WORLD")
	g.ok("fd_pwrite", fd, p, k, 7, out)
	equal(t, "pwritten", g.u32(out), 5)
	p, k = g.iovs("....")
	g.ok("fd_pread", fd, p, k, 5, out)
	equal(t, "pread", string(g.bytes(uint64(g.u32(p)), 4)), ", WO")
	g.ok("fd_tell", fd, pos)
	equal(t, "position", g.u64(pos), 12)
	g.want(EINVAL, "fd_pread", fd, p, k, 1<<63, out)
	g.want(EINVAL, "fd_pwrite", fd, p, k, 1<<63, out)
	g.want(EFBIG, "fd_pwrite", fd, p, k, math.MaxInt64-1, out)
}

// TestLong reads and writes more than is gathered, in one buffer and several.
func TestLong(t *testing.T) {
	g := newGuest(t)
	text := strings.Repeat("0123456789abcdef", 2500) // 40,000 bytes
	fd := g.open("f", openCreat, 0)
	n, errno := g.write(fd, text, text)
	equal(t, "fd_write", errno, Success)
	equal(t, "written", n, 2*len(text))
	equal(t, "content", g.content("f") == text+text, true)
	g.ok("fd_seek", fd, 0, 0, g.room(8))
	g.top = 1024
	pos := g.room(8)
	p, k := g.iovs(strings.Repeat(".", 40000), strings.Repeat(".", 50000))
	g.ok("fd_read", fd, p, k, pos)
	equal(t, "read", g.u32(pos), uint32(2*len(text)))
	equal(t, "second part", string(g.bytes(uint64(g.u32(p+8)), 40000)) == text, true)
}

func TestAppend(t *testing.T) {
	g := newGuest(t)
	g.file("f", "start")
	fd := g.open("f", 0, flagAppend)
	pos := g.room(8)
	g.ok("fd_seek", fd, 0, 0, pos)
	g.write(fd, "-one", "-two")
	g.ok("fd_tell", fd, pos)
	equal(t, "position after an append", g.u64(pos), 13)
	p, k := g.iovs("!")
	g.ok("fd_pwrite", fd, p, k, 0, g.room(4))
	equal(t, "content", g.content("f"), "start-one-two!")

	// The flag comes and goes.
	g.ok("fd_fdstat_set_flags", fd, 0)
	g.ok("fd_seek", fd, 0, 0, pos)
	g.write(fd, "START")
	equal(t, "without the flag", g.content("f"), "START-one-two!")
	g.ok("fd_fdstat_set_flags", fd, uint64(flagAppend|flagSync))
	g.write(fd, "?")
	equal(t, "with the flag again", g.content("f"), "START-one-two!?")
	g.want(EINVAL, "fd_fdstat_set_flags", fd, 0x20)

	// Also for a file that has lost its name.
	if err := os.Remove(filepath.Join(g.dir, "f")); err != nil {
		t.Fatal(err)
	}
	g.ok("fd_fdstat_set_flags", fd, 0)
	g.ok("fd_seek", fd, 0, 0, pos)
	got, errno := g.read(fd, 5)
	equal(t, "the nameless file", got, "START")
	equal(t, "fd_read", errno, Success)
}

func TestReadWriteRefused(t *testing.T) {
	g := newGuest(t)
	g.file("f", "text")
	p, k := g.iovs("abc")
	out := g.room(8)
	open := func(r rights) uint64 {
		fd, errno := g.openAt(fdWork, "f", 0, 0, r, 0, 0)
		equal(t, "path_open", errno, Success)
		return fd
	}
	ro, wo, none := open(rightFdRead|rightFdSeek), open(rightFdWrite|rightFdSeek), open(0)
	for _, c := range []struct {
		what  string
		fd    uint64
		read  Errno
		pread Errno
		write Errno
		pw    Errno
		seek  Errno
		tell  Errno
	}{
		{"closed", 77, EBADF, EBADF, EBADF, EBADF, EBADF, EBADF},
		{"no number", 0xffffffff, EBADF, EBADF, EBADF, EBADF, EBADF, EBADF},
		{"read-only", ro, Success, Success, EBADF, EBADF, Success, Success},
		{"write-only", wo, EBADF, EBADF, Success, Success, Success, Success},
		{"no rights", none, EBADF, EBADF, EBADF, EBADF, ENOTCAPABLE, ENOTCAPABLE},
		{"directory", fdWork, EISDIR, EISDIR, EISDIR, EISDIR, EISDIR, EISDIR},
		{"directory of the preopens", fdRoot, EISDIR, EISDIR, EISDIR, EISDIR, EISDIR, EISDIR},
		{"stdin", 0, Success, ESPIPE, EBADF, ESPIPE, ESPIPE, ESPIPE},
		{"stdout", 1, EBADF, ESPIPE, Success, ESPIPE, ESPIPE, ESPIPE},
	} {
		t.Log(c.what)
		g.want(c.read, "fd_read", c.fd, p, k, out)
		g.want(c.pread, "fd_pread", c.fd, p, k, 0, out)
		g.want(c.write, "fd_write", c.fd, p, k, out)
		g.want(c.pw, "fd_pwrite", c.fd, p, k, 0, out)
		g.want(c.seek, "fd_seek", c.fd, 0, 2, out)
		g.want(c.tell, "fd_tell", c.fd, out)
	}
	noSeek := open(rightFdRead | rightFdWrite)
	g.want(ENOTCAPABLE, "fd_pread", noSeek, p, k, 0, out)
	g.want(ENOTCAPABLE, "fd_pwrite", noSeek, p, k, 0, out)
	g.want(ENOTCAPABLE, "fd_seek", noSeek, 1, 0, out)

	fd := open(allRights)
	for _, name := range []string{"fd_read", "fd_write"} {
		g.want(EFAULT, name, fd, beyond-4, 1, out)
		g.want(EFAULT, name, fd, p, k, beyond-3)
		g.want(EINVAL, name, fd, p, 1025, out)
		g.want(EINVAL, name, fd, p, 0x20000001, out) // whose size overflows 32 bits
		g.ok(name, fd, p, 0, out)
		equal(t, "nothing", g.u32(out), 0)
		bad, _ := g.str(string([]byte{0, 0xff, 0xf, 0, 0, 2, 0, 0})) // 512 bytes at 0xfff00
		g.want(EFAULT, name, fd, bad, 1, out)
	}
}

func TestStreams(t *testing.T) {
	var stdout, stderr bytes.Buffer
	g := newGuest(t, func(c *Config) {
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader("some input"), &stdout, &stderr
	})
	got, _ := g.read(0, 4)
	equal(t, "first read", got, "some")
	got, _ = g.read(0, 100)
	equal(t, "second read", got, " input")
	got, errno := g.read(0, 100)
	equal(t, "at the end", got, "")
	equal(t, "at the end", errno, Success)
	g.write(1, "out", "put")
	g.write(2, strings.Repeat("e", 30000), strings.Repeat("r", 40000))
	equal(t, "stdout", stdout.String(), "output")
	equal(t, "stderr", stderr.Len(), 70000)

	st := g.room(64)
	g.ok("fd_fdstat_get", 0, st)
	equal(t, "type of stdin", g.bytes(st, 1)[0], byte(typeUnknown))
	g.ok("fd_filestat_get", 1, st)
	equal(t, "size of stdout", g.u64(st+32), 0)
	g.want(EINVAL, "fd_sync", 1)
	g.want(EINVAL, "fd_datasync", 0)
	g.want(ESPIPE, "fd_allocate", 1, 0, 1)
	g.want(ESPIPE, "fd_advise", 1, 0, 1, 0)
	g.want(ESPIPE, "fd_filestat_set_size", 1, 0)
	g.want(EBADF, "fd_filestat_set_times", 1, 0, 0, 2)
	g.want(ENOTDIR, "fd_readdir", 1, st, 64, 0, st)
	equal(t, "path_open below stdout", g.path("path_unlink_file", 1, "x"), ENOTDIR)
	g.want(EBADF, "fd_prestat_get", 1, st)
}

// TestNonblock reads an input that has nothing yet.
func TestNonblock(t *testing.T) {
	r, w := io.Pipe()
	g := newGuest(t, func(c *Config) { c.Stdin = r })
	g.ok("fd_fdstat_set_flags", 0, uint64(flagNonblock))
	_, errno := g.read(0, 8)
	equal(t, "nothing there", errno, EAGAIN)
	if _, err := w.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	g.ok("fd_fdstat_set_flags", 0, 0)
	got, _ := g.read(0, 8)
	equal(t, "what came", got, "late")

	ctx, cancel := context.WithCancel(context.Background())
	p, k := g.iovs("........")
	go cancel()
	_, err := g.try(ctx, "fd_read", 0, p, k, g.room(4))
	ended(t, err)
	w.CloseWithError(errors.New("gone"))
	_, errno = g.read(0, 8)
	equal(t, "a broken input", errno, EIO)
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestBrokenOutput(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Errno
	}{{io.ErrClosedPipe, EPIPE}, {nil, EIO}, {errors.New("x"), EIO}, {os.ErrClosed, EPIPE}, {context.Canceled, EINTR}} {
		g := newGuest(t, func(cfg *Config) { cfg.Stdout = brokenWriter{c.err} })
		_, errno := g.write(1, "text")
		equal(t, "fd_write", errno, c.want)
		_, errno = g.write(1, strings.Repeat("t", 50000), strings.Repeat("t", 30000))
		equal(t, "a long fd_write", errno, c.want)
	}
}

// TestTypesOfStreams is what isatty goes by.
func TestTypesOfStreams(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	equal(t, "a device", typeOf(null), typeCharacterDevice)
	equal(t, "a file", typeOf(file), typeRegular)
	equal(t, "a buffer", typeOf(&bytes.Buffer{}), typeUnknown)
	equal(t, "nothing", typeOf(nil), typeUnknown)
}

func TestQuota(t *testing.T) {
	q := view.NewQuota(100, 3)
	g := newGuest(t, func(c *Config) { c.View.Quota = q })
	fd := g.open("f", openCreat, 0)
	g.write(fd, strings.Repeat("x", 90))
	_, errno := g.write(fd, strings.Repeat("y", 11))
	equal(t, "one byte too many", errno, EDQUOT)
	n, errno := g.write(fd, strings.Repeat("y", 10))
	equal(t, "to the edge", n, 10)
	equal(t, "to the edge", errno, Success)
	_, errno = g.write(fd, "z")
	equal(t, "behind the edge", errno, EDQUOT)
	g.want(EDQUOT, "fd_allocate", fd, 0, 1)
	g.want(EDQUOT, "fd_filestat_set_size", fd, 101)
	g.ok("fd_filestat_set_size", fd, 100)
	equal(t, "content", len(g.content("f")), 100)

	equal(t, "second name", g.path("path_create_directory", fdWork, "d"), Success)
	p, k := g.str("l")
	tp, tk := g.str("f")
	g.ok("path_symlink", tp, tk, fdWork, p, k)
	equal(t, "fourth name", g.path("path_create_directory", fdWork, "e"), EDQUOT)
	if _, errno := g.openAt(fdWork, "new", 0, uint64(openCreat), allRights, 0, 0); errno != EDQUOT {
		t.Errorf("fourth name: %d", errno)
	}
	p2, k2 := g.str("l2")
	g.want(EDQUOT, "path_link", fdWork, 0, tp, tk, fdWork, p2, k2)
	equal(t, "removing", g.path("path_unlink_file", fdWork, "l"), Success)
	g.ok("path_link", fdWork, 0, tp, tk, fdWork, p2, k2)
	equal(t, "again", g.path("path_create_directory", fdWork, "e"), EDQUOT)
	// A rename over a name leaves one less; over another name of the same file
	// it does nothing.
	g.file("other", "")
	p3, k3 := g.str("other")
	g.ok("path_rename", fdWork, p2, k2, fdWork, tp, tk)
	_, files := q.Used()
	equal(t, "names", files, 3)
	g.ok("path_rename", fdWork, p3, k3, fdWork, tp, tk)
	_, files = q.Used()
	equal(t, "names", files, 2)
	equal(t, "removing a directory", g.path("path_remove_directory", fdWork, "d"), Success)
	_, files = q.Used()
	equal(t, "names", files, 1)
	equal(t, "a failed one", g.path("path_create_directory", fdWork, "e/f"), ENOENT)
	_, files = q.Used()
	equal(t, "names", files, 1)
}
