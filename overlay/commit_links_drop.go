package overlay

import (
	"errors"
	"maps"
	"slices"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// dropLinked takes the groups out of the upper layer.
func (c *commit) dropLinked() error {
	for _, g := range c.links {
		// Directories are on disk before what they got leaves the upper layer.
		for _, m := range g.members {
			if err := c.syncDir(m.p); err != nil {
				return pathError(m.p.path, err)
			}
		}
		if err := c.dropGroup(g); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) dropGroup(g *linkGroup) error {
	thaw, err := c.fs.freeze(c.lasting())
	if err != nil {
		return err
	}
	defer thaw()
	for _, m := range g.members {
		c.finished(m.o.path)
		a, id, err := m.o.loc.stat()
		if err == nil {
			err = c.fs.inPlace(m.p)
		}
		stays := false
		if err == nil {
			stays, err = c.staysUpper(m.p, m.o)
		}
		if err == nil && stays {
			return nil // it is the same, and no change
		}
		if err != nil || !unchanged(&a, id, &g.attr, m.o.id) {
			for _, m := range g.members {
				c.left(m.o.path, errMeanwhile)
			}
			if vanished(err) || err == errMeanwhile {
				err = nil
			}
			return err
		}
	}
	// A crash between must not leave some names in the upper layer alone.
	var rs []baseRecord
	for _, m := range g.members {
		rs = append(rs, c.leaves(m.o))
	}
	if err := c.fs.log.append(rs...); err != nil {
		return err
	}
	return c.dropMembers(g)
}

// dropMembers removes the names of a group from the upper layer, which is one
// node before and afterwards: nobody looks one of them up in between.
func (c *commit) dropMembers(g *linkGroup) error {
	fs := c.fs
	parents := make([]*node, len(g.members)) // nil where it is not in memory
	live := make(map[*node]bool)
	for i, m := range g.members {
		if p := fs.liveDir(m.p.path); p != nil {
			parents[i], live[p] = p, true
		}
	}
	kids := make([]*node, len(g.members))
	defer func() {
		for i := range g.members {
			fs.put(kids[i])
			fs.put(parents[i])
		}
	}()
	err := func() error {
		defer fs.moves.begin()() // its nodes are out of reach meanwhile
		defer lockDirs(slices.Collect(maps.Keys(live))...)()
		for i, m := range g.members {
			p := parents[i]
			if p != nil {
				kids[i] = p.d.kid(m.o.name)
			}
			err := c.dropName(m.p, m.o, func(fn func() error) error {
				if kids[i] == nil {
					return fn()
				}
				_, err := fs.alterLocked(p, m.o.name, kids[i], fn)
				return err
			})
			if err != nil {
				return pathError(m.o.path, err)
			}
		}
		return nil
	}()
	for i, m := range g.members {
		if parents[i] == nil {
			err = errors.Join(err, fs.catchUp(c.ctx, m.p.path, m.o.name))
		}
		if kids[i] != nil {
			fs.EntryChanged(c.ctx, parents[i].id, m.o.name)
			fs.NodeChanged(c.ctx, kids[i].id, true)
		}
	}
	return err
}

// leaves announces that o goes from the upper layer.
func (c *commit) leaves(o *object) baseRecord {
	return baseRecord{kind: baseDrop, path: o.path, print: c.fs.log.printOf(&o.attr, o.id)}
}

// losesName calls fn, which takes a name from the workspace's file low in the
// directory fd, and keeps right what else is known of a file with several: how
// many are hidden, and the change time in its fingerprints, which moves with
// the count.
func (c *commit) losesName(low *cover, fd int, fn func() error) error {
	if low.attr.IsDir() || low.attr.Nlink < 2 {
		return fn()
	}
	if c.fs.onlyWay(low) {
		return errMeanwhile
	}
	forget, err := c.fs.nameGoes(low, fd)
	if err != nil {
		return err
	}
	c.step("counted")
	c.recount = true
	err = c.touch(fd, low.name, low.id, nil, func(int) error { return fn() })
	if err == nil {
		forget()
	}
	return err
}

// onlyWay tells whether somebody has a lower file open, with further names in
// the workspace that nobody has looked up, under a name that the view has no
// more: what is written to it shows under those, and only by this name is it
// found.
func (fs *FS) onlyWay(low *cover) bool {
	n := fs.nodes.byIdent(low.id)
	if n == nil {
		return false
	}
	defer fs.put(n)
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.opens.Load() > 0 && !n.up && !n.nameless && n.orphan < 0 && n.link.parent == nil &&
		n.low != nil && n.name == low.name && n.low.at.Ident() == low.in.at.Ident()
}

// losesAll is losesName for all that is at and below a lower entry, which fn
// removes.
func (c *commit) losesAll(low *cover, fn func() error) error {
	several := make(map[at.Ident]*vfs.Attr)
	var forget []func()
	one := func(f *cover) error {
		return f.location().use(func(fd int, _ string) error {
			if f.attr.Nlink < 2 {
				return nil
			}
			if c.fs.onlyWay(f) {
				return errMeanwhile
			}
			if several[f.id] == nil {
				several[f.id] = &f.attr
				if err := c.announce(&f.attr, f.id, nil); err != nil {
					return err
				}
			}
			done, err := c.fs.nameGoes(f, fd)
			forget = append(forget, done)
			return err
		})
	}
	var err error
	if low.isDir() {
		err = c.fs.lowerTree(c.ctx, low, func(_ string, sub *cover) error {
			if sub.isDir() {
				return nil
			}
			f := *sub
			return one(&f)
		})
	} else {
		err = one(low)
	}
	if err != nil {
		return err
	}
	if err = fn(); err == nil {
		for _, done := range forget {
			done()
		}
	}
	if len(several) == 0 || err != nil && !errors.Is(err, errMeanwhile) {
		return err
	}
	return errors.Join(err, c.lostSeveral(several))
}

// lostSeveral notes what became of files of which names were taken.
func (c *commit) lostSeveral(several map[at.Ident]*vfs.Attr) error {
	c.recount = true
	c.step("touched")
	// Whoever looked at such a file before has recorded it by now.
	if err := c.settledBase(); err != nil {
		return err
	}
	c.base.index()
	files := make(map[*fingerprint]bool)
	for id, a := range several {
		p := c.fs.log.printOf(a, id)
		if k := c.base.files[p]; k != nil {
			files[&k.now().print] = true
		}
	}
	return c.fs.namesLeft(c.base, files, c.follow)
}
