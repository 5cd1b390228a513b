package overlay

import (
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// findLowers looks at the lower directories of a merge.
func (fs *FS) findLowers(lowers []*ldir, name string, f *found) error {
	for i, l := range lowers {
		fd, err := l.at.Acquire()
		if err != nil {
			return gone(err)
		}
		a, id, white, err := fs.statLower(l, fd, name)
		if err == nil && white {
			l.at.Release()
			return syscall.ENOENT
		}
		if err == nil && !a.IsDir() {
			err = fs.foundLower(l, fd, name, a, id, f)
			l.at.Release()
			return err
		}
		l.at.Release()
		if err == syscall.ENOENT {
			continue
		}
		if err != nil {
			return err
		}
		f.attr, f.id, f.dir, f.name = a, id, l.at, name
		f.ino = fs.devs.ino(id)
		f.lowers, err = fs.mergeLowers(lowers[i:], name)
		if err == nil && len(f.lowers) == 0 {
			return syscall.ENOENT // it went in between
		}
		return err
	}
	return syscall.ENOENT
}

// foundLower records a lower non-directory, or the upper copy that stands for
// it if it has several links.
func (fs *FS) foundLower(l *ldir, fd int, name string, a vfs.Attr, id at.Ident, f *found) error {
	f.attr, f.id, f.dir, f.name, f.low = a, id, l.at, name, l
	f.ino = fs.devs.ino(id)
	if a.Nlink < 2 {
		return nil
	}
	x, err := fs.findIndexed(l, fd, name, &a, id)
	if err != nil {
		return err
	}
	f.idx, f.nlAdj = x.name, x.adj
	if x.up {
		f.lowLinks = a.Nlink
		f.attr, f.id, f.up, f.low = x.attr, x.id, true, nil
		f.dir, f.name = fs.hard.home(x.name), x.name
	}
	return nil
}

// statLower returns what the lower directory l, open as fd, has under name, and
// whether that is a whiteout.
func (fs *FS) statLower(l *ldir, fd int, name string) (a vfs.Attr, id at.Ident, white bool, err error) {
	if fs.temporary(name) {
		return a, id, false, syscall.ENOENT
	}
	a, id, err = at.Stat(fd, name)
	if err != nil {
		return a, id, false, err
	}
	if isWhiteout(&a) {
		return a, id, true, nil
	}
	if l.xwh && a.IsRegular() && a.Size == 0 {
		white, err = fs.ly.xattrWhiteout(fd, name)
	}
	return a, id, white, err
}

// mergeLowers returns the directories that path, names joined by '/', stands
// for in the lower directories of a merge, the topmost first. Anything in a
// layer that is no directory, or an opaque directory, hides the layers below.
func (fs *FS) mergeLowers(lowers []*ldir, path string) ([]*ldir, error) {
	var out []*ldir
	for i := 0; i < len(lowers); i++ {
		// Not the end of lowers: a redirect can lead to a layer that the parent
		// has nothing in.
		last := lowers[i].layer == len(fs.ly.lowers)-1
		l, stop, next, err := fs.lowerDir(lowers[i], path, last)
		if err != nil {
			return nil, err
		}
		if l != nil {
			out = append(out, l)
		}
		if stop {
			break
		}
		if next != "" {
			// A redirect in this layer says where the ones below have it.
			if next[0] == '/' {
				layer := lowers[i].layer
				lowers, path = fs.ly.lowers, next[1:]
				i = layer
			} else {
				path = next
			}
		}
	}
	return out, nil
}

// lowerDir walks path from l. stop says that lower layers do not count; next is
// the path by which they have the directory if a redirect changed it.
func (fs *FS) lowerDir(l *ldir, path string, last bool) (_ *ldir, stop bool, next string, err error) {
	rest := path
	opaque := false // something on the way is, since the last redirect from the root
	for {
		name, tail, more := strings.Cut(rest, "/")
		fd, err := l.at.Acquire()
		if err != nil {
			return nil, false, "", gone(err)
		}
		c, stop, redirect, err := fs.lowerChild(l, fd, name, last)
		l.at.Release()
		if err != nil {
			return nil, false, "", err
		}
		if redirect != "" {
			before := path[:len(path)-len(rest)]
			if redirect[0] == '/' {
				// From the root: nothing that is opaque on the way here hides it.
				before, opaque = "", false
			}
			next = before + redirect
			if more {
				next += "/" + tail
			}
			path, rest = next, "" // of later redirects in the same walk
			if more {
				rest = tail
			}
		} else {
			rest = tail
		}
		opaque = opaque || stop
		if c == nil || !more {
			return c, opaque, next, nil
		}
		l = c
	}
}

// lowerChild is one step of lowerDir. With last set the layer is the lowest, so
// that only whiteouts matter.
func (fs *FS) lowerChild(l *ldir, fd int, name string, last bool) (_ *ldir, stop bool, redirect string, err error) {
	a, id, white, err := fs.statLower(l, fd, name)
	switch {
	case err == syscall.ENOENT:
		return nil, false, "", nil
	case err != nil:
		return nil, false, "", err
	case white || !a.IsDir():
		return nil, true, "", nil
	}
	c := &ldir{at: l.at.Child(name, id), up: l, name: name, layer: l.layer}
	if last && !l.xwh {
		return c, false, "", nil
	}
	has, err := fs.ly.present(fd, name)
	if err != nil {
		return nil, false, "", err
	}
	if has&hasOpaque != 0 {
		v, _, err := fs.ly.opaqueValue(fd, name)
		if err != nil {
			return nil, false, "", err
		}
		c.xwh = v == "x" && l.xwh
		if v == "y" {
			return c, true, "", nil
		}
	}
	if has&hasRedirect != 0 && !last {
		if redirect, err = fs.ly.redirect(fd, name); err != nil {
			return nil, false, "", err
		}
	}
	return c, false, redirect, nil
}

// lowerEntry returns what the merge below p's upper directory has under name:
// the directory that holds it, or nil. p.d.mu is held, shared or not.
func (fs *FS) lowerEntry(p *node, name string) (*ldir, vfs.Attr, at.Ident, error) {
	for _, l := range p.d.lowers {
		fd, err := l.at.Acquire()
		if err != nil {
			return nil, vfs.Attr{}, at.Ident{}, gone(err)
		}
		a, id, white, err := fs.statLower(l, fd, name)
		l.at.Release()
		switch {
		case err == syscall.ENOENT:
			continue
		case err != nil:
			return nil, a, id, err
		case white:
			return nil, a, id, nil
		}
		return l, a, id, nil
	}
	return nil, vfs.Attr{}, at.Ident{}, nil
}
