package overlay_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// subject is a tree that operations by path are tried on: a directory of the
// host, or a vfs.FS. Errors are errnos.
type subject interface {
	open(p string, flags int, mode uint32) (file, error)
	mkdir(p string, mode uint32) error
	mknod(p string, mode uint32, rdev uint64) error
	symlink(target, p string) error
	link(p, q string) error
	unlink(p string) error
	rmdir(p string) error
	rename(p, q string, flags uint) error
	setattr(p string, in vfs.SetAttr) error
	setxattr(p, name, value string, flags int) error
	removexattr(p, name string) error
	list(p string) ([]vfs.DirEntry, error)
	lstat(p string) (vfs.Attr, error)
	readlink(p string) (string, error)
	xattrs(p string) (map[string]string, error)
	tmpfile(dir string) (file, error)
	linkFile(f file, p string) error
}

// file is an open file of a subject.
type file interface {
	pread(p []byte, off int64) (int, error)
	pwrite(p []byte, off int64) (int, error)
	fstat() (vfs.Attr, error)
	ftruncate(size int64) error
	fallocate(mode uint32, off, size int64) error
	copyTo(dst file, off, dstOff int64, n int) (int, error)
	close() error
}

// hostDir is a subject by system calls: a directory, or a magic link to one
// with a slash and a dot behind it.
type hostDir string

func (d hostDir) at(p string) string {
	if p == "." {
		return string(d)
	}
	return string(d) + "/" + p
}

type hostFile int

func (d hostDir) open(p string, flags int, mode uint32) (file, error) {
	// O_NONBLOCK: others may have put a fifo there.
	fd, err := unix.Open(d.at(p), flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, mode)
	return hostFile(fd), err
}
func (f hostFile) pread(p []byte, off int64) (int, error)  { return unix.Pread(int(f), p, off) }
func (f hostFile) pwrite(p []byte, off int64) (int, error) { return unix.Pwrite(int(f), p, off) }
func (f hostFile) ftruncate(size int64) error              { return unix.Ftruncate(int(f), size) }
func (f hostFile) close() error                            { return unix.Close(int(f)) }
func (f hostFile) fallocate(mode uint32, off, size int64) error {
	return unix.Fallocate(int(f), mode, off, size)
}
func (f hostFile) copyTo(dst file, off, dstOff int64, n int) (int, error) {
	return unix.CopyFileRange(int(f), &off, int(dst.(hostFile)), &dstOff, n, 0)
}
func (d hostDir) tmpfile(dir string) (file, error) {
	fd, err := unix.Open(d.at(dir), unix.O_TMPFILE|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o640)
	return hostFile(fd), err
}
func (d hostDir) linkFile(f file, p string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", int(f.(hostFile))), unix.AT_FDCWD, d.at(p), unix.AT_SYMLINK_FOLLOW)
}
func (f hostFile) fstat() (vfs.Attr, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f), &st)
	return attrOf(&st), err
}

func attrOf(st *unix.Stat_t) vfs.Attr {
	return vfs.Attr{Ino: st.Ino, Size: st.Size, Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Rdev: st.Rdev,
		Mtime: vfs.Timespec{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}}
}

