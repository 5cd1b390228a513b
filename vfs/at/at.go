// Package at is the *at system calls as astridfs uses them: relative to a
// directory descriptor, never following a symbolic link or a magic link,
// restarted after EINTR, with their results in the types of package vfs. It is
// the floor under hostfs and overlay; nothing else calls the host's filesystem.
//
// A name given to these functions is one component that [vfs.CheckName]
// accepts; checking it is the caller's part. Errors are bare [syscall.Errno].
package at

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// Ident tells one inode of the host from every other that exists at the time.
type Ident struct {
	Dev uint64
	Ino uint64
}

// Retry calls f until it answers something else than EINTR, which it returns.
func Retry(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}

// Open opens name in dirfd. O_NOFOLLOW and O_CLOEXEC are added to flags: a
// symbolic link is ELOOP (with O_PATH, the link itself is opened).
func Open(dirfd int, name string, flags int, mode uint32) (fd int, err error) {
	return openat(dirfd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
}

// OpenBeneath opens a path of several components below dirfd with openat2: no
// component may be a symbolic or magic link (ELOOP) or lead above dirfd (EXDEV).
func OpenBeneath(dirfd int, path string, flags int, mode uint32) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC),
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err = unix.Openat2(dirfd, path, &how)
		// EAGAIN: something above was renamed while the kernel walked.
		if err != syscall.EINTR && err != syscall.EAGAIN {
			return fd, err
		}
	}
}

// Reopen opens the file behind fd, an O_PATH descriptor for instance, anew with
// other flags. It needs /proc. The flags may hold O_TRUNC but not O_CREAT.
func Reopen(fd int, flags int) (nfd int, err error) {
	var buf [32]byte
	// The last component is a magic link of ours, so it is followed.
	return openat(unix.AT_FDCWD, string(appendProcFD(buf[:0], fd)), flags&^unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// Stat returns the attributes of name in dirfd, and which inode it is. With an
// empty name it is dirfd itself, which may be any descriptor. A symbolic link
// is not followed, an automount point not triggered.
func Stat(dirfd int, name string) (a vfs.Attr, id Ident, err error) {
	id, err = StatInto(dirfd, name, &a)
	return a, id, err
}

// StatInto is Stat that sets *a, unless it fails.
func StatInto(dirfd int, name string, a *vfs.Attr) (Ident, error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := statx(dirfd, name, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return Ident{}, err
	}
	attrOf(&st, a)
	return Ident{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}, nil
}

// MountOf tells which mount name in dirfd is on, dirfd itself if it is empty, and
// whether it is the root of that mount: nothing is renamed or linked from one
// to another, not even where both show one filesystem. Two numbers compare
// while both mounts exist. Before Linux 5.8 it is the filesystem's number, and
// root is always false.
func MountOf(dirfd int, name string) (mount uint64, root bool, err error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := statx(dirfd, name, flags, unix.STATX_MNT_ID, &st); err != nil {
		return 0, false, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return unix.Mkdev(st.Dev_major, st.Dev_minor), false, nil
	}
	return st.Mnt_id, st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

func attrOf(st *unix.Statx_t, a *vfs.Attr) {
	*a = vfs.Attr{
		Ino: st.Ino, Size: int64(st.Size), Blocks: int64(st.Blocks), Blksize: st.Blksize,
		Mode: uint32(st.Mode), Nlink: st.Nlink, UID: st.Uid, GID: st.Gid,
		Atime: timeOf(st.Atime), Mtime: timeOf(st.Mtime), Ctime: timeOf(st.Ctime),
	}
	if st.Rdev_major != 0 || st.Rdev_minor != 0 {
		a.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		a.Btime = timeOf(st.Btime)
	}
}

func timeOf(t unix.StatxTimestamp) vfs.Timespec { return vfs.Timespec{Sec: t.Sec, Nsec: t.Nsec} }

// Readlink returns the target of the symbolic link name in dirfd; with an empty
// name, of dirfd itself, an O_PATH descriptor of the link.
func Readlink(dirfd int, name string) (string, error) {
	var buf [vfs.PathMax + 1]byte
	for {
		n, err := unix.Readlinkat(dirfd, name, buf[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}

// SetTimes sets access and modification time of name in dirfd (of dirfd itself
// with an empty name), nil leaving one as it is.
func SetTimes(dirfd int, name string, atime, mtime *unix.Timespec) error {
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	ts := [2]unix.Timespec{omit, omit}
	if atime != nil {
		ts[0] = *atime
	}
	if mtime != nil {
		ts[1] = *mtime
	}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	return Retry(func() error { return unix.UtimesNanoAt(dirfd, name, ts[:], flags) })
}

// Chown sets the owner of name in dirfd (of dirfd itself with an empty name); -1
// leaves an id as it is.
func Chown(dirfd int, name string, uid, gid int) error {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return Retry(func() error { return unix.Fchownat(dirfd, name, uid, gid, flags) })
}

// Chmod sets the permission bits of name in dirfd (of dirfd itself, which may
// be an O_PATH descriptor, with an empty name). A symbolic link is EOPNOTSUPP.
func Chmod(dirfd int, name string, mode uint32) error {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	err := Retry(func() error { return fchmodat2(dirfd, name, mode, flags) })
	if err != syscall.ENOSYS {
		return err
	}
	// Before Linux 6.6: by an O_PATH descriptor's entry in /proc.
	fd := dirfd
	if name != "" {
		if fd, err = Open(dirfd, name, unix.O_PATH, 0); err != nil {
			return err
		}
		defer unix.Close(fd)
	}
	if a, _, err := Stat(fd, ""); err != nil {
		return err
	} else if a.IsSymlink() {
		return syscall.EOPNOTSUPP
	}
	var buf [32]byte
	path := string(appendProcFD(buf[:0], fd))
	return Retry(func() error { return unix.Chmod(path, mode&07777) })
}

func fchmodat2(dirfd int, name string, mode uint32, flags int) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, e := unix.Syscall6(unix.SYS_FCHMODAT2, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(mode&07777), uintptr(flags), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

func appendProcFD(b []byte, fd int) []byte {
	b = append(b, "/proc/self/fd/"...)
	return appendInt(b, fd)
}

func appendInt(b []byte, n int) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}
