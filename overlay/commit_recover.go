package overlay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// recoverCommit puts right what a commit that was killed left half done. It
// runs before the overlay has any node.
func (fs *FS) recoverCommit() error {
	if len(fs.ly.lowers) > 1 {
		return nil
	}
	for i := range fs.log.todo {
		r := &fs.log.todo[i]
		var err error
		switch r.kind {
		case baseMoving:
			err = fs.finishMove(r)
		case baseDrop:
			err = fs.finishDrop(r)
		}
		if err != nil {
			return fmt.Errorf("finishing an interrupted commit: %q: %w", r.path, err)
		}
	}
	for i := range fs.log.todo {
		r := &fs.log.todo[len(fs.log.todo)-1-i]
		if r.kind == baseTemp {
			if err := fs.removeTemp(r); err != nil {
				return fmt.Errorf("finishing an interrupted commit: %q: %w", r.path, err)
			}
		}
		if r.kind != baseMoving || !strings.HasPrefix(r.to, tempPrefix) {
			continue
		}
		if err := fs.moveBack(r); err != nil {
			return fmt.Errorf("undoing an interrupted commit: %q: %w", r.path, err)
		}
	}
	if err := fs.strayAtOpen(); err != nil {
		return fmt.Errorf("finishing an interrupted commit: %w", err)
	}
	if err := fs.removeStages(); err != nil {
		return fmt.Errorf("finishing an interrupted commit: %w", err)
	}
	if len(fs.log.todo) == 0 {
		return nil
	}
	if err := fs.finishTouches(); err != nil {
		return fmt.Errorf("finishing an interrupted commit: %w", err)
	}
	if err := fs.finishRecords(); err != nil {
		return fmt.Errorf("finishing an interrupted commit: %w", err)
	}
	fs.log.todo = nil
	return fs.log.append(baseRecord{kind: baseDone})
}

// finishTouches finds out what became of the files that were touched: what is
// recorded of one follows if it is what it was, or was to be. It is the last to be
// done, as removing what is left may take a name of one.
func (fs *FS) finishTouches() error {
	var announced []*baseRecord
	for i := range fs.log.todo {
		if r := &fs.log.todo[i]; r.kind == baseTouching {
			announced = append(announced, r)
		}
	}
	if len(announced) == 0 {
		return nil
	}
	tree, err := fs.log.load()
	if err != nil {
		return err
	}
	tree.index()
	files, plans := make(map[*fingerprint]bool), make(map[inode][]*baseRecord)
	for _, r := range announced {
		if k := tree.files[r.print]; k != nil {
			files[&k.now().print] = true
		}
		id := inode{r.print.ino, r.print.dev}
		plans[id] = append(plans[id], r)
	}
	return fs.namesLeft(tree, files, func(old, now fingerprint) error {
		if old == now || !slices.ContainsFunc(plans[inode{old.ino, old.dev}], func(r *baseRecord) bool { return between(&old, &r.now, &now) }) {
			return nil
		}
		return fs.log.append(baseRecord{kind: baseTouched, print: old, now: now})
	})
}

// between tells whether a file that was old and was to become goal may be now by
// that alone, in part or as a whole; the change time apart.
func between(old, goal, now *fingerprint) bool {
	was := now.mode == old.mode || now.mode == goal.mode || now.mode == old.mode&^(unix.S_ISUID|unix.S_ISGID)
	return was && now.size == old.size && (now.uid == old.uid || now.uid == goal.uid) &&
		(now.gid == old.gid || now.gid == goal.gid) && (now.mtime == old.mtime || now.mtime == goal.mtime)
}

// strayAtOpen is removeStrays for what an earlier commit left.
func (fs *FS) strayAtOpen() error {
	stages, err := fs.stages()
	if err != nil || len(stages) == 0 {
		return err
	}
	c := newCommit(context.Background(), fs, CommitOptions{})
	c.frozen = true // nobody else is there
	if c.walk, err = fs.newWalk(c.ctx, ChangesOptions{}); err != nil {
		return err
	}
	c.walk.settled = true
	c.survey, c.base = c.walk.survey, c.walk.base
	return c.removeStrays()
}

// removeTemp removes a temporary object from the workspace.
func (fs *FS) removeTemp(r *baseRecord) error {
	dir, name := fs.hostAt(joinPath(r.path, r.to))
	err := location{dir, name}.use(func(fd int, name string) error { return removeTree(fd, name, true) })
	if vanished(err) || err == syscall.ENOTDIR {
		err = nil
	}
	return err
}

