package overlay

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// spec is a node to be made.
type spec struct {
	mode   uint32 // type and permission bits
	rdev   uint64
	target string // of a symbolic link
	flags  int    // that a regular file is opened with
}

func (s *spec) isDir() bool     { return s.mode&unix.S_IFMT == unix.S_IFDIR }
func (s *spec) isRegular() bool { return s.mode&unix.S_IFMT == unix.S_IFREG }

// Create implements [vfs.FS].
func (fs *FS) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	if flags&unix.O_ACCMODE == unix.O_ACCMODE {
		return vfs.Entry{}, nil, syscall.EINVAL
	}
	e, h, err := fs.make(ctx, parent, name, &spec{mode: unix.S_IFREG | mode&0o7777, flags: flags & openFlags &^ unix.O_TRUNC})
	if err != nil {
		return e, nil, err // not a nil *handle in an interface
	}
	return e, h, nil
}

// Mkdir implements [vfs.FS].
func (fs *FS) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	e, _, err := fs.make(ctx, parent, name, &spec{mode: unix.S_IFDIR | mode&0o7777})
	return e, err
}

// Mknod implements [vfs.FS].
func (fs *FS) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR:
		if rdev == 0 {
			return vfs.Entry{}, syscall.EPERM // a whiteout
		}
	case unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
	case 0:
		mode |= unix.S_IFREG
	case unix.S_IFREG:
	default:
		return vfs.Entry{}, syscall.EINVAL
	}
	e, h, err := fs.make(ctx, parent, name, &spec{mode: mode, rdev: rdev, flags: unix.O_RDONLY})
	if h != nil {
		h.Close()
	}
	return e, err
}

// Symlink implements [vfs.FS].
func (fs *FS) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	switch {
	case target == "":
		return vfs.Entry{}, syscall.ENOENT
	case len(target) > vfs.PathMax:
		return vfs.Entry{}, syscall.ENAMETOOLONG
	}
	e, _, err := fs.make(ctx, parent, name, &spec{mode: unix.S_IFLNK | 0o777, target: target})
	return e, err
}

// make makes a node; of a regular file it returns a handle as well.
func (fs *FS) make(ctx context.Context, parent vfs.NodeID, name string, s *spec) (vfs.Entry, *handle, error) {
	if err := vfs.CheckName(name); err != nil {
		return vfs.Entry{}, nil, err
	}
	defer fs.gate.enter(parent).RUnlock()
	p, err := fs.dirNode(parent)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	defer fs.put(p)
	if err := fs.prepareParent(ctx, p, name); err != nil {
		return vfs.Entry{}, nil, err
	}
	n, a, h, err := fs.makeIn(ctx, p, name, s)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	e := fs.entry(n, a, false)
	fs.EntryChanged(ctx, p.id, name)
	fs.NodeChanged(ctx, p.id, true)
	return e, h, nil
}

// prepareParent copies the directory p up, so that name can be made in it,
// unless it is clear already that it cannot.
func (fs *FS) prepareParent(ctx context.Context, p *node, name string) error {
	if p.d.upper.Load() != nil {
		return nil
	}
	p.d.mu.RLock()
	_, err := fs.find(p, name)
	dead := p.d.dead
	p.d.mu.RUnlock()
	switch {
	case dead:
		return syscall.ENOENT
	case err == nil:
		return syscall.EEXIST
	case err != syscall.ENOENT:
		return err
	}
	return fs.copyUp(ctx, p, wholeFile)
}

