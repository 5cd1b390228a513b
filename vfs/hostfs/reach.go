package hostfs

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// spot is a descriptor of a node, in use until leave.
type spot struct {
	fd  int
	dir *at.Dir
	pin *held
	own bool // fd is the spot's own
}

func (s *spot) leave() {
	switch {
	case s.dir != nil:
		s.dir.Release()
	case s.pin != nil:
		s.pin.done() // of a handle, Close has reported the error already
	case s.own:
		unix.Close(s.fd)
	}
}

// notThere tells whether err of a system call means that a name does not lead to
// the node it is known for.
func notThere(err error) bool {
	switch err {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.ESTALE:
		return true
	}
	return false
}

// enter returns the descriptor (O_PATH) of directory n. It may be called with
// names locks held.
func (fs *FS) enter(n *node) (spot, error) {
	fd, err := n.dir.at.Acquire()
	if err == nil {
		return spot{fd: fd, dir: n.dir.at}, nil
	}
	if !notThere(err) {
		return spot{}, err
	}
	if pin := n.nameless(); pin != nil {
		return spot{fd: pin.fd, pin: pin}, nil
	}
	// A directory above may be between its two names just now.
	fs.tree.RLock()
	defer fs.tree.RUnlock()
	fd, err = n.dir.at.Acquire()
	if err == nil {
		return spot{fd: fd, dir: n.dir.at}, nil
	}
	if notThere(err) {
		return spot{}, syscall.ESTALE
	}
	return spot{}, err
}

// nameless returns a descriptor of n that does not depend on a name, its pin or
// that of an open handle, for the caller to end; nil if there is none.
func (n *node) nameless() *held {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	switch {
	case n.pin != nil:
		return n.pin.use()
	case len(n.open) > 0:
		return n.open[0].use()
	}
	return nil
}

// reach returns a descriptor of n, whose identity has been checked: O_PATH, or
// that of an open handle. No names lock may be held.
func (fs *FS) reach(n *node) (spot, error) {
	if n.dir != nil {
		return fs.enter(n)
	}
	for {
		named := n.timesNamed()
		s, err := fs.reachByName(n)
		if err != syscall.ESTALE {
			return s, err
		}
		if pin := n.nameless(); pin != nil {
			return spot{fd: pin.fd, pin: pin}, nil
		}
		// A name that it was given meanwhile has taken the pin's place.
		if n.timesNamed() == named {
			return s, err
		}
	}
}

func (n *node) timesNamed() uint64 {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	return n.named
}

func (fs *FS) reachByName(n *node) (s spot, err error) {
	err = fs.byName(n, func(dirfd int, name string) error {
		fd, err := at.Open(dirfd, name, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		a, id, err := at.Stat(fd, "")
		if err == nil && !n.matches(id, &a) {
			err = syscall.ESTALE
		}
		if err != nil {
			unix.Close(fd)
			return err
		}
		s = spot{fd: fd, own: true}
		return nil
	})
	return s, err
}

// byName calls f with a directory's descriptor and a name of n, which is no
// directory, for one name after the other until f finds n there. f answers an
// error that is notThere otherwise. Without such a name, byName is ESTALE.
func (fs *FS) byName(n *node, f func(dirfd int, name string) error) error {
	names := n.names()
	if len(names) == 0 {
		return syscall.ESTALE
	}
	for _, a := range names {
		if err := fs.tryName(a, f); !notThere(err) {
			return err
		}
	}
	// A rename of ours may be under way. It can't be while the directory is
	// locked; only one into another directory makes this go round again.
	for range 8 {
		names = n.names()
		if len(names) == 0 {
			return syscall.ESTALE
		}
		p := names[0].parent
		p.dir.names.RLock()
		names = n.names()
		if len(names) > 0 && names[0].parent == p {
			err := fs.tryName(names[0], f)
			p.dir.names.RUnlock()
			if notThere(err) {
				return syscall.ESTALE
			}
			return err
		}
		p.dir.names.RUnlock()
	}
	return syscall.ESTALE
}

func (fs *FS) tryName(a alias, f func(dirfd int, name string) error) error {
	s, err := fs.enter(a.parent)
	if err != nil {
		return err
	}
	defer s.leave()
	return f(s.fd, a.name)
}
