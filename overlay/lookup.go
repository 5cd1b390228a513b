package overlay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// found is what the layers have under a name.
type found struct {
	attr vfs.Attr // of the real object
	id   at.Ident
	up   bool    // it is in the upper layer
	dir  *at.Dir // that holds it, under name
	name string
	low  *ldir  // its directory, if it is a lower non-directory
	ino  uint64 // shown

	inUpper bool // the name itself is an entry of the upper directory

	// Of non-directories.
	idx      string
	nlAdj    int32
	lowLinks uint32 // link count of the lower file that idx is made of

	// Of directories.
	upper    *at.Dir
	lowers   []*ldir
	redirect string // as a path from the root
	opaque   bool
	impure   bool
}

// Lookup implements [vfs.FS].
func (fs *FS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (e vfs.Entry, err error) {
	if err := vfs.CheckName(name); err != nil {
		return vfs.Entry{}, err
	}
	p, err := fs.dirNode(parent)
	if err != nil {
		return vfs.Entry{}, err
	}
	defer fs.put(p)
	n, err := fs.lookupIn(ctx, p, name, &e)
	if err != nil {
		return vfs.Entry{Volatile: e.Volatile && !fs.opt.LowerStatic}, err
	}
	fs.hand(n, &e)
	return e, nil
}

// lookupIn returns the node that name in p stands for, with a reference, and
// sets in e its attributes, and whether that, or that there is none, may change
// without anybody being told. The caller holds no lock. ENOENT.
func (fs *FS) lookupIn(ctx context.Context, p *node, name string, e *vfs.Entry) (n *node, err error) {
	for tries := 0; tries < 10; tries++ {
		p.d.mu.RLock()
		fs.watchDir(p)
		n, err = fs.lookupLocked(p, name, &e.Attr)
		if err == nil {
			e.Volatile = fs.nameVolatile(p, n)
		} else {
			e.Volatile = len(p.d.lowers) > 0 && !p.d.watched()
		}
		p.d.mu.RUnlock()
		if err == errMoving {
			fs.moves.wait()
			tries--
			continue
		}
		if err != errRemerge {
			return n, err
		}
		e.Volatile = false
		if err = fs.remerge(ctx, p, name); err != nil {
			return nil, err
		}
	}
	return nil, syscall.ESTALE
}

// errRemerge says that what is to be merged below a known upper directory is
// not what was: remerge does the rest, without the locks of a lookup.
var errRemerge = fmt.Errorf("the lower directories were replaced: %w", syscall.ESTALE)

// errMoving says that a commit moved a lower directory meanwhile: what was not
// found may be there afterwards.
var errMoving = fmt.Errorf("a lower directory is on its way: %w", syscall.ESTALE)

// lookupLocked returns the node that name in p stands for, with a reference,
// and sets *a to its attributes. p.d.mu is held, shared or not. ENOENT,
// errRemerge for a directory, or errMoving, unless everything is frozen.
func (fs *FS) lookupLocked(p *node, name string, a *vfs.Attr) (*node, error) {
	if p.d.dead {
		return nil, syscall.ENOENT
	}
	for range 100 {
		count := fs.moves.count.Load()
		if c := p.d.kid(name); c != nil {
			fs.watchEntry(c)
			err := fs.revalidate(c, a)
			if err == syscall.ESTALE && fs.relocateLocked(c, p, name) {
				err = fs.revalidate(c, a)
			}
			if err == nil {
				if err = fs.checkMerge(p, name, c); err == nil {
					return c, nil
				}
			}
			if vanished(err) && fs.moves.between(count) {
				err = errMoving
			}
			if err != syscall.ESTALE {
				fs.put(c)
				return nil, err
			}
			fs.detach(p, name, c, true)
			fs.put(c)
		}
		seen := p.d.changes()
		f, err := fs.find(p, name)
		if vanished(err) && fs.moves.between(count) {
			err = errMoving
		}
		if err != nil {
			return nil, err
		}
		if n, shown, ok := fs.adopt(p, name, &f, seen); ok {
			*a = shown
			if !fs.watchEntry(n) {
				return n, nil
			}
			if err = fs.revalidate(n, a); err == nil {
				return n, nil
			}
			fs.put(n)
			if err != syscall.ESTALE {
				return nil, err
			}
		}
		// A copy-up, another lookup or the host came between.
	}
	return nil, syscall.ESTALE
}

// checkMerge tells whether the lower part of the directory c, name in p, is what
// the lower layers have now: errRemerge if not. It costs one system call for
// each layer, and nothing for what is no merged directory. p.d.mu is held.
func (fs *FS) checkMerge(p *node, name string, c *node) error {
	if c.d == nil || fs.opt.LowerStatic || c.d.upper.Load() == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.d.opaque {
		return nil
	}
	below, under := p.d.lowers, name
	if c.d.redirect != "" {
		below, under = fs.ly.lowers, c.d.redirect[1:]
	}
	if len(below)+len(c.d.lowers) == 0 {
		return nil
	}
	now, err := fs.mergeLowers(below, under)
	if err == syscall.ESTALE {
		return nil // those above are gone, which a lookup of them tells
	}
	if err != nil {
		return err
	}
	same := func(a, b *ldir) bool { return a.layer == b.layer && a.at.Ident() == b.at.Ident() }
	if !slices.EqualFunc(now, c.d.lowers, same) {
		return errRemerge
	}
	return nil
}

// revalidate sets *a to the attributes of a known entry by one system call. It
// is ESTALE if the host has put something else in its place.
func (fs *FS) revalidate(c *node, a *vfs.Attr) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.statNamed(a)
}

