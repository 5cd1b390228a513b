package overlay

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// tempPrefix begins every name that a commit makes in the workspace for a
// moment. In the root, a whiteout with such a name hides a stage directory.
const tempPrefix = ".astridfs-"

// run carries the plan out, in two passes over the upper layer. The first makes
// the workspace's directories and files what they are to be, from above to
// below, renamed directories first; what is then the same leaves the upper
// layer directory by directory. The second deletes, from below to above, sets
// the attributes of directories, and removes upper directories that are empty.
// Between any two steps the layers together show what they showed before.
func (c *commit) run() error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	c.prefix = tempPrefix + hex.EncodeToString(random[:])
	temps := c.prefix + "."
	c.fs.temps.Store(&temps)
	defer c.fs.temps.Store(nil)
	err := c.fs.log.append(baseRecord{kind: baseBegun})
	if err == nil {
		err = c.evacuate()
	}
	if err == nil {
		err = c.pass((*commit).createIn)
	}
	// Links of one file leave the upper layer together, whatever stopped us.
	err = errors.Join(err, c.dropLinked())
	if err == nil {
		err = c.pass(func(c *commit, p *place) error { return c.finishIn(p, nil) })
	}
	stopped := err != nil && c.stop() != nil && vfs.Errno(err) == syscall.EINTR
	left := errors.Join(c.unstage(), c.removeStrays(), c.fs.removeStages(), c.recountLinks())
	if err = errors.Join(err, left); (err == nil || stopped && left == nil) && !c.unfinished {
		err = errors.Join(err, c.endRecovery())
	}
	c.tell("")
	if err == nil && len(c.report.Left) == 0 {
		return nil
	}
	c.report.Steps = slices.DeleteFunc(c.report.Steps, func(s Step) bool { return !c.done[s.Path] })
	return err
}

func (c *commit) pass(fn func(*commit, *place) error) error {
	root, err := c.fs.rootPlace()
	if err != nil {
		return err
	}
	return fn(c, root)
}

// finished notes that the change at path is made.
func (c *commit) finished(path string) {
	if !c.done[path] {
		c.done[path] = true
		c.progress.Done++
	}
}

// finishIn is the second pass in one directory, of which o is the upper object;
// nil for the root.
func (c *commit) finishIn(p *place, o *object) error {
	names, err := p.names()
	if err != nil {
		return c.passing(p.path, err)
	}
	var whites []*object
	for _, name := range names {
		path := joinPath(p.path, name)
		if !c.choice.leads(path) {
			continue
		}
		if err := c.stop(); err != nil {
			return err
		}
		e, err := c.fs.look(p, name)
		if vanished(err) {
			continue
		}
		if err != nil {
			return pathError(path, err)
		}
		switch {
		case e.white:
			if c.choice.has(path) && !isStage(p, name) {
				whites = append(whites, e)
			}
		case e.attr.IsDir() && e.low.isDir() && !e.opaque && !e.renamed && !p.hidden:
			if err := c.finishIn(p.enter(e), e); err != nil {
				return err
			}
			if err := c.passing(path, c.finishDir(p, e)); err != nil {
				return err
			}
		}
	}
	if err := c.passing(p.path, c.deleteIn(p, whites)); err != nil {
		return err
	}
	if o == nil {
		if err := c.rootTimes(p); err != nil {
			return err
		}
	}
	return c.passing(p.path, c.touched(p))
}

// touched notes the times that a directory of the workspace has after what was
// done in it, so that they are not taken for somebody else's doing.
func (c *commit) touched(p *place) error {
	print := c.base.get(p.origin)
	if print == nil {
		return nil
	}
	a, id, err := location{dir: p.lowers[0].at}.stat()
	if err != nil {
		return err
	}
	now := c.fs.log.printOf(&a, id)
	if now.mtime == print.mtime && now.ctime == print.ctime {
		return nil
	}
	set := *print
	set.size, set.mtime, set.ctime = now.size, now.mtime, now.ctime
	return c.note(baseRecord{kind: baseSet, path: p.origin, print: set})
}

// deleteIn deletes what the whiteouts of a directory hide, and these.
func (c *commit) deleteIn(p *place, whites []*object) error {
	var gone []*object
	var announced []baseRecord
	for _, o := range whites {
		if o.low.exists() {
			announced = append(announced, baseRecord{kind: baseDeleting, path: o.origin})
		}
	}
	err := c.fs.log.append(announced...)
	if err != nil {
		return err
	}
	for _, o := range whites {
		if err = c.stop(); err != nil {
			break
		}
		c.tell(o.path)
		// What was deleted before may have been another name of it.
		if o, err = c.fs.look(p, o.name); vanished(err) {
			err = nil
			continue
		}
		if err != nil {
			break
		}
		if !o.white {
			c.left(o.path, errMeanwhile)
			continue
		}
		if o.low.exists() {
			err = c.removeLower(o.origin, &o.low)
			if errors.Is(err, errMeanwhile) || vanished(err) {
				c.left(o.path, errMeanwhile)
				err = nil
				continue
			}
			if err != nil {
				err = pathError(o.path, err)
				break
			}
			c.step("deleted")
		}
		gone = append(gone, o)
	}
	if len(gone) == 0 {
		return err
	}
	return errors.Join(err, c.dropWhites(p, gone))
}

