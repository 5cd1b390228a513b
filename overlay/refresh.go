package overlay

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// refresh has the live nodes at and below path, which is as Path gives it,
// found anew in the layers, after a commit or discard changed these. A node
// whose name still stands for an object of its type keeps its id, and its
// handles open the file anew at their next use: one whose upper file is gone
// goes on with the lower file, and copies it up at its next write. Any other
// becomes stale. Watchers are told.
//
// The caller holds the gate frozen, or sees to it otherwise that nothing
// changes the layers meanwhile, and no other lock.
func (fs *FS) refresh(ctx context.Context, path string) error {
	told, err := fs.findAnew(ctx, path)
	for _, f := range told {
		f()
	}
	return err
}

// findAnew is refresh that leaves it to the caller to tell the watchers.
func (fs *FS) findAnew(ctx context.Context, path string) (told []func(), err error) {
	if path == "" {
		return told, fs.refreshDir(ctx, fs.root, &told)
	}
	dir, name := path[:max(strings.LastIndexByte(path, '/'), 0)], path[strings.LastIndexByte(path, '/')+1:]
	p := fs.liveDir(dir)
	if p == nil {
		return nil, nil
	}
	defer fs.put(p)
	lockDirs(p)() // as in refreshDir
	c := p.d.kid(name)
	if c == nil {
		return nil, nil
	}
	defer fs.put(c)
	return told, fs.refreshKid(ctx, p, name, c, &told)
}

// refreshEntries is refresh for entries of the directory at path, without what
// is below them.
func (fs *FS) refreshEntries(ctx context.Context, path string, names []string) error {
	if len(names) == 0 || fs.root == nil {
		return nil
	}
	p := fs.liveDir(path)
	if p == nil {
		return nil
	}
	defer fs.put(p)
	lockDirs(p)() // as in refreshDir
	for _, name := range names {
		c := p.d.kid(name)
		if c == nil {
			continue
		}
		ok, err := fs.refreshEntry(p, name, c)
		if !ok {
			fs.EntryChanged(ctx, p.id, name)
		}
		fs.NodeChanged(ctx, c.id, true)
		fs.put(c)
		if err != nil {
			return err
		}
	}
	return nil
}

// followMove has the lower files that are in memory found where they are after the
// directory from of the one lower layer was moved to the path to, also those that
// no known name leads to. Everything is frozen.
func (fs *FS) followMove(from, to string) error {
	var errs []error
	now := make(map[*ldir]*ldir) // of a directory that files are in; nil: it was not moved, or is gone
	fs.nodes.each(fs.put, func(n *node) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.d != nil || n.up || n.low == nil || n.orphan >= 0 {
			return
		}
		low, seen := now[n.low]
		if !seen {
			if dir := n.low.path(); within(dir, from) {
				lowers, err := fs.mergeLowers(fs.ly.lowers, rebase(dir, from, to))
				if err != nil {
					errs = append(errs, err)
				} else if len(lowers) > 0 { // else the host took it away
					low = lowers[0]
				}
			}
			now[n.low] = low
		}
		if low != nil {
			n.low, n.dir = low, low.at
		}
	})
	return errors.Join(errs...)
}

// refreshDir looks at all known entries of n again, and below them.
func (fs *FS) refreshDir(ctx context.Context, n *node, told *[]func()) error {
	if n == fs.root {
		if err := fs.refreshRoot(); err != nil {
			return err
		}
	}
	lockDirs(n)() // behind the lookups that are under way: what they saw becomes known
	kids := n.d.known()
	defer func() {
		for _, c := range kids {
			fs.put(c)
		}
	}()
	*told = append(*told, func() { fs.NodeChanged(ctx, n.id, true) })
	for name, c := range kids {
		if err := fs.refreshKid(ctx, n, name, c, told); err != nil {
			return err
		}
	}
	return nil
}

// refreshKid looks at c again, which is name in n, and below it.
func (fs *FS) refreshKid(ctx context.Context, n *node, name string, c *node, told *[]func()) error {
	ok, err := fs.refreshEntry(n, name, c)
	if err != nil {
		return err
	}
	dir, id := n.id, c.id
	if !ok {
		*told = append(*told, func() { fs.EntryChanged(ctx, dir, name); fs.NodeChanged(ctx, id, true) })
		return nil
	}
	if c.d == nil {
		*told = append(*told, func() { fs.NodeChanged(ctx, id, true) })
		return nil
	}
	return fs.refreshDir(ctx, c, told)
}

// refreshRoot looks at the marks of the upper root again.
func (fs *FS) refreshRoot() error {
	fd, err := fs.ly.upper.Acquire()
	if err != nil {
		return err
	}
	defer fs.ly.upper.Release()
	impure, err := fs.ly.impure(fd, "")
	fs.root.d.impure.Store(impure)
	return err
}

// refreshEntry finds name of p in the layers and has c, which was it, stand for
// what is there; false if it cannot.
func (fs *FS) refreshEntry(p *node, name string, c *node) (bool, error) {
	defer lockDirs(p, c)()
	p.d.version++
	f, err := fs.find(p, name)
	if err == nil {
		c.mu.RLock()
		other := fs.otherNodeLocked(c, &f)
		c.mu.RUnlock()
		if other {
			fs.detach(p, name, c, true)
			return false, nil
		}
	}
	if err == nil && f.attr.Type() == c.typ {
		fs.rebind(p, name, c, &f)
		return true, nil
	}
	if err != nil && err != syscall.ENOENT {
		return false, err
	}
	if c.d != nil {
		c.d.dead = true
	}
	fs.detach(p, name, c, true)
	return false, nil
}