// detach takes name of p away from c. stale says that the host did it, or a
// commit or discard. No lock of c, or of what is below it, is held but that of
// its entries.
func (fs *FS) detach(p *node, name string, c *node, stale bool) {
	c.mu.Lock()
	had := c.dropLinkLocked(p, name)
	lost := c.link.parent == nil && stale
	if c.link.parent == nil {
		c.nameless = true
		c.stale = c.stale || stale
	}
	gone := c.stale && c.d == nil
	real := c.real
	c.mu.Unlock()
	if gone {
		fs.nodes.unregisterIdent(real, c)
	}
	p.d.forgetKid(name, c)
	if had {
		fs.put(p)
	}
	if lost && c.d != nil {
		fs.strand(c)
	}
}

// strand takes the names away of all that is known to be in the directory n,
// which is none of the view any more: a file that has another name elsewhere is
// not to be looked for there.
func (fs *FS) strand(n *node) {
	for name, c := range n.d.known() {
		fs.detach(n, name, c, true)
		fs.put(c)
	}
}

// find looks name up in the layers. p.d.mu is held, shared or not. ENOENT also
// where a whiteout or an opaque directory hides it.
func (fs *FS) find(p *node, name string) (found, error) {
	var f found
	d := p.d
	if up := d.upper.Load(); up != nil {
		fd, err := up.Acquire()
		if err != nil {
			return f, gone(err)
		}
		hit, err := fs.findUpper(p, up, fd, name, &f)
		up.Release()
		if err != nil || hit {
			return f, err
		}
	}
	return f, fs.findLowers(d.lowers, name, &f)
}

// findUpper looks at the upper directory up, open as fd. It tells whether that
// settles the lookup.
func (fs *FS) findUpper(p *node, up *at.Dir, fd int, name string, f *found) (bool, error) {
	a, id, err := at.Stat(fd, name)
	if err == syscall.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if isWhiteout(&a) {
		return false, syscall.ENOENT
	}
	f.attr, f.id, f.up, f.inUpper, f.dir, f.name = a, id, true, true, up, name
	f.ino = fs.devs.ino(id)
	var has markSet
	// Only entries of an impure directory have a number or a redirect of their
	// own, and only those above lower directories are opaque, so that whole
	// trees made in the upper layer are looked up by one system call each.
	if a.IsDir() || p.d.impure.Load() || a.Nlink > 1 && fs.hard.used.Load() {
		if has, err = fs.ly.present(fd, name); err != nil {
			return false, err
		}
	}
	if has&(hasIno|hasOrigin) != 0 {
		own := f.ino
		if f.ino, err = fs.shownIno(fd, name, own); err != nil {
			return false, err
		}
		if f.ino != own && !p.d.impure.Load() {
			// A kernel mount has taken the mark away from the directory, because
			// it found nothing there that it would show another number of.
			// Listings have to agree with lookups.
			p.d.impure.Store(true)
		}
	}
	if !a.IsDir() {
		if has&(hasIndex|hasNlink) != 0 && a.Nlink > 1 {
			return true, fs.findIndexMark(p, fd, name, f)
		}
		return true, nil
	}
	return true, fs.findUpperDir(p, up, fd, name, has, f)
}

