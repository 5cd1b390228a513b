package vfstest

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func openCases() []testCase {
	return []testCase{
		{"Open/AccessModes", Tree{file("f", "0123")}, func(e *env) {
			f := e.at("f").Node
			buf := make([]byte, 2)
			for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
				h := e.open(f, flags)
				if h.Node() != f {
					e.Fatalf("handle of node %d, want %d", h.Node(), f)
				}
				_, err := h.ReadAt(e.ctx, buf, 0)
				e.access(err, flags != unix.O_WRONLY)
				_, err = h.WriteAt(e.ctx, []byte("0"), 0)
				e.access(err, flags != unix.O_RDONLY)
				if !e.lacks(Fallocate) {
					e.access(h.Allocate(e.ctx, 0, 0, 4), flags != unix.O_RDONLY)
				}
				e.ok(h.Sync(e.ctx, false))
				e.ok(h.Sync(e.ctx, true))
				e.close(h)
			}
			e.contents(f, "0123")
			_, err := e.fs.Open(e.ctx, f, unix.O_ACCMODE)
			e.want(err, syscall.EINVAL)
		}},
		{"Open/WrongTypes", Tree{
			dir("d"), symlink("s", "f"), {Path: "p", Mode: unix.S_IFIFO | 0600}, {Path: "k", Mode: unix.S_IFSOCK | 0600}, file("f", ""),
		}, func(e *env) {
			for name, errno := range map[string]syscall.Errno{"d": syscall.EISDIR, "s": syscall.ELOOP, "p": syscall.ENXIO, "k": syscall.ENXIO} {
				n := e.at(name).Node
				for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_TRUNC, unix.O_RDONLY | unix.O_NONBLOCK} {
					_, err := e.fs.Open(e.ctx, n, flags)
					e.want(err, errno)
				}
			}
			for _, name := range []string{"f", "s", "p", "k"} {
				_, err := e.fs.OpenDir(e.ctx, e.at(name).Node)
				e.want(err, syscall.ENOTDIR)
			}
		}},
		{"Open/IgnoredFlags", Tree{file("f", "x")}, func(e *env) {
			h := e.open(e.at("f").Node, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY)
			e.readAt(h, 0, "x")
		}},
		{"Open/Truncate", Tree{file("a", "0123"), file("b", "0123"), file("c", "0123")}, func(e *env) {
			for name, flags := range map[string]int{"a": unix.O_RDONLY, "b": unix.O_WRONLY, "c": unix.O_RDWR} {
				n := e.at(name).Node
				other := e.open(n, unix.O_RDONLY)
				e.readAt(other, 0, "0123")
				h := e.open(n, flags|unix.O_TRUNC)
				if a := e.attr(n); a.Size != 0 {
					e.Errorf("size is %d after O_TRUNC with mode %d", a.Size, flags)
				}
				e.readAt(other, 0, "")
				_, err := h.WriteAt(e.ctx, []byte("x"), 0)
				e.access(err, flags != unix.O_RDONLY)
			}
		}},
		{"Open/ChangesNothing", Tree{{Path: "f", Data: "x", Mtime: vfs.Timespec{Sec: 1000}}}, func(e *env) {
			f := e.at("f")
			e.close(e.open(f.Node, unix.O_RDWR))
			e.close(e.open(f.Node, unix.O_WRONLY|unix.O_APPEND))
			a := e.attr(f.Node)
			if a.Mtime != f.Attr.Mtime || a.Ctime != f.Attr.Ctime || a.Ino != f.Attr.Ino {
				e.Errorf("attributes went from %+v to %+v", f.Attr, a)
			}
		}},
		{"Create", Tree{file("f", "old"), dir("d"), symlink("s", "nowhere")}, func(e *env) {
			for _, mode := range []uint32{0644, 0600, 0777, 0, 04755} {
				ent, h := e.create(vfs.RootID, "new", unix.O_RDWR, mode)
				if ent.Attr.Mode != unix.S_IFREG|mode || ent.Attr.Size != 0 || ent.Attr.Nlink != 1 {
					e.Errorf("created with mode %o: %+v", mode, ent.Attr)
				}
				if h.Node() != ent.Node || e.at("new").Node != ent.Node {
					e.Error("handle and entry are of different nodes")
				}
				e.writeAt(h, "abc", 0) // whatever the mode
				e.readAt(h, 0, "abc")
				e.close(h)
				e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "new"))
			}
			for _, name := range []string{"f", "d", "s"} {
				ent, _, err := e.fs.Create(e.ctx, vfs.RootID, name, unix.O_RDWR|unix.O_TRUNC, 0644)
				e.wantEntry(ent, err, syscall.EEXIST)
			}
			e.contents(e.at("f").Node, "old")
			ent, _, err := e.fs.Create(e.ctx, e.at("f").Node, "x", unix.O_RDWR, 0644)
			e.wantEntry(ent, err, syscall.ENOTDIR)
			e.missing("nowhere")
		}},
		{"Create/AccessModes", nil, func(e *env) {
			for name, flags := range map[string]int{"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR} {
				_, h := e.create(vfs.RootID, name, flags, 0644)
				_, err := h.WriteAt(e.ctx, []byte("x"), 0)
				e.access(err, flags != unix.O_RDONLY)
				_, err = h.ReadAt(e.ctx, make([]byte, 1), 0)
				e.access(err, flags != unix.O_WRONLY)
			}
		}},
		{"Create/InRemoved", Tree{dir("d"), file("f", "")}, func(e *env) {
			d, f := e.at("d").Node, e.at("f").Node
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
			ent, _, err := e.fs.Create(e.ctx, d, "x", unix.O_RDWR, 0644)
			e.wantEntry(ent, err, syscall.ENOENT)
			ent, err = e.fs.Mkdir(e.ctx, d, "x", 0755)
			e.wantEntry(ent, err, syscall.ENOENT)
			ent, err = e.fs.Mknod(e.ctx, d, "x", unix.S_IFIFO|0644, 0)
			e.wantEntry(ent, err, syscall.ENOENT)
			ent, err = e.fs.Symlink(e.ctx, d, "x", "t")
			e.wantEntry(ent, err, syscall.ENOENT)
			ent, err = e.fs.Link(e.ctx, f, d, "x")
			e.wantEntry(ent, err, syscall.ENOENT)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "f", d, "x", 0), syscall.ENOENT)
			ent, err = e.fs.Lookup(e.ctx, d, "x")
			e.wantEntry(ent, err, syscall.ENOENT)
			if !e.lacks(Tmpfile) {
				ent, _, err = e.fs.Tmpfile(e.ctx, d, unix.O_RDWR, 0644)
				e.wantEntry(ent, err, syscall.ENOENT)
			}
			e.at("f")
		}},
		{"Open/ReadOnlyFile", Tree{{Path: "f", Data: "x", Mode: 0444}}, func(e *env) {
			// The kernel and the gate check permission bits, not the filesystem;
			// the host may where this process is not privileged.
			h, err := e.fs.Open(e.ctx, e.at("f").Node, unix.O_RDWR)
			if err != nil && !privileged() && errors.Is(err, syscall.EACCES) {
				return
			}
			e.ok(err)
			e.handles[h] = true
			e.writeAt(h, "y", 0)
		}},
	}
}

// access checks that an operation worked if the handle's access mode allows it
// and was EBADF otherwise.
func (e *env) access(err error, allowed bool) {
	e.Helper()
	if allowed {
		e.ok(err)
	} else {
		e.want(err, syscall.EBADF)
	}
}
