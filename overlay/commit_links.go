package overlay

import (
	"errors"
	"fmt"
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
	names, err := c.followers(p, o)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		err = c.replaceAll(p, o, names)
	} else {
		err = c.replace(p, o)
	}
	if err != nil {
		return err
	}
	g.host, g.attr, g.first = location{p.lowers[0].at, o.name}, o.attr, o.path
	_, g.id, err = g.host.stat()
	return err
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

// followers returns the other names that the workspace has for the file that o
// covers, and that the view shows as the file o: the upper layer knows such
// names by its index alone, so they are looked for.
func (c *commit) followers(p *place, o *object) ([]*object, error) {
	if !o.low.exists() || o.low.attr.Nlink < 2 || !o.low.attr.IsRegular() {
		return nil, nil
	}
	own := false
	err := o.loc.use(func(fd int, name string) error {
		has, err := c.fs.ly.present(fd, name)
		own = has&hasIndex != 0
		return err
	})
	if err != nil || !own {
		return nil, err
	}
	var found []*object
	root := cover{lowers: c.fs.ly.lowers}
	err = c.fs.lowerTree(c.ctx, &root, func(path string, f *cover) error {
		if f.id != o.low.id || path == o.path {
			return nil
		}
		shown, err := c.showsLower(path)
		if shown {
			e := *o
			e.name, e.path, e.origin, e.low = f.name, path, path, *f
			found = append(found, &e)
		}
		return err
	})
	return found, err
}

// replaceAll puts a copy of o in the workspace under its own name and others.
// They are one file again also after a crash between: the next Open finishes
// it.
func (c *commit) replaceAll(p *place, o *object, others []*object) error {
	if !c.opt.Force && c.walk.conflict(o, Content) != NoConflict {
		return errMeanwhile
	}
	return location{dir: p.lowers[0].at}.use(func(fd int, _ string) error {
		s, err := c.stageQuiet(p, o, fd)
		if err != nil {
			return err
		}
		defer s.close(fd)
		if s.name == "" {
			t, err := c.temp(p, fd)
			if err != nil {
				return err
			}
			if err := at.LinkFD(s.fd, fd, t); err != nil {
				return err
			}
			s.name = t
		}
		tmp := joinPath(p.lowers[0].path(), s.name)
		rs := []baseRecord{{kind: baseFollow, path: tmp, to: o.path}}
		for _, e := range others {
			rs = append(rs, baseRecord{kind: baseFollow, path: tmp, to: e.path})
			c.also(e.path, fmt.Sprintf("another name of %q", o.path))
		}
		announced := append(slices.Clone(rs), c.leaves(o))
		for _, path := range c.survey.groups[o.id] {
			// The other names in the upper layer come later, and together with
			// these if there is no later.
			if path != o.path && c.choice.has(path) {
				m := *o
				m.path = path
				announced = append(announced, baseRecord{kind: baseFollow, path: tmp, to: path}, c.leaves(&m))
			}
		}
		if err := c.fs.log.append(announced...); err != nil {
			return err
		}
		if !c.opt.NoSync {
			if err := errors.Join(c.fs.log.sync(), syncAt(p.lowers[0].at)); err != nil {
				return err
			}
		}
		c.step("announced")
		for _, r := range rs {
			set, err := c.fs.followTemp(location{p.lowers[0].at, s.name}, r.to)
			if err != nil {
				return pathError(r.to, err)
			}
			c.base.apply(&set)
			c.step("followed")
		}
		return nil
	})
}

// followTemp makes the file of the workspace at path a further name of the
// temporary file tmp, and notes so.
func (fs *FS) followTemp(tmp location, path string) (baseRecord, error) {
	dir, name := fs.hostAt(path)
	set := baseRecord{kind: baseSet, path: path}
	_, want, err := tmp.stat()
	if err != nil {
		return set, err
	}
	// What happens to the directory happened in the view when it did.
	err = keepTimes(dir, func(fd int) error {
		_, id, err := at.Stat(fd, name)
		if err != nil && err != syscall.ENOENT || id == want {
			return err
		}
		return tmp.use(func(tfd int, tname string) error {
			further := tname + "+"
			if err := at.Link(tfd, tname, tfd, further); err != nil && err != syscall.EEXIST {
				return err
			}
			return at.Rename(tfd, further, fd, name, 0)
		})
	})
	if err != nil {
		return set, err
	}
	a, id, err := location{dir, name}.stat()
	if err != nil {
		return set, err
	}
	set.print = fs.log.printOf(&a, id)
	return set, fs.log.append(set)
}