// findUpperDir completes what was found of an upper directory: what is merged
// below it.
func (fs *FS) findUpperDir(p *node, up *at.Dir, fd int, name string, has markSet, f *found) (err error) {
	f.upper = up.Child(name, f.id)
	f.impure = has&hasImpure != 0
	if has&hasOpaque != 0 {
		if f.opaque, err = fs.ly.opaque(fd, name); err != nil || f.opaque {
			return err
		}
	}
	below, under := p.d.lowers, name
	if has&hasRedirect != 0 {
		target, err := fs.ly.redirect(fd, name)
		if err != nil {
			return err
		}
		switch {
		case target == "":
		case target[0] == '/':
			f.redirect = target
			below, under = fs.ly.lowers, target[1:]
		default:
			f.redirect = joinPath(fs.lowerPath(p), target)
			if f.redirect[0] != '/' {
				f.redirect = "/" + f.redirect
			}
			under = target
		}
	}
	f.lowers, err = fs.mergeLowers(below, under)
	if err != nil {
		return err
	}
	return nil
}

// findIndexMark completes what was found of an upper file that stands for
// several lower names.
func (fs *FS) findIndexMark(p *node, fd int, name string, f *found) error {
	idx, err := fs.indexOf(fd, name)
	if err != nil || idx == "" {
		return err
	}
	_, id, err := at.Stat(fs.homeFD(idx), idx)
	if err == syscall.ENOENT || err == nil && id != f.id {
		return nil // a copy that lost its index entry: an ordinary file
	}
	if err != nil {
		return err
	}
	lower := f.attr.Nlink - 1
	if l, a, _, err := fs.lowerEntry(p, name); err == nil && l != nil {
		lower = a.Nlink
	}
	f.idx, f.dir, f.name, f.lowLinks = idx, fs.hard.home(idx), idx, lower
	f.nlAdj, err = fs.readNlink(fd, name, f.attr.Nlink, lower)
	return err
}

// lowerPath returns the path that the lower layers alone have the directory n
// at, "" for the root: its path in the view with the redirects of the upper
// layer undone. It is stable under FS.renames, and where n is known to stay.
func (fs *FS) lowerPath(n *node) string {
	var names []string
	for n.id != vfs.RootID {
		n.mu.RLock()
		redirect, l := n.d.redirect, n.link
		n.mu.RUnlock()
		if redirect != "" {
			names = append(names, redirect[1:])
			break
		}
		if l.parent == nil {
			break
		}
		names = append(names, l.name)
		n = l.parent
	}
	for i, j := 0, len(names)-1; i < j; i, j = i+1, j-1 {
		names[i], names[j] = names[j], names[i]
	}
	return strings.Join(names, "/")
}

// Path implements [vfs.FS].
func (fs *FS) Path(ctx context.Context, id vfs.NodeID) (string, error) {
	n, err := fs.node(id)
	if err != nil {
		return "", err
	}
	defer fs.put(n)
	return fs.pathOf(n)
}

// pathOf returns the path of n in the view. ENOENT.
func (fs *FS) pathOf(n *node) (string, error) {
	var buf [16]string
	names := buf[:0]
	for n.id != vfs.RootID {
		n.mu.RLock()
		l := n.link
		n.mu.RUnlock()
		if l.parent == nil {
			return "", syscall.ENOENT
		}
		names = append(names, l.name)
		n = l.parent
	}
	slices.Reverse(names)
	return strings.Join(names, "/"), nil
}
