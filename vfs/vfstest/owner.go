package vfstest

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// as returns a copy of e that acts for another user.
func (e *env) as(uid, gid uint32) *env {
	c := *e
	c.ctx = vfs.WithCaller(e.ctx, &vfs.Caller{UID: uid, GID: gid, PID: 4242})
	return &c
}

func ownerCases() []testCase {
	const uid, gid = 4321, 8765
	return []testCase{
		{"Owner/OfNewNodes", Tree{dir("d")}, func(e *env) {
			e.setAttr(e.at("d").Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0777})
			d := e.at("d").Node
			u := e.as(uid, gid)
			if !privileged() {
				// Then nodes belong to this process, whoever the caller is.
				ent, h, err := u.fs.Create(u.ctx, d, "f", unix.O_RDWR, 0644)
				e.entry(ent, err)
				e.ok(h.Close())
				if ent.Attr.UID != uint32(unix.Geteuid()) {
					e.Errorf("owner is %d", ent.Attr.UID)
				}
				return
			}
			made := map[string]vfs.Entry{}
			ent, h, err := u.fs.Create(u.ctx, d, "f", unix.O_RDWR, 04755)
			made["f"] = e.entry(ent, err)
			e.ok(h.Close())
			made["d"] = e.entry(u.fs.Mkdir(u.ctx, d, "d", 0750))
			made["s"] = e.entry(u.fs.Symlink(u.ctx, d, "s", "t"))
			made["p"] = e.entry(u.fs.Mknod(u.ctx, d, "p", unix.S_IFIFO|0622, 0))
			if !e.lacks(Tmpfile) {
				ent, h, err = u.fs.Tmpfile(u.ctx, d, unix.O_RDWR, 0600)
				made["tmp"] = e.entry(ent, err)
				e.ok(h.Close())
			}
			modes := map[string]uint32{"f": unix.S_IFREG | 04755, "d": unix.S_IFDIR | 0750, "s": unix.S_IFLNK | 0777, "p": unix.S_IFIFO | 0622, "tmp": unix.S_IFREG | 0600}
			for name, ent := range made {
				if a := e.attr(ent.Node); a.UID != uid || a.GID != gid || a.Mode != modes[name] || ent.Attr.UID != uid || ent.Attr.Mode != modes[name] {
					e.Errorf("%s was made as %+v, is %+v", name, ent.Attr, a)
				}
			}
			// Without a caller, this process is it.
			if a := e.touch(d, "mine").Attr; a.UID != uint32(unix.Geteuid()) || a.GID != uint32(unix.Getegid()) {
				e.Errorf("owner is %d %d", a.UID, a.GID)
			}
		}},
		{"Owner/SetgidDirectory", Tree{dir("d")}, func(e *env) {
			d := e.at("d").Node
			if !privileged() {
				return // giving a directory to another group needs the privilege
			}
			e.setAttr(d, nil, vfs.SetAttr{Valid: vfs.SetGID, GID: 999})
			e.setAttr(d, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 02777})
			u := e.as(uid, gid)
			for name, make := range map[string]func() (vfs.Entry, error){
				"f": func() (vfs.Entry, error) { return u.fs.Mknod(u.ctx, d, "f", unix.S_IFREG|0644, 0) },
				"d": func() (vfs.Entry, error) { return u.fs.Mkdir(u.ctx, d, "d", 0755) },
				"s": func() (vfs.Entry, error) { return u.fs.Symlink(u.ctx, d, "s", "t") },
			} {
				a := e.entry(make()).Attr
				if a.UID != uid || a.GID != 999 {
					e.Errorf("%s belongs to %d %d", name, a.UID, a.GID)
				}
				if inherits := a.Mode&unix.S_ISGID != 0; inherits != (name == "d") {
					e.Errorf("%s has mode %o", name, a.Mode)
				}
			}
			// Also where the directory's group is this process's own.
			e.setAttr(d, nil, vfs.SetAttr{Valid: vfs.SetGID, GID: uint32(unix.Getegid())})
			e.setAttr(d, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 02777})
			if a := e.entry(u.fs.Mkdir(u.ctx, d, "d2", 0755)).Attr; a.GID != uint32(unix.Getegid()) || a.Mode&unix.S_ISGID == 0 {
				e.Errorf("the directory is %+v", a)
			}
		}},
		{"Owner/Change", Tree{{Path: "f", Data: "x", Mode: 06755}, dir("d"), symlink("s", "f")}, func(e *env) {
			f, s := e.at("f"), e.at("s").Node
			if !privileged() {
				_, err := e.fs.SetAttr(e.ctx, f.Node, nil, vfs.SetAttr{Valid: vfs.SetUID, UID: uid})
				e.want(err, syscall.EPERM)
				return
			}
			a := e.setAttr(f.Node, nil, vfs.SetAttr{Valid: vfs.SetUID, UID: uid})
			if a.UID != uid || a.GID != f.Attr.GID || a.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
				e.Errorf("the file is %+v", a)
			}
			a = e.setAttr(f.Node, nil, vfs.SetAttr{Valid: vfs.SetGID, GID: gid})
			if a.UID != uid || a.GID != gid {
				e.Errorf("the file is %+v", a)
			}
			a = e.setAttr(s, nil, vfs.SetAttr{Valid: vfs.SetUID | vfs.SetGID, UID: 1, GID: 2})
			if a.UID != 1 || a.GID != 2 {
				e.Errorf("the link is %+v", a)
			}
			if a := e.attr(f.Node); a.UID != uid {
				e.Errorf("the link's target is %+v", a)
			}
			// A mode given together with an owner counts.
			a = e.setAttr(f.Node, nil, vfs.SetAttr{Valid: vfs.SetUID | vfs.SetMode, UID: 3, Mode: 04711})
			if a.UID != 3 || a.Mode != unix.S_IFREG|04711 {
				e.Errorf("the file is %+v", a)
			}
		}},
		{"Owner/WriteClearsSetuid", Tree{{Path: "f", Data: "x", Mode: 06777}, {Path: "g", Data: "x", Mode: 06777}, {Path: "h", Data: "x", Mode: 02767}}, func(e *env) {
			u := e.as(uid, gid)
			if privileged() {
				for _, path := range []string{"f", "g", "h"} {
					mode := e.at(path).Attr.Mode
					e.setAttr(e.at(path).Node, nil, vfs.SetAttr{Valid: vfs.SetUID | vfs.SetMode, UID: uid, Mode: mode})
				}
			}
			f, g, h := e.at("f").Node, e.at("g").Node, e.at("h").Node
			u.writeAt(e.open(f, unix.O_WRONLY), "y", 0)
			if a := e.attr(f); a.Mode != unix.S_IFREG|0777 {
				e.Errorf("after a write the mode is %o", a.Mode)
			}
			u.setAttr(g, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 0})
			if a := e.attr(g); a.Mode != unix.S_IFREG|0777 {
				e.Errorf("after a truncation the mode is %o", a.Mode)
			}
			u.writeAt(e.open(h, unix.O_WRONLY), "y", 0) // setgid without group execution is no such bit
			if a := e.attr(h); a.Mode != unix.S_IFREG|02767 {
				e.Errorf("after a write the mode is %o", a.Mode)
			}
		}},
	}
}
