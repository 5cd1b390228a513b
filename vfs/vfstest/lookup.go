package vfstest

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// strangeNames are names that a filesystem must take as they are.
func strangeNames() []string {
	return []string{
		strings.Repeat("n", 255), strings.Repeat("é", 127), "...", "..a", " ", "-rf", "a\nb", "\x01\x7f", "\xff\xfe\x80",
		"caf\u00e9", "cafe\u0301", "back\\slash", "a:b", "*?[", ".wh.x", "#", "~", ".fuse_hidden1", "con",
	}
}

func strangeTree() Tree {
	var tr Tree
	for _, n := range strangeNames() {
		tr = append(tr, file(n, n))
	}
	return tr
}

func lookupCases() []testCase {
	return []testCase{
		{"Lookup/Found", Tree{dir("d"), file("d/f", "x"), symlink("s", "nowhere")}, func(e *env) {
			d, f, s := e.at("d"), e.at("d/f"), e.at("s")
			if !d.Attr.IsDir() || !f.Attr.IsRegular() || !s.Attr.IsSymlink() {
				e.Fatalf("types are %o %o %o", d.Attr.Mode, f.Attr.Mode, s.Attr.Mode)
			}
			if again := e.at("d/f"); again.Node != f.Node || again.Attr.Ino != f.Attr.Ino {
				e.Fatalf("the same name is node %d, then %d", f.Node, again.Node)
			}
			if f.Node == d.Node || f.Attr.Ino == d.Attr.Ino {
				e.Fatal("two files are one node")
			}
		}},
		{"Lookup/Missing", Tree{dir("d"), file("f", "")}, func(e *env) {
			ent, err := e.fs.Lookup(e.ctx, vfs.RootID, "none")
			e.wantEntry(ent, err, syscall.ENOENT)
			e.missing("d/none")
			ent, err = e.fs.Lookup(e.ctx, e.at("f").Node, "x")
			e.wantEntry(ent, err, syscall.ENOTDIR)
			ent, err = e.fs.Lookup(e.ctx, 1<<60, "x")
			e.wantEntry(ent, err, syscall.ESTALE)
		}},
		{"Lookup/AppearsAfterMissing", nil, func(e *env) {
			e.missing("f")
			e.touch(vfs.RootID, "f")
			e.at("f")
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			e.missing("f")
		}},
		{"Node/Unknown", nil, unknownNode},
		{"Node/Forget", Tree{file("f", "x"), dir("d")}, func(e *env) {
			n := e.at("f").Node
			for range 3 {
				e.at("f")
			}
			e.forgetAll()
			if again := e.at("f"); again.Node == n {
				e.contents(n, "x") // still remembered: it must be the same file
			}
			n = e.at("f").Node
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			e.attr(n)
			e.forgetAll()
			_, err := e.fs.GetAttr(e.ctx, n, nil)
			e.want(err, syscall.ESTALE)
			e.bare.Forget(n, 5) // a fault of the caller, ignored
			e.bare.Forget(1<<60, 1)
			e.attr(vfs.RootID)
		}},
		{"Node/IdsAreNotReused", nil, func(e *env) {
			seen := map[vfs.NodeID]bool{}
			for range 200 {
				n := e.touch(vfs.RootID, "f").Node
				if seen[n] {
					e.Fatalf("node id %d minted twice", n)
				}
				seen[n] = true
				e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
				e.forgetAll()
			}
		}},
	}
}

