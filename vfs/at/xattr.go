package at

import (
	"golang.org/x/sys/unix"
)

// xattrPath returns a path by which the l…xattr calls reach name in dirfd
// (dirfd itself with an empty name, followed once as the magic link it is)
// without following a link at its end. There is no *at form of those calls
// before Linux 6.13.
func xattrPath(dirfd int, name string) string {
	var buf [64]byte
	b := appendProcFD(buf[:0], dirfd)
	if name != "" {
		b = append(b, '/')
		b = append(b, name...)
	}
	return string(b)
}

// NewMode returns the mode that a new object in the directory dirfd is made with
// if mode is asked for: without the bits of umask, except where the directory
// has a default ACL, as that decides then.
func NewMode(dirfd int, mode, umask uint32) (uint32, error) {
	if umask &= 0o777; mode&umask == 0 {
		return mode, nil
	}
	switch _, err := GetXattr(dirfd, "", "system.posix_acl_default", nil); err {
	case nil:
		return mode, nil
	case unix.ENODATA, unix.EOPNOTSUPP:
		return mode &^ umask, nil
	default:
		return 0, err
	}
}

// GetXattr copies the value of attr of name in dirfd to dest and returns its
// length; with an empty dest the length alone. With an empty name it is of
// dirfd itself, any descriptor. Errnos: ENODATA, ERANGE, EOPNOTSUPP, EPERM.
func GetXattr(dirfd int, name, attr string, dest []byte) (n int, err error) {
	path := xattrPath(dirfd, name)
	err = Retry(func() error {
		if name == "" {
			n, err = unix.Getxattr(path, attr, dest)
		} else {
			n, err = unix.Lgetxattr(path, attr, dest)
		}
		return err
	})
	return n, err
}

// SetXattr sets attr of name in dirfd, of dirfd itself with an empty name. For
// flags and errnos see setxattr(2).
func SetXattr(dirfd int, name, attr string, value []byte, flags int) error {
	path := xattrPath(dirfd, name)
	return Retry(func() error {
		if name == "" {
			return unix.Setxattr(path, attr, value, flags)
		}
		return unix.Lsetxattr(path, attr, value, flags)
	})
}

// ListXattr copies the attribute names of name in dirfd to dest, each followed
// by NUL, and returns their length; with an empty dest the length alone.
func ListXattr(dirfd int, name string, dest []byte) (n int, err error) {
	path := xattrPath(dirfd, name)
	err = Retry(func() error {
		if name == "" {
			n, err = unix.Listxattr(path, dest)
		} else {
			n, err = unix.Llistxattr(path, dest)
		}
		return err
	})
	return n, err
}

// RemoveXattr removes attr of name in dirfd, of dirfd itself with an empty name.
func RemoveXattr(dirfd int, name, attr string) error {
	path := xattrPath(dirfd, name)
	return Retry(func() error {
		if name == "" {
			return unix.Removexattr(path, attr)
		}
		return unix.Lremovexattr(path, attr)
	})
}
