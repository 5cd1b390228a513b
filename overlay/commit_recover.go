package overlay

import (
	"fmt"
	"syscall"

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
		case baseTemp:
			err = fs.removeTemp(r)
		case baseMoving:
			err = fs.finishMove(r)
		}
		if err != nil {
			return fmt.Errorf("finishing an interrupted commit: %q: %w", r.path, err)
		}
	}
	if err := fs.removeStages(); err != nil {
		return fmt.Errorf("finishing an interrupted commit: %w", err)
	}
	if len(fs.log.todo) == 0 {
		return nil
	}
	fs.log.todo = nil
	return fs.log.append(baseRecord{kind: baseDone})
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

// finishMove looks whether an announced move took place, and if so has the
// upper layer and the log follow.
func (fs *FS) finishMove(r *baseRecord) error {
	dir, name := fs.hostAt(r.to)
	a, id, err := location{dir, name}.stat()
	if vanished(err) || err == syscall.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	want := at.Ident{Dev: r.print.dev, Ino: r.print.ino}
	if want.Dev == 0 {
		want.Dev = fs.log.dev
	}
	if !a.IsDir() || id != want {
		return nil // it is where it was
	}
	root, err := fs.rootPlace()
	if err != nil {
		return err
	}
	if err := fs.redirectAll(root, r.path, r.to); err != nil {
		return err
	}
	return fs.log.append(baseRecord{kind: baseMove, path: r.path, to: r.to})
}

// redirectAll has every upper directory that shows something at or below from,
// in the workspace, show it below to.
func (fs *FS) redirectAll(p *place, from, to string) error {
	names, err := p.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		o, err := fs.look(p, name)
		if err != nil {
			return err
		}
		if !o.attr.IsDir() || o.white {
			continue
		}
		if o.redirect != "" && within(o.redirect, from) {
			if err := fs.setRedirectOf(o.loc, o.id, rebase(o.redirect, from, to)); err != nil {
				return err
			}
			if o, err = fs.look(p, name); err != nil {
				return err
			}
		}
		if err := fs.redirectAll(p.enter(o), from, to); err != nil {
			return err
		}
	}
	return nil
}

// endRecovery notes that nothing of this commit is left to finish.
func (c *commit) endRecovery() error {
	if !c.opt.NoSync {
		if err := c.fs.log.sync(); err != nil {
			return err
		}
	}
	return c.fs.log.append(baseRecord{kind: baseDone})
}
