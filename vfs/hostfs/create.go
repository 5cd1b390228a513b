package hostfs

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// made tells the watchers of a new name.
func (fs *FS) made(ctx context.Context, parent vfs.NodeID, name string) {
	fs.EntryChanged(ctx, parent, name)
	fs.NodeChanged(ctx, parent, true)
}

// Create implements vfs.FS.
func (fs *FS) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	flags, err := openFlags(flags &^ unix.O_TRUNC)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	p, err := fs.place(parent, name)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	e, h, err := fs.create(ctx, p, name, flags, mode)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	fs.made(ctx, parent, name)
	return e, h, nil
}

func (fs *FS) create(ctx context.Context, p *node, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	p.dir.names.Lock()
	defer p.dir.names.Unlock()
	s, err := fs.enter(p)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	defer s.leave()
	if mode, err = at.NewMode(s.fd, mode, vfs.CallerFrom(ctx).Umask); err != nil {
		return vfs.Entry{}, nil, err
	}
	fd, err := at.Open(s.fd, name, flags|unix.O_CREAT|unix.O_EXCL, mode&07777)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	f, err := fs.own(ctx, s.fd, fd, mode)
	var n *node
	if err == nil {
		n, err = fs.intern(p, name, &f)
	}
	if err != nil {
		unix.Close(fd)
		at.Unlink(s.fd, name, 0) // what could not be finished should not stay
		return vfs.Entry{}, nil, err
	}
	h, err := fs.newHandle(n, fd, flags)
	if err != nil { // which the lock of p's names rules out
		unix.Close(fd)
		fs.unref(n, 1)
		return vfs.Entry{}, nil, err
	}
	return vfs.Entry{Node: n.id, Attr: f.attr, Volatile: true}, h, nil
}

// Tmpfile implements vfs.FS.
func (fs *FS) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	flags, err := openFlags(flags &^ unix.O_TRUNC)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return vfs.Entry{}, nil, syscall.EINVAL
	}
	p, err := fs.dirNode(parent)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	s, err := fs.enter(p)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	defer s.leave()
	// In a removed directory, one host makes it, another says EPERM.
	if a, _, err := at.Stat(s.fd, ""); err != nil {
		return vfs.Entry{}, nil, err
	} else if a.Nlink == 0 {
		return vfs.Entry{}, nil, syscall.ENOENT
	}
	if mode, err = at.NewMode(s.fd, mode, vfs.CallerFrom(ctx).Umask); err != nil {
		return vfs.Entry{}, nil, err
	}
	fd, err := at.Open(s.fd, ".", flags|unix.O_TMPFILE, mode&07777)
	if err != nil {
		if err == syscall.EISDIR { // from a host that does not know O_TMPFILE
			err = syscall.EOPNOTSUPP
		}
		return vfs.Entry{}, nil, err
	}
	f, err := fs.own(ctx, s.fd, fd, mode)
	if err != nil {
		unix.Close(fd)
		return vfs.Entry{}, nil, err
	}
	h := &handle{fs: fs, held: newHeld(fd), flags: flags, tmp: true}
	h.n = fs.internNameless(&f, h.held)
	return vfs.Entry{Node: h.n.id, Attr: f.attr, Volatile: true}, h, nil
}

// Mkdir implements vfs.FS.
func (fs *FS) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	return fs.makeNode(ctx, parent, name, unix.S_IFDIR|mode&07777, func(dirfd int, mode uint32) error {
		return at.Mkdir(dirfd, name, mode&07777)
	})
}

// Mknod implements vfs.FS.
func (fs *FS) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	switch mode & unix.S_IFMT {
	case 0:
		mode |= unix.S_IFREG
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFBLK:
	case unix.S_IFCHR:
		if rdev == 0 {
			return vfs.Entry{}, syscall.EPERM
		}
	default:
		return vfs.Entry{}, syscall.EINVAL
	}
	return fs.makeNode(ctx, parent, name, mode, func(dirfd int, mode uint32) error {
		return at.Mknod(dirfd, name, mode, rdev)
	})
}

// Symlink implements vfs.FS.
func (fs *FS) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	switch {
	case target == "":
		return vfs.Entry{}, syscall.ENOENT
	case len(target) > vfs.PathMax:
		return vfs.Entry{}, syscall.ENAMETOOLONG
	}
	return fs.makeNode(ctx, parent, name, unix.S_IFLNK|0777, func(dirfd int, _ uint32) error {
		return at.Symlink(target, dirfd, name)
	})
}

// makeNode makes name in parent by mk, which is told the mode, and gives it to
// the caller.
func (fs *FS) makeNode(ctx context.Context, parent vfs.NodeID, name string, mode uint32, mk func(dirfd int, mode uint32) error) (vfs.Entry, error) {
	p, err := fs.place(parent, name)
	if err != nil {
		return vfs.Entry{}, err
	}
	e, err := fs.makeNodeIn(ctx, p, name, mode, mk)
	if err != nil {
		return vfs.Entry{}, err
	}
	fs.made(ctx, parent, name)
	return e, nil
}

