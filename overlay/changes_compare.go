package overlay

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// differences returns in what two objects of one type differ.
func differences(ctx context.Context, old location, oa *vfs.Attr, new location, na *vfs.Attr) (What, error) {
	var d What
	if (oa.Mode^na.Mode)&07777 != 0 && !na.IsSymlink() {
		d |= Mode
	}
	if oa.UID != na.UID || oa.GID != na.GID {
		d |= Owner
	}
	if oa.Mtime != na.Mtime {
		d |= Times
	}
	same, err := sameXattrs(old, new)
	if err != nil {
		return 0, err
	}
	if !same {
		d |= Xattrs
	}
	switch na.Type() {
	case unix.S_IFREG:
		same = oa.Size == na.Size
		if same && na.Size > 0 {
			same, err = sameContent(ctx, old, new)
		}
	case unix.S_IFLNK:
		same, err = sameTarget(old, new)
	case unix.S_IFCHR, unix.S_IFBLK:
		same = oa.Rdev == na.Rdev
	default:
		same = true
	}
	if !same {
		d |= Content
	}
	return d, err
}

// openAt opens the object for reading, never waiting for a fifo.
func (l location) openAt() (fd int, err error) {
	err = l.use(func(dirfd int, name string) error {
		fd, err = at.Open(dirfd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

func sameContent(ctx context.Context, a, b location) (bool, error) {
	x, err := a.openAt()
	if err != nil {
		return false, err
	}
	defer unix.Close(x)
	y, err := b.openAt()
	if err != nil {
		return false, err
	}
	defer unix.Close(y)
	bp, bq := copyBuffers.Get().(*[]byte), copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(bp)
	defer copyBuffers.Put(bq)
	for off := int64(0); ; off += copyBuffer {
		if err := interrupted(ctx); err != nil {
			return false, err
		}
		n, err := at.Pread(x, *bp, off)
		if err != nil {
			return false, noFile(err)
		}
		m, err := at.Pread(y, *bq, off)
		if err != nil {
			return false, noFile(err)
		}
		if !bytes.Equal((*bp)[:n], (*bq)[:m]) {
			return false, nil
		}
		if n < copyBuffer {
			return true, nil
		}
	}
}

// noFile turns the errnos of reading what is no regular file any more into
// ESTALE.
func noFile(err error) error {
	if err == syscall.EISDIR || err == syscall.EAGAIN || err == syscall.EINVAL {
		return syscall.ESTALE
	}
	return err
}

func sameTarget(a, b location) (bool, error) {
	var targets [2]string
	for i, l := range []location{a, b} {
		err := l.use(func(fd int, name string) (err error) {
			if targets[i], err = at.Readlink(fd, name); err == syscall.EINVAL {
				err = syscall.ESTALE // it is no link any more
			}
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return targets[0] == targets[1], nil
}

// fdReader reads a file by its descriptor.
type fdReader int

// ReadAt implements [io.ReaderAt].
func (fd fdReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := at.Pread(int(fd), p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// xattr is an extended attribute of an object.
type xattr struct {
	name  string
	value []byte
}

// xattrs returns the extended attributes that the view shows of an object,
// sorted by name.
func (l location) xattrs() (out []xattr, err error) {
	err = l.use(func(fd int, name string) error {
		out, err = readXattrs(fd, name)
		return err
	})
	return out, err
}

func readXattrs(fd int, name string) ([]xattr, error) {
	list, err := listXattrs(fd, name)
	if err != nil {
		return nil, err
	}
	var out []xattr
	var value []byte
	for attr := range strings.SplitSeq(list, "\x00") {
		if attr == "" || isMark(attr) {
			continue
		}
		n, err := readXattr(fd, name, attr, &value)
		if absent(err) {
			continue // it went, or is not ours to read
		}
		if err != nil {
			return nil, err
		}
		out = append(out, xattr{attr, bytes.Clone(value[:n])})
	}
	slices.SortFunc(out, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

func sameXattrs(a, b location) (bool, error) {
	x, err := a.xattrs()
	if err != nil {
		return false, err
	}
	y, err := b.xattrs()
	if err != nil {
		return false, err
	}
	return slices.EqualFunc(x, y, func(a, b xattr) bool { return a.name == b.name && bytes.Equal(a.value, b.value) }), nil
}