// makeIn makes the node in p, which is in the upper layer.
func (fs *FS) makeIn(ctx context.Context, p *node, name string, s *spec) (*node, vfs.Attr, *handle, error) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	up, fd, err := p.d.acquireUpperLocked()
	if err != nil {
		return nil, vfs.Attr{}, nil, err
	}
	defer up.Release()
	white, err := fs.freeNameLocked(p, fd, name)
	if err != nil {
		return nil, vfs.Attr{}, nil, err
	}
	opaque := s.isDir() && len(p.d.lowers) > 0
	file := -1
	who := vfs.CallerFrom(ctx)
	if s.target == "" {
		if s.mode, err = at.NewMode(fd, s.mode, who.Umask); err != nil {
			return nil, vfs.Attr{}, nil, gone(err)
		}
	}
	foreign := fs.ly.privileged && (who.UID != uint32(unix.Geteuid()) || who.GID != uint32(unix.Getegid()))
	if !white && !foreign {
		file, err = fs.makeHere(fd, name, s)
		if err == syscall.EEXIST && len(p.d.lowers) == 0 {
			// Only a directory over lower ones should hold whiteouts, but a
			// kernel mount may have left one.
			if a, _, serr := at.Stat(fd, name); serr == nil && isWhiteout(&a) {
				white, err = true, nil
			}
		}
	}
	if white || foreign {
		file, err = fs.makeAside(fd, name, s, who, white, opaque)
	}
	if err != nil {
		return nil, vfs.Attr{}, nil, err
	}
	fs.step("make.here")
	if opaque && !white && !foreign {
		if err := fs.ly.setOpaque(fd, name); err != nil {
			at.Unlink(fd, name, unix.AT_REMOVEDIR)
			return nil, vfs.Attr{}, nil, err
		}
	}
	p.d.version++
	n, a, err := fs.adoptNewLocked(p, up, fd, name, opaque)
	if err != nil {
		closeFD(file)
		return nil, vfs.Attr{}, nil, err
	}
	if !s.isRegular() {
		return n, a, nil, nil
	}
	return n, a, fs.newHandle(n, s.flags, file), nil
}

// acquireUpperLocked returns the upper directory and its descriptor, which the
// caller releases. d.mu is held. ENOENT for a removed directory.
func (d *dirState) acquireUpperLocked() (*at.Dir, int, error) {
	if d.dead {
		return nil, -1, syscall.ENOENT
	}
	up := d.upper.Load()
	if up == nil {
		return nil, -1, syscall.ESTALE
	}
	fd, err := up.Acquire()
	if err != nil {
		return nil, -1, gone(err)
	}
	return up, fd, nil
}

// freeNameLocked tells whether a whiteout has the name in p, whose upper
// directory is open as fd. EEXIST if the view has something there; without
// lower directories the host tells that later.
func (fs *FS) freeNameLocked(p *node, fd int, name string) (white bool, err error) {
	if len(p.d.lowers) == 0 {
		return false, nil
	}
	a, _, err := at.Stat(fd, name)
	switch {
	case err == nil && isWhiteout(&a):
		return true, nil
	case err == nil:
		return false, syscall.EEXIST
	case err != syscall.ENOENT:
		return false, err
	}
	l, _, _, err := fs.lowerEntry(p, name)
	if err == nil && l != nil {
		err = syscall.EEXIST
	}
	return false, err
}

// makeHere makes the node under its own name; the process's ids are the right
// ones. It returns the descriptor of a regular file.
func (fs *FS) makeHere(fd int, name string, s *spec) (file int, err error) {
	file = -1
	perm := s.mode & 0o7777
	switch {
	case s.isRegular():
		file, err = at.Open(fd, name, s.flags|unix.O_CREAT|unix.O_EXCL, perm)
	case s.isDir():
		err = at.Mkdir(fd, name, perm)
	case s.target != "":
		return -1, at.Symlink(s.target, fd, name)
	default:
		err = at.Mknod(fd, name, s.mode, s.rdev)
	}
	if err != nil {
		return -1, err
	}
	// A umask would take bits away; a default ACL has the right to.
	a, _, err := at.Stat(fd, name)
	if err == nil && a.Mode&perm != perm {
		if _, aerr := at.GetXattr(fd, "", aclDefault, nil); absent(aerr) {
			err = at.Chmod(fd, name, a.Mode&0o7777|perm)
		}
	}
	if err != nil {
		closeFD(file)
		file = -1
		flags := 0
		if s.isDir() {
			flags = unix.AT_REMOVEDIR
		}
		at.Unlink(fd, name, flags)
	}
	return file, err
}

