package overlay

import (
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// displace gets y out of the way: it makes sure that its upper part, if it is a
// directory, is empty, and that it stays within reach. done records that it is
// gone, undo that it is not.
func (r *renaming) displace() (done func() error, undo func(), err error) {
	fs, y := r.fs, r.y
	if !y.isDir() {
		a, err := y.statLocked()
		if err != nil {
			return nil, nil, err
		}
		inUpper := fs.nameInUpperLocked(y, r.to, r.newName)
		v, err := fs.holdLocked(y, r.to, r.toFD, r.newName, inUpper, a.Nlink)
		if err != nil {
			return nil, nil, err
		}
		return func() error { return fs.lostNameLocked(y, r.to, r.newName, inUpper, a.Nlink, v) }, func() { fs.unhold(v) }, nil
	}
	orphan := -1
	if y.d.upper.Load() != nil {
		if orphan, err = r.clear(); err != nil {
			return nil, nil, err
		}
	}
	return func() error { fs.buryDirLocked(r.to, r.newName, y, orphan); return nil }, func() { closeFD(orphan) }, nil
}

// clear makes sure that the upper directory of y, which shows no entry, holds
// no whiteout either, and returns a descriptor of what stands for it from then
// on.
func (r *renaming) clear() (orphan int, err error) {
	fs, y := r.fs, r.y
	fd, err := at.Open(r.toFD, r.newName, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, gone(err)
	}
	hollow := true
	err = at.ReadDir(fd, 0, func(e vfs.DirEntry) bool {
		hollow = e.Name == "." || e.Name == ".."
		return hollow
	})
	if err != nil || hollow {
		if err != nil {
			unix.Close(fd)
			fd = -1
		}
		return fd, err
	}
	// An empty opaque directory of the same attributes takes its place.
	unix.Close(fd)
	a, _, err := at.Stat(r.toFD, r.newName)
	if err != nil {
		return -1, err
	}
	w, err := fs.makeScratch(unix.S_IFDIR, -1, 0)
	if err != nil {
		return -1, err
	}
	defer w.close(fs)
	if err := fs.copyMeta(r.toFD, r.newName, -1, w, &a); err != nil {
		return -1, err
	}
	if err := fs.ly.setOpaque(fs.ly.scratch, w.name); err != nil {
		return -1, err
	}
	if err := fs.ly.setIno(fs.ly.scratch, w.name, y.ino.Load()); err != nil {
		return -1, err
	}
	if err := fs.movable(r.toFD, r.newName, func() error { return w.exchange(fs, r.toFD, r.newName) }); err != nil {
		return -1, err
	}
	fs.step("rename.cleared")
	// Should the rename itself fail, the empty directory is what y is.
	if orphan, err = at.Open(r.toFD, r.newName, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return -1, err
	}
	_, id, err := at.Stat(orphan, "")
	if err != nil {
		unix.Close(orphan)
		return -1, err
	}
	y.d.upper.Swap(r.toUp.Child(r.newName, id)).Drop()
	y.d.opaque, y.d.lowers, y.real = true, nil, id
	return orphan, nil
}
