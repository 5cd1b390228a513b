package overlay

import (
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// adopt returns the node for what was found as name in p, with a reference:
// one that is known by that name or another, or a new one. p.d.mu is held, and
// seen is what p.d.changes was before the search. It is false if what was found
// is perhaps not what is there by now.
func (fs *FS) adopt(p *node, name string, f *found, seen uint64) (n *node, a vfs.Attr, ok bool) {
	if !f.linked() {
		n, ok = fs.adoptSingle(p, name, f, seen)
	} else if n = fs.nodes.byIdent(f.id); n == nil {
		n, ok = fs.adoptLinked(p, name, f, seen)
	} else if ok = fs.adoptName(n, p, name, f, seen); !ok {
		fs.put(n)
	}
	if !ok {
		return nil, vfs.Attr{}, false
	}
	return n, fs.shown(n, f), true
}

// linked tells whether what was found may have further names. The index gives a
// lower file's further names to a copy that has no other name left itself.
func (f *found) linked() bool {
	return !f.attr.IsDir() && (f.attr.Nlink > 1 || f.idx != "")
}

// newFound makes a node of what was found as name in p. Nobody knows it yet.
func newFound(p *node, name string, f *found) *node {
	n := &node{typ: f.attr.Type(), up: f.up, orphan: -1, spare: -1, real: f.id, idx: f.idx, nlAdj: f.nlAdj}
	n.ino.Store(f.ino)
	if f.attr.IsDir() {
		n.d = &dirState{lowers: f.lowers, opaque: f.opaque, redirect: f.redirect}
		n.d.impure.Store(f.impure)
		if f.upper != nil {
			n.d.upper.Store(f.upper)
		}
	} else {
		n.dir, n.name, n.low = f.dir, f.name, f.low
	}
	n.link = link{parent: p, name: name, inUpper: f.inUpper}
	return n
}

// adoptSingle is adopt for what has one name.
func (fs *FS) adoptSingle(p *node, name string, f *found, seen uint64) (*node, bool) {
	n := newFound(p, name, f)
	o, ok := fs.enterKid(p, name, n, seen, true)
	if o != nil {
		return fs.sameKid(o, f)
	}
	return n, ok
}

// adoptLinked is adopt for what has several names and no node. The new node is
// found by its identity before it has this name, because a copy-up by way of
// another name must not happen in between; whoever finds it waits for its lock,
// and sees that it is stale if it gets no name.
func (fs *FS) adoptLinked(p *node, name string, f *found, seen uint64) (*node, bool) {
	n := newFound(p, name, f)
	fs.nodes.add(n)
	n.mu.Lock()
	var o *node
	ok := fs.registerLinkedLocked(n, f)
	if ok {
		o, ok = fs.enterKid(p, name, n, seen, false)
	}
	if !ok {
		n.stale, n.link = true, link{}
	}
	n.mu.Unlock()
	if ok {
		return n, true
	}
	fs.put(n)
	if o != nil {
		return fs.sameKid(o, f)
	}
	return nil, false
}

// enterKid has name in p stand for the new node n, whose link says so already;
// add asks that it enter the table as well. If another node has the name it
// returns that, with a reference, and else false if what n was made of may be
// outdated. p.d.mu is held.
func (fs *FS) enterKid(p *node, name string, n *node, seen uint64, add bool) (*node, bool) {
	d := p.d
	d.kmu.Lock()
	defer d.kmu.Unlock()
	if o := d.kids[name]; o != nil {
		if o.tryRef() {
			return o, false
		}
		d.dropKidLocked(name, o) // on its way out of memory
	}
	if d.evictions != seen {
		return nil, false
	}
	if add {
		fs.nodes.add(n)
	}
	p.ref()
	d.setKidLocked(name, n)
	return nil, true
}

// sameKid tells whether o, which another lookup was first to enter, is what was
// found; if not it gives o back, and the next attempt tells which of the two is
// outdated.
func (fs *FS) sameKid(o *node, f *found) (*node, bool) {
	o.mu.RLock()
	same := o.real == f.id && o.typ == f.attr.Type()
	o.mu.RUnlock()
	if !same {
		fs.put(o)
		return nil, false
	}
	return o, true
}

// registerLinkedLocked has further names of the new node n lead to it. It is
// false if another node stands for the file already, or its copy. n.mu is held
// exclusively, and p.d.mu.
func (fs *FS) registerLinkedLocked(n *node, f *found) bool {
	if o := fs.nodes.registerIdent(f.id, n); o != nil {
		fs.put(o)
		return false
	}
	// What was found before n was registered may have changed through another
	// node, by way of another name, which is gone from memory since. From here
	// on n.mu keeps the index and the link count as they are.
	if f.up {
		if f.idx == "" {
			return true
		}
		home := fs.homeFD(f.idx)
		up, id, err := at.Stat(home, f.idx)
		if err == nil && id == f.id {
			n.nlAdj, err = fs.readNlink(home, f.idx, up.Nlink, f.lowLinks)
			return err == nil
		}
		return err != nil && err != syscall.ENOENT // the next use of n tells
	}
	// A copy-up enters the index before it gives up the lower identity: seeing
	// neither it nor a node now means that there was none.
	fd, err := f.low.at.Acquire()
	if err != nil {
		return true // the next use of n tells
	}
	defer f.low.at.Release()
	x, err := fs.findIndexed(f.low, fd, f.name, &f.attr, f.id)
	if err == nil && !x.up {
		n.nlAdj = x.adj
	}
	return err != nil || !x.up
}

// adoptName gives a known node a further name. The caller holds p.d.mu and a
// reference to n. It is false if n turns out to be another file by now, or what
// was found to be outdated perhaps.
func (fs *FS) adoptName(n, p *node, name string, f *found, seen uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.real != f.id || n.typ != f.attr.Type() || n.stale {
		return false
	}
	d := p.d
	d.kmu.Lock()
	defer d.kmu.Unlock()
	if o := d.kids[name]; o == n {
		return true
	} else if o != nil {
		if o.refs.Load() >= 0 {
			return false
		}
		d.dropKidLocked(name, o)
	}
	if d.evictions != seen {
		return false
	}
	d.setKidLocked(name, n)
	p.ref()
	n.addLinkLocked(link{parent: p, name: name, inUpper: f.inUpper})
	n.nameless = false
	lost := n.orphan >= 0 || n.dir == nil || n.dir == fs.parking
	if !lost && !n.up {
		_, err := n.statLocked()
		lost = err == syscall.ESTALE // the host took the name away by which it was found
	}
	if lost {
		fs.dropOrphanLocked(n)
		n.dir, n.name, n.low = f.dir, f.name, f.low
	}
	return true
}

// relocate has the lower file n found by another of its names, after the host
// took that away by which it was. It is false if there is none. The caller holds
// a reference to n, and no lock but the gate.
func (fs *FS) relocate(n *node) bool {
	n.mu.RLock()
	links := append([]link{n.link}, n.links...)
	for _, l := range links {
		if l.parent != nil {
			l.parent.ref()
		}
	}
	n.mu.RUnlock()
	found := false
	for _, l := range links {
		if l.parent == nil {
			continue
		}
		if !found {
			l.parent.d.mu.RLock()
			found = fs.relocateLocked(n, l.parent, l.name)
			l.parent.d.mu.RUnlock()
		}
		fs.put(l.parent)
	}
	return found
}

// relocateLocked is relocate to name in p; p.d.mu is held, shared or not.
func (fs *FS) relocateLocked(n, p *node, name string) bool {
	if n.d != nil {
		return false
	}
	f, err := fs.find(p, name)
	if err != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up || n.orphan >= 0 || f.id != n.real || n.findLinkLocked(p, name) == nil {
		return false
	}
	n.dir, n.name, n.low = f.dir, f.name, f.low
	return true
}

// shown returns the attributes that were found as the view shows them.
func (fs *FS) shown(n *node, f *found) vfs.Attr {
	a := f.attr
	n.mu.RLock()
	n.showLocked(&a)
	n.mu.RUnlock()
	return a
}
