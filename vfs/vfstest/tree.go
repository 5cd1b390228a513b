package vfstest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// Object is one file of a Tree.
type Object struct {
	Path   string            // from the root, components joined by '/'
	Mode   uint32            // type and permission bits; no type is a regular file, no permissions 0644 or 0755
	Data   string            // of a regular file
	Target string            // of a symbolic link
	LinkTo string            // path of an earlier object that this is a further name of
	Rdev   uint64            // of a device
	Xattrs map[string]string // set last
	Mtime  vfs.Timespec      // not zero: the times to set
}

// Tree is what a case starts from: objects in the order in which they can be
// made, parents first.
type Tree []Object

// file, dir and symlink make the most common objects.
func file(path, data string) Object { return Object{Path: path, Data: data} }
func dir(path string) Object        { return Object{Path: path, Mode: unix.S_IFDIR | 0755} }
func symlink(path, target string) Object {
	return Object{Path: path, Mode: unix.S_IFLNK, Target: target}
}

func (o *Object) mode() uint32 {
	m := o.Mode
	if m&unix.S_IFMT == 0 {
		m |= unix.S_IFREG
	}
	if m&07777 == 0 {
		if m |= 0644; m&unix.S_IFMT == unix.S_IFDIR {
			m |= 0755
		}
	}
	return m
}

// Build makes the tree in the directory dir of the host.
func (tr Tree) Build(dir string) error {
	for i := range tr {
		if err := tr[i].build(dir); err != nil {
			return fmt.Errorf("%s: %w", tr[i].Path, err)
		}
	}
	for i := range tr { // last, because making what is inside changes a directory's
		if o := &tr[i]; !o.Mtime.IsZero() {
			ts := unix.Timespec{Sec: o.Mtime.Sec, Nsec: int64(o.Mtime.Nsec)}
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, o.Path), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return fmt.Errorf("%s: %w", o.Path, err)
			}
		}
	}
	return nil
}

func (o *Object) build(dir string) error {
	// Not filepath.Join: names are any bytes, and none is to be cleaned.
	p, mode := dir+"/"+o.Path, o.mode()
	var err error
	switch {
	case o.LinkTo != "":
		return os.Link(dir+"/"+o.LinkTo, p)
	case mode&unix.S_IFMT == unix.S_IFDIR:
		err = unix.Mkdir(p, mode&07777)
	case mode&unix.S_IFMT == unix.S_IFLNK:
		err = os.Symlink(o.Target, p)
	case mode&unix.S_IFMT == unix.S_IFREG:
		err = os.WriteFile(p, []byte(o.Data), 0600)
	default:
		err = unix.Mknod(p, mode, int(o.Rdev))
	}
	if err == nil && mode&unix.S_IFMT != unix.S_IFLNK {
		err = unix.Chmod(p, mode&07777)
	}
	for name, value := range o.Xattrs {
		if err == nil {
			err = unix.Lsetxattr(p, name, []byte(value), 0)
		}
	}
	return err
}

// through makes the tree by way of the filesystem itself.
func (tr Tree) through(e *env) {
	e.Helper()
	for i := range tr {
		o := &tr[i]
		parent, name := e.parentOf(o.Path), path.Base(o.Path)
		mode := o.mode()
		var ent vfs.Entry
		var err error
		switch {
		case o.LinkTo != "":
			ent, err = e.fs.Link(e.ctx, e.at(o.LinkTo).Node, parent, name)
		case mode&unix.S_IFMT == unix.S_IFDIR:
			ent, err = e.fs.Mkdir(e.ctx, parent, name, mode&07777)
		case mode&unix.S_IFMT == unix.S_IFLNK:
			ent, err = e.fs.Symlink(e.ctx, parent, name, o.Target)
		case mode&unix.S_IFMT == unix.S_IFREG:
			var h vfs.Handle
			ent, h, err = e.fs.Create(e.ctx, parent, name, unix.O_WRONLY, mode&07777)
			if err == nil {
				if _, err = h.WriteAt(e.ctx, []byte(o.Data), 0); err == nil {
					err = h.Close()
				}
			}
		default:
			ent, err = e.fs.Mknod(e.ctx, parent, name, mode, o.Rdev)
		}
		if err != nil {
			e.Fatalf("making %q: %v", o.Path, err)
		}
		for name, value := range o.Xattrs {
			if err := e.fs.SetXattr(e.ctx, ent.Node, name, []byte(value), 0); err != nil {
				e.Fatalf("setting %s of %q: %v", name, o.Path, err)
			}
		}
		e.fs.Forget(ent.Node, 1)
	}
	for i := range tr {
		if o := &tr[i]; !o.Mtime.IsZero() {
			in := vfs.SetAttr{Valid: vfs.SetAtime | vfs.SetMtime, Atime: o.Mtime, Mtime: o.Mtime}
			if _, err := e.fs.SetAttr(e.ctx, e.at(o.Path).Node, nil, in); err != nil {
				e.Fatalf("setting the times of %q: %v", o.Path, err)
			}
		}
	}
	e.forgetAll()
}

// parentOf returns the node of the directory that path is in.
func (e *env) parentOf(p string) vfs.NodeID {
	e.Helper()
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return vfs.RootID
	}
	return e.at(p[:i]).Node
}