// showsLower tells whether the view shows the lower entry path in its own
// place.
func (c *commit) showsLower(path string) (bool, error) {
	p, err := c.fs.rootPlace()
	if err != nil {
		return false, err
	}
	names := strings.Split(path, "/")
	for i, name := range names {
		if p.hidden {
			return false, nil
		}
		last := i == len(names)-1
		if p.upper != nil {
			o, err := c.fs.look(p, name)
			if err == nil {
				if last || !o.attr.IsDir() || o.redirect != "" {
					return false, nil
				}
				p = p.enter(o)
				continue
			}
			if !vanished(err) {
				return false, err
			}
		}
		if last {
			return len(p.lowers) > 0, nil
		}
		sub, err := c.fs.cover(p.lowers, name)
		if err != nil || !sub.isDir() {
			return false, err
		}
		p = &place{path: joinPath(p.path, name), origin: joinPath(p.origin, name), lowers: sub.lowers}
	}
	return false, nil
}

// lookPath returns the upper object at a path of the view. ENOENT.
func (fs *FS) lookPath(path string) (*object, error) {
	_, o, err := fs.lookParent(path)
	return o, err
}

// lookParent returns the upper object at a path of the view, and its directory.
// ENOENT.
func (fs *FS) lookParent(path string) (*place, *object, error) {
	p, err := fs.rootPlace()
	if err != nil {
		return nil, nil, err
	}
	for {
		name, rest, more := strings.Cut(path, "/")
		o, err := fs.look(p, name)
		if err != nil || !more {
			return p, o, err
		}
		if !o.attr.IsDir() {
			return nil, nil, syscall.ENOENT
		}
		p, path = p.enter(o), rest
	}
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
	// A crash between must not leave some names in the upper layer alone.
	var rs []baseRecord
	for _, m := range g.members {
		rs = append(rs, c.leaves(m.o))
	}
	if err := c.fs.log.append(rs...); err != nil {
		return err
	}
	for _, m := range g.members {
		if err := c.dropFile(m.p, m.o); err != nil {
			return pathError(m.o.path, err)
		}
		c.finished(m.o.path)
	}
	return nil
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
	if low.attr.IsDir() {
		return fn()
	}
	if low.attr.Nlink < 2 {
		c.keepNumber(low, fd)
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

// keepNumbers is keepNumber for all that is at and below a lower entry.
func (c *commit) keepNumbers(low *cover) error {
	if len(c.survey.strangers) == 0 {
		return nil
	}
	one := func(f *cover) error {
		return f.location().use(func(fd int, _ string) error {
			c.keepNumber(f, fd)
			return nil
		})
	}
	if !low.isDir() {
		return one(low)
	}
	return c.fs.lowerTree(c.ctx, low, func(_ string, sub *cover) error {
		if sub.isDir() {
			return nil
		}
		return one(sub)
	})
}

// keepNumber has the number of a lower file that goes, low in the directory fd,
// not given to another one if an upper file shows it.
func (c *commit) keepNumber(low *cover, fd int) {
	if ino := c.fs.devs.ino(low.id); c.survey.strangers[ino] {
		c.fs.inos.keep(c.fs, fd, low.name, ino)
	}
}

// keep reserves the number of a lower file that goes and that an upper file
// elsewhere shows, so that the host does not give it to another; until the next
// Open that finds it shown no more. It cannot where the workspace is on another
// filesystem than the upper layer.
func (r *reservedInos) keep(fs *FS, fd int, name string, ino uint64) {
	if at.Link(fd, name, fs.ly.inos, strconv.FormatUint(ino, 10)) != nil {
		return
	}
	r.mu.Lock()
	r.set[ino] = struct{}{}
	r.mu.Unlock()
}
