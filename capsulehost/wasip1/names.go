package wasip1

import (
	"encoding/binary"
	"strings"

	"github.com/astridfs/astridfs/vfs"
)

// pathCreateDirectory is (fd, path, path_len).
func (c call) pathCreateDirectory() Errno { return c.onName(Ops.Mkdir) }

// onName does a call of (fd, path, path_len).
func (c call) onName(do func(c Ops, fd uint32, path string) Errno) Errno {
	path, errno := c.path(1)
	if errno != Success {
		return errno
	}
	return do(c.Ops, c.u32(0), path)
}

// Mkdir makes a directory.
func (c Ops) Mkdir(fd uint32, path string) Errno {
	t, errno := c.named(fd, rightPathCreateDirectory, path)
	if errno != Success {
		return errno
	}
	defer t.Release()
	if t.there() {
		return EEXIST
	}
	return c.make(func() (vfs.Entry, error) {
		return t.FS.Mkdir(c.ctx, t.Parent, t.Name, dirMode)
	}, &t)
}

// make counts a name, has it made and gives back the reference to what it
// stands for.
func (c Ops) make(f func() (vfs.Entry, error), t *place) Errno {
	if err := c.view.Quota.TakeFile(); err != nil {
		return errnoOf(err)
	}
	e, err := f()
	if err != nil {
		c.view.Quota.GiveFile()
		return errnoOf(err)
	}
	t.FS.Forget(e.Node, 1)
	return Success
}

// pathRemoveDirectory is (fd, path, path_len).
func (c call) pathRemoveDirectory() Errno { return c.onName(Ops.Rmdir) }

// Rmdir removes an empty directory.
func (c Ops) Rmdir(fd uint32, path string) Errno {
	t, errno := c.named(fd, rightPathRemoveDirectory, path)
	if errno != Success {
		return errno
	}
	defer t.Release()
	switch {
	case !t.there():
		return ENOENT
	case !t.isDir():
		return ENOTDIR
	case t.nameless():
		switch t.last {
		case ".":
			return EINVAL
		case "..":
			return ENOTEMPTY
		}
		return EBUSY
	}
	err := t.FS.Rmdir(c.ctx, t.Parent, t.Name)
	if err == nil {
		c.view.Quota.GiveFile()
	}
	return errnoOf(err)
}

// pathUnlinkFile is (fd, path, path_len).
func (c call) pathUnlinkFile() Errno { return c.onName(Ops.Unlink) }

// Unlink removes what is no directory.
func (c Ops) Unlink(fd uint32, path string) Errno {
	t, errno := c.named(fd, rightPathUnlinkFile, path)
	if errno != Success {
		return errno
	}
	defer t.Release()
	switch {
	case !t.there():
		return ENOENT
	case t.isDir():
		return EISDIR
	case t.slash:
		return ENOTDIR
	}
	err := t.FS.Unlink(c.ctx, t.Parent, t.Name)
	if err == nil {
		c.view.Quota.GiveFile()
	}
	return errnoOf(err)
}

// pathRename is (old_fd, old_path, old_len, new_fd, new_path, new_len).
func (c call) pathRename() Errno {
	old, errno := c.path(1)
	if errno != Success {
		return errno
	}
	path, errno := c.path(4)
	if errno != Success {
		return errno
	}
	return c.Rename(c.u32(0), old, c.u32(3), path)
}

// Rename moves a name, in place of what was there as rename(2) has it.
func (c Ops) Rename(oldFD uint32, oldPath string, fd uint32, path string) Errno {
	from, errno := c.named(oldFD, rightPathRenameSource, oldPath)
	if errno != Success {
		return errno
	}
	defer from.Release()
	to, errno := c.named(fd, rightPathRenameTarget, path)
	if errno != Success {
		return errno
	}
	defer to.Release()
	switch {
	case from.nameless() || to.nameless():
		return EBUSY
	case !from.Exists():
		return ENOENT
	case from.Scheme != to.Scheme:
		return EXDEV
	case !from.isDir() && (from.slash || to.slash), to.slash && to.Exists() && !to.isDir():
		return ENOTDIR
	}
	err := from.FS.Rename(c.ctx, from.Parent, from.Name, to.Parent, to.Name, 0)
	if err == nil && to.Exists() && to.Entry.Node != from.Entry.Node {
		c.view.Quota.GiveFile()
	}
	return errnoOf(err)
}

// pathLink is (old_fd, old_flags, old_path, old_len, new_fd, new_path,
// new_len).
func (c call) pathLink() Errno {
	follow, old, errno := c.lookup(1, 2)
	if errno != Success {
		return errno
	}
	path, errno := c.path(5)
	if errno != Success {
		return errno
	}
	return c.Link(c.u32(0), old, follow, c.u32(4), path)
}

