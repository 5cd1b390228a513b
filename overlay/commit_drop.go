package overlay

import (
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// dropBatch is how many files leave the upper layer in one freeze.
const dropBatch = 64

// drop takes files that the workspace has by now out of an upper directory. One
// that changed since, or that somebody has open for writing, stays.
func (c *commit) drop(p *place, files []*object) error {
	if err := c.syncDir(p); err != nil {
		return pathError(p.path, err)
	}
	c.step("synced")
	for len(files) > 0 {
		n := min(len(files), dropBatch)
		if err := c.dropSome(p, files[:n]); err != nil {
			return err
		}
		files = files[n:]
	}
	return nil
}

func (c *commit) dropSome(p *place, files []*object) error {
	thaw, err := c.fs.freeze(c.lasting())
	if err != nil {
		return err
	}
	defer thaw()
	moved := c.fs.inPlace(p)
	if moved != nil && moved != errMeanwhile {
		return pathError(p.path, moved)
	}
	for _, o := range files {
		a, id, err := o.loc.stat()
		if vanished(err) {
			continue
		}
		if err != nil {
			return pathError(o.path, err)
		}
		if moved != nil || !unchanged(&a, id, &o.attr, o.id) {
			c.left(o.path, errMeanwhile)
			continue
		}
		if stays, err := c.staysUpper(p, o); err != nil {
			return pathError(o.path, err)
		} else if stays {
			continue // it is the same, and no change
		}
		if err := c.dropFile(p, o); err != nil {
			return pathError(o.path, err)
		}
	}
	return nil
}

// staysUpper tells whether the upper file o is in use in a way that the
// workspace's file cannot take over.
func (c *commit) staysUpper(p *place, o *object) (bool, error) {
	if c.fs.pinned(o.path) {
		return true, nil
	}
	low, err := c.fs.cover(p.lowers, o.name)
	return err == nil && low.exists() && c.fs.strands(o.path, low.id), err
}

// dropFile removes a file from the upper layer. Everything is frozen.
func (c *commit) dropFile(p *place, o *object) error {
	return c.dropName(p, o, func(fn func() error) error { return c.fs.alter(c.ctx, p.path, o.name, fn) })
}

// dropName is dropFile with alter to call what removes the entry.
func (c *commit) dropName(p *place, o *object, alter func(fn func() error) error) error {
	err := keepTimes(p.upper, func(fd int) error {
		return alter(func() error {
			if err := c.fs.unindex(fd, o.name, c.fs.namesOf(&o.low)); err != nil {
				return err
			}
			c.step("unindexed")
			return at.Unlink(fd, o.name, 0)
		})
	})
	if err != nil {
		return err
	}
	c.step("dropped")
	return c.note(baseRecord{kind: baseClear, path: o.path})
}

// namesOf tells, for unindex, how many names an upper file has in its layer, all
// of which a commit gives to the workspace; unless the file that the workspace
// has now, low, is a new one, or shows by all its names.
func (fs *FS) namesOf(low *cover) func(string, *vfs.Attr) (int, error) {
	return func(idx string, up *vfs.Attr) (names int, err error) {
		names = -1
		if !low.exists() {
			return names, nil
		}
		err = low.location().use(func(fd int, name string) error {
			a, id, err := at.Stat(fd, name)
			if err == nil && a.Nlink > 1 && a.Nlink >= up.Nlink && fs.indexName(low.in, fd, name, &a, id) == idx {
				names = int(up.Nlink) - 1
			}
			return err
		})
		return names, gone(err)
	}
}

// dropWhites removes whiteouts that hide nothing any more.
func (c *commit) dropWhites(p *place, whites []*object) error {
	if err := c.syncDir(p); err != nil {
		return pathError(p.path, err)
	}
	thaw, err := c.fs.freeze(c.lasting())
	if err != nil {
		return err
	}
	defer thaw()
	for _, o := range whites {
		// The workspace has nothing there, whatever the view has by now.
		if err := c.note(baseRecord{kind: baseClearTree, path: o.path}); err != nil {
			return err
		}
		now, err := c.fs.look(p, o.name)
		if vanished(err) {
			continue
		}
		if err != nil {
			return pathError(o.path, err)
		}
		if !now.white || now.low.exists() {
			c.left(o.path, errMeanwhile)
			continue
		}
		if err := keepTimes(p.upper, func(fd int) error { return at.Unlink(fd, o.name, 0) }); err != nil {
			return pathError(o.path, err)
		}
		c.step("revealed")
		c.finished(o.path)
	}
	return nil
}

// dropDir removes the upper directory o if it is empty and the workspace's is
// the same.
func (c *commit) dropDir(p *place, o *object) error {
	thaw, err := c.fs.freeze(c.lasting())
	if err != nil {
		return err
	}
	defer thaw()
	now, err := c.fs.look(p, o.name)
	if err != nil || now.id != o.id || !now.low.isDir() || now.opaque || now.renamed || p.hidden {
		if vanished(err) {
			err = nil
		}
		return err
	}
	if err := c.fs.inPlace(p); err != nil {
		return err
	}
	diff, err := differences(c.ctx, now.low.location(), &now.low.attr, now.loc, &now.attr)
	if !c.fs.ly.allUsers { // what could not be given to somebody else's directory never will be
		diff &^= Owner
		if now.low.attr.UID != uint32(unix.Geteuid()) {
			diff &^= Times
		}
	}
	if err != nil || diff&^Content != 0 {
		return err
	}
	err = keepTimes(p.upper, func(fd int) error {
		return c.fs.alter(c.ctx, p.path, o.name, func() error { return at.Unlink(fd, o.name, unix.AT_REMOVEDIR) })
	})
	if err == syscall.ENOTEMPTY || err == syscall.EEXIST {
		return nil
	}
	if err != nil {
		return err
	}
	if now.redirect != "" { // it shows by its place alone
		c.survey.drop(now.id)
	}
	c.step("directory dropped")
	return c.note(baseRecord{kind: baseClear, path: o.path})
}

// syncDir is syncAt, where that is wanted.
func (c *commit) syncDir(p *place) error {
	if c.opt.NoSync || len(p.lowers) == 0 {
		return nil
	}
	return syncAt(p.lowers[0].at)
}

// keepTimes calls fn with a descriptor of a directory and leaves its times as
// they were: what fn does to it is nothing that happens in the view.
func keepTimes(dir *at.Dir, fn func(fd int) error) error {
	fd, err := dir.Acquire()
	if err != nil {
		return gone(err)
	}
	defer dir.Release()
	a, _, err := at.Stat(fd, "")
	if err != nil {
		return err
	}
	if err := fn(fd); err != nil {
		return err
	}
	setTimes(fd, "", &a) // only for show
	return nil
}

// alter calls fn, which changes what the layers have as name in the directory
// dir of the view, but not what the view shows. A live node for it stays: it
// stands for what is there afterwards. The gate is frozen, and no lookup of the
// name sees the moment between.
func (fs *FS) alter(ctx context.Context, dir, name string, fn func() error) error {
	if fs.root == nil {
		return fn() // the overlay is being opened: there is no node yet
	}
	p := fs.liveDir(dir)
	if p == nil {
		if err := fn(); err != nil {
			return err
		}
		return fs.catchUp(ctx, dir, name)
	}
	defer fs.put(p)
	unlock := lockDirs(p)
	c := p.d.kid(name)
	if c == nil {
		defer unlock() // so that no lookup has it come into memory as it was
		return fn()
	}
	unlock()
	defer fs.put(c)
	ok, err := fs.alterLive(p, name, c, fn)
	if err != nil {
		return err
	}
	if !ok {
		fs.EntryChanged(ctx, p.id, name)
	}
	fs.NodeChanged(ctx, c.id, true)
	return nil
}

// catchUp has name in the directory dir of the view stand for what is there, after
// that was altered while dir was not in memory: a lookup may have brought both
// there meanwhile, and have seen what was before.
func (fs *FS) catchUp(ctx context.Context, dir, name string) error {
	p := fs.liveDir(dir)
	if p == nil {
		return nil
	}
	defer fs.put(p)
	lockDirs(p)() // behind the lookups that are under way
	c := p.d.kid(name)
	if c == nil {
		return nil
	}
	defer fs.put(c)
	ok, err := fs.refreshEntry(p, name, c)
	if !ok {
		fs.EntryChanged(ctx, p.id, name)
	}
	fs.NodeChanged(ctx, c.id, true)
	return err
}

// alterLive is alter for a known entry; it is false if the entry does not stand
// for an object of its type any more.
func (fs *FS) alterLive(p *node, name string, c *node, fn func() error) (bool, error) {
	defer lockDirs(p, c)()
	return fs.alterLocked(p, name, c, fn)
}

// alterLocked is alterLive with the namespace locks of both held exclusively.
func (fs *FS) alterLocked(p *node, name string, c *node, fn func() error) (bool, error) {
	c.mu.Lock()
	if err := fn(); err != nil {
		c.mu.Unlock()
		return true, err
	}
	p.d.version++
	f, err := fs.find(p, name)
	if err == nil && fs.otherNodeLocked(c, &f) {
		c.mu.Unlock()
		fs.detach(p, name, c, true)
		return false, nil
	}
	if err == nil && f.attr.Type() == c.typ {
		fs.rebindLocked(p, name, c, &f)
		c.mu.Unlock()
		return true, nil
	}
	c.mu.Unlock()
	if err != nil && err != syscall.ENOENT {
		return false, err
	}
	if c.d != nil {
		c.d.dead = true
	}
	fs.detach(p, name, c, true)
	return false, nil
}

// liveDir returns the node of a directory with a reference, or nil if it is not
// in memory.
func (fs *FS) liveDir(path string) *node {
	n := fs.root
	n.ref()
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		c := n.d.kid(name)
		fs.put(n)
		if c == nil {
			return nil
		}
		if c.d == nil {
			fs.put(c)
			return nil
		}
		n = c
	}
	return n
}

