package overlay

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// evacuated is a directory in the stage directory.
type evacuated struct {
	r        *object
	from, to string
}

// unstage moves back what a commit that failed left in the stage directory, the
// last one first, as one may have come out of another. Where that cannot be,
// because something new is in its place, the next commit moves it on.
func (c *commit) unstage() error {
	var errs []error
	for _, e := range slices.Backward(c.staged) {
		if e.r.redirect == e.to {
			if err := c.moveLower(e.r, e.to, e.from); err == errMeanwhile {
				c.left(e.r.path, err)
				c.unfinished = true
			} else if err != nil {
				errs = append(errs, pathError(e.r.path, err))
			}
		}
	}
	c.staged = nil
	return errors.Join(errs...)
}

// removeStrays deletes what is in the stage directories, of whichever commit,
// and was deleted in the view since it came there, as long as each entry is what
// it was then.
func (c *commit) removeStrays() error {
	stages, err := c.fs.stages()
	if err != nil || len(stages) == 0 {
		return err
	}
	if err := c.resurvey(); err != nil {
		return err
	}
	for _, stage := range stages {
		low, err := c.fs.coverAt(stage)
		if err == nil && low.isDir() {
			err = c.removeStraysIn(stage, &low)
		}
		if err != nil {
			return pathError(stage, err)
		}
	}
	return nil
}

func (c *commit) removeStraysIn(stage string, low *cover) error {
	names, err := lowerNames(low.lowers)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := joinPath(stage, name)
		if slices.ContainsFunc(c.survey.redirects, func(r *object) bool { return within(r.redirect, path) }) {
			continue
		}
		sub, err := c.fs.cover(low.lowers, name)
		if err != nil || !sub.exists() {
			return err
		}
		// What was deleted since is recorded since.
		if err := c.settledBase(); err != nil {
			return err
		}
		if err := c.fs.log.append(baseRecord{kind: baseDeleting, path: path}); err != nil {
			return err
		}
		switch err := c.removeLower(path, &sub); {
		case errors.Is(err, errMeanwhile) || vanished(err):
			c.left(path, errors.New("it was deleted in the overlay and changed in the workspace"))
		case err != nil:
			return err
		default:
			if err := c.note(baseRecord{kind: baseClearTree, path: path}); err != nil {
				return err
			}
		}
	}
	return nil
}

// stages returns the names of the stage directories, as far as these are known
// by their whiteouts.
func (fs *FS) stages() ([]string, error) {
	names, err := listDir(fs.ly.upper, nil)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		if !strings.HasPrefix(name, tempPrefix) {
			return true
		}
		a, _, err := location{fs.ly.upper, name}.stat()
		return err != nil || !isWhiteout(&a) // somebody's own file
	}), nil
}

// isStage tells whether an entry of the upper layer is the whiteout that hides
// a stage directory.
func isStage(p *place, name string) bool {
	return p.path == "" && strings.HasPrefix(name, tempPrefix)
}

// makeStage makes the stage directory. It never shows: its whiteout is there
// first.
func (c *commit) makeStage() error {
	c.stage = c.prefix
	thaw, err := c.fs.freeze(c.ctx)
	if err != nil {
		return err
	}
	defer thaw()
	err = keepTimes(c.fs.ly.upper, func(fd int) error { return c.fs.white.make(c.fs, fd, c.stage) })
	if err != nil {
		return err
	}
	c.step("stage hidden")
	return location{c.fs.ly.lowers[0].at, c.stage}.use(func(fd int, name string) error { return at.Mkdir(fd, name, 0o700) })
}

// removeStages removes the stage directories that are empty, and their
// whiteouts.
func (fs *FS) removeStages() error {
	names, err := fs.stages()
	if err != nil {
		return err
	}
	for _, name := range names {
		err = location{fs.ly.lowers[len(fs.ly.lowers)-1].at, name}.use(func(fd int, name string) error {
			return at.Unlink(fd, name, unix.AT_REMOVEDIR)
		})
		switch err {
		case nil, syscall.ENOENT:
			err = keepTimes(fs.ly.upper, func(fd int) error { return at.Unlink(fd, name, 0) })
		case syscall.ENOTEMPTY, syscall.EEXIST, syscall.ENOTDIR:
			err = nil // it holds what is still to be moved on
		}
		if err != nil {
			return err
		}
	}
	return nil
}