// Link makes another name for a file. It needs write access to both: the new
// name is another way to write to the file.
func (c Ops) Link(oldFD uint32, oldPath string, follow vfs.WalkFlags, fd uint32, path string) Errno {
	from, errno := c.looked(oldFD, rightPathLinkSource, oldPath, follow, vfs.Write)
	if errno != Success {
		return errno
	}
	defer from.Release()
	to, errno := c.named(fd, rightPathLinkTarget, path)
	if errno != Success {
		return errno
	}
	defer to.Release()
	switch {
	case to.there():
		return EEXIST
	case to.slash:
		return ENOENT
	case from.isDir():
		return EPERM
	case from.Scheme != to.Scheme:
		return EXDEV
	}
	return c.make(func() (vfs.Entry, error) {
		return to.FS.Link(c.ctx, from.Entry.Node, to.Parent, to.Name)
	}, &to)
}

// pathSymlink is (target, target_len, fd, path, path_len).
func (c call) pathSymlink() Errno {
	target, errno := c.path(0)
	if errno != Success {
		return errno
	}
	path, errno := c.path(3)
	if errno != Success {
		return errno
	}
	return c.Symlink(target, c.u32(2), path)
}

// Symlink makes a symbolic link.
func (c Ops) Symlink(target string, fd uint32, path string) Errno {
	t, errno := c.named(fd, rightPathSymlink, path)
	if errno != Success {
		return errno
	}
	defer t.Release()
	switch {
	case t.slash && t.there() && !t.isDir():
		return ENOTDIR // Linux has EEXIST; this is what the suite of preview1 asks of a Unix
	case t.there():
		return EEXIST
	case t.slash || target == "":
		return ENOENT
	case strings.IndexByte(target, 0) >= 0:
		return EINVAL
	}
	dir, err := t.FS.Path(c.ctx, t.Parent)
	if err != nil {
		return errnoOf(err)
	}
	if leaves(dir, target) {
		return EPERM
	}
	return c.make(func() (vfs.Entry, error) {
		return t.FS.Symlink(c.ctx, t.Parent, t.Name, target)
	}, &t)
}

// leaves tells whether a link in the directory dir, a resolved path, would lead
// out of the tree going by its text. What other links make of it is for the
// walk to see, which is confined whatever this says.
func leaves(dir, target string) bool {
	if target[0] == '/' {
		return true
	}
	depth := 0
	if dir != "" {
		depth = 1 + strings.Count(dir, "/")
	}
	for name := range strings.SplitSeq(target, "/") {
		switch name {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// pathReadlink is (fd, path, path_len, buf, buf_len, used). A target that is
// longer than the buffer is cut.
func (c call) pathReadlink() Errno {
	path, errno := c.path(1)
	if errno != Success {
		return errno
	}
	buf, errno := c.mem.bytes(c.u32(3), c.u32(4))
	if errno != Success {
		return errno
	}
	result, errno := c.mem.bytes(c.u32(5), 4)
	if errno != Success {
		return errno
	}
	target, errno := c.Readlink(c.u32(0), path)
	if errno == Success {
		binary.LittleEndian.PutUint32(result, uint32(copy(buf, target)))
	}
	return errno
}

// Readlink returns where a symbolic link leads, as its text has it.
func (c Ops) Readlink(fd uint32, path string) (string, Errno) {
	t, errno := c.looked(fd, rightPathReadlink, path, 0, vfs.Read)
	if errno != Success {
		return "", errno
	}
	defer t.Release()
	if t.isRoot || !t.Entry.Attr.IsSymlink() {
		return "", EINVAL
	}
	target, err := t.FS.Readlink(c.ctx, t.Entry.Node)
	return target, errnoOf(err)
}

// pathFilestatGet is (fd, lookupflags, path, path_len, filestat).
func (c call) pathFilestatGet() Errno {
	b, errno := c.mem.bytes(c.u32(4), filestatSize)
	if errno != Success {
		return errno
	}
	follow, path, errno := c.lookup(1, 2)
	if errno != Success {
		return errno
	}
	s, errno := c.StatAt(c.u32(0), path, follow)
	if errno == Success {
		putFilestat(b, &s)
	}
	return errno
}

// StatAt returns the attributes of what is at a path.
func (c Ops) StatAt(fd uint32, path string, follow vfs.WalkFlags) (Stat, Errno) {
	t, errno := c.looked(fd, rightPathFilestatGet, path, follow, vfs.Read)
	if errno != Success {
		return Stat{}, errno
	}
	defer t.Release()
	if t.isRoot {
		return c.rootStat(), Success
	}
	return Stat{t.Scheme, t.Entry.Attr}, Success
}

// pathFilestatSetTimes is (fd, lookupflags, path, path_len, atime, mtime,
// flags).
func (c call) pathFilestatSetTimes() Errno {
	in, errno := times(c.u64(4), c.u64(5), c.u32(6))
	if errno != Success {
		return errno
	}
	follow, path, errno := c.lookup(1, 2)
	if errno != Success {
		return errno
	}
	return c.SetTimesAt(c.u32(0), path, follow, in)
}

// SetTimesAt sets times of what is at a path.
func (c Ops) SetTimesAt(fd uint32, path string, follow vfs.WalkFlags, in vfs.SetAttr) Errno {
	t, errno := c.looked(fd, rightPathFilestatSetTimes, path, follow, vfs.Write)
	if errno != Success {
		return errno
	}
	defer t.Release()
	if t.isRoot {
		return EROFS
	}
	_, err := t.FS.SetAttr(c.ctx, t.Entry.Node, nil, in)
	return errnoOf(err)
}
