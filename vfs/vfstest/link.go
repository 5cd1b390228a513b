package vfstest

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func linkCases() []testCase {
	return []testCase{
		{"Link", Tree{file("f", "x"), dir("d"), symlink("s", "f"), {Path: "p", Mode: unix.S_IFIFO | 0600}}, func(e *env) {
			d := e.at("d").Node
			for _, name := range []string{"f", "s", "p"} {
				ent := e.at(name)
				l := e.entry(e.fs.Link(e.ctx, ent.Node, d, name))
				if l.Node != ent.Node || l.Attr.Nlink != 2 || l.Attr.Ino != ent.Attr.Ino || l.Attr.Mode != ent.Attr.Mode {
					e.Errorf("link of %s is %+v, of %+v", name, l, ent)
				}
				if again := e.at("d/" + name); again.Node != ent.Node || again.Attr.Ino != ent.Attr.Ino || again.Attr.Nlink != 2 {
					e.Errorf("looked up, the link of %s is %+v", name, again)
				}
				l, err := e.fs.Link(e.ctx, ent.Node, d, name)
				e.wantEntry(l, err, syscall.EEXIST)
			}
			if target, err := e.fs.Readlink(e.ctx, e.at("d/s").Node); err != nil || target != "f" {
				e.Errorf("Readlink: %q, %v", target, err)
			}
			f := e.at("f").Node
			l, err := e.fs.Link(e.ctx, d, vfs.RootID, "l")
			e.wantEntry(l, err, syscall.EPERM)
			l, err = e.fs.Link(e.ctx, f, vfs.RootID, "d")
			e.wantEntry(l, err, syscall.EEXIST)
			l, err = e.fs.Link(e.ctx, f, f, "l")
			e.wantEntry(l, err, syscall.ENOTDIR)
			l, err = e.fs.Link(e.ctx, vfs.RootID, d, "l")
			e.wantEntry(l, err, syscall.EPERM)
			if n := e.attr(f).Nlink; n != 2 {
				e.Errorf("link count is %d, want 2", n)
			}
		}},
		{"Link/Count", Tree{file("f", "x"), dir("d")}, func(e *env) {
			f, d := e.at("f").Node, e.at("d").Node
			for i, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				e.entry(e.fs.Link(e.ctx, f, d, name))
				if n := e.attr(f).Nlink; int(n) != i+2 {
					e.Fatalf("link count is %d after %d links", n, i+1)
				}
			}
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			for i, name := range []string{"h", "a", "g", "b", "f", "c", "e"} {
				e.ok(e.fs.Unlink(e.ctx, d, name))
				if n := e.attr(f).Nlink; int(n) != 7-i {
					e.Fatalf("link count is %d after %d were removed", n, i+2)
				}
				e.contents(f, "x")
			}
			if e.at("d/d").Node != f {
				e.Error("the last name is another node")
			}
			e.ok(e.fs.Unlink(e.ctx, d, "d"))
			if n := e.attr(f).Nlink; n != 0 {
				e.Errorf("link count is %d, want 0", n)
			}
		}},
		{"Link/NamesNeverLookedUp", Tree{file("a", "x"), {Path: "b", LinkTo: "a"}, {Path: "c", LinkTo: "a"}}, func(e *env) {
			a := e.at("a").Node
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "a"))
			if n := e.attr(a).Nlink; n != 2 {
				e.Errorf("link count is %d, want 2", n)
			}
			e.contents(a, "x")
			if e.at("c").Node != a {
				e.Error("another name is another node")
			}
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "b"))
			e.contents(a, "x")
		}},
		{"Unlink", Tree{file("f", "x"), symlink("s", "f"), {Path: "p", Mode: unix.S_IFIFO | 0600}, dir("d")}, func(e *env) {
			for _, name := range []string{"s", "p", "f"} {
				e.ok(e.fs.Unlink(e.ctx, vfs.RootID, name))
				e.missing(name)
				e.want(e.fs.Unlink(e.ctx, vfs.RootID, name), syscall.ENOENT)
			}
			e.want(e.fs.Unlink(e.ctx, vfs.RootID, "d"), syscall.EISDIR)
			e.names(vfs.RootID, "d")
		}},
		{"Unlink/MadeAgainAsOther", Tree{file("f", "x"), dir("d"), file("d/x", "")}, func(e *env) {
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			f := e.mkdir(vfs.RootID, "f")
			e.names(f.Node)
			e.ok(e.fs.Unlink(e.ctx, e.at("d").Node, "x"))
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
			e.touch(vfs.RootID, "d")
			e.want(e.fs.Rmdir(e.ctx, vfs.RootID, "d"), syscall.ENOTDIR)
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "f"))
			e.entry(e.fs.Symlink(e.ctx, vfs.RootID, "f", "d"))
			e.names(vfs.RootID, "d", "f")
		}},
	}
}

