package at_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// openDir opens a new directory for the *at calls.
func openDir(t *testing.T, flags int) (string, int) {
	t.Helper()
	vfstest.CheckLeaks(t)
	path := t.TempDir()
	return path, reopenDir(t, path, flags)
}

func reopenDir(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestReadDir(t *testing.T) {
	path, _ := openDir(t, unix.O_PATH)
	want := map[string]uint32{".": unix.S_IFDIR, "..": unix.S_IFDIR, "dir": unix.S_IFDIR, "link": unix.S_IFLNK, "fifo": unix.S_IFIFO}
	os.Mkdir(path+"/dir", 0755)
	os.Symlink("x", path+"/link")
	unix.Mkfifo(path+"/fifo", 0644)
	for i := range 3000 { // several buffers
		name := fmt.Sprintf("%0200d", i)
		want[name] = unix.S_IFREG
		if err := os.WriteFile(path+"/"+name, nil, 0644); err != nil {
			t.Fatal(err)
		}
	}
	fd := reopenDir(t, path, unix.O_RDONLY)
	var all []vfs.DirEntry
	if err := at.ReadDir(fd, 0, func(de vfs.DirEntry) bool { all = append(all, de); return true }); err != nil {
		t.Fatal(err)
	}
	for _, de := range all {
		typ, ok := want[de.Name]
		if !ok || de.Type != 0 && de.Type != typ {
			t.Errorf("entry %+v", de)
		}
		if a, _, err := at.Stat(fd, de.Name); err != nil || a.Ino != de.Ino && de.Name != ".." {
			t.Errorf("%s has inode %d, listed as %d, %v", de.Name, a.Ino, de.Ino, err)
		}
		delete(want, de.Name)
	}
	if len(want) > 0 {
		t.Errorf("%d entries are missing", len(want))
	}
	// From any cookie, one at a time.
	off := all[2000].Off
	for i := 2001; i < 2020; i++ {
		n := 0
		var got vfs.DirEntry
		if err := at.ReadDir(fd, off, func(de vfs.DirEntry) bool {
			if n++; n == 1 {
				got = de
			}
			return n == 1
		}); err != nil || got != all[i] {
			t.Fatalf("entry %d is %+v, %v; was %+v", i, got, err, all[i])
		}
		off = got.Off
	}
	if err := at.ReadDir(-1, 0, nil); err != syscall.EBADF {
		t.Errorf("of no descriptor: %v", err)
	}
}

// TestDirReader goes on from where it stopped, and from elsewhere, in any order.
func TestDirReader(t *testing.T) {
	path, _ := openDir(t, unix.O_PATH)
	for i := range 2000 {
		must(t, os.WriteFile(fmt.Sprintf("%s/%0100d", path, i), nil, 0644))
	}
	fd := reopenDir(t, path, unix.O_RDONLY)
	var all []vfs.DirEntry
	must(t, at.ReadDir(fd, 0, func(de vfs.DirEntry) bool { all = append(all, de); return true }))
	r := at.NewDirReader(fd)
	defer r.Reset()
	rnd := rand.New(rand.NewPCG(1, 2))
	at := 0
	for range 500 {
		if rnd.IntN(4) == 0 {
			at = rnd.IntN(len(all) + 1)
		}
		off := uint64(0)
		if at > 0 {
			off = all[at-1].Off
		}
		n := rnd.IntN(400)
		must(t, r.Read(off, func(de vfs.DirEntry) bool {
			if n == 0 {
				return false
			}
			if de != all[at] {
				t.Fatalf("entry %d is %+v, want %+v", at, de, all[at])
			}
			n, at = n-1, at+1
			return true
		}))
		if n > 0 && at != len(all) {
			t.Fatalf("ended after entry %d of %d", at, len(all))
		}
	}
	// From the start, what happened meanwhile is seen.
	must(t, r.Read(0, func(vfs.DirEntry) bool { return false }))
	must(t, os.WriteFile(path+"/new", nil, 0644))
	seen := false
	must(t, r.Read(0, func(de vfs.DirEntry) bool { seen = seen || de.Name == "new"; return true }))
	if !seen {
		t.Error("the new entry is not listed")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenBeneath(t *testing.T) {
	path, fd := openDir(t, unix.O_PATH)
	for _, d := range []string{"a/b", "c"} {
		os.MkdirAll(path+"/"+d, 0755)
	}
	os.WriteFile(path+"/a/b/f", []byte("x"), 0644)
	os.Symlink("a", path+"/s")
	os.Symlink("/etc", path+"/abs")
	os.Symlink("f", path+"/a/b/l")
	for p, want := range map[string]syscall.Errno{
		"a/b/f": 0, "a/../a/b/f": 0, "a/none": syscall.ENOENT, "s/b/f": syscall.ELOOP, "abs/passwd": syscall.ELOOP, "a/b/l": syscall.ELOOP,
		"..": syscall.EXDEV, "a/../../x": syscall.EXDEV, "/etc/passwd": syscall.EXDEV,
	} {
		got, err := at.OpenBeneath(fd, p, unix.O_RDONLY, 0)
		if err == nil {
			unix.Close(got)
		}
		if vfs.Errno(err) != want {
			t.Errorf("%s: %v, want %v", p, err, want)
		}
	}
}

// TestLinksAreNotFollowed has every call meet a symbolic link that leads out.
func TestLinksAreNotFollowed(t *testing.T) {
	path, fd := openDir(t, unix.O_PATH)
	outside := t.TempDir() + "/victim"
	if err := os.WriteFile(outside, []byte("x"), 0644); err != nil {
		t.Fatal(err)
	}
	unix.Setxattr(outside, "user.a", []byte("1"), 0)
	before, _, err := at.Stat(unix.AT_FDCWD, outside)
	if err != nil {
		t.Fatal(err)
	}
	os.Symlink(outside, path+"/l")

	if _, err := at.Open(fd, "l", unix.O_RDWR|unix.O_TRUNC, 0); err != syscall.ELOOP {
		t.Errorf("Open: %v", err)
	}
	if _, err := at.Open(fd, "l", unix.O_RDWR|unix.O_CREAT, 0644); err != syscall.ELOOP {
		t.Errorf("Open to create: %v", err)
	}
	if a, _, err := at.Stat(fd, "l"); err != nil || !a.IsSymlink() {
		t.Errorf("Stat: %+v, %v", a, err)
	}
	if s, err := at.Readlink(fd, "l"); err != nil || s != outside {
		t.Errorf("Readlink: %q, %v", s, err)
	}
	if err := at.Chmod(fd, "l", 0); err != syscall.EOPNOTSUPP {
		t.Errorf("Chmod: %v", err)
	}
	if err := at.SetTimes(fd, "l", &unix.Timespec{Sec: 1}, &unix.Timespec{Sec: 1}); err != nil {
		t.Errorf("SetTimes: %v", err)
	}
	if err := at.Chown(fd, "l", os.Geteuid(), os.Getegid()); err != nil {
		t.Errorf("Chown: %v", err)
	}
	if _, err := at.GetXattr(fd, "l", "user.a", nil); err == nil {
		t.Error("GetXattr followed the link")
	}
	if err := at.SetXattr(fd, "l", "user.b", nil, 0); err == nil {
		t.Error("SetXattr followed the link")
	}
	if err := at.RemoveXattr(fd, "l", "user.a"); err == nil {
		t.Error("RemoveXattr followed the link")
	}
	lfd, err := at.Open(fd, "l", unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lfd)
	if s, err := at.Readlink(lfd, ""); err != nil || s != outside {
		t.Errorf("Readlink of a descriptor: %q, %v", s, err)
	}
	if err := at.Chmod(lfd, "", 0); err != syscall.EOPNOTSUPP {
		t.Errorf("Chmod of a descriptor: %v", err)
	}
	if err := at.Truncate(lfd, 0); err == nil {
		t.Error("Truncate followed the link")
	}
	if nfd, err := at.Reopen(lfd, unix.O_RDWR); err == nil {
		unix.Close(nfd)
		t.Error("Reopen followed the link")
	}
	if _, err := at.GetXattr(lfd, "", "user.a", nil); err == nil {
		t.Error("GetXattr of a descriptor followed the link")
	}
	if err := at.LinkFD(lfd, fd, "l2"); err != nil {
		t.Errorf("LinkFD: %v", err)
	} else if a, _, err := at.Stat(fd, "l2"); err != nil || !a.IsSymlink() || a.Nlink != 2 {
		t.Errorf("the link's link is %+v, %v", a, err)
	}
	after, _, err := at.Stat(unix.AT_FDCWD, outside)
	if err != nil || after != before {
		t.Errorf("the file outside went from %+v to %+v, %v", before, after, err)
	}
}

func TestByDescriptor(t *testing.T) {
	path, dirfd := openDir(t, unix.O_PATH)
	os.WriteFile(path+"/f", []byte("0123"), 0644)
	fd, err := at.Open(dirfd, "f", unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	os.Remove(path + "/f") // from here on the descriptor alone leads to it
	for what, err := range map[string]error{
		"Chmod":    at.Chmod(fd, "", 0600),
		"SetTimes": at.SetTimes(fd, "", &unix.Timespec{Sec: 5}, &unix.Timespec{Sec: -6, Nsec: 7}),
		"Chown":    at.Chown(fd, "", os.Geteuid(), -1),
		"SetXattr": at.SetXattr(fd, "", "user.a", []byte("v"), 0),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a, _, err := at.Stat(fd, ""); err != nil || a.Mode != unix.S_IFREG|0600 || a.Nlink != 0 || a.Mtime != (vfs.Timespec{Sec: -6, Nsec: 7}) || a.Atime.Sec != 5 {
		t.Errorf("Stat: %+v, %v", a, err)
	}
	if err := at.Truncate(fd, 2); err != nil {
		t.Errorf("Truncate: %v", err)
	}
	buf := make([]byte, 10)
	if n, err := at.GetXattr(fd, "", "user.a", buf); err != nil || string(buf[:n]) != "v" {
		t.Errorf("GetXattr: %q, %v", buf[:n], err)
	}
	if n, err := at.ListXattr(fd, "", nil); err != nil || n != len("user.a\x00") {
		t.Errorf("ListXattr: %d, %v", n, err)
	}
	nfd, err := at.Reopen(fd, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(nfd)
	if n, err := unix.Pread(nfd, buf, 0); err != nil || string(buf[:n]) != "01" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	if err := at.LinkFD(fd, dirfd, "again"); err != syscall.ENOENT {
		t.Errorf("LinkFD of a removed file: %v", err)
	}
	tmp, err := at.Open(dirfd, ".", unix.O_TMPFILE|unix.O_RDWR, 0644)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tmp)
	if err := at.LinkFD(tmp, dirfd, "tmp"); err != nil {
		t.Errorf("LinkFD of a file from O_TMPFILE: %v", err)
	}
	if st, err := at.StatFS(fd); err != nil || st.Bsize == 0 {
		t.Errorf("StatFS: %+v, %v", st, err)
	}
}

func TestXattrByName(t *testing.T) {
	path, fd := openDir(t, unix.O_PATH)
	os.WriteFile(path+"/f", nil, 0644)
	for _, name := range []string{"f"} {
		for _, attr := range []string{"user.b", "user.a"} {
			if err := at.SetXattr(fd, name, attr, []byte(attr), unix.XATTR_CREATE); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 100)
		n, err := at.ListXattr(fd, name, buf)
		if err != nil {
			t.Fatal(err)
		}
		names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
		sort.Strings(names)
		if fmt.Sprint(names) != "[user.a user.b]" {
			t.Errorf("listed %q", names)
		}
		if _, err := at.GetXattr(fd, name, "user.a", buf[:2]); err != syscall.ERANGE {
			t.Errorf("GetXattr into too little: %v", err)
		}
		if err := at.RemoveXattr(fd, name, "user.a"); err != nil {
			t.Error(err)
		}
		if _, err := at.GetXattr(fd, name, "user.a", buf); err != syscall.ENODATA {
			t.Errorf("GetXattr of what was removed: %v", err)
		}
	}
}