func (d hostDir) mkdir(p string, mode uint32) error { return unix.Mkdir(d.at(p), mode) }
func (d hostDir) mknod(p string, mode uint32, rdev uint64) error {
	return unix.Mknod(d.at(p), mode, int(rdev))
}
func (d hostDir) symlink(target, p string) error { return unix.Symlink(target, d.at(p)) }
func (d hostDir) link(p, q string) error {
	return unix.Linkat(unix.AT_FDCWD, d.at(p), unix.AT_FDCWD, d.at(q), 0)
}
func (d hostDir) unlink(p string) error { return unix.Unlink(d.at(p)) }
func (d hostDir) rmdir(p string) error  { return unix.Rmdir(d.at(p)) }
func (d hostDir) rename(p, q string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, d.at(p), unix.AT_FDCWD, d.at(q), flags)
}
func (d hostDir) setattr(p string, in vfs.SetAttr) error {
	switch {
	case in.Valid&vfs.SetSize != 0:
		return unix.Truncate(d.at(p), in.Size)
	case in.Valid&vfs.SetMode != 0:
		return unix.Chmod(d.at(p), in.Mode)
	case in.Valid&vfs.SetUID != 0:
		return unix.Lchown(d.at(p), int(in.UID), int(in.GID))
	}
	ts := []unix.Timespec{{Sec: in.Atime.Sec, Nsec: int64(in.Atime.Nsec)}, {Sec: in.Mtime.Sec, Nsec: int64(in.Mtime.Nsec)}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, d.at(p), ts, unix.AT_SYMLINK_NOFOLLOW)
}
func (d hostDir) setxattr(p, name, value string, flags int) error {
	return unix.Lsetxattr(d.at(p), name, []byte(value), flags)
}
func (d hostDir) removexattr(p, name string) error { return unix.Lremovexattr(d.at(p), name) }
func (d hostDir) list(p string) (out []vfs.DirEntry, err error) {
	fd, err := unix.Open(d.at(p), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil || n == 0 {
			return out, err
		}
		for b := buf[:n]; len(b) > 0; {
			size := int(b[16]) | int(b[17])<<8
			name, _, _ := strings.Cut(string(b[19:size]), "\x00")
			var ino uint64
			for i := range 8 {
				ino |= uint64(b[i]) << (8 * i)
			}
			out = append(out, vfs.DirEntry{Name: name, Ino: ino, Type: uint32(b[18]) << 12})
			b = b[size:]
		}
	}
}
func (d hostDir) lstat(p string) (vfs.Attr, error) {
	var st unix.Stat_t
	err := unix.Lstat(d.at(p), &st)
	return attrOf(&st), err
}
func (d hostDir) readlink(p string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Readlink(d.at(p), buf)
	return string(buf[:max(n, 0)]), err
}
func (d hostDir) xattrs(p string) (map[string]string, error) {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(d.at(p), buf)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name != "" {
			v := make([]byte, 1<<16)
			n, err := unix.Lgetxattr(d.at(p), name, v)
			if err != nil {
				return nil, err
			}
			out[name] = string(v[:n])
		}
	}
	return out, nil
}

// view is a subject on a vfs.FS.
type view struct{ vfs.FS }

var bg = context.Background()

func errnoOf(err error) error {
	if err == nil {
		return nil
	}
	return vfs.Errno(err)
}

// node calls f for what p stands for.
func (v view) node(p string, f func(e vfs.Entry) error) error {
	t, err := vfs.Walk(bg, v.FS, vfs.RootID, p, 0)
	if err != nil {
		return errnoOf(err)
	}
	defer t.Release()
	if !t.Exists() {
		return syscall.ENOENT
	}
	return errnoOf(f(t.Entry))
}

// place calls f for the directory and name of p.
func (v view) place(p string, f func(dir vfs.NodeID, name string, e vfs.Entry) error) error {
	t, err := vfs.Walk(bg, v.FS, vfs.RootID, p, 0)
	if err != nil {
		return errnoOf(err)
	}
	defer t.Release()
	if t.Parent == 0 {
		return syscall.EINVAL
	}
	return errnoOf(f(t.Parent, t.Name, t.Entry))
}

type viewFile struct {
	v   view
	h   vfs.Handle
	tmp bool // holds a reference to its node
}

func (v view) open(p string, flags int, mode uint32) (f file, err error) {
	err = v.place(p, func(dir vfs.NodeID, name string, e vfs.Entry) error {
		var h vfs.Handle
		var err error
		switch {
		case e.Node == 0 && flags&unix.O_CREAT == 0:
			return syscall.ENOENT
		case e.Node == 0:
			if e, h, err = v.Create(bg, dir, name, flags, mode); err == nil {
				v.Forget(e.Node, 1)
			}
		case flags&unix.O_CREAT != 0 && flags&unix.O_EXCL != 0:
			return syscall.EEXIST
		default:
			h, err = v.Open(bg, e.Node, flags)
		}
		f = viewFile{v, h, false}
		return err
	})
	return f, err
}
func (f viewFile) pread(p []byte, off int64) (int, error) {
	n, err := f.h.ReadAt(bg, p, off)
	return n, errnoOf(err)
}
func (f viewFile) pwrite(p []byte, off int64) (int, error) {
	n, err := f.h.WriteAt(bg, p, off)
	return n, errnoOf(err)
}
func (f viewFile) fstat() (vfs.Attr, error) {
	a, err := f.v.GetAttr(bg, f.h.Node(), f.h)
	return a, errnoOf(err)
}
func (f viewFile) ftruncate(size int64) error {
	_, err := f.v.SetAttr(bg, f.h.Node(), f.h, vfs.SetAttr{Valid: vfs.SetSize, Size: size})
	return errnoOf(err)
}
func (f viewFile) fallocate(mode uint32, off, size int64) error {
	return errnoOf(f.h.Allocate(bg, mode, off, size))
}
func (f viewFile) copyTo(dst file, off, dstOff int64, n int) (int, error) {
	k, err := f.h.CopyRange(bg, off, dst.(viewFile).h, dstOff, int64(n))
	return int(k), errnoOf(err)
}
func (f viewFile) close() error {
	id := f.h.Node()
	err := f.h.Close()
	if f.tmp {
		f.v.Forget(id, 1)
	}
	return errnoOf(err)
}
func (v view) tmpfile(dir string) (f file, err error) {
	err = v.node(dir, func(e vfs.Entry) error {
		if !e.Attr.IsDir() {
			return syscall.ENOTDIR
		}
		_, h, err := v.Tmpfile(bg, e.Node, unix.O_RDWR, 0o640)
		f = viewFile{v, h, true}
		return err
	})
	return f, err
}
func (v view) linkFile(f file, p string) error {
	return v.place(p, func(dir vfs.NodeID, name string, have vfs.Entry) error {
		if have.Node != 0 {
			return syscall.EEXIST
		}
		return v.made(v.Link(bg, f.(viewFile).h.Node(), dir, name))
	})
}