// makeAside makes the node in the work directory and moves it to its name, so
// that it appears with its owner and marks, and a whiteout goes as it comes.
func (fs *FS) makeAside(fd int, name string, s *spec, who *vfs.Caller, white, opaque bool) (file int, err error) {
	var w scratch
	switch {
	case s.isRegular():
		w, err = fs.scratchFile(unix.O_RDWR)
	case s.isDir():
		w, err = fs.makeScratch(unix.S_IFDIR, -1, 0)
	case s.target != "":
		w, err = fs.scratchLink(s.target)
	default:
		w, err = fs.scratchNode(s.mode&^0o7777|0o600, s.rdev)
	}
	if err != nil {
		w.name = ""
		return -1, err
	}
	defer w.close(fs)
	if err := fs.dressNew(fd, &w, s, who); err != nil {
		return -1, err
	}
	if opaque {
		if err := fs.ly.setOpaque(fs.ly.scratch, w.name); err != nil {
			return -1, err
		}
	}
	fs.step("make.aside")
	switch {
	case !white:
		err = w.publish(fs, fd, name)
	case s.isDir():
		err = w.exchange(fs, fd, name) // close removes the whiteout
	default:
		err = w.replace(fs, fd, name)
	}
	fs.step("make.published")
	return -1, err
}

// dressNew gives a new node w for the directory fd its owner, ACLs and
// permission bits.
func (fs *FS) dressNew(fd int, w *scratch, s *spec, who *vfs.Caller) error {
	dir, _, err := at.Stat(fd, "")
	if err != nil {
		return err
	}
	uid, gid, perm := int(who.UID), int(who.GID), s.mode&0o7777
	if !fs.ly.privileged {
		uid, gid = -1, -1
	}
	if dir.Mode&unix.S_ISGID != 0 {
		gid = int(dir.GID)
		if s.isDir() {
			perm |= unix.S_ISGID
		}
	}
	wfd, wname := w.target(fs)
	if _, err := fs.giveOwner(wfd, wname, uid, gid); err != nil {
		return err
	}
	if s.target != "" {
		return nil
	}
	perm, err = fs.inheritACL(fd, wfd, wname, perm, s.isDir())
	if err != nil {
		return err
	}
	return at.Chmod(wfd, wname, perm)
}

// adoptNewLocked makes the node of what was just made as name in p.
func (fs *FS) adoptNewLocked(p *node, up *at.Dir, fd int, name string, opaque bool) (*node, vfs.Attr, error) {
	a, id, err := at.Stat(fd, name)
	if err != nil {
		return nil, vfs.Attr{}, err
	}
	f := found{attr: a, id: id, up: true, inUpper: true, dir: up, name: name, ino: fs.devs.ino(id), opaque: opaque}
	if a.IsDir() {
		f.upper = up.Child(name, id)
	}
	for range 100 {
		if n, a, ok := fs.adopt(p, name, &f, p.d.changes()); ok {
			return n, a, nil
		}
		if c := p.d.kid(name); c != nil {
			// What the host had there, and has no more.
			fs.detach(p, name, c, true)
			fs.put(c)
		}
	}
	return nil, vfs.Attr{}, syscall.ESTALE
}

// Tmpfile implements [vfs.FS].
func (fs *FS) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	defer fs.gate.enter(parent).RUnlock()
	p, err := fs.dirNode(parent)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	defer fs.put(p)
	if !fs.ly.tmpfile {
		return vfs.Entry{}, nil, syscall.EOPNOTSUPP
	}
	p.d.mu.RLock()
	defer p.d.mu.RUnlock()
	if p.d.dead {
		return vfs.Entry{}, nil, syscall.ENOENT
	}
	p.mu.RLock()
	at0, err := p.spotLocked()
	p.mu.RUnlock()
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	defer at0.release()
	who := vfs.CallerFrom(ctx)
	if mode, err = at.NewMode(at0.fd, mode, who.Umask); err != nil {
		return vfs.Entry{}, nil, gone(err)
	}
	w, err := fs.scratchFile(unix.O_RDWR)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	defer w.close(fs)
	if err := fs.dressNew(at0.fd, &w, &spec{mode: unix.S_IFREG | mode&0o7777}, who); err != nil {
		return vfs.Entry{}, nil, err
	}
	a, id, err := at.Stat(w.fd, "")
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	fd, err := w.keep(fs)
	if err != nil {
		return vfs.Entry{}, nil, err
	}
	n := &node{typ: unix.S_IFREG, up: true, orphan: fd, spare: -1, real: id, nameless: true, tmp: true}
	fs.orphans.Add(1)
	n.ino.Store(fs.devs.ino(id))
	fs.nodes.add(n)
	n.showLocked(&a)
	h := fs.newHandle(n, flags&openFlags&^unix.O_TRUNC, -1)
	return fs.entry(n, a, false), h, nil
}
