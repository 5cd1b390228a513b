package overlay

import (
	"crypto/rand"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// swapIn puts the temporary object t in the place of what o covers, and removes
// that.
func (c *commit) swapIn(p *place, o *object, fd int, t string) error {
	a, id, err := at.Stat(fd, o.name)
	if err != nil {
		return err
	}
	if !unchanged(&a, id, &o.low.attr, o.low.id) {
		return errMeanwhile
	}
	if !o.low.isDir() && !o.attr.IsDir() {
		return c.losesName(&o.low, fd, func() error { return c.supplant(p, o, fd, t) })
	}
	if err := c.resurvey(); err != nil {
		return err
	}
	for _, r := range c.survey.redirects {
		if o.low.isDir() && within(r.redirect, o.path) {
			return errMeanwhile // another directory shows what is in it
		}
	}
	if err := c.fs.log.append(baseRecord{kind: baseDeleting, path: o.path}); err != nil {
		return err
	}
	err = c.losesAll(&o.low, func() error { return c.supplant(p, o, fd, t) })
	if err != nil || !o.low.isDir() {
		return err
	}
	// What is known of its entries is over, too.
	return c.note(baseRecord{kind: baseClearTree, path: o.path})
}

// supplant exchanges the temporary object t with what o covers, and removes that.
// errMeanwhile, with nothing done, if somebody has put another entry there since,
// or another one into it: who else knows of it finds it where it was.
func (c *commit) supplant(p *place, o *object, fd int, t string) error {
	_, fresh, err := at.Stat(fd, t)
	if err != nil {
		return err
	}
	c.step("replacing")
	err = at.Rename(fd, t, fd, o.name, unix.RENAME_EXCHANGE)
	if !o.low.isDir() && !o.attr.IsDir() && (err == syscall.EINVAL || err == syscall.ENOSYS) {
		return at.Rename(fd, t, fd, o.name, 0) // a filesystem that cannot do that
	}
	if err != nil {
		return err
	}
	c.step("exchanged")
	a, id, err := at.Stat(fd, t)
	if err != nil {
		return err
	}
	a.Ctime, a.Nlink = o.low.attr.Ctime, o.low.attr.Nlink // which the exchange, and what came before it, may have changed
	if !unchanged(&a, id, &o.low.attr, o.low.id) {
		return c.putBack(o, fd, t, fresh)
	}
	if !o.low.isDir() {
		return c.unlink(&o.low, fd, t)
	}
	err = c.removeAside(p, o.path, &o.low, t)
	if errors.Is(err, errMeanwhile) {
		return c.putBack(o, fd, t, fresh)
	}
	return err
}

// putBack undoes the exchange of supplant, by which fresh came to stand for the
// name. What somebody has put there since keeps another name, which the error, a
// *keptError, tells.
func (c *commit) putBack(o *object, fd int, t string, fresh at.Ident) error {
	err := at.Rename(fd, t, fd, o.name, unix.RENAME_EXCHANGE)
	if err == syscall.ENOENT { // the name was removed
		err = at.Rename(fd, t, fd, o.name, unix.RENAME_NOREPLACE)
	}
	if err == nil {
		_, id, serr := at.Stat(fd, t)
		if serr == syscall.ENOENT || serr == nil && id == fresh {
			return errMeanwhile
		}
	}
	kept := tempPrefix + "kept-" + rand.Text()
	if rerr := at.Rename(fd, t, fd, kept, unix.RENAME_NOREPLACE); rerr != nil {
		return errors.Join(err, rerr)
	}
	return &keptError{o.path[:len(o.path)-len(o.name)] + kept}
}

// keptError is errMeanwhile where an entry that others put into the workspace could
// not be left under its name.
type keptError struct{ path string }

func (e *keptError) Error() string {
	return fmt.Sprintf("%v, and what others put there is %s now", errMeanwhile, e.path)
}

func (e *keptError) Unwrap() error { return errMeanwhile }

// meanwhile returns what is to be said of an entry that changed meanwhile.
func meanwhile(err error) error {
	var kept *keptError
	if errors.As(err, &kept) {
		return kept
	}
	return errMeanwhile
}