// made gives back the reference of a new entry.
func (v view) made(e vfs.Entry, err error) error {
	if err == nil {
		v.Forget(e.Node, 1)
	}
	return err
}
func (v view) mkdir(p string, mode uint32) error {
	return v.place(p, func(dir vfs.NodeID, name string, _ vfs.Entry) error { return v.made(v.Mkdir(bg, dir, name, mode)) })
}
func (v view) mknod(p string, mode uint32, rdev uint64) error {
	return v.place(p, func(dir vfs.NodeID, name string, _ vfs.Entry) error {
		return v.made(v.Mknod(bg, dir, name, mode, rdev))
	})
}
func (v view) symlink(target, p string) error {
	return v.place(p, func(dir vfs.NodeID, name string, _ vfs.Entry) error { return v.made(v.Symlink(bg, dir, name, target)) })
}
func (v view) link(p, q string) error {
	return v.node(p, func(e vfs.Entry) error {
		return v.place(q, func(dir vfs.NodeID, name string, have vfs.Entry) error {
			if have.Node != 0 {
				return syscall.EEXIST // which the system call finds first
			}
			return v.made(v.Link(bg, e.Node, dir, name))
		})
	})
}
func (v view) unlink(p string) error {
	return v.place(p, func(dir vfs.NodeID, name string, _ vfs.Entry) error { return v.Unlink(bg, dir, name) })
}
func (v view) rmdir(p string) error {
	return v.place(p, func(dir vfs.NodeID, name string, _ vfs.Entry) error { return v.Rmdir(bg, dir, name) })
}
func (v view) rename(p, q string, flags uint) error {
	return v.place(p, func(from vfs.NodeID, old string, _ vfs.Entry) error {
		return v.place(q, func(to vfs.NodeID, name string, _ vfs.Entry) error {
			return v.Rename(bg, from, old, to, name, vfs.RenameFlags(flags))
		})
	})
}
func (v view) setattr(p string, in vfs.SetAttr) error {
	return v.node(p, func(e vfs.Entry) error {
		_, err := v.SetAttr(bg, e.Node, nil, in)
		return err
	})
}
func (v view) setxattr(p, name, value string, flags int) error {
	return v.node(p, func(e vfs.Entry) error { return v.SetXattr(bg, e.Node, name, []byte(value), flags) })
}
func (v view) removexattr(p, name string) error {
	return v.node(p, func(e vfs.Entry) error { return v.RemoveXattr(bg, e.Node, name) })
}
func (v view) list(p string) (out []vfs.DirEntry, err error) {
	err = v.node(p, func(e vfs.Entry) error {
		d, err := v.OpenDir(bg, e.Node)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.ReadDir(bg, 0, func(e vfs.DirEntry) bool {
			out = append(out, e)
			return true
		})
	})
	return out, err
}
func (v view) lstat(p string) (a vfs.Attr, err error) {
	err = v.node(p, func(e vfs.Entry) error {
		a, err = v.GetAttr(bg, e.Node, nil)
		return err
	})
	return a, err
}
func (v view) readlink(p string) (s string, err error) {
	err = v.node(p, func(e vfs.Entry) error {
		s, err = v.Readlink(bg, e.Node)
		return err
	})
	return s, err
}
func (v view) xattrs(p string) (map[string]string, error) {
	out := map[string]string{}
	err := v.node(p, func(e vfs.Entry) error {
		buf := make([]byte, 1<<16)
		n, err := v.ListXattr(bg, e.Node, buf)
		for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
			if name == "" || err != nil {
				continue
			}
			val := make([]byte, 1<<16)
			var k int
			if k, err = v.GetXattr(bg, e.Node, name, val); err == nil {
				out[name] = string(val[:k])
			}
		}
		return err
	})
	return out, err
}
