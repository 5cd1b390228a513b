package overlay

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// evacuate moves the renamed directories that might be in each other's way, or
// in the way of something new, to a stage directory at the root, from where
// they go to their places later. Any other is renamed in one step when its turn
// comes.
func (c *commit) evacuate() error {
	for i, r := range c.moves {
		direct, err := c.direct(r)
		if err != nil {
			return pathError(r.path, err)
		}
		if direct || !r.low.isDir() {
			continue
		}
		if err := c.stop(); err != nil {
			return err
		}
		if c.stage == "" {
			if err := c.makeStage(); err != nil {
				return err
			}
		}
		from, to := r.redirect, c.stage+"/"+strconv.Itoa(i)
		if err := c.moveLower(r, from, to); err == errMeanwhile {
			c.left(r.path, err)
			continue
		} else if err != nil {
			return pathError(r.path, err)
		}
		c.staged = append(c.staged, evacuated{r, from, to})
		c.step("evacuated")
	}
	return nil
}

// direct tells whether nothing but a deletion, which comes last, happens to the
// place that a renamed directory leaves.
func (c *commit) direct(r *object) (bool, error) {
	p, err := c.fs.rootPlace()
	if err != nil {
		return false, err
	}
	for name := range strings.SplitSeq(c.survey.viewOf(r.redirect), "/") {
		o, err := c.fs.look(p, name)
		if vanished(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if o.white {
			return true, nil
		}
		if !o.attr.IsDir() || o.opaque || o.renamed || p.hidden {
			return false, nil
		}
		p = p.enter(o)
	}
	return false, nil
}

// moveHere renames the workspace's directory that o shows to where o is.
func (c *commit) moveHere(p *place, o *object) error {
	if !o.renamed {
		return nil
	}
	var r *object
	for _, m := range c.survey.redirects {
		if m.path == o.path && m.redirect == o.redirect {
			r = m
		}
	}
	if r == nil {
		return errMeanwhile // renamed since the plan was made
	}
	if !o.low.isDir() {
		return c.standAlone(p, r)
	}
	c.tell(o.path)
	was, err := c.fs.cover(p.lowers, o.name)
	if err != nil {
		return err
	}
	if was.exists() {
		if err := c.aside(p, o, &was); err != nil {
			return err
		}
	}
	return c.moveLower(r, r.redirect, o.path)
}

// standAlone has a renamed directory of which the workspace has lost its part be
// one that the overlay alone has. It hides what the workspace has in its place by
// now, which it never showed.
func (c *commit) standAlone(p *place, r *object) error {
	thaw, err := c.fs.freeze(c.ctx)
	if err != nil {
		return err
	}
	defer thaw()
	if err := c.resurvey(); err != nil {
		return err
	}
	if err := c.fs.inPlace(p); err != nil {
		return err
	}
	o, err := c.fs.look(p, r.name)
	if err != nil {
		return err
	}
	if o.id != r.id || o.redirect != r.redirect || o.low.isDir() {
		return errMeanwhile
	}
	err = c.fs.alter(c.ctx, p.path, o.name, func() error {
		return o.loc.use(func(fd int, name string) error {
			if err := c.fs.ly.setOpaque(fd, name); err != nil {
				return err
			}
			c.step("alone")
			return c.fs.ly.remove(fd, name, markRedirect)
		})
	})
	if err == nil {
		c.survey.drop(o.id)
	}
	return err
}

// aside removes what is in the way of a renamed directory, which hides it.
func (c *commit) aside(p *place, o *object, was *cover) error {
	if err := c.resurvey(); err != nil {
		return err
	}
	for _, r := range c.survey.redirects {
		if within(r.redirect, o.path) {
			return errMeanwhile
		}
	}
	if !c.opt.Force {
		conflict := c.walk.deletion(o.path, was)
		if conflict == NoConflict && was.isDir() {
			var err error
			if conflict, err = c.walk.deletionBelow(o.path, was); err != nil {
				return err
			}
		}
		if conflict != NoConflict {
			return errMeanwhile
		}
	}
	if err := c.fs.log.append(baseRecord{kind: baseDeleting, path: o.path}); err != nil {
		return err
	}
	err := was.location().use(func(fd int, name string) error {
		t, err := c.temp(p, fd)
		if err != nil {
			return err
		}
		return c.losesAll(was, func() error {
			if err := at.Rename(fd, name, fd, t, unix.RENAME_NOREPLACE); err != nil {
				return err
			}
			c.step("aside")
			err := c.removeAside(p, o.path, was, t)
			if errors.Is(err, errMeanwhile) { // somebody's, who finds it where it was
				err = errors.Join(err, at.Rename(fd, t, fd, name, unix.RENAME_NOREPLACE))
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return c.note(baseRecord{kind: baseClearTree, path: o.path})
}

// moveLower renames the directory of the workspace that r shows to the path to,
// where there is nothing, and has every upper directory that shows it, or
// something below it, say so. A crash between is put right at the next Open.
//
// Back from the stage directory it also goes if r is gone, which is a deletion:
// it does not show by that.
func (c *commit) moveLower(r *object, from, to string) error {
	thaw, err := c.fs.freeze(c.lasting())
	if err != nil {
		return err
	}
	defer thaw()
	if err := c.resurvey(); err != nil {
		return err
	}
	if err := c.mayMove(r, from, to); err != nil {
		return err
	}
	fdir, fname := c.fs.hostAt(from)
	tdir, tname := c.fs.hostAt(to)
	_, id, err := location{fdir, fname}.stat()
	if vanished(err) || err == syscall.ENOTDIR {
		err = errMeanwhile
	}
	if err != nil {
		return err
	}
	move := baseRecord{kind: baseMoving, path: from, to: to}
	if move.print.ino, move.print.dev = id.Ino, id.Dev; id.Dev == c.fs.log.dev {
		move.print.dev = 0
	}
	if err := c.fs.log.append(move); err != nil {
		return err
	}
	if !c.opt.NoSync {
		if err := c.fs.log.sync(); err != nil {
			return err
		}
	}
	c.step("move announced")
	end := sync.OnceFunc(c.fs.moves.begin())
	defer end()
	err = moveHost(location{fdir, fname}, location{tdir, tname})
	if err == syscall.EEXIST || vanished(err) || err == syscall.ENOTDIR {
		err = errMeanwhile
	}
	if err != nil {
		return err
	}
	c.step("moved")
	if err := c.redirectBelow(from, to); err != nil {
		// As it was: or else the upper layer would show nothing there.
		berr := moveHost(location{tdir, tname}, location{fdir, fname})
		if berr == nil {
			berr = c.redirectBelow(to, from)
		}
		return errors.Join(err, berr)
	}
	if err := c.note(baseRecord{kind: baseMove, path: from, to: to}); err != nil {
		return err
	}
	for i := range c.staged {
		if e := &c.staged[i]; within(e.from, from) {
			e.from = rebase(e.from, from, to)
		}
	}
	c.step("redirected")
	if !c.opt.NoSync {
		err = errors.Join(syncAt(fdir), syncAt(tdir))
	}
	var told []func()
	var ferr error
	for _, r := range c.survey.redirects {
		if !within(r.redirect, to) {
			continue // it does not show anything that was moved
		}
		t, err := c.fs.findAnew(c.lasting(), r.path)
		told, ferr = append(told, t...), errors.Join(ferr, err)
	}
	ferr = errors.Join(ferr, c.fs.followMove(from, to))
	end()
	for _, f := range told {
		f()
	}
	return errors.Join(err, ferr)
}

// mayMove answers errMeanwhile if the plan to move what r shows does not hold any
// more. Everything is frozen, and the survey is of now.
func (c *commit) mayMove(r *object, from, to string) error {
	err := c.fs.redirected(r.loc, r.id)
	if err != nil && !vanished(err) {
		return err
	}
	there := err == nil && slices.Contains(c.survey.redirects, r)
	switch {
	case within(to, from), !there && !strings.HasPrefix(from, tempPrefix):
		return errMeanwhile
	case there && r.path == to:
		return nil
	}
	hides, err := c.fs.hides(c.survey, to)
	if err == nil && !hides && !there {
		hides, err = c.fs.hide(c.lasting(), c.survey, to)
	}
	if err == nil && !hides {
		err = errMeanwhile
	}
	return err
}

// resurvey looks for renamed directories again if any was renamed, or removed,
// since the survey was made: what is about to happen to the workspace must not take from
// them what they show. One that shows what it did stays the same object, wherever
// it is now. No directory is renamed while it looks.
func (c *commit) resurvey() error {
	// Held while a caller holds locks of directories, out of order: it waits for
	// nobody then, since a rename passes the gate, which is frozen.
	c.fs.renames.Lock()
	defer c.fs.renames.Unlock()
	n := c.fs.renamed.Load()
	if n == c.renamed {
		return nil
	}
	s, err := c.fs.survey(c.lasting())
	if err != nil {
		return err
	}
	known := make(map[at.Ident]*object, len(c.survey.redirects))
	for _, r := range c.survey.redirects {
		known[r.id] = r
	}
	for i, o := range s.redirects {
		if old := known[o.id]; old != nil && old.redirect == o.redirect {
			*old = *o
			s.redirects[i] = old
			if o.low.isDir() {
				s.dirs[o.low.key()] = old
			}
		}
	}
	c.survey.redirects, c.survey.dirs, c.renamed = s.redirects, s.dirs, n
	return nil
}

// renamedYet returns how many renames of directories are over.
func (fs *FS) renamedYet() uint64 {
	fs.renames.Lock()
	defer fs.renames.Unlock()
	return fs.renamed.Load()
}

// moveHost renames an entry of the workspace to where there is none (EEXIST).
func moveHost(from, to location) error {
	return from.use(func(ffd int, fname string) error {
		return to.use(func(tfd int, tname string) error {
			return at.Rename(ffd, fname, tfd, tname, unix.RENAME_NOREPLACE)
		})
	})
}

// redirectBelow has the upper directories that show something at or below from,
// in the workspace, show it below to.
func (c *commit) redirectBelow(from, to string) error {
	for _, r := range c.survey.redirects {
		if within(r.redirect, from) {
			err := c.redirectTo(r, rebase(r.redirect, from, to))
			if err != nil && !vanished(err) { // removed since
				return err
			}
		}
	}
	return nil
}

// redirectTo records in r, on disk and in memory, where its lower part is.
func (c *commit) redirectTo(r *object, target string) error {
	if err := c.fs.setRedirectOf(r.loc, r.id, target); err != nil {
		return pathError(r.path, err)
	}
	r.redirect = target
	return nil
}

// setRedirectOf has the upper directory at l show target. The mark stays even
// where that is its own place: it does no harm, and a directory above may still
// be elsewhere.
func (fs *FS) setRedirectOf(l location, id at.Ident, target string) error {
	if err := fs.redirected(l, id); err != nil {
		return err
	}
	return l.use(func(fd int, name string) error {
		return fs.ly.setRedirect(fd, name, "/"+target)
	})
}

// hides tells whether the upper layer hides what the lower one has, or would
// have, at a path of it: that shows by the directory that stands for the nearest
// one above, wherever that is in the view. s is of now.
func (fs *FS) hides(s *survey, lower string) (bool, error) {
	p, lower, err := fs.shownBy(s, lower)
	if err != nil {
		return false, err
	}
	for name := range strings.SplitSeq(lower, "/") {
		o, err := fs.look(p, name)
		if err == syscall.ENOENT {
			return p.hidden, nil
		}
		if err != nil {
			return false, err
		}
		if !o.attr.IsDir() || o.opaque || o.renamed {
			return true, nil
		}
		p = p.enter(o)
	}
	return p.hidden, nil
}

// shownBy returns the place that shows what the lower layer has at a path, or
// something above it, and the rest of the path from there.
func (fs *FS) shownBy(s *survey, lower string) (*place, string, error) {
	r := s.above(lower)
	if r == nil {
		p, err := fs.rootPlace()
		return p, lower, err
	}
	in, o, err := fs.lookParent(r.path)
	if err != nil {
		return nil, "", err
	}
	return in.enter(o), strings.TrimPrefix(lower[len(r.redirect):], "/"), nil
}

// hide has the upper layer hide what the lower one is about to have at a path,
// where it has nothing, which the view does not show. It is false if that cannot
// be. Everything is frozen, s is of now, and nothing hides it yet.
func (fs *FS) hide(ctx context.Context, s *survey, lower string) (bool, error) {
	if now, err := fs.coverAt(lower); err != nil || now.exists() {
		return false, err // somebody's, or put there since
	}
	p, rest, err := fs.shownBy(s, lower)
	if err != nil {
		return false, err
	}
	for {
		name, more, below := strings.Cut(rest, "/")
		o, err := fs.look(p, name)
		switch {
		case err == syscall.ENOENT && !below:
			err = fs.alter(ctx, p.path, name, func() error {
				return keepTimes(p.upper, func(fd int) error { return fs.white.make(fs, fd, name) })
			})
			return err == nil, err
		case err == syscall.ENOENT:
			return false, nil
		case err != nil || o.low.exists() && !below:
			return false, err
		case !below:
			err = fs.alter(ctx, p.path, name, func() error {
				return keepTimes(p.upper, func(fd int) error { return fs.ly.setOpaque(fd, name) })
			})
			return err == nil, err
		}
		p, rest = p.enter(o), more
	}
}

// inPlace answers errMeanwhile if the directory p is not where it was when p was
// made: its nodes are not found by its path then. Everything is frozen.
func (fs *FS) inPlace(p *place) error {
	dir := fs.ly.upper
	if p.path != "" {
		for name := range strings.SplitSeq(p.path, "/") {
			dir = dir.Child(name, at.Ident{})
		}
	}
	_, id, err := location{dir: dir}.stat()
	if vanished(err) || err == syscall.ENOTDIR || err == nil && id != p.upper.Ident() {
		return errMeanwhile
	}
	return err
}

// redirected answers ESTALE if the upper directory id, which has a redirect, is
// not at l any more. Its number alone does not tell: the host gives it to the
// next directory that is made.
func (fs *FS) redirected(l location, id at.Ident) error {
	return l.use(func(fd int, name string) error {
		_, now, err := at.Stat(fd, name)
		if err != nil {
			return gone(err)
		}
		if now != id {
			return syscall.ESTALE
		}
		target, err := fs.ly.redirect(fd, name)
		if err == nil && target == "" {
			err = syscall.ESTALE
		}
		return err
	})
}

// hostAt returns the directory of the workspace that holds path, and its name
// there.
func (fs *FS) hostAt(path string) (*at.Dir, string) {
	dir := fs.ly.lowers[len(fs.ly.lowers)-1].at
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return dir, name
		}
		dir, path = dir.Child(name, at.Ident{}), rest
	}
}

// syncAt has what was done in a directory of the workspace outlive a crash of
// the machine.
func syncAt(dir *at.Dir) error {
	return location{dir: dir}.use(func(dirfd int, _ string) error {
		fd, err := at.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err = syncFile(fd); err == syscall.EINVAL {
			err = nil // a filesystem whose directories need none
		}
		return err
	})
}
