package overlay

import (
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// The marks that a layer carries, in the format of kernel overlayfs. Their
// names follow the namespace, "trusted." or "user.", of the session; see
// [marks].
const (
	markPrefix    = "overlay."
	markOpaque    = "overlay.opaque"   // "y": hides lower directories; "x": holds xattr whiteouts
	markRedirect  = "overlay.redirect" // where the directory is in the lower layers
	markImpure    = "overlay.impure"   // "y": an entry has an inode number or a redirect of its own
	markWhiteout  = "overlay.whiteout" // on an empty regular file: a whiteout
	markOrigin    = "overlay.origin"   // the kernel's file handle of the lower inode
	markNlink     = "overlay.nlink"    // how st_nlink differs from the upper inode's
	markIno       = "overlay.astrid.ino"
	markOwnImpure = "overlay.astrid.impure" // as markImpure, which the kernel takes away where nothing tells it anything
	markIndex     = "overlay.astrid.index"
	markValueMax  = 64         // longest value of a mark but redirect and origin
	redirectMax   = 64<<10 - 1 // longest value of any extended attribute
	whiteoutMode  = unix.S_IFCHR
	nsTrusted     = "trusted."
	nsUser        = "user."
	listBufferLen = 1024
)

// isMark tells whether an extended attribute is one of the layers' own, which
// the view neither shows nor lets anybody set, in either namespace.
func isMark(attr string) bool {
	rest, ok := strings.CutPrefix(attr, nsTrusted)
	if !ok {
		rest, ok = strings.CutPrefix(attr, nsUser)
	}
	return ok && strings.HasPrefix(rest, markPrefix)
}

// isWhiteout tells whether a is of a whiteout: a character device 0:0.
func isWhiteout(a *vfs.Attr) bool { return a.Type() == unix.S_IFCHR && a.Rdev == 0 }

// marks reads and writes marks in one namespace. Every method names an object
// by a directory descriptor and a name; an empty name is the descriptor's own
// object, which may be an O_PATH one. A mark that is missing, or that the host
// cannot hold on such an object, reads as not set.
type marks struct {
	ns string // nsTrusted or nsUser
	// modes is FS.modes where the process is an ordinary user's, else nil.
	modes *sync.Mutex
}

// own calls f, which reads or writes a mark of the object. User attributes
// follow the permission bits, which may shut even the owner out: an ordinary
// user's process gives itself the permission for the length of f. Should it be
// killed in that moment, the owner's read and write bits stay set.
func (m marks) own(dirfd int, name string, f func() error) error {
	err := f()
	if err != syscall.EACCES || m.modes == nil {
		return err
	}
	m.modes.Lock()
	defer m.modes.Unlock()
	a, _, serr := at.Stat(dirfd, name)
	if serr != nil || a.Type() == unix.S_IFLNK || at.Chmod(dirfd, name, a.Mode&0o7777|0o600) != nil {
		return err
	}
	err = f()
	if cerr := at.Chmod(dirfd, name, a.Mode&0o7777); err == nil {
		err = cerr
	}
	return err
}

func (m marks) getXattr(dirfd int, name, mark string, buf []byte) (n int, err error) {
	err = m.own(dirfd, name, func() error {
		n, err = at.GetXattr(dirfd, name, m.ns+mark, buf)
		return err
	})
	return n, err
}

// absent tells whether err, from reading an extended attribute, means that
// there is none.
func absent(err error) bool {
	return err == syscall.ENODATA || err == syscall.EOPNOTSUPP || err == syscall.EPERM
}

func (m marks) get(dirfd int, name, mark string, buf []byte) (string, bool, error) {
	n, err := m.getXattr(dirfd, name, mark, buf)
	switch {
	case err == nil:
		return string(buf[:n]), true, nil
	case absent(err), err == syscall.ERANGE:
		return "", false, nil
	}
	return "", false, err
}

func (m marks) set(dirfd int, name, mark, value string) error {
	return m.own(dirfd, name, func() error {
		return at.SetXattr(dirfd, name, m.ns+mark, []byte(value), 0)
	})
}

func (m marks) remove(dirfd int, name, mark string) error {
	err := m.own(dirfd, name, func() error { return at.RemoveXattr(dirfd, name, m.ns+mark) })
	if absent(err) {
		return nil
	}
	return err
}

// opaque tells whether the directory hides what lower layers have in its place.
func (m marks) opaque(dirfd int, name string) (bool, error) {
	v, _, err := m.opaqueValue(dirfd, name)
	return v == "y", err
}

func (m marks) opaqueValue(dirfd int, name string) (string, bool, error) {
	var buf [markValueMax]byte
	return m.get(dirfd, name, markOpaque, buf[:])
}

func (m marks) setOpaque(dirfd int, name string) error {
	return m.set(dirfd, name, markOpaque, "y")
}

// redirect returns where the directory's lower part is: a path from the
// overlay's root that begins with '/', or a name beside its own; "" without.
// A value that is neither is EIO, as it is to the kernel.
func (m marks) redirect(dirfd int, name string) (string, error) {
	n, err := m.getXattr(dirfd, name, markRedirect, nil)
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	buf := make([]byte, min(n+1, redirectMax))
	v, ok, err := m.get(dirfd, name, markRedirect, buf)
	if err != nil || !ok {
		return "", err
	}
	if !validRedirect(v) {
		return "", syscall.EIO
	}
	return v, nil
}

// validRedirect tells whether v can be a redirect: a single name, or an
// absolute path of names.
func validRedirect(v string) bool {
	rest, abs := strings.CutPrefix(v, "/")
	if !abs {
		return vfs.CheckName(v) == nil
	}
	for name := range strings.SplitSeq(rest, "/") {
		if vfs.CheckName(name) != nil {
			return false
		}
	}
	return true
}

func (m marks) setRedirect(dirfd int, name, target string) error {
	return m.set(dirfd, name, markRedirect, target)
}

// impure tells whether entries of the directory may carry an inode number or
// a redirect of their own.
func (m marks) impure(dirfd int, name string) (bool, error) {
	has, err := m.present(dirfd, name)
	return has&hasImpure != 0, err
}

func (m marks) setImpure(dirfd int, name string) error {
	if err := m.set(dirfd, name, markOwnImpure, "y"); err != nil {
		return err
	}
	return m.set(dirfd, name, markImpure, "y")
}

// ino returns the inode number that the object shows instead of its own, or 0.
func (m marks) ino(dirfd int, name string) (uint64, error) {
	var buf [markValueMax]byte
	v, ok, err := m.get(dirfd, name, markIno, buf[:])
	if err != nil || !ok {
		return 0, err
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, nil // not ours: the object shows its own
	}
	return n, nil
}

// setIno has the object show ino. A symbolic link or special file cannot hold
// the mark in the user namespace; that is no error, and its number changes at
// the next opening of the overlay.
func (m marks) setIno(dirfd int, name string, ino uint64) error {
	err := m.set(dirfd, name, markIno, strconv.FormatUint(ino, 10))
	if m.ns == nsUser && (err == syscall.EPERM || err == syscall.EOPNOTSUPP) {
		return nil
	}
	return err
}

// xattrWhiteout tells whether the object, an empty regular file in a directory
// marked opaque "x", is a whiteout.
func (m marks) xattrWhiteout(dirfd int, name string) (bool, error) {
	n, err := m.getXattr(dirfd, name, markWhiteout, nil)
	if absent(err) {
		return false, nil
	}
	return err == nil && n >= 0, err
}

// A markSet says which marks an object carries.
type markSet uint8

const (
	hasOpaque markSet = 1 << iota
	hasRedirect
	hasImpure
	hasIno
	hasNlink
	hasIndex
	hasOrigin
)

// present returns which marks the object carries, by one system call.
func (m marks) present(dirfd int, name string) (markSet, error) {
	var stack [listBufferLen]byte
	buf := stack[:]
	n, err := at.ListXattr(dirfd, name, buf)
	for err == syscall.ERANGE {
		buf = make([]byte, min(4*len(buf), redirectMax+1))
		n, err = at.ListXattr(dirfd, name, buf)
		if len(buf) > redirectMax {
			break
		}
	}
	if err != nil {
		if absent(err) {
			return 0, nil
		}
		return 0, err
	}
	var set markSet
	for rest := buf[:n]; len(rest) > 0; {
		i := 0
		for i < len(rest) && rest[i] != 0 {
			i++
		}
		if len(rest[:i]) > len(m.ns) && string(rest[:len(m.ns)]) == m.ns {
			set |= markBit(rest[len(m.ns):i])
		}
		if i == len(rest) {
			break
		}
		rest = rest[i+1:]
	}
	return set, nil
}

func markBit(mark []byte) markSet {
	switch string(mark) {
	case markOpaque:
		return hasOpaque
	case markRedirect:
		return hasRedirect
	case markImpure, markOwnImpure:
		return hasImpure
	case markIno:
		return hasIno
	case markNlink:
		return hasNlink
	case markIndex:
		return hasIndex
	case markOrigin:
		return hasOrigin
	}
	return 0
}