// expandOpaque is expandFrozen; with it goes what is known of entries that the
// workspace does not have any more, which would make a conflict of each that the
// view has there anew.
func (c *commit) expandOpaque(p *place, o *object) error {
	thaw, err := c.fs.freeze(c.ctx)
	if err != nil {
		return err
	}
	defer thaw()
	if err := c.fs.inPlace(p); err != nil {
		return err
	}
	if err := c.resurvey(); err != nil {
		return err
	}
	for _, r := range c.survey.redirects {
		if r.redirect == o.origin {
			return errMeanwhile // what it hides shows elsewhere, since it was put here
		}
	}
	if err := c.forgetGone(o); err != nil {
		return err
	}
	return c.fs.expandFrozen(c.ctx, p, o)
}

// forgetGone clears what is recorded of o, and of what is in it, where the
// workspace has nothing.
func (c *commit) forgetGone(o *object) error {
	known := c.base.find(o.origin)
	if known == nil {
		return nil
	}
	if !o.low.exists() {
		return c.note(baseRecord{kind: baseClearTree, path: o.origin})
	}
	for _, name := range slices.Collect(maps.Keys(known.sub)) {
		low, err := c.fs.cover(o.low.lowers, name)
		if err == nil && !low.exists() {
			err = c.note(baseRecord{kind: baseClearTree, path: joinPath(o.origin, name)})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expandFrozen has a directory that hides all that lower layers have in its
// place say so entry by entry: by whiteouts, and by opaque directories. What
// the view shows does not change. Everything is frozen.
func (fs *FS) expandFrozen(ctx context.Context, p *place, o *object) error {
	now, err := fs.look(p, o.name)
	if err != nil || !now.opaque {
		return err
	}
	var names []string
	err = fs.alter(ctx, p.path, o.name, func() error {
		in := p.enter(now)
		return keepTimes(in.upper, func(fd int) (err error) {
			if names, err = lowerNames(in.lowers); err != nil {
				return err
			}
			for _, name := range names {
				if err := fs.hideEntry(in, fd, name); err != nil {
					return err
				}
			}
			fs.step("commit.expanded")
			// A redirect that does not count beside it must not come to count.
			if err := fs.ly.remove(fd, "", markRedirect); err != nil {
				return err
			}
			return fs.ly.remove(fd, "", markOpaque)
		})
	})
	if err != nil {
		return err
	}
	return fs.refreshEntries(ctx, o.path, names) // no others have anything below them
}

// hideEntry has the upper directory fd hide what lower layers have as name.
func (fs *FS) hideEntry(in *place, fd int, name string) error {
	low, err := fs.cover(in.lowers, name)
	if err != nil || !low.exists() {
		return err
	}
	o, err := fs.look(in, name)
	if err == syscall.ENOENT {
		return fs.white.make(fs, fd, name)
	}
	if err != nil {
		return err
	}
	if o.attr.IsDir() && !o.opaque && o.redirect == "" && low.isDir() {
		return fs.ly.setOpaque(fd, name)
	}
	return nil
}