// otherNodeLocked tells whether what was found under a name of c, which another
// file is behind, is to be looked up anew: because c has further names, of which
// the last one that is left keeps it, or because another node stands for the
// file already, under other names of it. c.mu is held.
func (fs *FS) otherNodeLocked(c *node, f *found) bool {
	if c.real == f.id {
		return false
	}
	if len(c.links) > 0 {
		return true
	}
	if !f.linked() {
		return false
	}
	o := fs.nodes.byIdent(f.id)
	defer fs.put(o)
	return o != nil && o != c
}

// remerge brings the directory that name in p stands for up to date, after the
// host has replaced a lower directory of it. Entries that were found in one that
// is gone are looked up anew.
func (fs *FS) remerge(ctx context.Context, p *node, name string) error {
	c := p.d.kid(name)
	if c == nil {
		return nil
	}
	defer fs.put(c)
	if ok, err := fs.refreshEntry(p, name, c); err != nil || !ok {
		fs.EntryChanged(ctx, p.id, name)
		return err
	}
	gone := fs.dropStrays(c)
	for _, name := range gone {
		fs.EntryChanged(ctx, c.id, name)
	}
	fs.NodeChanged(ctx, c.id, true)
	return nil
}

// lookAnew brings the directory n, and those above it, up to date with what the
// lower layers have, as far as names lead to it.
func (fs *FS) lookAnew(ctx context.Context, n *node) {
	path, err := fs.pathOf(n)
	if err != nil || path == "" {
		return
	}
	p := fs.root
	p.ref()
	defer func() { fs.put(p) }()
	for name := range strings.SplitSeq(path, "/") {
		var e vfs.Entry
		c, err := fs.lookupIn(ctx, p, name, &e)
		if err != nil {
			return
		}
		fs.put(p)
		if p = c; c.d == nil {
			return
		}
	}
}

// dropStrays forgets the known entries of the directory n that come from a lower
// directory which is not merged into it any more, and returns their names.
func (fs *FS) dropStrays(n *node) (names []string) {
	n.d.mu.RLock()
	defer n.d.mu.RUnlock()
	merged := make(map[at.Ident]bool)
	for _, l := range n.d.lowers {
		merged[l.at.Ident()] = true
	}
	for name, c := range n.d.known() {
		c.mu.RLock()
		l := c.low
		if c.d != nil && c.d.upper.Load() == nil && len(c.d.lowers) > 0 {
			l = c.d.lowers[0].up
		}
		stray := l != nil && !merged[l.at.Ident()]
		c.mu.RUnlock()
		if stray {
			fs.detach(n, name, c, true)
			names = append(names, name)
		}
		fs.put(c)
	}
	return names
}

// rebind has c stand for what was found as name in p. The namespace locks of
// both are held exclusively.
func (fs *FS) rebind(p *node, name string, c *node, f *found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs.rebindLocked(p, name, c, f)
}

// rebindLocked is rebind with c.mu held exclusively.
func (fs *FS) rebindLocked(p *node, name string, c *node, f *found) {
	if l := c.findLinkLocked(p, name); l != nil {
		l.inUpper = f.inUpper
	}
	same := c.real == f.id && c.up == f.up
	old := c.real
	c.up, c.real = f.up, f.id
	c.ino.Store(f.ino)
	if c.d != nil {
		if !same || c.d.upper.Load() == nil || f.upper == nil {
			if o := c.d.upper.Load(); o != nil {
				o.Drop()
			}
			c.d.upper.Store(f.upper)
		}
		c.d.lowers, c.d.opaque, c.d.redirect = f.lowers, f.opaque, f.redirect
		c.d.impure.Store(f.impure)
		c.d.version++
		return
	}
	c.dir, c.name, c.low, c.idx, c.nlAdj = f.dir, f.name, f.low, f.idx, f.nlAdj
	if !same {
		c.gen++
		fs.keepSpareLocked(c)
		fs.nodes.unregisterIdent(old, c)
		if f.linked() {
			fs.nodes.setIdent(f.id, c)
		}
	}
}

// liveAt returns the known node at path, as Path gives it, with a reference; nil
// if nobody uses it.
func (fs *FS) liveAt(path string) *node {
	n := fs.root
	n.ref()
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if n.d == nil {
			fs.put(n)
			return nil
		}
		c := n.d.kid(name)
		fs.put(n)
		if c == nil {
			return nil
		}
		n = c
	}
	return n
}

// pinned tells whether somebody may write to the upper file at path without
// passing the gate, or has it open for writing: it is not to be moved or
// emptied then. path is as Path gives it; a path that nobody uses is not.
func (fs *FS) pinned(path string) bool {
	n := fs.liveAt(path)
	if n == nil {
		return false
	}
	defer fs.put(n)
	return n.pins.Load() > 0 || n.writers.Load() > 0
}

// strands tells whether the node of an upper file at path, should it stand for
// the lower file low, would become stale for somebody who knows it: another node
// is that file already.
func (fs *FS) strands(path string, low at.Ident) bool {
	n := fs.liveAt(path)
	if n == nil {
		return false
	}
	defer fs.put(n)
	if n.lookups.Load() == 0 && n.opens.Load() == 0 {
		return false
	}
	o := fs.nodes.byIdent(low)
	defer fs.put(o)
	return o != nil && o != n
}
