package overlay

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// scratch is an object in the making in the work directory: a regular file
// without a name, open as fd, or anything under name.
type scratch struct {
	fd   int    // -1 if it is none
	name string // in the scratch directory; "" if it has none
}

// makeScratch makes an empty object of type typ; a symbolic link with the target
// of the one that src is open on.
func (fs *FS) makeScratch(typ uint32, src int, rdev uint64) (scratch, error) {
	switch typ {
	case unix.S_IFREG:
		return fs.scratchFile(unix.O_RDWR)
	case unix.S_IFLNK:
		target, err := at.Readlink(src, "")
		if err != nil {
			return scratch{}, err
		}
		return fs.scratchLink(target)
	case unix.S_IFDIR:
		s := scratch{fd: -1, name: fs.tmpName()}
		return s, at.Mkdir(fs.ly.scratch, s.name, 0o700)
	}
	return fs.scratchNode(typ|0o600, rdev)
}

// scratchFile makes a regular file, without a name where the host can.
func (fs *FS) scratchFile(flags int) (s scratch, err error) {
	if fs.ly.tmpfile {
		s.fd, err = at.Open(fs.ly.scratch, ".", flags|unix.O_TMPFILE, 0o600)
		return s, err
	}
	s.name = fs.tmpName()
	s.fd, err = at.Open(fs.ly.scratch, s.name, flags|unix.O_CREAT|unix.O_EXCL, 0o600)
	return s, err
}

func (fs *FS) scratchLink(target string) (scratch, error) {
	s := scratch{fd: -1, name: fs.tmpName()}
	return s, at.Symlink(target, fs.ly.scratch, s.name)
}

func (fs *FS) scratchNode(mode uint32, rdev uint64) (scratch, error) {
	s := scratch{fd: -1, name: fs.tmpName()}
	return s, at.Mknod(fs.ly.scratch, s.name, mode, rdev)
}

// target returns the object as the *at calls take it.
func (s *scratch) target(fs *FS) (int, string) {
	if s.name == "" {
		return s.fd, ""
	}
	return fs.ly.scratch, s.name
}

// link makes a further name for the object.
func (s *scratch) link(fs *FS, dirfd int, name string) error {
	if s.name == "" {
		return at.LinkFD(s.fd, dirfd, name)
	}
	return at.Link(fs.ly.scratch, s.name, dirfd, name)
}

// publish gives the object its name, which must be free (EEXIST).
func (s *scratch) publish(fs *FS, dirfd int, name string) error {
	if s.name == "" {
		return at.LinkFD(s.fd, dirfd, name)
	}
	err := at.Rename(fs.ly.scratch, s.name, dirfd, name, unix.RENAME_NOREPLACE)
	if err == nil {
		s.name = ""
	}
	return err
}

// replace puts the object, no directory, in the place of another one.
func (s *scratch) replace(fs *FS, dirfd int, name string) error {
	if s.name == "" {
		tmp := fs.tmpName()
		if err := at.LinkFD(s.fd, fs.ly.scratch, tmp); err != nil {
			return err
		}
		s.name = tmp
	}
	err := at.Rename(fs.ly.scratch, s.name, dirfd, name, 0)
	if err == nil {
		s.name = ""
	}
	return err
}

// exchange swaps the object with what has the name; the object is then what
// had it.
func (s *scratch) exchange(fs *FS, dirfd int, name string) error {
	return at.Rename(fs.ly.scratch, s.name, dirfd, name, unix.RENAME_EXCHANGE)
}

// keep returns a descriptor of the object and takes its name away.
func (s *scratch) keep(fs *FS) (int, error) {
	if s.fd >= 0 && s.name == "" {
		fd := s.fd
		s.fd = -1
		return fd, nil
	}
	fd, err := at.Open(fs.ly.scratch, s.name, unix.O_PATH, 0)
	if err != nil {
		return -1, err
	}
	fs.discard(s.name)
	s.name = ""
	return fd, nil
}