func (fs *FS) makeNodeIn(ctx context.Context, p *node, name string, mode uint32, mk func(dirfd int, mode uint32) error) (vfs.Entry, error) {
	p.dir.names.Lock()
	defer p.dir.names.Unlock()
	s, err := fs.enter(p)
	if err != nil {
		return vfs.Entry{}, err
	}
	defer s.leave()
	if mode&unix.S_IFMT != unix.S_IFLNK {
		if mode, err = at.NewMode(s.fd, mode, vfs.CallerFrom(ctx).Umask); err != nil {
			return vfs.Entry{}, err
		}
	}
	if err := mk(s.fd, mode); err != nil {
		return vfs.Entry{}, err
	}
	fd, err := at.Open(s.fd, name, unix.O_PATH, 0)
	if err != nil {
		return vfs.Entry{}, err // another process took it away at once
	}
	defer unix.Close(fd)
	f, err := fs.own(ctx, s.fd, fd, mode)
	var n *node
	if err == nil {
		n, err = fs.intern(p, name, &f)
	}
	if err != nil {
		flags := 0
		if mode&unix.S_IFMT == unix.S_IFDIR {
			flags = unix.AT_REMOVEDIR
		}
		at.Unlink(s.fd, name, flags) // as in create
		return vfs.Entry{}, err
	}
	return vfs.Entry{Node: n.id, Attr: f.attr, Volatile: true}, nil
}

// own makes a new file, which this process created a moment ago with mode, the
// caller's, gives it back what the process's umask took of mode, and returns
// what it is then. fd is any descriptor of it, dirfd of its directory.
func (fs *FS) own(ctx context.Context, dirfd, fd int, mode uint32) (found, error) {
	f, err := fs.look(fd, "")
	if err != nil {
		return f, err
	}
	chowned := false
	if fs.privileged {
		if chowned, err = giveTo(vfs.CallerFrom(ctx), dirfd, fd, &f.attr); err != nil {
			return f, err
		}
	}
	want := mode & 07777
	if f.attr.IsDir() {
		want |= f.attr.Mode & unix.S_ISGID // handed on by the directory
	}
	var lost uint32
	if !f.attr.IsSymlink() {
		if lost = want &^ f.attr.Mode; lost != 0 {
			if lost, err = umasked(dirfd, lost); err != nil {
				return f, err
			}
		}
		if chowned && !f.attr.IsDir() {
			lost |= want & (unix.S_ISUID | unix.S_ISGID) // cleared by chown
		}
	}
	if lost != 0 {
		if err := at.Chmod(fd, "", (f.attr.Mode|lost)&07777); err != nil {
			return f, err
		}
	}
	if lost != 0 || chowned {
		return fs.look(fd, "")
	}
	return f, nil
}

// giveTo changes the owner of a new file with attributes a from this process's
// to c, and its group, unless that is the directory's.
func giveTo(c *vfs.Caller, dirfd, fd int, a *vfs.Attr) (changed bool, err error) {
	// A file that another process put in the place of ours is not given away.
	if int(a.UID) != os.Geteuid() || !a.IsDir() && a.Nlink > 1 {
		return false, nil
	}
	uid, gid := -1, -1
	if c.UID != a.UID {
		uid = int(c.UID)
	}
	if c.GID != a.GID && int(a.GID) == os.Getegid() {
		d, _, err := at.Stat(dirfd, "")
		if err != nil {
			return false, err
		}
		if d.Mode&unix.S_ISGID == 0 {
			gid = int(c.GID)
		}
	}
	if uid == -1 && gid == -1 {
		return false, nil
	}
	return true, at.Chown(fd, "", uid, gid)
}

// umasked returns which of the bits that a new file in dirfd lacks were taken by
// the umask: none where the directory has a default ACL, which then decides.
func umasked(dirfd int, bits uint32) (uint32, error) {
	mask, err := umask()
	if err != nil || bits&mask == 0 {
		return 0, err
	}
	if _, err := at.GetXattr(dirfd, "", "system.posix_acl_default", nil); err == nil {
		return 0, nil
	}
	return bits & mask, nil
}

// umask reads this process's umask, which umask(2) can't tell without changing
// it for the other threads.
func umask() (uint32, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, syscall.EIO
	}
	_, b, ok := bytes.Cut(b, []byte("\nUmask:\t"))
	if !ok {
		return 0, syscall.EIO
	}
	b, _, _ = bytes.Cut(b, []byte("\n"))
	m, err := strconv.ParseUint(string(b), 8, 32)
	if err != nil {
		return 0, syscall.EIO
	}
	return uint32(m), nil
}

// Link implements vfs.FS.
func (fs *FS) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Entry, error) {
	p, err := fs.place(parent, name)
	if err != nil {
		return vfs.Entry{}, err
	}
	n, err := fs.node(id)
	if err != nil {
		return vfs.Entry{}, err
	}
	if n.dir != nil {
		return vfs.Entry{}, syscall.EPERM
	}
	e, err := fs.link(n, p, name)
	if err != nil {
		return vfs.Entry{}, err
	}
	fs.made(ctx, parent, name)
	fs.NodeChanged(ctx, id, false)
	return e, nil
}

func (fs *FS) link(n, p *node, name string) (vfs.Entry, error) {
	src, err := fs.reach(n) // before p is locked, see reach
	if err != nil {
		if err == syscall.ESTALE && n.lastAttr() != nil {
			err = syscall.ENOENT
		}
		return vfs.Entry{}, err
	}
	defer src.leave()
	p.dir.names.Lock()
	defer p.dir.names.Unlock()
	s, err := fs.enter(p)
	if err != nil {
		return vfs.Entry{}, err
	}
	defer s.leave()
	if err := at.LinkFD(src.fd, s.fd, name); err != nil {
		return vfs.Entry{}, err
	}
	f, err := fs.look(src.fd, "")
	if err != nil {
		return vfs.Entry{}, err
	}
	if _, err := fs.intern(p, name, &f); err != nil {
		return vfs.Entry{}, err
	}
	return vfs.Entry{Node: n.id, Attr: f.attr, Volatile: true}, nil
}
