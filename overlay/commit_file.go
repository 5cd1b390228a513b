package overlay

import (
	"errors"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

const (
	// stageTries is how often a file that is written to meanwhile is copied
	// before the copy is made with everything frozen.
	stageTries = 3

	// settleTime is how old a change must be for a later one to be sure to
	// leave another change time: more than a tick of the kernel's clock.
	settleTime = 20 * time.Millisecond
)

// staged is a finished copy in a directory of the workspace: a regular file
// without a name, open as fd, or anything under a temporary name.
type staged struct {
	fd   int // -1 if it is none
	name string
}

func (s *staged) close(dirfd int) {
	closeFD(s.fd)
	s.fd = -1
	if s.name != "" {
		at.Unlink(dirfd, s.name, 0)
		s.name = ""
	}
}

// temp returns a name for a temporary object in the place's directory of the
// workspace, open as fd, and sees to it that a crash does not leave it there.
func (c *commit) temp(p *place, fd int) (string, error) {
	c.temps++
	name := c.prefix + "." + strconv.FormatUint(c.temps, 16)
	return name, c.fs.log.append(baseRecord{kind: baseTemp, path: p.lowers[0].path(), to: name})
}

// note has a record logged and counted with in this commit.
func (c *commit) note(r baseRecord) error {
	c.base.apply(&r)
	return c.fs.log.append(r)
}

// settled notes what the workspace has at path now.
func (c *commit) settled(path string, l location) error {
	a, id, err := l.stat()
	if err != nil {
		return err
	}
	return c.note(baseRecord{kind: baseSet, path: path, print: c.fs.log.printOf(&a, id)})
}

// unchanged tells whether two looks at an object saw the same.
func unchanged(a *vfs.Attr, x at.Ident, b *vfs.Attr, y at.Ident) bool {
	return x == y && a.Mode == b.Mode && a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime && a.Nlink == b.Nlink
}

// keep leaves the workspace's file where it is if its contents are right, and
// sets what else is to be. It also tells in what the two differed.
func (c *commit) keep(o *object) (kept bool, diff What, err error) {
	if !o.low.exists() || o.low.attr.Type() != o.attr.Type() {
		return false, 0, nil
	}
	diff, err = differences(c.ctx, o.low.location(), &o.low.attr, o.loc, &o.attr)
	if err != nil || diff&Content != 0 {
		return false, diff, err
	}
	if len(c.survey.strangers[c.fs.devs.ino(o.low.id)]) > 0 {
		return false, diff, nil // its number is that of another file of the view
	}
	if o.low.attr.Nlink > 1 {
		// One of several names in the workspace: is it that in the view?
		own, err := c.isCopy(o)
		if err != nil || !own {
			return false, diff, err
		}
	}
	if diff == 0 {
		return true, 0, nil
	}
	return true, diff, c.setAttrs(o, diff)
}

// isCopy tells whether o was copied up from the file that it covers, or an
// earlier commit made that of o.
func (c *commit) isCopy(o *object) (own bool, err error) {
	if c.base.made(o.path, o.low.id.Ino) {
		return true, nil
	}
	return c.fs.isCopy(o)
}

// isCopy tells whether the upper file o is the copy of the lower one that it
// covers.
func (fs *FS) isCopy(o *object) (own bool, err error) {
	if !o.low.exists() {
		return false, nil
	}
	err = o.loc.use(func(fd int, name string) error {
		ino, err := fs.ly.ino(fd, name)
		own = ino != 0 && ino == fs.devs.ino(o.low.id)
		return err
	})
	return own, err
}

// replace puts a copy of o in the workspace.
func (c *commit) replace(p *place, o *object) error {
	s, err := c.prepare(p, o)
	if err != nil {
		return err
	}
	if err := c.syncStaged(s); err != nil {
		s.discard(p)
		return err
	}
	return c.place(p, o, s)
}

// prepare makes a copy of o in the workspace, which has no name yet.
func (c *commit) prepare(p *place, o *object) (s *staged, err error) {
	if !c.opt.Force && c.walk.conflict(o, Content) != NoConflict {
		return nil, errMeanwhile
	}
	err = location{dir: p.lowers[0].at}.use(func(fd int, _ string) error {
		s, err = c.stageQuiet(p, o, fd)
		return err
	})
	if err == nil {
		c.step("staged")
	}
	return s, err
}

// syncStaged makes the contents of a copy durable, before it gets its name.
func (c *commit) syncStaged(s *staged) error {
	if c.opt.NoSync || s.fd < 0 {
		return nil
	}
	return syncFile(s.fd)
}

// place gives a copy of o its name and is done with it.
func (c *commit) place(p *place, o *object, s *staged) error {
	return location{p.lowers[0].at, o.name}.use(func(fd int, name string) error {
		defer s.close(fd) // of what it does not have its name from
		if err := c.put(p, o, fd, s); err != nil {
			return err
		}
		return c.placed(p, o, s)
	})
}

// placed notes that a copy of o has its name, and is done with it.
func (c *commit) placed(p *place, o *object, s *staged) error {
	closeFD(s.fd)
	s.fd = -1
	c.step("placed")
	return c.settled(o.path, location{p.lowers[0].at, o.name})
}

// discard removes a copy that is not needed.
func (s *staged) discard(p *place) {
	fd, err := p.lowers[0].at.Acquire()
	if err != nil {
		closeFD(s.fd) // what has a name is removed at the next Open
		return
	}
	s.close(fd)
	p.lowers[0].at.Release()
}

// stageQuiet makes a copy of a moment at which nobody changed o, which it
// brings up to date.
func (c *commit) stageQuiet(p *place, o *object, fd int) (*staged, error) {
	for try := 0; ; try++ {
		thaw := func() {}
		if try == stageTries {
			var err error
			if thaw, err = c.fs.freeze(c.ctx); err != nil {
				return nil, err
			}
		}
		s, same, err := c.stageOnce(p, o, fd)
		thaw()
		if err != nil || same || try == stageTries {
			return s, err
		}
		s.close(fd)
	}
}

func (c *commit) stageOnce(p *place, o *object, fd int) (s *staged, same bool, err error) {
	if age := time.Since(o.attr.Ctime.Time()); age >= 0 && age < settleTime && o.attr.IsRegular() {
		time.Sleep(settleTime - age)
	}
	a, id, err := o.loc.stat()
	if err != nil {
		return nil, false, err
	}
	if a.Type() != o.attr.Type() {
		return nil, false, errMeanwhile
	}
	o.attr, o.id = a, id
	err = o.loc.use(func(ufd int, uname string) error {
		s, err = c.copyTo(p, o, ufd, uname, fd)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	b, now, err := o.loc.stat()
	if err != nil {
		s.close(fd)
		return nil, false, err
	}
	return s, unchanged(&a, id, &b, now), nil
}

// copyTo copies the object name in ufd to the directory fd of the workspace.
func (c *commit) copyTo(p *place, o *object, ufd int, name string, fd int) (s *staged, err error) {
	s = &staged{fd: -1}
	defer func() {
		if err != nil {
			s.close(fd)
		}
	}()
	switch o.attr.Type() {
	case unix.S_IFREG:
		return s, c.copyFile(p, o, ufd, name, fd, s)
	case unix.S_IFLNK:
		target, err := at.Readlink(ufd, name)
		if err != nil {
			return s, err
		}
		if s.name, err = c.temp(p, fd); err != nil {
			return s, err
		}
		if err := at.Symlink(target, fd, s.name); err != nil {
			return s, err
		}
	default:
		if s.name, err = c.temp(p, fd); err != nil {
			return s, err
		}
		if err := at.Mknod(fd, s.name, o.attr.Type()|0o600, o.attr.Rdev); err != nil {
			return s, err
		}
	}
	return s, c.copyMeta(ufd, name, fd, s.name, &o.attr)
}

// copyFile copies a regular file, with all that belongs to it.
func (c *commit) copyFile(p *place, o *object, ufd int, name string, fd int, s *staged) error {
	src, err := at.Open(ufd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	s.fd, err = at.Open(fd, ".", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if err == syscall.EOPNOTSUPP || err == syscall.EISDIR {
		if s.name, err = c.temp(p, fd); err != nil {
			return err
		}
		s.fd, err = at.Open(fd, s.name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
	}
	if err != nil {
		s.fd = -1
		return err
	}
	if o.attr.Size > 0 {
		if err := copyData(c.ctx, src, s.fd, o.attr.Size, o.attr.Size); err != nil {
			return err
		}
		c.progress.Bytes += o.attr.Size
	}
	return c.copyMeta(src, "", s.fd, "", &o.attr)
}

// copyMeta gives a new object the owner, extended attributes, permissions and
// times of another one.
func (c *commit) copyMeta(fd int, name string, dstfd int, dst string, a *vfs.Attr) error {
	if _, err := c.fs.giveOwner(dstfd, dst, int(a.UID), int(a.GID)); err != nil {
		return err
	}
	if err := c.fs.copyXattrs(fd, name, dstfd, dst); err != nil {
		return err
	}
	if !a.IsSymlink() {
		if err := at.Chmod(dstfd, dst, a.Mode&0o7777); err != nil {
			return err
		}
	}
	return setTimes(dstfd, dst, a)
}

// put gives the copy the entry's name in the workspace, where there must still
// be what o covers.
func (c *commit) put(p *place, o *object, fd int, s *staged) error {
	if !o.low.exists() {
		thaw, err := c.fs.freeze(c.lasting())
		if err != nil {
			return err
		}
		defer thaw()
		return c.nameNew(o, fd, s)
	}
	if s.name == "" {
		t, err := c.temp(p, fd)
		if err != nil {
			return err
		}
		if err := at.LinkFD(s.fd, fd, t); err != nil {
			return err
		}
		s.name = t
		c.step("named")
	}
	name := s.name
	if err := c.swapIn(p, o, fd, name); err != nil {
		return err
	}
	s.name = ""
	return nil
}

// nameNew is put where the workspace has nothing: no whiteout hides the name then,
// so that it must not be given to the workspace once it is gone from the view.
// Everything is frozen.
func (c *commit) nameNew(o *object, fd int, s *staged) error {
	if a, _, err := o.loc.stat(); vanished(err) || err == nil && isWhiteout(&a) {
		return errMeanwhile
	} else if err != nil {
		return err
	}
	var err error
	if s.name == "" {
		err = at.LinkFD(s.fd, fd, o.name)
	} else if err = at.Rename(fd, s.name, fd, o.name, unix.RENAME_NOREPLACE); err == nil {
		s.name = ""
	}
	if err == syscall.EEXIST {
		err = errMeanwhile
	}
	return err
}

// setAttrs gives the entry that o covers the attributes of o in which they
// differ, and o's times, and notes what it is then.
func (c *commit) setAttrs(o *object, diff What) error {
	return o.low.location().use(func(dirfd int, name string) error {
		set := func(fd int) error {
			err := c.setAttrsOf(fd, o, diff)
			c.step("attributes")
			return err
		}
		var err error
		if o.low.isDir() || o.low.attr.Nlink < 2 {
			err = useFile(dirfd, name, o.low.id, set)
		} else {
			err = c.touch(dirfd, name, o.low.id, &o.attr, set)
		}
		if errors.Is(err, errMeanwhile) {
			return err
		}
		// What came before an error is the commit's doing as well.
		if serr := c.settled(o.path, location{dir: o.low.in.at, name: name}); err == nil {
			err = serr
		}
		return err
	})
}

// useFile calls fn with an O_PATH descriptor of the object name in dirfd, if
// that is id still.
func useFile(dirfd int, name string, id at.Ident, fn func(fd int) error) error {
	fd, err := at.Open(dirfd, name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, now, err := at.Stat(fd, ""); err != nil || now != id {
		return errors.Join(errMeanwhile, err)
	}
	return fn(fd)
}

func (c *commit) setAttrsOf(fd int, o *object, diff What) error {
	if diff&Owner != 0 {
		if _, err := c.fs.giveOwner(fd, "", int(o.attr.UID), int(o.attr.GID)); err != nil {
			return err
		}
	}
	if diff&Xattrs != 0 {
		if err := setXattrs(o.loc, fd); err != nil {
			return err
		}
	}
	// Changing the owner or an access list may have changed the mode.
	if diff&(Mode|Owner|Xattrs) != 0 && !o.attr.IsSymlink() {
		now, _, err := at.Stat(fd, "")
		if err == nil && now.Mode != o.attr.Mode {
			err = at.Chmod(fd, "", o.attr.Mode&0o7777)
		}
		if err != nil {
			return err
		}
	}
	err := setTimes(fd, "", &o.attr)
	if err == syscall.EPERM && !c.fs.ly.allUsers {
		err = nil // somebody else's file
	}
	return err
}

// setXattrs makes the extended attributes of the object behind fd those of src.
func setXattrs(src location, fd int) error {
	want, err := src.xattrs()
	if err != nil {
		return err
	}
	have, err := readXattrs(fd, "")
	if err != nil {
		return err
	}
	for _, x := range want {
		if err := at.SetXattr(fd, "", x.name, x.value, 0); err != nil {
			return err
		}
	}
	for _, x := range have {
		kept := slices.ContainsFunc(want, func(w xattr) bool { return w.name == x.name })
		if kept {
			continue
		}
		if err := at.RemoveXattr(fd, "", x.name); err != nil && err != syscall.ENODATA {
			return err
		}
	}
	return nil
}
