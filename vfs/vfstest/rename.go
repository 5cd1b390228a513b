package vfstest

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func renameCases() []testCase {
	full := Tree{dir("d"), dir("d/sub"), file("d/sub/f", "x"), file("d/g", "g"), file("f", "f"), dir("e")}
	return []testCase{
		{"Rename/Errors", full, func(e *env) {
			d, sub, f := e.at("d").Node, e.at("d/sub").Node, e.at("f").Node
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "none", vfs.RootID, "x", 0), syscall.ENOENT)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "none", vfs.RootID, "f", 0), syscall.ENOENT)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "f", f, "x", 0), syscall.ENOTDIR)
			e.want(e.fs.Rename(e.ctx, f, "x", vfs.RootID, "y", 0), syscall.ENOTDIR)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "d", d, "x", 0), syscall.EINVAL)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "d", sub, "x", 0), syscall.EINVAL)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "d", d, "sub", 0), syscall.EINVAL)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "d", sub, "f", vfs.Exchange), syscall.EINVAL)
			e.want(e.fs.Rename(e.ctx, d, "sub", vfs.RootID, "d", 0), syscall.ENOTEMPTY)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, "x", 1<<30), syscall.EINVAL)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, "x", unix.RENAME_WHITEOUT), syscall.EINVAL)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, "d", vfs.Exchange|vfs.NoReplace), syscall.EINVAL)
			e.names(vfs.RootID, "d", "e", "f")
			e.names(d, "g", "sub")
		}},
		{"Rename/OntoItself", full, func(e *env) {
			for _, name := range []string{"f", "d"} {
				n := e.at(name).Node
				e.ok(e.fs.Rename(e.ctx, vfs.RootID, name, vfs.RootID, name, 0))
				e.want(e.fs.Rename(e.ctx, vfs.RootID, name, vfs.RootID, name, vfs.NoReplace), syscall.EEXIST)
				e.ok(e.fs.Rename(e.ctx, vfs.RootID, name, vfs.RootID, name, vfs.Exchange))
				if e.at(name).Node != n {
					e.Errorf("%s is another node", name)
				}
			}
			e.contents(e.at("d/sub/f").Node, "x")
		}},
		{"Rename/OntoHardLink", Tree{file("a", "x"), {Path: "b", LinkTo: "a"}, dir("d"), {Path: "d/c", LinkTo: "a"}}, func(e *env) {
			a := e.at("a").Node
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "a", vfs.RootID, "b", 0))
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "a", e.at("d").Node, "c", 0))
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "a", vfs.RootID, "b", vfs.NoReplace), syscall.EEXIST)
			for _, path := range []string{"a", "b", "d/c"} {
				if e.at(path).Node != a {
					e.Errorf("%s is another node", path)
				}
			}
			if n := e.attr(a).Nlink; n != 3 {
				e.Errorf("link count is %d, want 3", n)
			}
		}},
		{"Rename/OpenFiles", Tree{file("a", "aa"), file("b", "bb")}, func(e *env) {
			a, b := e.at("a"), e.at("b")
			ha, hb := e.open(a.Node, unix.O_RDWR), e.open(b.Node, unix.O_RDWR)
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "a", vfs.RootID, "b", 0))
			e.readAt(ha, 0, "aa")
			e.readAt(hb, 0, "bb")
			e.writeAt(ha, "A", 0)
			e.writeAt(hb, "B", 0)
			e.contents(e.at("b").Node, "Aa")
			e.readAt(hb, 0, "Bb")
			if n := e.attr(b.Node).Nlink; n != 0 {
				e.Errorf("the replaced file has link count %d", n)
			}
		}},
		{"Rename/SaveByRename", Tree{file("f", "old")}, func(e *env) {
			// What editors do: write beside, then rename over.
			old := e.at("f")
			ent, h := e.create(vfs.RootID, "f.tmp", unix.O_WRONLY, 0644)
			e.writeAt(h, "new", 0)
			e.ok(h.Sync(e.ctx, false))
			e.close(h)
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "f.tmp", vfs.RootID, "f", 0))
			if e.at("f").Node != ent.Node {
				e.Error("the name is another node")
			}
			e.contents(ent.Node, "new")
			e.contents(old.Node, "old")
			e.names(vfs.RootID, "f")
			// And with a backup kept by a rename first.
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, "f~", 0))
			e.missing("f")
			_, h = e.create(vfs.RootID, "f", unix.O_WRONLY, 0644)
			e.writeAt(h, "third", 0)
			e.contents(e.at("f").Node, "third")
			e.contents(e.at("f~").Node, "new")
		}},
		{"Rename/Directory", full, func(e *env) {
			f, sub, d := e.at("d/sub/f").Node, e.at("d/sub").Node, e.at("d").Node
			h := e.open(f, unix.O_RDWR)
			dh := e.openDir(sub)
			defer dh.Close()
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "d", e.at("e").Node, "moved", 0))
			e.missing("d")
			if e.at("e/moved").Node != d || e.at("e/moved/sub").Node != sub || e.at("e/moved/sub/f").Node != f {
				e.Error("something below the renamed directory is another node")
			}
			e.writeAt(h, "y", 0)
			e.contents(e.at("e/moved/sub/f").Node, "y")
			e.touch(sub, "new")
			if got := listed(readAll(e, dh, 0)); fmt.Sprint(got) != "[f new]" {
				e.Errorf("listed %v", got)
			}
			// The old name is free, and nothing shows through it.
			e.names(e.mkdir(vfs.RootID, "d").Node)
			e.missing("d/sub")
			// And back, with what was made meanwhile.
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
			e.ok(e.fs.Rename(e.ctx, e.at("e").Node, "moved", vfs.RootID, "d", 0))
			e.names(e.at("d/sub").Node, "f", "new")
			e.names(e.at("e").Node)
			// Out of what was renamed, and the parent after it.
			e.ok(e.fs.Rename(e.ctx, sub, "f", vfs.RootID, "out", 0))
			e.contents(e.at("out").Node, "y")
			e.missing("d/sub/f")
		}},
		{"Rename/DirectoryTwice", full, func(e *env) {
			f := e.at("d/sub/f").Node
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "d", vfs.RootID, "d2", 0))
			e.ok(e.fs.Rename(e.ctx, e.at("d2").Node, "sub", e.at("d2").Node, "sub2", 0))
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "d2", vfs.RootID, "d3", 0))
			e.ok(e.fs.Rename(e.ctx, e.at("d3").Node, "sub2", vfs.RootID, "top", 0))
			if e.at("top/f").Node != f {
				e.Error("the file is another node")
			}
			e.names(e.at("d3").Node, "g")
			e.names(e.at("top").Node, "f")
			e.names(vfs.RootID, "d3", "e", "f", "top")
			e.contents(f, "x")
		}},
		{"Rename/ExchangeParentAndOther", full, func(e *env) {
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "d", e.at("d").Node, "sub", vfs.Exchange), syscall.EINVAL)
			e.want(e.fs.Rename(e.ctx, e.at("d").Node, "sub", vfs.RootID, "d", vfs.Exchange), syscall.EINVAL, syscall.ENOTEMPTY)
			e.ok(e.fs.Rename(e.ctx, e.at("d").Node, "sub", vfs.RootID, "f", vfs.Exchange))
			e.contents(e.at("d/sub").Node, "f")
			e.contents(e.at("f/f").Node, "x")
		}},
	}
}

