package at

import (
	"golang.org/x/sys/unix"
)

// Mkdir makes a directory name in dirfd. The process's umask applies.
func Mkdir(dirfd int, name string, mode uint32) error {
	return Retry(func() error { return unix.Mkdirat(dirfd, name, mode&07777) })
}

// Mknod makes a node that is no directory and no symbolic link. mode holds type
// and permission bits; the process's umask applies.
func Mknod(dirfd int, name string, mode uint32, rdev uint64) error {
	return Retry(func() error { return unix.Mknodat(dirfd, name, mode, int(rdev)) })
}

// Symlink makes a symbolic link name in dirfd that holds target.
func Symlink(target string, dirfd int, name string) error {
	return Retry(func() error { return unix.Symlinkat(target, dirfd, name) })
}

// LinkFD makes name in dirfd a further name of the file behind fd, which may be
// an O_PATH descriptor (of a symbolic link too) or come from O_TMPFILE. It
// needs /proc and no privilege. A file that lost its last name is ENOENT.
func LinkFD(fd, dirfd int, name string) error {
	var buf [32]byte
	path := string(appendProcFD(buf[:0], fd))
	return Retry(func() error {
		return unix.Linkat(unix.AT_FDCWD, path, dirfd, name, unix.AT_SYMLINK_FOLLOW)
	})
}

// Unlink removes name from dirfd; flags are 0, or unix.AT_REMOVEDIR for an
// empty directory.
func Unlink(dirfd int, name string, flags int) error {
	return Retry(func() error { return unix.Unlinkat(dirfd, name, flags) })
}

// Rename is renameat2(2). flags are those of the system call.
func Rename(olddirfd int, oldname string, newdirfd int, newname string, flags uint) error {
	return Retry(func() error { return unix.Renameat2(olddirfd, oldname, newdirfd, newname, flags) })
}

// Truncate sets the size of the regular file behind fd, which may be an O_PATH
// descriptor: the permission to write is checked now. It needs /proc.
func Truncate(fd int, size int64) error {
	var buf [32]byte
	path := string(appendProcFD(buf[:0], fd))
	return Retry(func() error { return unix.Truncate(path, size) })
}

// StatFS describes the filesystem that fd, any descriptor, is on.
func StatFS(fd int) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	err := Retry(func() error { return unix.Fstatfs(fd, &st) })
	return st, err
}
