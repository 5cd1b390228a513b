package overlay

import (
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// A file or directory whose last name is removed while somebody uses its node
// stays within reach by a descriptor. There are at most Options.DirFDs of these;
// beyond that it is parked: it has a name in the work directory until the node
// goes. A lower file is left where it is then, for as long as the workspace has
// it, but for one that is open, whose handle costs a descriptor anyway.

// crowded tells whether as many descriptors are held for orphans as may be.
func (fs *FS) crowded() bool { return fs.orphans.Load() >= int64(fs.opt.DirFDs) }

// orphanLocked has n reached by fd from now on. n.mu is held exclusively.
func (fs *FS) orphanLocked(n *node, fd int) {
	fs.dropOrphanLocked(n)
	n.orphan, n.dir = fd, nil
	fs.orphans.Add(1)
}

// parkDirLocked has the removed directory n reached by name in the work
// directory from now on. n.mu and its namespace lock are held exclusively.
func (fs *FS) parkDirLocked(n *node, name string) {
	n.dir, n.name = fs.parking, name
	n.d.upper.Swap(fs.parking.Child(name, n.real)).Drop()
}

// dropOrphanLocked gives up what keeps an object without a name, if anything does.
// n.mu is held exclusively.
func (fs *FS) dropOrphanLocked(n *node) {
	if n.orphan >= 0 {
		unix.Close(n.orphan)
		n.orphan = -1
		fs.orphans.Add(-1)
	}
	if n.dir != nil && n.dir == fs.parking {
		if n.isDir() {
			n.d.upper.Load().Drop()
			fs.discard(n.name)
		} else {
			at.Unlink(fs.ly.scratch, n.name, 0)
		}
		n.dir = nil
	}
}

// keepSpareLocked opens the lower file that was just put behind n for handles
// that are open, so that it stays theirs whatever happens to its name before
// they come to use it. n.mu is held exclusively.
func (fs *FS) keepSpareLocked(n *node) {
	n.dropSpareLocked()
	if n.up || n.typ != unix.S_IFREG || n.opens.Load() == 0 {
		return
	}
	// Without it, the handles open the file by its name.
	if fd, err := fs.openReal(n, unix.O_PATH); err == nil {
		n.spare = fd
	}
}

// dropSpareLocked closes the spare descriptor. n.mu is held exclusively.
func (n *node) dropSpareLocked() {
	closeFD(n.spare)
	n.spare = -1
}

// unspare closes the spare descriptor when the last handle is closed: who opens
// n later has the file that is behind it then.
func (n *node) unspare() {
	n.mu.RLock()
	has := n.spare >= 0
	n.mu.RUnlock()
	if !has {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.opens.Load() == 0 {
		n.dropSpareLocked()
	}
}

// holdLower opens the lower file of n, which is about to lose its last name, or
// returns -1. The host may have replaced it. Other names that it has are hidden
// already, and no more to be relied on. One that is open is held however many
// are: a commit removes it from the workspace.
func (fs *FS) holdLower(n *node) int {
	if n.typ != unix.S_IFREG || n.refs.Load() <= 1 || fs.crowded() && n.opens.Load() == 0 {
		return -1
	}
	fd, err := fs.openReal(n, unix.O_PATH)
	if err != nil {
		return -1
	}
	return fd
}

// hold opens the object name in dirfd, which is about to lose that name.
func hold(dirfd int, name string, flags int) (int, error) {
	fd, err := at.Open(dirfd, name, unix.O_PATH|flags, 0)
	return fd, gone(err)
}