// kind is what stands at one side of a rename.
type kind string

const (
	absent   kind = "absent"
	aFile    kind = "file"
	emptyDir kind = "emptydir"
	fullDir  kind = "fulldir"
	aSymlink kind = "symlink"
)

func (k kind) isDir() bool { return k == emptyDir || k == fullDir }

func (k kind) tree(path, mark string) Tree {
	switch k {
	case aFile:
		return Tree{file(path, mark)}
	case emptyDir:
		return Tree{dir(path)}
	case fullDir:
		return Tree{dir(path), file(path+"/in", mark)}
	case aSymlink:
		return Tree{symlink(path, mark)}
	}
	return nil
}

// check checks that what is at path is what tree made, and the node n.
func (k kind) check(e *env, path, mark string, n vfs.NodeID) {
	e.Helper()
	ent := e.at(path)
	if ent.Node != n {
		e.Errorf("%s is another node", path)
	}
	k.checkNode(e, ent.Node, mark)
}

func (k kind) checkNode(e *env, n vfs.NodeID, mark string) {
	e.Helper()
	switch k {
	case aFile:
		e.contents(n, mark)
	case emptyDir:
		e.names(n)
	case fullDir:
		e.names(n, "in")
		in, err := e.fs.Lookup(e.ctx, n, "in")
		e.contents(e.entry(in, err).Node, mark)
	case aSymlink:
		if t, err := e.fs.Readlink(e.ctx, n); err != nil || t != mark {
			e.Errorf("Readlink: %q, %v; want %q", t, err, mark)
		}
	}
}

