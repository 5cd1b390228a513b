package overlay

import (
	"context"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Replace implements [vfs.FS].
func (fs *FS) Replace(ctx context.Context, id vfs.NodeID, tmp vfs.Handle) error {
	t, ok := tmp.(*handle)
	if !ok || t.fs != fs || !t.writes() || t.n.id == id {
		return syscall.EINVAL
	}
	defer fs.gate.enter(id).RUnlock()
	n, err := fs.node(id)
	if err != nil {
		return err
	}
	defer fs.put(n)
	if n.typ != unix.S_IFREG {
		if n.isDir() {
			return syscall.EISDIR
		}
		return syscall.EINVAL
	}
	l, err := fs.copyUpParent(ctx, n)
	if err != nil {
		return err
	}
	if l.parent == nil {
		return syscall.EOPNOTSUPP
	}
	defer fs.put(l.parent)
	l.parent.d.mu.RLock()
	err = fs.replaceIn(l.parent, l.name, n, t.n)
	l.parent.d.mu.RUnlock()
	if err == nil {
		fs.NodeChanged(ctx, id, true)
	}
	return err
}

// replaceIn puts the nameless file of the node tmp in the place of name in p,
// which was n a moment ago. p.d.mu is held shared.
func (fs *FS) replaceIn(p *node, name string, n, tmp *node) error {
	up := p.d.upper.Load()
	if p.d.dead || up == nil {
		return syscall.EOPNOTSUPP
	}
	fd, err := up.Acquire()
	if err != nil {
		return gone(err)
	}
	defer up.Release()
	defer lockNodes(n, tmp, exclusive)()
	if !tmp.nameless || tmp.stale || tmp.orphan < 0 || tmp.typ != unix.S_IFREG {
		return syscall.EINVAL
	}
	old, err := n.statLocked()
	if err != nil {
		return err
	}
	if n.findLinkLocked(p, name) == nil || old.Nlink != 1 || n.idx != "" || n.pins.Load() > 0 || tmp.pins.Load() > 0 {
		return syscall.EOPNOTSUPP
	}
	s, err := n.spotLocked()
	if err != nil {
		return err
	}
	defer s.release()
	w := scratch{fd: tmp.orphan}
	if err := fs.dressReplacement(n, s, &w, old); err != nil {
		return err
	}
	if !n.up {
		if err := fs.diverge(n.low, n.name, old, n.real); err != nil {
			return err
		}
	} else if err := fs.inos.reserve(fs, n, s); err != nil {
		return err
	}
	if err := fs.makeImpure(p, fd); err != nil {
		return err
	}
	if err := syncFile(tmp.orphan); err != nil {
		return err
	}
	fs.step("replace.ready")
	if n.up {
		err = w.replace(fs, fd, name)
	} else {
		err = w.publish(fs, fd, name)
	}
	if err != nil {
		if w.name != "" {
			at.Unlink(fs.ly.scratch, w.name, 0)
		}
		return err
	}
	fs.step("replace.done")
	fs.inos.empty(fs, n)
	fs.becomeUpperLocked(n, tmp.real)
	n.dir, n.name = up, name
	if k := n.findLinkLocked(p, name); k != nil {
		k.inUpper = true
	}
	// The file is n's alone now.
	fs.dropOrphanLocked(tmp)
	tmp.stale = true
	tmp.gen++
	return nil
}

// dressReplacement gives the new file w what n has beside its contents.
func (fs *FS) dressReplacement(n *node, s spot, w *scratch, old vfs.Attr) error {
	old.Mode = old.Mode&unix.S_IFMT | withoutPrivileges(old.Mode)
	if err := fs.copyMeta(s.fd, s.name, -1, *w, &old); err != nil {
		return err
	}
	if err := at.SetTimes(w.fd, "", nil, &unix.Timespec{Nsec: unix.UTIME_NOW}); err != nil {
		return err
	}
	if err := at.RemoveXattr(w.fd, "", "security.capability"); err != nil && !absent(err) {
		return err
	}
	return fs.ly.setIno(w.fd, "", n.ino.Load())
}

// reservedInos keeps inodes whose number a node shows that has another inode by
// now. Without, the host's filesystem would give the number to the next file,
// and two nodes would show one number. Each is an empty file in Work/inos,
// named by its number, until the node is gone.
type reservedInos struct {
	mu  sync.Mutex
	set map[uint64]struct{}
}

// reserve keeps the inode of n, which is at s, if n shows its number. n.mu is
// held exclusively.
func (r *reservedInos) reserve(fs *FS, n *node, s spot) error {
	ino := n.ino.Load()
	if ino != fs.devs.ino(n.real) || s.name == "" {
		return nil
	}
	err := at.Link(s.fd, s.name, fs.ly.inos, strconv.FormatUint(ino, 10))
	if err != nil && err != syscall.EEXIST {
		return err
	}
	r.mu.Lock()
	r.set[ino] = struct{}{}
	r.mu.Unlock()
	return nil
}

// empty frees the contents of the inode that reserve kept for n. What fails is
// space lost, and nothing else. n.mu is held exclusively, so that nobody reads
// the old contents meanwhile.
func (r *reservedInos) empty(fs *FS, n *node) {
	ino := n.ino.Load()
	if !n.up || ino != fs.devs.ino(n.real) || !r.has(ino) {
		return
	}
	fd, err := at.Open(fs.ly.inos, strconv.FormatUint(ino, 10), unix.O_WRONLY, 0)
	if err != nil {
		return
	}
	ftruncate(fd, 0)
	unix.Close(fd)
}

func (r *reservedInos) has(ino uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.set[ino]
	return ok
}

// release lets the host have the number back, when the node that showed it is
// gone for good.
func (r *reservedInos) release(fs *FS, ino uint64) {
	r.mu.Lock()
	_, ok := r.set[ino]
	delete(r.set, ino)
	r.mu.Unlock()
	if ok {
		at.Unlink(fs.ly.inos, strconv.FormatUint(ino, 10), 0)
	}
}

// init reads what is reserved, and drops what no object of the upper layer
// shows any more; to find out it walks the upper layer, but only if there is
// anything.
func (r *reservedInos) init(fs *FS) error {
	r.set = make(map[uint64]struct{})
	err := at.ReadDir(fs.ly.inos, 0, func(e vfs.DirEntry) bool {
		if n, err := strconv.ParseUint(e.Name, 10, 64); err == nil {
			r.set[n] = struct{}{}
		}
		return true
	})
	if err != nil || len(r.set) == 0 {
		return err
	}
	shown, err := fs.collectInos()
	if err != nil {
		return err
	}
	for ino := range r.set {
		if _, ok := shown[ino]; !ok {
			delete(r.set, ino)
			at.Unlink(fs.ly.inos, strconv.FormatUint(ino, 10), 0)
		}
	}
	return nil
}

// collectInos returns the numbers that marks in the upper layer show.
func (fs *FS) collectInos() (map[uint64]struct{}, error) {
	shown := make(map[uint64]struct{})
	for todo := []*at.Dir{fs.ly.upper}; len(todo) > 0; {
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		err := location{dir: dir}.use(func(dirfd int, _ string) error {
			return fs.collectInosIn(dirfd, shown, func(name string) { todo = append(todo, dir.Child(name, at.Ident{})) })
		})
		if err != nil {
			return nil, err
		}
	}
	return shown, nil
}

// collectInosIn adds to shown those of the entries of one directory, and calls sub
// for each directory in it.
func (fs *FS) collectInosIn(dirfd int, shown map[uint64]struct{}, sub func(name string)) error {
	fd, err := at.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	impure, err := fs.ly.impure(fd, "")
	if err != nil {
		return err
	}
	var fail error
	err = at.ReadDir(fd, 0, func(e vfs.DirEntry) bool {
		switch {
		case e.Name == "." || e.Name == "..":
		case e.Type == unix.S_IFDIR:
			sub(e.Name)
		case impure:
			ino, err := fs.ly.ino(fd, e.Name)
			if err != nil {
				fail = err
				return false
			}
			shown[ino] = struct{}{}
		}
		return true
	})
	if err == nil {
		err = fail
	}
	return err
}
