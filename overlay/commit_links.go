package overlay

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// linkGroup is an upper file with several names, of which some are committed.
type linkGroup struct {
	host    location // a name that the workspace has for it
	id      at.Ident // what that is
	first   string   // the path of the view that was copied for it, if any
	attr    vfs.Attr // of the upper file when it was copied
	members []member
}

// member is a committed name of a group, which leaves the upper layer together
// with the others.
type member struct {
	p *place
	o *object
}

// linkedFile makes one name of an upper file with several, so that the
// workspace has one file as well.
func (c *commit) linkedFile(p *place, o *object) error {
	g := c.links[o.id]
	if g == nil {
		g = &linkGroup{}
		if err := c.represent(g, p, o); err != nil {
			return err
		}
		c.links[o.id] = g
	} else if !unchanged(&g.attr, o.id, &o.attr, o.id) {
		return errMeanwhile
	}
	if g.first != o.path && (!o.low.exists() || o.low.id != g.id) {
		if err := c.linkTo(g, p, o); err != nil {
			return err
		}
		c.step("linked")
	}
	g.members = append(g.members, member{p, o})
	return nil
}

// represent finds the workspace's file for a group: one that has the right
// contents already under a name of the group, or a new copy.
func (c *commit) represent(g *linkGroup, p *place, o *object) error {
	for _, path := range c.survey.groups[o.id] {
		m := o
		if path != o.path {
			if !c.choice.has(path) {
				continue
			}
			var err error
			if m, err = c.fs.lookPath(path); vanished(err) {
				continue
			} else if err != nil {
				return err
			}
		}
		if m.id != o.id || !m.low.exists() {
			continue
		}
		kept, err := c.keep(m)
		if err != nil {
			return err
		}
		if kept {
			g.host, g.id, g.attr = m.low.location(), m.low.id, o.attr
			return nil
		}
	}
	old := o.low
	if err := c.replace(p, o); err != nil {
		return err
	}
	g.host, g.attr, g.first = location{p.lowers[0].at, o.name}, o.attr, o.path
	_, id, err := g.host.stat()
	if err != nil {
		return err
	}
	g.id = id
	return c.followers(g, o, &old)
}

// linkTo makes o's name in the workspace a name of the group's file.
func (c *commit) linkTo(g *linkGroup, p *place, o *object) error {
	if !c.opt.Force && o.low.exists() && c.walk.conflict(o, Content) != NoConflict {
		return errMeanwhile
	}
	return location{p.lowers[0].at, o.name}.use(func(fd int, name string) error {
		t, err := c.temp(p, fd)
		if err != nil {
			return err
		}
		if err := g.host.use(func(hfd int, hname string) error { return at.Link(hfd, hname, fd, t) }); err != nil {
			return err
		}
		s := staged{fd: -1, name: t}
		defer s.close(fd)
		if err := c.put(p, o, fd, &s); err != nil {
			return err
		}
		return c.settled(o.path, location{p.lowers[0].at, name})
	})
}

// followers links the other names that the workspace had for a file to what has
// become of it, where the view shows them as that file too: the upper layer
// knows such names by its index alone, so they are looked for.
func (c *commit) followers(g *linkGroup, o *object, old *cover) error {
	if !old.exists() || old.attr.Nlink < 2 || !old.attr.IsRegular() {
		return nil
	}
	own := false
	err := o.loc.use(func(fd int, name string) error {
		has, err := c.fs.ly.present(fd, name)
		own = has&hasIndex != 0
		return err
	})
	if err != nil || !own {
		return err
	}
	root := cover{lowers: c.fs.ly.lowers}
	return c.fs.lowerTree(c.ctx, &root, func(path string, f *cover) error {
		if f.id != old.id {
			return nil
		}
		p, shown, err := c.showsLower(path)
		if err != nil || !shown {
			return err
		}
		e := &object{name: f.name, path: path, origin: path, attr: o.attr, id: o.id, loc: o.loc, low: *f}
		if err := c.linkFollower(g, p, e); err != nil {
			return pathError(path, err)
		}
		c.also(path, "another name of "+o.path)
		return nil
	})
}

func (c *commit) linkFollower(g *linkGroup, p *place, e *object) error {
	// Nothing happened to its directory in the view.
	return keepTimes(e.low.in.at, func(fd int) error {
		t, err := c.temp(p, fd)
		if err != nil {
			return err
		}
		if err := g.host.use(func(hfd int, hname string) error { return at.Link(hfd, hname, fd, t) }); err != nil {
			return err
		}
		s := staged{fd: -1, name: t}
		defer s.close(fd)
		return c.put(p, e, fd, &s)
	})
}