// renameErrno is what a rename of src onto dst answers.
func renameErrno(src, dst kind, flags vfs.RenameFlags) syscall.Errno {
	switch {
	case flags == vfs.Exchange && dst == absent:
		return syscall.ENOENT
	case flags == vfs.Exchange:
		return 0
	case flags == vfs.NoReplace && dst != absent:
		return syscall.EEXIST
	case dst == absent:
		return 0
	case src.isDir() && !dst.isDir():
		return syscall.ENOTDIR
	case !src.isDir() && dst.isDir():
		return syscall.EISDIR
	case dst == fullDir:
		return syscall.ENOTEMPTY
	}
	return 0
}

// renameMatrix renames every kind of file onto every kind, with all flags, in a
// directory and across two.
func renameMatrix() []testCase {
	srcs := []kind{aFile, emptyDir, fullDir, aSymlink}
	dsts := []kind{absent, aFile, emptyDir, fullDir, aSymlink}
	var all []testCase
	for name, flags := range map[string]vfs.RenameFlags{"Plain": 0, "NoReplace": vfs.NoReplace, "Exchange": vfs.Exchange} {
		for where, to := range map[string]string{"SameDir": "a", "Across": "b"} {
			tree := Tree{dir("a"), dir("b")}
			for _, s := range srcs {
				for _, d := range dsts {
					tree = append(tree, s.tree(fmt.Sprintf("a/src-%s-%s", s, d), "source")...)
					tree = append(tree, d.tree(fmt.Sprintf("%s/dst-%s-%s", to, s, d), "target")...)
				}
			}
			all = append(all, testCase{"Rename/Matrix/" + name + "/" + where, tree, func(e *env) {
				for _, s := range srcs {
					for _, d := range dsts {
						renameOne(e, s, d, to, flags)
					}
				}
			}})
		}
	}
	return all
}

func renameOne(e *env, s, d kind, to string, flags vfs.RenameFlags) {
	e.Helper()
	from, into := fmt.Sprintf("src-%s-%s", s, d), fmt.Sprintf("dst-%s-%s", s, d)
	a, b := e.at("a").Node, e.at(to).Node
	src := e.at("a/" + from).Node
	var dst vfs.NodeID
	if d != absent {
		dst = e.at(to + "/" + into).Node
	}
	err := e.fs.Rename(e.ctx, a, from, b, into, flags)
	if want := renameErrno(s, d, flags); want != 0 {
		if vfs.Errno(err) != want {
			e.Errorf("%s onto %s with flags %d: %s, want %s", s, d, flags, errName(err), errName(want))
			return
		}
		s.check(e, "a/"+from, "source", src)
		if d == absent {
			e.missing(to + "/" + into)
		} else {
			d.check(e, to+"/"+into, "target", dst)
		}
		return
	}
	if err != nil {
		e.Errorf("%s onto %s with flags %d: %s", s, d, flags, errName(err))
		return
	}
	s.check(e, to+"/"+into, "source", src)
	if flags == vfs.Exchange {
		d.check(e, "a/"+from, "target", dst)
		return
	}
	e.missing("a/" + from)
	if d != absent {
		if n := e.attr(dst).Nlink; n != 0 {
			e.Errorf("the replaced %s has link count %d", d, n)
		}
		if d.isDir() {
			e.removed(dst)
		} else {
			d.checkNode(e, dst, "target")
		}
	}
}