// removeLower removes an entry of the workspace with everything below it, as
// long as each is what it was when it was deleted in the view.
func (c *commit) removeLower(origin string, low *cover) error {
	if err := c.resurvey(); err != nil {
		return err
	}
	for _, r := range c.survey.redirects {
		if within(r.redirect, origin) {
			return errMeanwhile // it would take with it what another directory shows
		}
	}
	return c.removeBelow(origin, low, c.losesName)
}

// removeAside removes what was put aside, as t in the directory of p, from the
// place origin, where it was low, as far as each entry is what it was when it was
// deleted in the view. What the names of its files were is known already.
func (c *commit) removeAside(p *place, origin string, low *cover, t string) error {
	in := p.lowers[0]
	a, id, err := location{in.at, t}.stat()
	if err != nil {
		return err
	}
	if id != low.id {
		return errMeanwhile
	}
	now := cover{in: in, name: t, attr: a, id: id} // which the view does not show
	if a.IsDir() {
		now.lowers = []*ldir{{at: in.at.Child(t, id), up: in, name: t, layer: in.layer}}
	}
	return c.removeBelow(origin, &now, nil)
}

// removeBelow removes a lower entry that was at origin. lose is losesName, or nil
// where that is seen to.
func (c *commit) removeBelow(origin string, low *cover, lose func(low *cover, fd int, fn func() error) error) error {
	if !low.isDir() {
		now := c.fs.log.printOf(&low.attr, low.id)
		p := c.walk.recorded(origin, low)
		if p != nil && lose == nil {
			now.ctime = p.ctime // which moves with the names of a file
		}
		if !c.opt.Force && (p == nil || *p != now) {
			return errMeanwhile
		}
		return low.location().use(func(fd int, name string) error {
			remove := func() error {
				err := c.unlink(low, fd, name)
				c.step("removed")
				return err
			}
			if lose == nil {
				return remove()
			}
			return lose(low, fd, remove)
		})
	}
	if err := c.stop(); err != nil {
		return err
	}
	names, err := lowerNames(low.lowers)
	if err != nil {
		return err
	}
	for _, name := range names {
		sub, err := c.fs.cover(low.lowers, name)
		if err == nil && sub.exists() {
			err = c.removeBelow(joinPath(origin, name), &sub, lose)
		}
		if err != nil {
			return err
		}
	}
	low.lowers[0].at.Drop()
	err = low.location().use(func(fd int, name string) error { return at.Unlink(fd, name, unix.AT_REMOVEDIR) })
	c.step("removed")
	if err == syscall.ENOTEMPTY || err == syscall.EEXIST {
		err = errMeanwhile
	}
	return err
}

// finishDir gives a directory of the workspace the attributes of the upper one,
// if they are chosen, and removes that if nothing is left in it.
func (c *commit) finishDir(p *place, o *object) error {
	o, err := c.fs.look(p, o.name) // what was done in it changed its times
	if err != nil || !o.attr.IsDir() || !o.low.isDir() || o.renamed || o.opaque {
		if vanished(err) {
			err = nil
		}
		return err
	}
	diff, err := differences(c.ctx, o.low.location(), &o.low.attr, o.loc, &o.attr)
	if err != nil {
		return err
	}
	diff &^= Content
	chosen := c.choice.has(o.path) || c.made[o.path]
	if !chosen && diff&^Times != 0 {
		diff = 0
	}
	if diff != 0 {
		if err := c.setAttrs(o, diff); err != nil {
			return err
		}
	}
	if chosen {
		c.finished(o.path)
	}
	return c.dropDir(p, o)
}

// rootTimes gives the workspace's root the times that the view shows.
func (c *commit) rootTimes(p *place) error {
	return location{dir: p.lowers[0].at}.use(func(fd int, _ string) error {
		a, _, err := at.Stat(fd, "")
		if err == nil && a.Mtime != p.attr.Mtime {
			err = setTimes(fd, "", &p.attr)
		}
		if err == syscall.EPERM {
			err = nil // somebody else's directory
		}
		return err
	})
}

// recountLinks has live nodes show the link counts that the workspace has now.
func (c *commit) recountLinks() error {
	if !c.recount {
		return nil
	}
	thaw, err := c.fs.freeze(c.lasting())
	if err != nil {
		return err
	}
	defer thaw()
	return c.fs.refresh(c.lasting(), "")
}

// lasting is the context of what must not be left half done.
func (c *commit) lasting() context.Context { return context.WithoutCancel(c.ctx) }