// showsLower tells whether the view shows the lower entry path in its own
// place, and returns its directory.
func (c *commit) showsLower(path string) (*place, bool, error) {
	p, err := c.fs.rootPlace()
	if err != nil {
		return nil, false, err
	}
	names := strings.Split(path, "/")
	for i, name := range names {
		if p.hidden {
			return nil, false, nil
		}
		last := i == len(names)-1
		if p.upper != nil {
			o, err := c.fs.look(p, name)
			if err == nil {
				if last || !o.attr.IsDir() || o.redirect != "" {
					return nil, false, nil
				}
				p = p.enter(o)
				continue
			}
			if !vanished(err) {
				return nil, false, err
			}
		}
		if last {
			return p, len(p.lowers) > 0, nil
		}
		sub, err := c.fs.cover(p.lowers, name)
		if err != nil || !sub.isDir() {
			return nil, false, err
		}
		p = &place{path: joinPath(p.path, name), origin: joinPath(p.origin, name), lowers: sub.lowers}
	}
	return nil, false, nil
}

// lookPath returns the upper object at a path of the view. ENOENT.
func (fs *FS) lookPath(path string) (*object, error) {
	p, err := fs.rootPlace()
	if err != nil {
		return nil, err
	}
	names := strings.Split(path, "/")
	for _, name := range names[:len(names)-1] {
		o, err := fs.look(p, name)
		if err != nil {
			return nil, err
		}
		if !o.attr.IsDir() {
			return nil, syscall.ENOENT
		}
		p = p.enter(o)
	}
	return fs.look(p, names[len(names)-1])
}

// dropLinked takes the groups out of the upper layer.
func (c *commit) dropLinked() error {
	var errs []error
	for _, g := range c.links {
		// Directories are on disk before what they got leaves the upper layer.
		for _, m := range g.members {
			if err := c.syncDir(m.p); err != nil {
				errs = append(errs, pathError(m.p.path, err))
			}
		}
		if len(errs) == 0 {
			errs = append(errs, c.dropGroup(g))
		}
	}
	return errors.Join(errs...)
}

func (c *commit) dropGroup(g *linkGroup) error {
	thaw, err := c.fs.freeze(c.lasting())
	if err != nil {
		return err
	}
	defer thaw()
	for _, m := range g.members {
		a, id, err := m.o.loc.stat()
		if err != nil || !unchanged(&a, id, &g.attr, m.o.id) || c.fs.pinned(m.o.path) {
			for _, m := range g.members {
				c.left(m.o.path, errMeanwhile)
			}
			if vanished(err) {
				err = nil
			}
			return err
		}
	}
	for _, m := range g.members {
		if err := c.dropFile(m.p, m.o); err != nil {
			return pathError(m.o.path, err)
		}
		c.finished(m.o.path)
	}
	return nil
}

// losesName calls fn, which takes a name from the workspace's file low in the
// directory fd, and keeps right what else is known of a file with several: how
// many are hidden, and the change time in its fingerprints, which moves with
// the count.
func (c *commit) losesName(low *cover, fd int, fn func() error) error {
	if low.attr.IsDir() || low.attr.Nlink < 2 {
		return fn()
	}
	if err := fn(); err != nil {
		return err
	}
	if err := c.fs.nameBack(low, fd); err != nil {
		return err
	}
	c.recount = true
	if c.same == nil {
		c.same = make(map[uint64][]string)
		err := c.base.each("", func(path string, p *fingerprint) error {
			c.same[p.ino] = append(c.same[p.ino], path)
			return nil
		})
		if err != nil {
			return err
		}
	}
	old := c.fs.log.printOf(&low.attr, low.id)
	for _, path := range slices.Clone(c.same[old.ino]) {
		p := c.base.get(path)
		if p == nil || *p != old {
			continue
		}
		f, err := c.fs.coverAt(path)
		if err != nil {
			return err
		}
		if f.exists() && f.id == low.id {
			if err := c.note(baseRecord{kind: baseSet, path: path, print: c.fs.log.printOf(&f.attr, f.id)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// nameBack notes that a name of the lower file low, in the directory fd, that
// the upper layer had removed counts no more: it shows again, or the workspace
// has lost it too. Nodes in memory learn of it by a refresh.
func (fs *FS) nameBack(low *cover, fd int) error {
	if low.attr.Nlink < 2 || !fs.hard.used.Load() {
		return nil
	}
	file := countPrefix + fs.indexName(low.in, fd, low.name, &low.attr, low.id)
	var buf [markValueMax]byte
	v, ok, err := fs.ly.get(fs.ly.links, file, markNlink, buf[:])
	if err == syscall.ENOENT || err == nil && !ok {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(v, "L"), 10, 32)
	if err != nil || n >= -1 {
		return at.Unlink(fs.ly.links, file, 0) // none is removed any more
	}
	return fs.ly.set(fs.ly.links, file, markNlink, nlinkMark('L', int32(n)+1))
}