func unknownNode(e *env) {
	const n = vfs.NodeID(1 << 60)
	_, err := e.fs.GetAttr(e.ctx, n, nil)
	e.want(err, syscall.ESTALE)
	_, err = e.fs.SetAttr(e.ctx, n, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
	e.want(err, syscall.ESTALE)
	_, err = e.fs.Readlink(e.ctx, n)
	e.want(err, syscall.ESTALE)
	_, err = e.fs.Open(e.ctx, n, unix.O_RDONLY)
	e.want(err, syscall.ESTALE)
	_, err = e.fs.OpenDir(e.ctx, n)
	e.want(err, syscall.ESTALE)
	_, _, err = e.fs.Create(e.ctx, n, "f", unix.O_RDWR, 0600)
	e.want(err, syscall.ESTALE)
	_, err = e.fs.Mkdir(e.ctx, n, "d", 0700)
	e.want(err, syscall.ESTALE)
	_, err = e.fs.Link(e.ctx, n, vfs.RootID, "l")
	e.want(err, syscall.ESTALE)
	e.want(e.fs.Unlink(e.ctx, n, "f"), syscall.ESTALE)
	e.want(e.fs.Rename(e.ctx, n, "f", vfs.RootID, "g", 0), syscall.ESTALE)
	_, err = e.fs.GetXattr(e.ctx, n, "user.x", nil)
	e.want(err, syscall.ESTALE)
	_, err = e.fs.StatFS(e.ctx, n)
	e.want(err, syscall.ESTALE)
	_, err = e.fs.Path(e.ctx, n)
	e.want(err, syscall.ESTALE)
}

func nameCases() []testCase {
	bad := []struct {
		name  string
		errno syscall.Errno
	}{
		{"", syscall.EINVAL}, {".", syscall.EINVAL}, {"..", syscall.EINVAL}, {"a/b", syscall.EINVAL}, {"/", syscall.EINVAL},
		{"a\x00b", syscall.EINVAL}, {strings.Repeat("n", 256), syscall.ENAMETOOLONG}, {strings.Repeat("n", 5000), syscall.ENAMETOOLONG},
	}
	return []testCase{
		{"Names/Bad", Tree{file("f", "")}, func(e *env) {
			f := e.at("f").Node
			for _, b := range bad {
				ent, err := e.fs.Lookup(e.ctx, vfs.RootID, b.name)
				e.wantEntry(ent, err, b.errno)
				ent, _, err = e.fs.Create(e.ctx, vfs.RootID, b.name, unix.O_RDWR, 0600)
				e.wantEntry(ent, err, b.errno)
				ent, err = e.fs.Mkdir(e.ctx, vfs.RootID, b.name, 0700)
				e.wantEntry(ent, err, b.errno)
				ent, err = e.fs.Mknod(e.ctx, vfs.RootID, b.name, unix.S_IFIFO|0600, 0)
				e.wantEntry(ent, err, b.errno)
				ent, err = e.fs.Symlink(e.ctx, vfs.RootID, b.name, "x")
				e.wantEntry(ent, err, b.errno)
				ent, err = e.fs.Link(e.ctx, f, vfs.RootID, b.name)
				e.wantEntry(ent, err, b.errno)
				e.want(e.fs.Unlink(e.ctx, vfs.RootID, b.name), b.errno)
				e.want(e.fs.Rmdir(e.ctx, vfs.RootID, b.name), b.errno)
				e.want(e.fs.Rename(e.ctx, vfs.RootID, b.name, vfs.RootID, "x", 0), b.errno)
				e.want(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, b.name, 0), b.errno)
			}
			e.names(vfs.RootID, "f")
		}},
		{"Names/Strange", strangeTree(), func(e *env) {
			e.names(vfs.RootID, strangeNames()...)
			for _, n := range strangeNames() {
				ent := e.at(n)
				e.contents(ent.Node, n)
				if p, err := e.fs.Path(e.ctx, ent.Node); err != nil || p != n {
					e.Fatalf("Path of %q: %q, %v", n, p, err)
				}
			}
			for _, n := range strangeNames() {
				e.ok(e.fs.Rename(e.ctx, vfs.RootID, n, vfs.RootID, "tmp", 0))
				e.missing(n)
				e.ok(e.fs.Rename(e.ctx, vfs.RootID, "tmp", vfs.RootID, n, 0))
			}
			e.names(vfs.RootID, strangeNames()...)
			for _, n := range strangeNames() {
				e.ok(e.fs.Unlink(e.ctx, vfs.RootID, n))
				e.mkdir(vfs.RootID, n)
			}
			e.names(vfs.RootID, strangeNames()...)
		}},
		{"Names/Deep", nil, func(e *env) {
			// Far deeper than PATH_MAX allows a path to be.
			name, n := strings.Repeat("d", 200), vfs.RootID
			for range 60 {
				n = e.mkdir(n, name).Node
			}
			f := e.touch(n, "f")
			p, err := e.fs.Path(e.ctx, f.Node)
			e.ok(err)
			if want := strings.Repeat(name+"/", 60) + "f"; p != want {
				e.Fatalf("Path has %d bytes, want %d", len(p), len(want))
			}
			e.forgetAll()
			e.contents(e.at(p).Node, "")
		}},
		{"Path", Tree{dir("a"), dir("a/b"), file("a/b/f", ""), file("g", ""), {Path: "a/h", LinkTo: "g"}}, func(e *env) {
			path := func(n vfs.NodeID, want ...string) {
				e.Helper()
				p, err := e.fs.Path(e.ctx, n)
				e.ok(err)
				for _, w := range want {
					if p == w {
						return
					}
				}
				e.Fatalf("Path is %q, want one of %q", p, want)
			}
			path(vfs.RootID, "")
			f, b, g := e.at("a/b/f").Node, e.at("a/b").Node, e.at("g").Node
			path(f, "a/b/f")
			path(b, "a/b")
			path(g, "g", "a/h")
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "a", vfs.RootID, "z", 0))
			path(f, "z/b/f")
			e.at("z/h")
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "g"))
			path(g, "z/h")
			e.ok(e.fs.Unlink(e.ctx, b, "f"))
			_, err := e.fs.Path(e.ctx, f)
			e.want(err, syscall.ENOENT)
			e.ok(e.fs.Rmdir(e.ctx, e.at("z").Node, "b"))
			_, err = e.fs.Path(e.ctx, b)
			e.want(err, syscall.ENOENT)
		}},
	}
}
