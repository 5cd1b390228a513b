package wasip1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tree is what the tests of paths begin with.
func (g *guest) tree() {
	g.t.Helper()
	g.file("d/sub/deep", "deep")
	g.file("d/f", "text")
	g.file("f", "top")
	for _, l := range [][2]string{
		{"f", "link"}, {"sub", "d/dlink"}, {"nowhere", "dangling"}, {"loop", "loop"},
		{"../f", "d/up"}, {"../../out", "d/out"}, {"/etc/passwd", "abs"}, {"..", "d/parent"},
	} {
		if err := os.Symlink(l[0], filepath.Join(g.dir, l[1])); err != nil {
			g.t.Fatal(err)
		}
	}
}

func TestPathOpen(t *testing.T) {
	g := newGuest(t)
	g.tree()
	if err := unix.Mkfifo(filepath.Join(g.dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := g.open("d", openDirectory, 0)
	const follow, creat, dir, excl, trunc = 1, uint64(openCreat), uint64(openDirectory), uint64(openExcl), uint64(openTrunc)
	const rw = rightFdRead | rightFdWrite
	for _, c := range []struct {
		fd     uint64
		path   string
		lookup uint64
		oflags uint64
		base   rights
		want   Errno
	}{
		{fdWork, "f", 0, 0, rw, Success},
		{fdDot, "f", 0, 0, 0, Success},
		{fdWork, ".", 0, 0, 0, Success},
		{fdWork, "d/", 0, dir, rightFdReaddir, Success},
		{fdWork, "d/../d/./sub//deep", 0, 0, rightFdRead, Success},
		{fdWork, "f", 0, dir, 0, ENOTDIR},
		{fdWork, "f/", 0, 0, 0, ENOTDIR},
		{fdWork, "f/x", 0, 0, 0, ENOTDIR},
		{fdWork, "d", 0, 0, rightFdWrite, EISDIR},
		{fdWork, "d", 0, creat, 0, EISDIR},
		{fdWork, "d", 0, trunc, 0, EISDIR},
		{fdWork, "d", 0, creat | excl, 0, EEXIST},
		{fdWork, "f", 0, creat | excl, rw, EEXIST},
		{fdWork, "f", 0, creat, rw, Success},
		{fdWork, "none", 0, 0, 0, ENOENT},
		{fdWork, "none", 0, dir, 0, ENOENT},
		{fdWork, "none/", 0, creat, rw, EISDIR},
		{fdWork, "none", 0, creat | dir, 0, EINVAL},
		{fdWork, "none/x", 0, creat, rw, ENOENT},
		{fdWork, "", 0, 0, 0, ENOENT},
		{fdWork, "link", 0, 0, 0, ELOOP},
		{fdWork, "link", 0, dir, 0, ELOOP},
		{fdWork, "link", 0, creat | excl, 0, EEXIST},
		{fdWork, "link", follow, creat | excl, 0, EEXIST},
		{fdWork, "link", follow, 0, rw, Success},
		{fdWork, "d/dlink/deep", 0, 0, 0, Success},
		{fdWork, "loop", follow, 0, 0, ELOOP},
		{fdWork, "loop/x", 0, 0, 0, ELOOP},
		{fdWork, "dangling", follow, 0, 0, ENOENT},
		{fdWork, "dangling", follow, creat, rw, Success}, // makes what it names
		{fdWork, "nowhere", 0, 0, 0, Success},
		{fdWork, "d/up", follow, 0, 0, Success},
		{d, "up", follow, 0, 0, EPERM}, // leads out of the descriptor's directory
		{d, "..", 0, 0, 0, EPERM},
		{d, "sub/../..", 0, 0, 0, EPERM},
		{d, "sub/..", 0, 0, 0, Success},
		{d, "parent/f", 0, 0, 0, EPERM},
		{fdWork, "d/parent/f", 0, 0, 0, Success},
		{fdWork, "d/out", follow, 0, 0, EPERM},
		{fdWork, "d/out", follow, creat, rw, EPERM},
		{fdWork, "abs", follow, 0, 0, EPERM},
		{fdWork, "/f", 0, 0, 0, EPERM},
		{fdWork, "..", 0, 0, 0, EPERM},
		{fdWork, "f\x00", 0, 0, 0, EINVAL},
		{fdWork, "f\xff", 0, 0, 0, EILSEQ},
		{fdWork, strings.Repeat("n", 256), 0, creat, rw, ENAMETOOLONG},
		{fdWork, strings.Repeat("n/", 2049), 0, 0, 0, ENAMETOOLONG},
		{fdWork, "f", 2, 0, 0, EINVAL},
		{fdWork, "f", 0, 16, 0, EINVAL},
		{fdWork, "fifo", 0, 0, 0, ENXIO},
		{0, "f", 0, 0, 0, ENOTDIR},
		{99, "f", 0, 0, 0, EBADF},
		{fdRoot, ".", 0, dir, 0, Success},
		{fdRoot, "workspace", 0, dir, 0, Success},
		{fdRoot, "./workspace//d/f", 0, 0, rightFdRead, Success},
		{fdRoot, "workspace/../f", 0, 0, 0, EPERM},
		{fdRoot, "..", 0, 0, 0, EPERM},
		{fdRoot, "etc/passwd", 0, 0, 0, ENOENT},
		{fdRoot, "etc", 0, creat, rw, EROFS},
		{fdRoot, "etc/x", 0, creat, rw, ENOENT},
		{fdRoot, ".", 0, creat, 0, EISDIR},
		{fdRoot, "tmp/x", 0, creat, rw, Success},
	} {
		fd, errno := g.openAt(c.fd, c.path, c.lookup, c.oflags, c.base, 0, 0)
		if errno != c.want {
			t.Errorf("path_open(%d, %.50q, %d, %#x, %#x) = %d, want %d", c.fd, c.path, c.lookup, c.oflags, c.base, errno, c.want)
		}
		if errno == Success {
			g.ok("fd_close", fd)
		}
		g.top = 1024
	}
	equal(t, "mode of a file", mode(t, g, "nowhere"), 0o644)
	if _, errno := g.openAt(fdWork, "f", 0, 0, 0, 0, 0x20); errno != EINVAL {
		t.Errorf("unknown fdflags: %d", errno)
	}
	p, n := g.str("f")
	g.want(EFAULT, "path_open", fdWork, 0, p, n, 0, 0, 0, 0, beyond-3)
	g.want(EFAULT, "path_open", fdWork, 0, beyond, 1, 0, 0, 0, 0, p)
	g.want(EFAULT, "path_open", fdWork, 0, p, 0xffffffff, 0, 0, 0, 0, p)
	equal(t, "not truncated so far", g.content("f"), "top")
	fd, errno := g.openAt(fdWork, "link", follow, trunc, rightFdRead, 0, 0)
	equal(t, "truncating through a link to read", errno, Success)
	equal(t, "truncated", g.content("f"), "")
	_, errno = g.write(fd, "x")
	equal(t, "still not to be written", errno, EBADF)
}

func mode(t *testing.T, g *guest, path string) os.FileMode {
	t.Helper()
	fi, err := os.Lstat(filepath.Join(g.dir, path))
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode().Perm()
}

// TestRights opens with what a directory may hand on, and calls without the
// right that each call needs.
func TestRights(t *testing.T) {
	g := newGuest(t)
	g.tree()
	d, errno := g.openAt(fdWork, "d", 0, uint64(openDirectory), dirRights, rightFdRead|rightPathOpen, 0)
	equal(t, "path_open", errno, Success)
	for _, c := range []struct {
		base, inherit rights
		flags         fdflags
		want          Errno
	}{
		{rightFdRead, rightPathOpen, 0, Success},
		{rightFdWrite, 0, 0, ENOTCAPABLE},
		{rightFdRead, rightFdWrite, 0, ENOTCAPABLE},
		{rightFdRead, 0, flagSync, ENOTCAPABLE},
		{rightFdRead, 0, flagDsync, ENOTCAPABLE},
		{rightFdRead, 0, flagAppend, Success},
		{rightFdRead | 1<<28 | 1<<40, 0, 0, Success}, // what this host does not know is not asked for
	} {
		if _, errno := g.openAt(d, "f", 0, 0, c.base, c.inherit, c.flags); errno != c.want {
			t.Errorf("rights %#x, %#x, flags %#x: %d, want %d", c.base, c.inherit, c.flags, errno, c.want)
		}
	}

	p, n := g.str("x")
	out := g.room(64)
	for _, c := range []struct {
		name string
		need rights
		args []uint64
	}{
		{"path_open", rightPathOpen, []uint64{0, 0, p, n, 0, 0, 0, 0, out}},
		{"path_open", rightPathCreateFile, []uint64{0, 0, p, n, uint64(openCreat), 0, 0, 0, out}},
		{"path_open", rightPathFilestatSetSize, []uint64{0, 0, p, n, uint64(openTrunc), 0, 0, 0, out}},
		{"path_create_directory", rightPathCreateDirectory, []uint64{0, p, n}},
		{"path_remove_directory", rightPathRemoveDirectory, []uint64{0, p, n}},
		{"path_unlink_file", rightPathUnlinkFile, []uint64{0, p, n}},
		{"path_readlink", rightPathReadlink, []uint64{0, p, n, out, 8, out}},
		{"path_filestat_get", rightPathFilestatGet, []uint64{0, 0, p, n, out}},
		{"path_filestat_set_times", rightPathFilestatSetTimes, []uint64{0, 0, p, n, 0, 0, 0}},
	} {
		fd, _ := g.openAt(fdWork, "d", 0, uint64(openDirectory), dirRights&^c.need, allRights, 0)
		c.args[0] = fd
		g.want(ENOTCAPABLE, c.name, c.args...)
	}
	none, _ := g.openAt(fdWork, "d", 0, uint64(openDirectory), 0, 0, 0)
	g.want(ENOTCAPABLE, "path_symlink", p, n, none, p, n)
	f, k := g.str("f")
	g.want(ENOTCAPABLE, "path_rename", none, p, n, fdWork, p, n)
	g.want(ENOTCAPABLE, "path_rename", fdWork, f, k, none, p, n)
	g.want(ENOTCAPABLE, "path_link", none, 0, p, n, fdWork, p, n)
	g.want(ENOTCAPABLE, "path_link", fdWork, 0, f, k, none, p, n)
}

func TestNames(t *testing.T) {
	g := newGuest(t)
	g.tree()
	for _, c := range []struct {
		name string
		fd   uint64
		path string
		want Errno
	}{
		{"path_create_directory", fdWork, "new", Success},
		{"path_create_directory", fdWork, "new", EEXIST},
		{"path_create_directory", fdWork, "new2/", Success},
		{"path_create_directory", fdWork, "f/", EEXIST},
		{"path_create_directory", fdWork, "f/x", ENOTDIR},
		{"path_create_directory", fdWork, "none/x", ENOENT},
		{"path_create_directory", fdWork, "dangling", EEXIST},
		{"path_create_directory", fdWork, "dangling/", EEXIST},
		{"path_create_directory", fdWork, ".", EEXIST},
		{"path_create_directory", fdWork, "d/..", EEXIST},
		{"path_create_directory", fdWork, "../x", EPERM},
		{"path_create_directory", fdWork, "/x", EPERM},
		{"path_create_directory", fdWork, "d/parent/../x", EPERM},
		{"path_create_directory", fdWork, "", ENOENT},
		{"path_create_directory", fdRoot, "x", EROFS},
		{"path_create_directory", fdRoot, "tmp", EEXIST},
		{"path_create_directory", fdRoot, ".", EEXIST},
		{"path_remove_directory", fdWork, "new", Success},
		{"path_remove_directory", fdWork, "new2/", Success},
		{"path_remove_directory", fdWork, "new", ENOENT},
		{"path_remove_directory", fdWork, "d", ENOTEMPTY},
		{"path_remove_directory", fdWork, "f", ENOTDIR},
		{"path_remove_directory", fdWork, "f/", ENOTDIR},
		{"path_remove_directory", fdWork, "d/dlink", ENOTDIR},
		{"path_remove_directory", fdWork, "d/dlink/", ENOTDIR},
		{"path_remove_directory", fdWork, ".", EINVAL},
		{"path_remove_directory", fdWork, "d/sub/..", ENOTEMPTY},
		{"path_remove_directory", fdRoot, "workspace", EBUSY},
		{"path_unlink_file", fdWork, "d", EISDIR},
		{"path_unlink_file", fdWork, "d/", EISDIR},
		{"path_unlink_file", fdWork, ".", EISDIR},
		{"path_unlink_file", fdWork, "f/", ENOTDIR},
		{"path_unlink_file", fdWork, "d/dlink/", ENOTDIR},
		{"path_unlink_file", fdWork, "none", ENOENT},
		{"path_unlink_file", fdWork, "none/", ENOENT},
		{"path_unlink_file", fdWork, "d/dlink", Success},
		{"path_unlink_file", fdWork, "d/out", Success}, // a link is removed, wherever it leads
		{"path_unlink_file", fdRoot, "tmp", EISDIR},
		{"path_unlink_file", fdRoot, "workspace/f", Success},
		{"path_unlink_file", 1, "f", ENOTDIR},
		{"path_unlink_file", 99, "f", EBADF},
	} {
		if got := g.path(c.name, c.fd, c.path); got != c.want {
			t.Errorf("%s(%d, %q) = %d, want %d", c.name, c.fd, c.path, got, c.want)
		}
		g.top = 1024
	}
	g.want(EFAULT, "path_create_directory", fdWork, beyond-1, 2)
	equal(t, "making a directory", g.path("path_create_directory", fdWork, "m"), Success)
	equal(t, "mode of a directory", mode(t, g, "m"), 0o755)
	if _, err := os.Stat(filepath.Join(g.dir, "d", "sub", "deep")); err != nil {
		t.Error(err)
	}
}

func TestRename(t *testing.T) {
	g := newGuest(t)
	g.tree()
	g.file("empty/x/y", "")
	for _, c := range []struct {
		fromFd uint64
		from   string
		toFd   uint64
		to     string
		want   Errno
	}{
		{fdWork, "f", fdWork, "g", Success},
		{fdWork, "f", fdWork, "h", ENOENT},
		{fdWork, "g", fdWork, "d", EISDIR},
		{fdWork, "g", fdWork, "h/", ENOTDIR},
		{fdWork, "g/", fdWork, "h", ENOTDIR},
		{fdWork, "d", fdWork, "g", ENOTDIR},
		{fdWork, "d", fdWork, "empty", ENOTEMPTY},
		{fdWork, "d", fdWork, "d/sub/x", EINVAL},
		{fdWork, "d", fdWork, "g/", ENOTDIR},
		{fdWork, "d/", fdWork, "e/", Success},
		{fdWork, "e", fdWork, "d", Success},
		{fdWork, ".", fdWork, "x", EBUSY},
		{fdWork, "d/..", fdWork, "x", EBUSY},
		{fdWork, "g", fdWork, ".", EBUSY},
		{fdWork, "g", fdTmp, "g", EXDEV},
		{fdRoot, "workspace/g", fdRoot, "tmp/g", EXDEV},
		{fdRoot, "workspace/g", fdRoot, "g", EROFS},
		{fdRoot, "workspace", fdRoot, "tmp/g", EBUSY},
		{fdRoot, "workspace/g", fdDot, "f", Success},
		{fdWork, "f", fdWork, "none/f", ENOENT},
		{fdWork, "f", fdWork, "../f", EPERM},
		{fdWork, "/f", fdWork, "x", EPERM},
		{fdWork, "link", fdWork, "link2", Success}, // the link itself
		{99, "f", fdWork, "x", EBADF},
		{fdWork, "f", 99, "x", EBADF},
	} {
		p, n := g.str(c.from)
		q, k := g.str(c.to)
		if got := g.call("path_rename", c.fromFd, p, n, c.toFd, q, k); got != c.want {
			t.Errorf("path_rename(%d, %q, %d, %q) = %d, want %d", c.fromFd, c.from, c.toFd, c.to, got, c.want)
		}
		g.top = 1024
	}
	equal(t, "content", g.content("f"), "top")

	// A directory descriptor stays with the directory.
	fd := g.open("d/sub", openDirectory, 0)
	p, n := g.str("d")
	q, k := g.str("moved")
	g.ok("path_rename", fdWork, p, n, fdWork, q, k)
	equal(t, "below the moved", g.path("path_unlink_file", fd, "deep"), Success)
	if err := os.Remove(filepath.Join(g.dir, "moved", "sub")); err != nil {
		t.Fatal(err)
	}
	equal(t, "in a removed directory", g.path("path_create_directory", fd, "x"), ENOENT)
}

func TestLinks(t *testing.T) {
	g := newGuest(t)
	g.tree()
	link := func(fromFd, flags uint64, from string, toFd uint64, to string) Errno {
		p, n := g.str(from)
		q, k := g.str(to)
		return g.call("path_link", fromFd, flags, p, n, toFd, q, k)
	}
	equal(t, "a hard link", link(fdWork, 0, "f", fdWork, "hard"), Success)
	equal(t, "over a name", link(fdWork, 0, "f", fdWork, "hard"), EEXIST)
	equal(t, "over itself", link(fdWork, 0, "f", fdWork, "f"), EEXIST)
	equal(t, "of a directory", link(fdWork, 0, "d", fdWork, "x"), EPERM)
	equal(t, "of nothing", link(fdWork, 0, "none", fdWork, "x"), ENOENT)
	equal(t, "with a slash", link(fdWork, 0, "f", fdWork, "x/"), ENOENT)
	equal(t, "of the symbolic link", link(fdWork, 0, "link", fdWork, "link2"), Success)
	equal(t, "of what it leads to", link(fdWork, 1, "link", fdWork, "hard2"), Success)
	equal(t, "of where none leads", link(fdWork, 1, "dangling", fdWork, "x"), ENOENT)
	equal(t, "with unknown flags", link(fdWork, 2, "f", fdWork, "x"), EINVAL)
	equal(t, "into another tree", link(fdWork, 0, "f", fdTmp, "x"), EXDEV)
	equal(t, "out", link(fdWork, 0, "f", fdWork, "../x"), EPERM)
	var a, b syscall.Stat_t
	if err := syscall.Stat(filepath.Join(g.dir, "f"), &a); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Lstat(filepath.Join(g.dir, "hard2"), &b); err != nil || a.Ino != b.Ino || a.Nlink != 3 {
		t.Errorf("hard links: %v, %d %d, %d names", err, a.Ino, b.Ino, a.Nlink)
	}

	symlink := func(target string, fd uint64, path string) Errno {
		p, n := g.str(target)
		q, k := g.str(path)
		return g.call("path_symlink", p, n, fd, q, k)
	}
	for _, c := range []struct {
		target, path string
		want         Errno
	}{
		{"f", "s1", Success},
		{"d/../f", "s2", Success},
		{"../f", "d/s3", Success},
		{"../sub/../../f", "d/sub/s4", Success},
		{"nowhere/at/all", "s5", Success},
		{"f", "s1", EEXIST},
		{"f", "d/", EEXIST},
		{"f", "f/", ENOTDIR},
		{"f", "x/", ENOENT},
		{"f", "none/x", ENOENT},
		{"", "x", ENOENT},
		{"/f", "x", EPERM},
		{"..", "x", EPERM},
		{"../f", "x", EPERM},
		{"d/../../x", "x", EPERM},
		{"../../x", "d/x", EPERM},
		{"a\x00b", "x", EINVAL},
		{"\xff", "x", EILSEQ},
		{strings.Repeat("x", 4097), "x", ENAMETOOLONG},
		{"f", "../x", EPERM},
	} {
		if got := symlink(c.target, fdWork, c.path); got != c.want {
			t.Errorf("path_symlink(%.20q, %q) = %d, want %d", c.target, c.path, got, c.want)
		}
		g.top = 1024
	}
	// What counts is the tree, not the descriptor's directory.
	sub := g.open("d/sub", openDirectory, 0)
	equal(t, "up within the tree", symlink("../../f", sub, "s6"), Success)
	equal(t, "up out of the tree", symlink("../../../f", sub, "s7"), EPERM)

	readlink := func(path string, size uint32) (string, Errno) {
		p, n := g.str(path)
		buf, used := g.room(size), g.room(4)
		errno := g.call("path_readlink", fdWork, p, n, buf, uint64(size), used)
		if errno != Success {
			return "", errno
		}
		return string(g.bytes(buf, g.u32(used))), errno
	}
	for _, c := range []struct {
		path, target string
		size         uint32
		want         Errno
	}{
		{"link", "f", 10, Success},
		{"d/s3", "../f", 4, Success},
		{"d/s3", "../", 3, Success},
		{"abs", "/etc/passwd", 64, Success},
		{"f", "", 8, EINVAL},
		{"d", "", 8, EINVAL},
		{"none", "", 8, ENOENT},
		{"link/", "", 8, ENOTDIR},
	} {
		target, errno := readlink(c.path, c.size)
		if errno != c.want || target != c.target {
			t.Errorf("path_readlink(%q) = %q, %d", c.path, target, errno)
		}
		g.top = 1024
	}
	p, n := g.str("link")
	g.want(EFAULT, "path_readlink", fdWork, p, n, beyond-1, 2, p)
	g.want(EFAULT, "path_readlink", fdWork, p, n, p, 4, beyond-3)
	dot, k := g.str(".")
	g.want(EINVAL, "path_readlink", fdRoot, dot, k, g.room(8), 4, g.room(4))
}

func TestPathFilestat(t *testing.T) {
	g := newGuest(t)
	g.tree()
	st := g.room(64)
	stat := func(fd, flags uint64, path string) Errno {
		p, n := g.str(path)
		return g.call("path_filestat_get", fd, flags, p, n, st)
	}
	for _, c := range []struct {
		fd, flags uint64
		path      string
		want      Errno
		typ       filetype
	}{
		{fdWork, 0, "f", Success, typeRegular},
		{fdWork, 0, "d", Success, typeDirectory},
		{fdWork, 0, ".", Success, typeDirectory},
		{fdWork, 0, "link", Success, typeSymlink},
		{fdWork, 1, "link", Success, typeRegular},
		{fdWork, 0, "d/dlink/", Success, typeDirectory},
		{fdWork, 0, "dangling", Success, typeSymlink},
		{fdWork, 1, "dangling", ENOENT, 0},
		{fdWork, 0, "none", ENOENT, 0},
		{fdWork, 0, "f/", ENOTDIR, 0},
		{fdWork, 1, "d/out", EPERM, 0},
		{fdWork, 0, "..", EPERM, 0},
		{fdWork, 4, "f", EINVAL, 0},
		{fdRoot, 0, ".", Success, typeDirectory},
		{fdRoot, 0, "workspace/f", Success, typeRegular},
		{fdRoot, 0, "x", ENOENT, 0},
		{fdRoot, 0, "home", ENOENT, 0},
	} {
		if got := stat(c.fd, c.flags, c.path); got != c.want {
			t.Errorf("path_filestat_get(%d, %d, %q) = %d, want %d", c.fd, c.flags, c.path, got, c.want)
		} else if got == Success {
			equal(t, "type of "+c.path, g.filestat(st).typ, c.typ)
		}
	}
	set := func(fd, flags uint64, path string, mtim, fst uint64) Errno {
		p, n := g.str(path)
		return g.call("path_filestat_set_times", fd, flags, p, n, 0, mtim, fst)
	}
	equal(t, "a link's time", set(fdWork, 0, "link", 77, 4), Success)
	equal(t, "its target's time", set(fdWork, 1, "link", 99, 4), Success)
	for path, want := range map[string]uint64{"link": 77, "f": 99} {
		stat(fdWork, 0, path)
		equal(t, "mtim of "+path, g.filestat(st).mtim, want)
	}
	equal(t, "nothing", set(fdWork, 0, "none", 0, 4), ENOENT)
	equal(t, "both flags", set(fdWork, 0, "f", 0, 4|8), EINVAL)
	equal(t, "the directory of the preopens", set(fdRoot, 0, ".", 0, 8), EROFS)
	p, n := g.str("f")
	g.want(EFAULT, "path_filestat_get", fdWork, 0, p, n, beyond-60)
	g.want(EFAULT, "path_filestat_get", fdWork, 0, beyond-60, 61, st)
}

// TestDeep goes down further than a path of the host could.
func TestDeep(t *testing.T) {
	g := newGuest(t)
	name := strings.Repeat("d", 200)
	fd := uint64(fdWork)
	for i := range 40 {
		equal(t, fmt.Sprint("directory ", i), g.path("path_create_directory", fd, name), Success)
		next, errno := g.openAt(fd, name, 0, uint64(openDirectory), dirRights, allRights, 0)
		equal(t, "path_open", errno, Success)
		fd = next
	}
	f, errno := g.openAt(fd, "file", 0, uint64(openCreat), allRights, 0, 0)
	equal(t, "path_open", errno, Success)
	_, errno = g.write(f, "deep")
	equal(t, "fd_write", errno, Success)
	equal(t, "removing", g.path("path_unlink_file", fd, "file"), Success)
}
