package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMountEscapes uses what a process has and a capsule lacks: descriptors of
// directories and of files without a name, /proc/self/fd, and all the calls
// that take a path.
func TestMountEscapes(t *testing.T) {
	b := newBox(t)
	write(t, filepath.Join(b.ws, ".astridignore"), ".env\n*.key\n")
	write(t, filepath.Join(b.ws, ".env"), hiddenText)
	write(t, filepath.Join(b.ws, "pub/in.key"), hiddenText)
	write(t, filepath.Join(b.ws, "pub/ok.txt"), "fine")
	write(t, filepath.Join(b.ws, "pub/later.txt"), "fine")
	b.mount()
	open := func(path string, flags int) int {
		t.Helper()
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	refused := func(what string, err, want error) {
		t.Helper()
		if err != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	self := func(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
	ws := open(b.mnt, unix.O_PATH)
	pub := open(filepath.Join(b.mnt, "pub"), unix.O_RDONLY|unix.O_DIRECTORY)

	// Every call that takes a path, on one that is there and on one that is not.
	for _, path := range []string{".env", "pub/in.key", "none.key", "pub/none.key", "pub/../.env"} {
		var st unix.Stat_t
		var stx unix.Statx_t
		var sfs unix.Statfs_t
		abs := filepath.Join(b.mnt, path)
		buf := make([]byte, 100)
		times := []unix.Timespec{{Sec: 1}, {Sec: 1}}
		_, xerr := unix.Getxattr(abs, "user.x", buf)
		_, lerr := unix.Listxattr(abs, buf)
		_, rerr := unix.Readlinkat(ws, path, buf)
		_, oerr := unix.Openat(ws, path, unix.O_PATH, 0)
		for what, err := range map[string]error{
			"stat": unix.Fstatat(ws, path, &st, 0), "lstat": unix.Fstatat(ws, path, &st, unix.AT_SYMLINK_NOFOLLOW), "statfs": unix.Statfs(abs, &sfs),
			"statx": unix.Statx(ws, path, 0, unix.STATX_ALL, &stx), "access": unix.Faccessat(ws, path, unix.F_OK, 0), "open": oerr,
			"getxattr": xerr, "listxattr": lerr, "setxattr": unix.Setxattr(abs, "user.x", buf[:1], 0), "removexattr": unix.Removexattr(abs, "user.x"),
			"readlink": rerr, "chmod": unix.Fchmodat(ws, path, 0o777, 0), "chown": unix.Fchownat(ws, path, os.Getuid(), os.Getgid(), 0),
			"utimes": unix.UtimesNanoAt(ws, path, times, 0), "truncate": unix.Truncate(abs, 0), "mkdir": unix.Mkdirat(ws, path, 0o755),
			"mkfifo": unix.Mknodat(ws, path, unix.S_IFIFO|0o600, 0), "symlink": unix.Symlinkat("pub/ok.txt", ws, path), "chdir": unix.Chdir(abs),
			"unlink": unix.Unlinkat(ws, path, 0), "rmdir": unix.Unlinkat(ws, path, unix.AT_REMOVEDIR),
			"link to": unix.Linkat(ws, "pub/ok.txt", ws, path, 0), "link": unix.Linkat(ws, path, ws, "pub/linked", 0),
			"rename to": unix.Renameat(ws, "pub/ok.txt", ws, path), "rename": unix.Renameat(ws, path, ws, "pub/renamed"),
			"exchange":  unix.Renameat2(ws, path, ws, "pub/ok.txt", unix.RENAME_EXCHANGE),
			"noreplace": unix.Renameat2(ws, "pub/ok.txt", ws, path, unix.RENAME_NOREPLACE),
		} {
			refused(what+" "+path, err, unix.EACCES)
		}
	}
	refused("rmdir of what holds something hidden", unix.Rmdir(filepath.Join(b.mnt, "pub")), unix.ENOTEMPTY)

	// From an open directory, and through /proc.
	try := func(dir int, path string) error {
		fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	refused("a name in an open directory", try(pub, "in.key"), unix.EACCES)
	refused("a name above it", try(pub, "../.env"), unix.EACCES)
	refused("through /proc", try(unix.AT_FDCWD, self(pub)+"/in.key"), unix.EACCES)
	refused("through /proc and above", try(unix.AT_FDCWD, self(pub)+"/../.env"), unix.EACCES)

	// A file without a name gets none that is hidden.
	tmp := open(filepath.Join(b.mnt, "pub"), unix.O_TMPFILE|unix.O_RDWR)
	refused("a hidden name for a nameless file", unix.Linkat(unix.AT_FDCWD, self(tmp), ws, "pub/tmp.key", unix.AT_SYMLINK_FOLLOW), unix.EACCES)
	refused("the ignore file's", unix.Linkat(unix.AT_FDCWD, self(tmp), ws, "pub/.astridignore", unix.AT_SYMLINK_FOLLOW), unix.EACCES)
	refused("an allowed one", unix.Linkat(unix.AT_FDCWD, self(tmp), ws, "pub/tmp", unix.AT_SYMLINK_FOLLOW), nil)

	// What was open when a rule came stays open, and is no way to open it again.
	later := open(filepath.Join(b.mnt, "pub/later.txt"), unix.O_RDONLY)
	path := open(filepath.Join(b.mnt, "pub/later.txt"), unix.O_PATH)
	write(t, filepath.Join(b.ws, ".astridignore"), ".env\n*.key\nlater.txt\n")
	for end := time.Now().Add(time.Minute); try(pub, "later.txt") != unix.EACCES; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a new rule is not heeded")
		}
	}
	refused("opening an open file again", try(unix.AT_FDCWD, self(later)), unix.EACCES)
	refused("opening what O_PATH opened", try(unix.AT_FDCWD, self(path)), unix.EACCES)
	refused("a further name for it", unix.Linkat(unix.AT_FDCWD, self(later), ws, "pub/again", unix.AT_SYMLINK_FOLLOW), unix.EACCES)
	if n, err := unix.Pread(later, make([]byte, 10), 0); n != 4 || err != nil {
		t.Errorf("the open file reads %d bytes, %v", n, err)
	}
	again, err := unix.Dup(pub)
	if err != nil {
		t.Fatal(err)
	}
	dir := os.NewFile(uintptr(again), "pub")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"ok.txt", "tmp"}) {
		t.Errorf("the open directory lists %q, %v", names, err)
	}
	if got := read(t, filepath.Join(b.ws, ".env")) + read(t, filepath.Join(b.ws, "pub/in.key")); got != hiddenText+hiddenText {
		t.Errorf("hidden files hold %q", got)
	}
}
