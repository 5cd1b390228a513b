package vfstest

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// tmpfile makes a file without a name that holds data.
func (e *env) tmpfile(parent vfs.NodeID, data string) (vfs.Entry, vfs.Handle) {
	e.Helper()
	ent, h, err := e.fs.Tmpfile(e.ctx, parent, unix.O_RDWR, 0640)
	if err != nil {
		e.Fatalf("Tmpfile: %v (%s)", err, errName(err))
	}
	e.handles[h] = true
	e.writeAt(h, data, 0)
	return e.keep(ent), h
}

func tmpfileCases() []testCase {
	return []testCase{
		{"Tmpfile", Tree{dir("d"), file("f", "")}, func(e *env) {
			d := e.at("d").Node
			if e.lacks(Tmpfile) {
				ent, _, err := e.fs.Tmpfile(e.ctx, d, unix.O_RDWR, 0640)
				e.wantEntry(ent, err, syscall.EOPNOTSUPP)
				return
			}
			ent, h := e.tmpfile(d, "abc")
			if a := e.attr(ent.Node); a.Nlink != 0 || a.Mode != unix.S_IFREG|0640 || a.Size != 3 {
				e.Errorf("attributes are %+v", a)
			}
			e.names(d)
			_, err := e.fs.Path(e.ctx, ent.Node)
			e.want(err, syscall.ENOENT)
			e.readAt(h, 0, "abc")
			other := e.open(ent.Node, unix.O_RDONLY)
			e.readAt(other, 0, "abc")
			bad, _, err := e.fs.Tmpfile(e.ctx, e.at("f").Node, unix.O_RDWR, 0640)
			e.wantEntry(bad, err, syscall.ENOTDIR)
		}},
		{"Tmpfile/Link", Tree{dir("d"), file("f", "")}, func(e *env) {
			if e.lacks(Tmpfile) {
				return // Tmpfile has checked what is promised then
			}
			d := e.at("d").Node
			ent, h := e.tmpfile(d, "abc")
			l, err := e.fs.Link(e.ctx, ent.Node, vfs.RootID, "f")
			e.wantEntry(l, err, syscall.EEXIST)
			l = e.entry(e.fs.Link(e.ctx, ent.Node, d, "named"))
			if l.Node != ent.Node || l.Attr.Nlink != 1 {
				e.Errorf("linked, it is %+v", l)
			}
			e.writeAt(h, "X", 0)
			e.contents(e.at("d/named").Node, "Xbc")
			if e.at("d/named").Node != ent.Node {
				e.Error("looked up, it is another node")
			}
			e.ok(e.fs.Unlink(e.ctx, d, "named"))
			e.readAt(h, 0, "Xbc")
		}},
		{"Tmpfile/LinkAfterClose", nil, func(e *env) {
			if e.lacks(Tmpfile) {
				return // Tmpfile has checked what is promised then
			}
			ent, h := e.tmpfile(vfs.RootID, "abc")
			e.close(h)
			e.entry(e.fs.Link(e.ctx, ent.Node, vfs.RootID, "f"))
			e.contents(e.at("f").Node, "abc")
		}},
		{"Replace", Tree{{Path: "f", Data: "old contents", Mode: 0640}}, func(e *env) { replaceCase(e, true, "f") }},
		{"Replace/SeveralNames", Tree{{Path: "f", Data: "old contents", Mode: 0640}, {Path: "g", LinkTo: "f"}}, func(e *env) {
			replaceCase(e, false, "f", "g")
		}},
		{"Replace/Errors", Tree{file("f", "x"), file("g", "g"), dir("d"), symlink("s", "f")}, func(e *env) {
			if e.lacks(Tmpfile) {
				return // there is nothing to replace with
			}
			f := e.at("f").Node
			_, h := e.tmpfile(vfs.RootID, "new")
			e.want(e.fs.Replace(e.ctx, e.at("d").Node, h), syscall.EISDIR)
			e.want(e.fs.Replace(e.ctx, e.at("s").Node, h), syscall.EINVAL)
			e.want(e.fs.Replace(e.ctx, f, e.open(f, unix.O_RDWR)), syscall.EINVAL)
			e.want(e.fs.Replace(e.ctx, f, e.open(e.at("g").Node, unix.O_RDWR)), syscall.EINVAL)
			e.want(e.fs.Replace(e.ctx, 1<<60, h), syscall.ESTALE)
			e.contents(f, "x")
			e.contents(e.at("g").Node, "g")
		}},
	}
}

// replaceCase replaces the contents of "f" and checks that all of its names show
// them and that nothing else of it changed. oneStep tells whether it has to work
// where Replace is not lacking: names in several directories may not be possible
// to change together.
func replaceCase(e *env, oneStep bool, names ...string) {
	if e.lacks(Tmpfile) {
		return // there is nothing to replace with
	}
	f := e.at(names[0])
	early := e.open(f.Node, unix.O_RDWR)
	e.readAt(early, 0, "old contents")
	if !e.lacks(UserXattrs) {
		e.ok(e.fs.SetXattr(e.ctx, f.Node, "user.a", []byte("1"), 0))
	}
	data := strings.Repeat("new ", 5000)
	_, h := e.tmpfile(vfs.RootID, data)
	err := e.fs.Replace(e.ctx, f.Node, h)
	if vfs.Errno(err) == syscall.EOPNOTSUPP && (e.lacks(Replace) || !oneStep) {
		e.contents(f.Node, "old contents")
		return
	}
	e.ok(err)
	e.readAt(early, 0, data)
	e.contents(f.Node, data)
	e.close(h)
	for _, name := range names {
		ent := e.at(name)
		if ent.Node != f.Node || ent.Attr.Ino != f.Attr.Ino || int(ent.Attr.Nlink) != len(names) || ent.Attr.Mode != f.Attr.Mode || ent.Attr.UID != f.Attr.UID {
			e.Errorf("%s is %+v, was %+v", name, ent, f)
		}
		e.contents(ent.Node, data)
	}
	if !e.lacks(UserXattrs) && e.xattr(f.Node, "user.a") != "1" {
		e.Error("the attribute is gone")
	}
	e.writeAt(early, "X", 0)
	e.contents(f.Node, "X"+data[1:])
	e.ok(e.fs.Rename(e.ctx, vfs.RootID, names[0], vfs.RootID, "moved", 0))
	e.contents(e.at("moved").Node, "X"+data[1:])
}