// finishDrop takes a file out of the upper layer if it is what it was when that
// was announced, but for the number of its names, and the workspace has it.
func (fs *FS) finishDrop(r *baseRecord) error {
	p, o, err := fs.lookParent(r.path)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	now := fs.log.printOf(&o.attr, o.id)
	now.ctime = r.print.ctime
	if now != r.print || !o.low.exists() || o.low.attr.Type() != o.attr.Type() {
		return nil
	}
	diff, err := differences(context.Background(), o.low.location(), &o.low.attr, o.loc, &o.attr)
	if err != nil || diff != 0 {
		return err
	}
	err = keepTimes(p.upper, func(fd int) error {
		if err := fs.unindex(fd, o.name, fs.namesOf(&o.low)); err != nil {
			return err
		}
		return at.Unlink(fd, o.name, 0)
	})
	if err != nil {
		return err
	}
	return fs.log.clear(r.path, false)
}

// finishMove looks whether an announced move took place, and if so has the
// upper layer and the log follow.
func (fs *FS) finishMove(r *baseRecord) error {
	if r.print.mode == followed {
		return nil
	}
	there, err := fs.movedTo(r)
	if err != nil || !there {
		return err
	}
	return fs.follow(r.path, r.to)
}

// movedTo tells whether the directory of an announced move is where it was to
// go.
func (fs *FS) movedTo(r *baseRecord) (bool, error) {
	dir, name := fs.hostAt(r.to)
	a, id, err := location{dir, name}.stat()
	if vanished(err) || err == syscall.ENOTDIR {
		return false, nil
	}
	want := at.Ident{Dev: r.print.dev, Ino: r.print.ino}
	if want.Dev == 0 {
		want.Dev = fs.log.dev
	}
	return a.IsDir() && id == want, err
}

// follow has the upper layer and the log know of a move.
func (fs *FS) follow(from, to string) error {
	root, err := fs.rootPlace()
	if err != nil {
		return err
	}
	if err := fs.redirectAll(root, from, to); err != nil {
		return err
	}
	return fs.log.append(baseRecord{kind: baseMove, path: from, to: to})
}

// moveBack moves a directory out of a stage directory to where it was, unless
// something is there by now, or it would show there; then the next commit moves it on.
func (fs *FS) moveBack(r *baseRecord) error {
	there, err := fs.movedTo(r)
	if err != nil || !there {
		return err
	}
	s, err := fs.survey(context.Background())
	if err != nil {
		return err
	}
	hides, err := fs.hides(s, r.path)
	if err == nil && !hides && !slices.ContainsFunc(s.redirects, func(o *object) bool { return within(o.redirect, r.to) }) {
		hides, err = fs.hide(context.Background(), s, r.path)
	}
	if err != nil || !hides {
		return err // it would show where nothing hides it any more
	}
	// Should this be cut short, the next Open finds the announcement of this
	// move as well, and follows it.
	back := baseRecord{kind: baseMoving, path: r.to, to: r.path, print: r.print}
	if err := fs.log.append(back); err != nil {
		return err
	}
	fdir, fname := fs.hostAt(r.to)
	tdir, tname := fs.hostAt(r.path)
	err = moveHost(location{fdir, fname}, location{tdir, tname})
	if err == syscall.EEXIST || vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return fs.follow(r.to, r.path)
}

// redirectAll has every upper directory that shows something at or below from,
// in the workspace, show it below to.
func (fs *FS) redirectAll(p *place, from, to string) error {
	return fs.upperEntries(p, func(o *object) (err error) {
		if !o.attr.IsDir() || o.white {
			return nil
		}
		if o.redirect != "" && within(o.redirect, from) {
			if err := fs.setRedirectOf(o.loc, o.id, rebase(o.redirect, from, to)); err != nil {
				return err
			}
			if o, err = fs.look(p, o.name); err != nil {
				return err
			}
		}
		return fs.redirectAll(p.enter(o), from, to)
	})
}

// endRecovery notes that nothing of this commit is left to finish. After a
// failure it is not called, so that the next Open looks.
func (c *commit) endRecovery() error {
	if !c.opt.NoSync {
		if err := c.fs.log.sync(); err != nil {
			return err
		}
	}
	return c.fs.log.append(baseRecord{kind: baseDone})
}
