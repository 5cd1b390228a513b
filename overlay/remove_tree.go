package overlay

import (
	"crypto/rand"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// clearDepth is how many directories below each other are open at most while a
// tree is removed. One that is deeper is moved up first, so that a tree may be
// deeper than a process can have files open.
const clearDepth = 64

// clearDir removes everything in the directory fd, which is open for reading.
func clearDir(fd int) error {
	return clearAll(fd, func(name string, maybeDir bool) error { return removeTree(fd, name, maybeDir) })
}

// removeTree removes name in dirfd with everything below.
func removeTree(dirfd int, name string, maybeDir bool) error {
	return removeAt(dirfd, name, maybeDir, -1, 0)
}

// removeAt is removeTree for what is depth levels below the tree's root, which is
// open as root where that is not 0.
func removeAt(dirfd int, name string, maybeDir bool, root, depth int) error {
	if !maybeDir {
		return at.Unlink(dirfd, name, 0)
	}
	err := at.Unlink(dirfd, name, unix.AT_REMOVEDIR)
	switch err {
	case syscall.ENOTDIR:
		return at.Unlink(dirfd, name, 0)
	case syscall.ENOTEMPTY, syscall.EEXIST, syscall.EACCES:
	default:
		return err
	}
	if depth == clearDepth {
		return moveUp(dirfd, name, root)
	}
	fd, err := at.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == syscall.EACCES {
		// Our own, with a mode that shuts us out.
		if err = at.Chmod(dirfd, name, 0o700); err == nil {
			fd, err = at.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
	}
	if err != nil {
		return err
	}
	if depth == 0 {
		root = fd
	}
	err = clearAll(fd, func(name string, maybeDir bool) error { return removeAt(fd, name, maybeDir, root, depth+1) })
	unix.Close(fd)
	if err != nil {
		return err
	}
	return at.Unlink(dirfd, name, unix.AT_REMOVEDIR)
}

// moveUp moves the directory name in dirfd to the directory root, to be removed
// from there.
func moveUp(dirfd int, name string, root int) error {
	move := func() error {
		return at.Rename(dirfd, name, root, rand.Text(), unix.RENAME_NOREPLACE)
	}
	err := move()
	if err == syscall.EACCES { // it may not be written to, but gets another ".."
		if err = at.Chmod(dirfd, name, 0o700); err == nil {
			err = move()
		}
	}
	return err
}

// clearAll calls remove for the entries of the directory fd, open for reading,
// until there are none.
func clearAll(fd int, remove func(name string, maybeDir bool) error) error {
	// Removing what has been listed may make a filesystem skip entries, so the
	// listing starts again until it finds nothing.
	for {
		var names []string
		var dirs []bool
		err := at.ReadDir(fd, 0, func(e vfs.DirEntry) bool {
			if e.Name != "." && e.Name != ".." {
				names = append(names, e.Name)
				dirs = append(dirs, e.Type == unix.S_IFDIR || e.Type == 0)
			}
			return len(names) < 4096
		})
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return nil
		}
		for i, name := range names {
			if err := remove(name, dirs[i]); err != nil {
				return err
			}
		}
	}
}
