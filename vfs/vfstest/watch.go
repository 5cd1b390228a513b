package vfstest

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// watcher records what it is told. While it is told it uses the filesystem,
// which would hang or fail if a lock were held.
type watcher struct {
	fs vfs.FS

	mu      sync.Mutex
	entries map[string]bool     // "parent/name"
	nodes   map[vfs.NodeID]bool // to: with data
}

func (w *watcher) EntryChanged(ctx context.Context, parent vfs.NodeID, name string) {
	if ent, err := w.fs.Lookup(ctx, parent, name); err == nil {
		w.fs.Forget(ent.Node, 1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries[fmt.Sprintf("%d/%s", parent, name)] = true
}

func (w *watcher) NodeChanged(ctx context.Context, node vfs.NodeID, data bool) {
	w.fs.GetAttr(ctx, node, nil) // the node may be on its way out
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[node] = w.nodes[node] || data
}

// take returns what was told since the last time.
func (w *watcher) take() (entries map[string]bool, nodes map[vfs.NodeID]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	entries, nodes = w.entries, w.nodes
	w.entries, w.nodes = map[string]bool{}, map[vfs.NodeID]bool{}
	return entries, nodes
}

// change is what a watcher has to be told.
type change struct {
	entries []string     // "parent/name"
	data    []vfs.NodeID // contents or listing
	attrs   []vfs.NodeID // at least the attributes
}

// told checks that w was told of c and of no other name. Being told of more
// nodes costs a cache something and nothing else.
func (e *env) told(w *watcher, what string, c change) {
	e.Helper()
	entries, nodes := w.take()
	for _, s := range c.entries {
		if !entries[s] {
			e.Errorf("%s: not told of entry %s, only %v", what, s, entries)
		}
		delete(entries, s)
	}
	if len(entries) > 0 {
		e.Errorf("%s: told of entries %v that did not change", what, entries)
	}
	for _, n := range c.data {
		if !nodes[n] {
			e.Errorf("%s: not told that the contents of node %d changed, only %v", what, n, nodes)
		}
	}
	for _, n := range c.attrs {
		if _, ok := nodes[n]; !ok {
			e.Errorf("%s: not told that node %d changed, only %v", what, n, nodes)
		}
	}
	if len(c.entries)+len(c.data)+len(c.attrs) == 0 && len(nodes) > 0 {
		e.Errorf("%s: told of %v although nothing changed", what, nodes)
	}
}

func (e *env) watch() (*watcher, func()) {
	w := &watcher{fs: e.bare, entries: map[string]bool{}, nodes: map[vfs.NodeID]bool{}}
	return w, e.fs.Watch(w)
}

func watchCases() []testCase {
	tree := Tree{dir("d"), file("f", "0123"), file("d/g", "g"), dir("e"), symlink("s", "t"), {Path: "h", LinkTo: "f"}}
	return []testCase{
		{"Watch/Names", tree, watchNames},
		{"Watch/Contents", tree, watchContents},
		{"Watch/NothingChanged", tree, func(e *env) {
			f, d := e.at("f").Node, e.at("d").Node
			h := e.open(f, unix.O_RDWR)
			w, stop := e.watch()
			defer stop()
			e.readAt(h, 0, "0123")
			e.names(d, "g")
			e.at("d/g")
			e.missing("none")
			e.close(e.open(f, unix.O_RDWR))
			ent, _, err := e.fs.Create(e.ctx, vfs.RootID, "f", unix.O_RDWR, 0644)
			e.wantEntry(ent, err, syscall.EEXIST)
			ent, err = e.fs.Mkdir(e.ctx, vfs.RootID, "f", 0755)
			e.wantEntry(ent, err, syscall.EEXIST)
			e.want(e.fs.Unlink(e.ctx, vfs.RootID, "none"), syscall.ENOENT)
			e.want(e.fs.Rmdir(e.ctx, vfs.RootID, "d"), syscall.ENOTEMPTY)
			e.want(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, "d", 0), syscall.EISDIR)
			e.told(w, "reading and failing", change{})
		}},
		{"Watch/NotOfOnesOwn", tree, func(e *env) {
			f := e.at("f").Node
			own, stopOwn := e.watch()
			defer stopOwn()
			other, stop := e.watch()
			c := *e
			c.ctx = vfs.WithCaller(e.ctx, &vfs.Caller{UID: uint32(unix.Geteuid()), GID: uint32(unix.Getegid()), Origin: own})
			c.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			c.touch(vfs.RootID, "new")
			e.refs, e.handles = c.refs, c.handles
			e.told(own, "its own changes", change{})
			e.told(other, "another's changes", change{entries: []string{"1/new"}, data: []vfs.NodeID{vfs.RootID}, attrs: []vfs.NodeID{f}})
			stop()
			stop() // again has no effect
			e.touch(vfs.RootID, "late")
			e.told(other, "after stop", change{})
			e.told(own, "a change without origin", change{entries: []string{"1/late"}, data: []vfs.NodeID{vfs.RootID}})
		}},
	}
}

func watchNames(e *env) {
	root := vfs.RootID
	d, dir2, f, g := e.at("d").Node, e.at("e").Node, e.at("f").Node, e.at("d/g").Node
	w, stop := e.watch()
	defer stop()
	at := func(parent vfs.NodeID, name string) string { return fmt.Sprintf("%d/%s", parent, name) }

	e.touch(d, "new")
	e.told(w, "Create", change{entries: []string{at(d, "new")}, data: []vfs.NodeID{d}})
	e.mkdir(d, "sub")
	e.told(w, "Mkdir", change{entries: []string{at(d, "sub")}, data: []vfs.NodeID{d}})
	e.entry(e.fs.Mknod(e.ctx, d, "fifo", unix.S_IFIFO|0600, 0))
	e.told(w, "Mknod", change{entries: []string{at(d, "fifo")}, data: []vfs.NodeID{d}})
	e.entry(e.fs.Symlink(e.ctx, d, "link", "t"))
	e.told(w, "Symlink", change{entries: []string{at(d, "link")}, data: []vfs.NodeID{d}})
	e.entry(e.fs.Link(e.ctx, f, d, "hard"))
	e.told(w, "Link", change{entries: []string{at(d, "hard")}, data: []vfs.NodeID{d}, attrs: []vfs.NodeID{f}})
	e.ok(e.fs.Unlink(e.ctx, d, "hard"))
	e.told(w, "Unlink", change{entries: []string{at(d, "hard")}, data: []vfs.NodeID{d}, attrs: []vfs.NodeID{f}})
	e.ok(e.fs.Rmdir(e.ctx, d, "sub"))
	e.told(w, "Rmdir", change{entries: []string{at(d, "sub")}, data: []vfs.NodeID{d}})
	e.ok(e.fs.Rename(e.ctx, d, "g", dir2, "g2", 0))
	e.told(w, "Rename", change{entries: []string{at(d, "g"), at(dir2, "g2")}, data: []vfs.NodeID{d, dir2}})
	e.ok(e.fs.Rename(e.ctx, d, "new", dir2, "g2", 0))
	e.told(w, "Rename over", change{entries: []string{at(d, "new"), at(dir2, "g2")}, data: []vfs.NodeID{d, dir2}, attrs: []vfs.NodeID{g}})
	e.ok(e.fs.Rename(e.ctx, root, "d", root, "e", vfs.Exchange))
	e.told(w, "Exchange", change{entries: []string{at(root, "d"), at(root, "e")}, data: []vfs.NodeID{root}})
	if e.lacks(Tmpfile) {
		return
	}
	tmp, _ := e.tmpfile(root, "x")
	w.take()
	e.entry(e.fs.Link(e.ctx, tmp.Node, root, "tmp"))
	e.told(w, "Link of a Tmpfile", change{entries: []string{at(root, "tmp")}, data: []vfs.NodeID{root}, attrs: []vfs.NodeID{tmp.Node}})
}

func watchContents(e *env) {
	f, g := e.at("f").Node, e.at("d/g").Node
	w, stop := e.watch()
	defer stop()
	e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0640})
	e.told(w, "a chmod", change{attrs: []vfs.NodeID{f}})
	e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMtimeNow})
	e.told(w, "a new time", change{attrs: []vfs.NodeID{f}})
	h := e.open(f, unix.O_RDWR)
	e.writeAt(h, "x", 0)
	e.told(w, "a write", change{data: []vfs.NodeID{f}})
	e.setAttr(f, h, vfs.SetAttr{Valid: vfs.SetSize, Size: 2})
	e.told(w, "a truncation", change{data: []vfs.NodeID{f}})
	if !e.lacks(Fallocate) {
		e.ok(h.Allocate(e.ctx, 0, 0, 100))
		e.told(w, "Allocate", change{data: []vfs.NodeID{f}})
	}
	hg := e.open(g, unix.O_RDWR)
	if !e.lacks(CopyRange) {
		e.copy(h, 0, hg, 0, 2, 2)
		e.told(w, "CopyRange", change{data: []vfs.NodeID{g}})
	}
	if !e.lacks(UserXattrs) {
		e.ok(e.fs.SetXattr(e.ctx, f, "user.a", nil, 0))
		e.told(w, "SetXattr", change{attrs: []vfs.NodeID{f}})
		e.ok(e.fs.RemoveXattr(e.ctx, f, "user.a"))
		e.told(w, "RemoveXattr", change{attrs: []vfs.NodeID{f}})
	}
	e.open(f, unix.O_RDONLY|unix.O_TRUNC)
	e.told(w, "O_TRUNC", change{data: []vfs.NodeID{f}})
	e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
	e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "h"))
	w.take()
	e.writeAt(h, "x", 0)
	e.told(w, "a write to a removed file", change{data: []vfs.NodeID{f}})
	if e.lacks(Replace) || e.lacks(Tmpfile) {
		return
	}
	_, tmp := e.tmpfile(vfs.RootID, "new")
	w.take()
	if e.fs.Replace(e.ctx, g, tmp) == nil {
		e.told(w, "Replace", change{data: []vfs.NodeID{g}})
	}
}
