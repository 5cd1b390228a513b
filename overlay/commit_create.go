package overlay

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// createIn is the first pass in one directory, which the workspace has.
func (c *commit) createIn(p *place) error {
	names, err := p.names()
	if err != nil {
		return c.passing(p.path, err)
	}
	b := batch{c: c, p: p}
	for _, name := range names {
		path := joinPath(p.path, name)
		if !c.choice.leads(path) {
			continue
		}
		if err = c.stop(); err != nil {
			break
		}
		if err = c.create(&b, name, path); err != nil {
			break
		}
	}
	return errors.Join(err, c.passing(p.path, b.finish()))
}

// create makes one entry of the workspace, or adds it to the batch.
func (c *commit) create(b *batch, name, path string) error {
	return c.passing(path, c.createEntry(b, name, path))
}

// passing notes what an error at path is about, if somebody changed it while it
// was worked on, and returns any other error.
func (c *commit) passing(path string, err error) error {
	if errors.Is(err, errMeanwhile) || vanished(err) || errors.Is(err, syscall.ENOTDIR) {
		c.left(path, meanwhile(err))
		return nil
	}
	return pathError(path, err)
}

func (c *commit) createEntry(b *batch, name, path string) error {
	o, err := c.fs.look(b.p, name)
	if err != nil {
		if vanished(err) {
			err = nil
		}
		return err
	}
	if err = c.createObject(b, o); mistaken(err) {
		a, id, serr := o.loc.stat()
		same := id == o.id && a.IsDir() && o.attr.IsDir() || unchanged(&a, id, &o.attr, o.id)
		if vanished(serr) || serr == nil && !same {
			return errMeanwhile
		}
	}
	return err
}

// letIn has an ordinary user's commit get into a directory of his own that the
// workspace shuts him out of, and the view does not any more.
func (c *commit) letIn(o *object) error {
	const enter = 0o300
	if c.fs.ly.privileged || !c.choice.has(o.path) || !o.low.isDir() || o.renamed || o.opaque ||
		o.low.attr.Mode&enter == enter || o.attr.Mode&enter != enter {
		return nil
	}
	return c.setAttrs(o, Mode)
}

// mistaken tells whether err may come of an object's being of another type than
// it was when it was looked at.
func mistaken(err error) bool {
	switch err {
	case syscall.EINVAL, syscall.ELOOP, syscall.EISDIR, syscall.ENOTDIR, syscall.EPERM:
		return true
	}
	return false
}

// createObject is createEntry for what has been looked at.
func (c *commit) createObject(b *batch, o *object) (err error) {
	switch path := o.path; {
	case o.white:
		return nil
	case o.attr.IsDir():
		// What is linked or renamed further down may be in this directory.
		if err := b.flush(); err != nil {
			return err
		}
		if err := c.letIn(o); err != nil {
			return err
		}
		q, err := c.ensureDir(b.p, o)
		if err != nil {
			return err
		}
		return c.createIn(q)
	case !c.choice.has(path):
		return nil
	}
	c.tell(o.path)
	several := o.attr.Nlink > 1 || o.low.exists() && !o.low.isDir() && o.low.attr.Nlink > 1
	if several {
		// One after the other: what is done to one name shows in the others.
		if err := b.flush(); err != nil {
			return err
		}
		if o, err = c.fs.look(b.p, o.name); err != nil {
			return err
		}
	}
	if o.attr.Nlink > 1 {
		return c.linkedFile(b.p, o)
	}
	kept, _, err := c.keep(o)
	if err != nil {
		return err
	}
	if kept {
		b.done = append(b.done, o)
		c.finished(o.path)
		return nil
	}
	s, err := c.prepare(b.p, o)
	if err != nil {
		return err
	}
	if err := b.add(o, s); err != nil || !several {
		return err
	}
	return b.flush()
}

// ensureDir sees to it that the workspace has the directory o, under its name,
// and that the upper one hides nothing of it. Attributes come in the second
// pass.
func (c *commit) ensureDir(p *place, o *object) (*place, error) {
	if o.renamed {
		if err := c.moveHere(p, o); err != nil {
			return nil, err
		}
		c.finished(o.path)
		var err error
		if o, err = c.fs.look(p, o.name); err != nil {
			return nil, err
		}
	}
	if o.opaque {
		if err := c.expandOpaque(p, o); err != nil {
			return nil, err
		}
	}
	if o.opaque {
		var err error
		if o, err = c.fs.look(p, o.name); err != nil {
			return nil, err
		}
	}
	if o.renamed || o.opaque || !o.attr.IsDir() {
		return nil, errMeanwhile // another one, whose lower part is elsewhere
	}
	if o.low.isDir() {
		return p.enter(o), nil
	}
	if err := c.makeDir(p, o); err != nil {
		return nil, err
	}
	c.made[o.path] = true
	o, err := c.fs.look(p, o.name)
	if err != nil {
		return nil, err
	}
	if !o.low.isDir() || !o.attr.IsDir() || o.renamed || o.opaque {
		return nil, errMeanwhile
	}
	return p.enter(o), nil
}

// makeDir makes an empty directory in the workspace, in the place of a file if
// there is one.
func (c *commit) makeDir(p *place, o *object) error {
	thaw, err := c.fs.freeze(c.ctx)
	if err != nil {
		return err
	}
	defer thaw()
	if _, id, err := o.loc.stat(); vanished(err) || err == nil && id != o.id {
		return errMeanwhile // it must not come back
	} else if err != nil {
		return err
	}
	if err := c.fs.inPlace(p); err != nil {
		return err
	}
	c.frozen = true
	defer func() { c.frozen = false }()
	err = location{p.lowers[0].at, o.name}.use(func(fd int, name string) error {
		return c.fs.alter(c.ctx, p.path, name, func() error {
			if !o.low.exists() {
				err := at.Mkdir(fd, name, 0o700)
				if err == syscall.EEXIST {
					err = errMeanwhile
				}
				return err
			}
			t, err := c.temp(p, fd)
			if err != nil {
				return err
			}
			if err := at.Mkdir(fd, t, 0o700); err != nil {
				return err
			}
			err = c.swapIn(p, o, fd, t)
			if err != nil {
				at.Unlink(fd, t, unix.AT_REMOVEDIR) // where it is still the new one
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	// Ours, should somebody put something else in its place before it is done.
	return c.settled(o.path, location{p.lowers[0].at, o.name})
}