func symlinkCases() []testCase {
	targets := []string{"x", "nowhere", "/etc/passwd", "..", "../../..", "a/b/../c", "\xff\xfe", "sp ace", strings.Repeat("t", 255), strings.Repeat("abc/", 500), strings.Repeat("t", vfs.PathMax)}
	return []testCase{
		{"Symlink", Tree{file("f", "x"), dir("d")}, func(e *env) {
			for _, target := range targets {
				ent := e.entry(e.fs.Symlink(e.ctx, vfs.RootID, "s", target))
				if ent.Attr.Mode != unix.S_IFLNK|0777 || ent.Attr.Size != int64(len(target)) {
					e.Errorf("link to %q is %+v", clip(target), ent.Attr)
				}
				got, err := e.fs.Readlink(e.ctx, ent.Node)
				if err != nil || got != target {
					e.Errorf("link to %q reads %q, %v", clip(target), clip(got), err)
				}
				e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "s"))
			}
			ent, err := e.fs.Symlink(e.ctx, vfs.RootID, "s", "")
			e.wantEntry(ent, err, syscall.ENOENT)
			ent, err = e.fs.Symlink(e.ctx, vfs.RootID, "s", strings.Repeat("t", vfs.PathMax+1))
			e.wantEntry(ent, err, syscall.ENAMETOOLONG)
			ent, err = e.fs.Symlink(e.ctx, vfs.RootID, "s", "a\x00b")
			e.wantEntry(ent, err, syscall.EINVAL)
			e.missing("s")
			for _, name := range []string{"f", "d"} {
				ent, err = e.fs.Symlink(e.ctx, vfs.RootID, name, "t")
				e.wantEntry(ent, err, syscall.EEXIST)
			}
			ent, err = e.fs.Symlink(e.ctx, e.at("f").Node, "s", "t")
			e.wantEntry(ent, err, syscall.ENOTDIR)
			for _, name := range []string{"f", "d"} {
				_, err = e.fs.Readlink(e.ctx, e.at(name).Node)
				e.want(err, syscall.EINVAL)
			}
		}},
		{"Symlink/NotFollowed", Tree{file("f", "x"), dir("d"), symlink("s", "f"), symlink("t", "d")}, func(e *env) {
			s, t := e.at("s"), e.at("t")
			ent, err := e.fs.Lookup(e.ctx, t.Node, "x")
			e.wantEntry(ent, err, syscall.ENOTDIR)
			ent, err = e.fs.Mkdir(e.ctx, t.Node, "x", 0755)
			e.wantEntry(ent, err, syscall.ENOTDIR)
			e.setAttr(s.Node, nil, vfs.SetAttr{Valid: vfs.SetMtime, Mtime: vfs.Timespec{Sec: 77}})
			if a := e.attr(e.at("f").Node); a.Mtime.Sec == 77 {
				e.Error("setting the link's time set its target's")
			}
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "s"))
			e.contents(e.at("f").Node, "x")
		}},
	}
}

func mknodCases() []testCase {
	return []testCase{
		{"Mknod", Tree{file("f", ""), {Path: "p", Mode: unix.S_IFIFO | 0620}}, func(e *env) {
			for name, mode := range map[string]uint32{"fifo": unix.S_IFIFO | 0640, "sock": unix.S_IFSOCK | 0600, "reg": unix.S_IFREG | 0666} {
				ent := e.entry(e.fs.Mknod(e.ctx, vfs.RootID, name, mode, 0))
				if ent.Attr.Mode != mode || ent.Attr.Rdev != 0 || ent.Attr.Nlink != 1 {
					e.Errorf("%s is %+v", name, ent.Attr)
				}
				if again := e.at(name); again.Node != ent.Node || again.Attr.Mode != mode {
					e.Errorf("looked up, %s is %+v", name, again)
				}
				dup, err := e.fs.Mknod(e.ctx, vfs.RootID, name, mode, 0)
				e.wantEntry(dup, err, syscall.EEXIST)
			}
			e.contents(e.at("reg").Node, "")
			for _, typ := range []uint32{unix.S_IFDIR, unix.S_IFLNK, unix.S_IFMT} {
				ent, err := e.fs.Mknod(e.ctx, vfs.RootID, "bad", typ|0600, 0)
				e.wantEntry(ent, err, syscall.EINVAL, syscall.EPERM)
			}
			ent, err := e.fs.Mknod(e.ctx, vfs.RootID, "whiteout", unix.S_IFCHR|0600, 0)
			e.wantEntry(ent, err, syscall.EPERM)
			ent, err = e.fs.Mknod(e.ctx, e.at("f").Node, "x", unix.S_IFIFO|0600, 0)
			e.wantEntry(ent, err, syscall.ENOTDIR)
			e.missing("bad")
			e.missing("whiteout")
			p := e.at("p")
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "p", vfs.RootID, "q", 0))
			a := e.setAttr(p.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			if a.Mode != unix.S_IFIFO|0600 || e.at("q").Node != p.Node {
				e.Errorf("the fifo is %+v", a)
			}
		}},
		{"Mknod/Devices", nil, func(e *env) {
			for name, mode := range map[string]uint32{"chr": unix.S_IFCHR | 0600, "blk": unix.S_IFBLK | 0640} {
				rdev := unix.Mkdev(259, 70000)
				ent, err := e.fs.Mknod(e.ctx, vfs.RootID, name, mode, rdev)
				if !privileged() {
					e.wantEntry(ent, err, syscall.EPERM)
					continue
				}
				e.entry(ent, err)
				if ent.Attr.Mode != mode || ent.Attr.Rdev != rdev {
					e.Errorf("%s is %+v", name, ent.Attr)
				}
				if a := e.attr(ent.Node); a.Rdev != rdev {
					e.Errorf("%s has device %#x, want %#x", name, a.Rdev, rdev)
				}
				_, err = e.fs.Open(e.ctx, ent.Node, unix.O_RDONLY)
				e.want(err, syscall.ENXIO)
			}
		}},
	}
}