// close drops what is left of the object in the work directory.
func (s *scratch) close(fs *FS) {
	closeFD(s.fd)
	s.fd = -1
	if s.name != "" {
		fs.discard(s.name)
		s.name = ""
	}
}

// copyMeta gives the object s the owner, extended attributes, permission bits
// and times of the lower object name in dirfd, which is open as src unless that
// is -1.
func (fs *FS) copyMeta(dirfd int, name string, src int, s scratch, a *vfs.Attr) error {
	if src >= 0 {
		dirfd, name = src, ""
	}
	fd, dst := s.target(fs)
	mode := a.Mode & 0o7777
	kept, err := fs.giveOwner(fd, dst, int(a.UID), int(a.GID))
	if err != nil {
		return err
	}
	if !kept { // the rights of somebody else's program are not handed on
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	if err := fs.copyXattrs(dirfd, name, fd, dst); err != nil {
		return err
	}
	if a.Type() != unix.S_IFLNK {
		if a.IsDir() && !fs.ly.privileged {
			mode |= 0o200 // or else it could not be moved; see finishDir
		}
		if err := at.Chmod(fd, dst, mode); err != nil {
			return err
		}
	}
	return setTimes(fd, dst, a)
}

// giveOwner sets the owner and the group, each as far as this process may: an
// ordinary user gives nothing away (EPERM), and root of a user namespace knows
// only the users in it (EINVAL). kept tells whether both are what they should be.
func (fs *FS) giveOwner(fd int, name string, uid, gid int) (kept bool, err error) {
	refused := func(err error) bool { return !fs.ly.allUsers && (err == syscall.EPERM || err == syscall.EINVAL) }
	if err = at.Chown(fd, name, uid, gid); !refused(err) {
		return err == nil, err
	}
	for _, id := range [...][2]int{{uid, -1}, {-1, gid}} {
		if err := at.Chown(fd, name, id[0], id[1]); err != nil && !refused(err) {
			return false, err
		}
	}
	return false, nil
}

// copyXattrs copies extended attributes but for the layers' own marks. What
// the target cannot hold is left out unless it restricts access.
func (fs *FS) copyXattrs(dirfd int, name string, dstfd int, dst string) error {
	list, err := listXattrs(dirfd, name)
	if err != nil {
		return err
	}
	var value []byte
	for attr := range strings.SplitSeq(list, "\x00") {
		if attr == "" || isMark(attr) {
			continue
		}
		n, err := readXattr(dirfd, name, attr, &value)
		if err == syscall.ENODATA {
			continue
		}
		if err == nil {
			err = at.SetXattr(dstfd, dst, attr, value[:n], 0)
		}
		if (err == syscall.EOPNOTSUPP || err == syscall.EPERM) && !strings.HasPrefix(attr, "system.posix_acl_") {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listXattrs returns the names of all extended attributes, each ended by NUL;
// none where the host has none.
func listXattrs(dirfd int, name string) (string, error) {
	var stack [listBufferLen]byte
	buf := stack[:]
	for {
		n, err := at.ListXattr(dirfd, name, buf)
		switch {
		case err == nil:
			return string(buf[:n]), nil
		case err == syscall.EOPNOTSUPP:
			return "", nil
		case err != syscall.ERANGE || len(buf) > redirectMax:
			return "", err
		}
		buf = make([]byte, redirectMax+1)
	}
}

// readXattr reads a value to *buf, which grows as needed.
func readXattr(dirfd int, name, attr string, buf *[]byte) (int, error) {
	if len(*buf) == 0 {
		*buf = make([]byte, 1024)
	}
	n, err := at.GetXattr(dirfd, name, attr, *buf)
	if err == syscall.ERANGE && len(*buf) <= redirectMax {
		*buf = make([]byte, redirectMax+1)
		n, err = at.GetXattr(dirfd, name, attr, *buf)
	}
	return n, err
}
