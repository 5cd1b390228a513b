package overlay

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// A place is a directory of the view as a walk of the layers goes through it.
type place struct {
	path   string   // in the view
	origin string   // in the bottom layer, of what is compared with
	upper  *at.Dir  // nil in a directory that the upper layer does not have
	lowers []*ldir  // what the lower layers have there, hidden or not
	hidden bool     // entries of lowers do not show: it, or a directory above, is opaque
	xwh    bool     // the upper directory may hold xattr whiteouts
	attr   vfs.Attr // of the upper directory
}

// cover is what the lower layers have in the place of an upper entry.
type cover struct {
	in     *ldir  // holds it, under name; nil if there is nothing
	name   string // in in
	attr   vfs.Attr
	id     at.Ident
	lowers []*ldir // of a directory: what is merged
	moved  bool    // there is something, but a renamed directory has it now
}

func (c *cover) exists() bool { return c.in != nil }
func (c *cover) isDir() bool  { return c.in != nil && c.attr.IsDir() }

func (c *cover) location() location {
	if c.in == nil {
		return location{}
	}
	return location{c.in.at, c.name}
}

// object is an entry of an upper directory and what it covers.
type object struct {
	name, path string
	origin     string // in the bottom layer, of what it covers
	attr       vfs.Attr
	id         at.Ident
	loc        location
	white      bool   // a whiteout
	hidden     bool   // what lower layers have there does not show, whatever it is itself: a directory above is opaque
	opaque     bool   // of a directory
	redirect   string // of a directory: where its lower part is, from the root without a leading slash
	renamed    bool   // of a directory: that is not where it would be without the redirect
	low        cover
}

// rootPlace is where a walk begins.
func (fs *FS) rootPlace() (*place, error) {
	p := &place{upper: fs.ly.upper, lowers: fs.ly.lowers}
	fd, err := fs.ly.upper.Acquire()
	if err != nil {
		return nil, err
	}
	defer fs.ly.upper.Release()
	if p.attr, _, err = at.Stat(fd, ""); err != nil {
		return nil, err
	}
	v, _, err := fs.ly.opaqueValue(fd, "")
	p.hidden, p.xwh = v == "y", v == "x"
	return p, err
}

// look returns the entry name of the place's upper directory. ENOENT.
func (fs *FS) look(p *place, name string) (*object, error) {
	fs.looked()
	o := &object{name: name, path: joinPath(p.path, name), origin: joinPath(p.origin, name), loc: location{p.upper, name}, hidden: p.hidden}
	fd, err := p.upper.Acquire()
	if err != nil {
		return nil, gone(err)
	}
	defer p.upper.Release()
	if o.attr, o.id, err = at.Stat(fd, name); err != nil {
		return nil, err
	}
	switch {
	case isWhiteout(&o.attr):
		o.white = true
	case p.xwh && o.attr.IsRegular() && o.attr.Size == 0:
		if o.white, err = fs.ly.xattrWhiteout(fd, name); err != nil {
			return nil, err
		}
	case o.attr.IsDir():
		if o.opaque, err = fs.ly.opaque(fd, name); err != nil {
			return nil, err
		}
		if !o.opaque {
			if o.redirect, err = fs.redirectOf(p, fd, name); err != nil {
				return nil, err
			}
		}
	}
	if o.redirect == "" {
		o.low, err = fs.cover(p.lowers, name)
		return o, err
	}
	o.renamed = o.redirect != o.origin
	o.origin = o.redirect
	o.low, err = fs.coverAt(o.redirect)
	return o, err
}

// redirectOf returns where a redirect leads from the root, or "" for none, and
// for a name beside it where nothing of the lower layers shows.
func (fs *FS) redirectOf(p *place, fd int, name string) (string, error) {
	target, err := fs.ly.redirect(fd, name)
	if err != nil || target == "" {
		return "", err
	}
	switch {
	case target[0] == '/':
		target = target[1:]
	case p.hidden:
		return "", nil
	default:
		target = joinPath(p.origin, target)
	}
	return target, nil
}

// cover returns what lower directories have under name.
func (fs *FS) cover(lowers []*ldir, name string) (cover, error) {
	fs.looked()
	for i, l := range lowers {
		fd, err := l.at.Acquire()
		if err != nil {
			if err = gone(err); err == syscall.ESTALE {
				continue // the host removed it
			}
			return cover{}, err
		}
		a, id, white, err := fs.statLower(l, fd, name)
		l.at.Release()
		switch {
		case err == syscall.ENOENT:
			continue
		case err != nil:
			return cover{}, err
		case white:
			return cover{}, nil
		}
		c := cover{in: l, name: name, attr: a, id: id}
		if a.IsDir() {
			if c.lowers, err = fs.mergeLowers(lowers[i:], name); err != nil || len(c.lowers) == 0 {
				return cover{}, err
			}
		}
		return c, nil
	}
	return cover{}, nil
}

// coverAt returns what the lower layers have at a path from the root.
func (fs *FS) coverAt(path string) (cover, error) {
	lowers, name := fs.ly.lowers, path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		var err error
		if lowers, err = fs.mergeLowers(lowers, path[:i]); err != nil {
			return cover{}, err
		}
		name = path[i+1:]
	}
	return fs.cover(lowers, name)
}

// enter returns the place that a directory of the upper layer is.
func (p *place) enter(o *object) *place {
	in := &place{path: o.path, origin: o.origin, upper: p.upper.Child(o.name, o.id), attr: o.attr, hidden: p.hidden || o.opaque}
	if o.redirect != "" {
		in.hidden = false
	}
	if o.low.isDir() {
		in.lowers = o.low.lowers
	}
	return in
}

// upperEntries calls fn for the entries of p's upper directory in the order of
// their names, whiteouts included, until it fails.
func (fs *FS) upperEntries(p *place, fn func(o *object) error) error {
	names, err := p.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		o, err := fs.look(p, name)
		if err == nil {
			err = fn(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names returns the entries of the upper directory, sorted.
func (p *place) names() ([]string, error) {
	if p.upper == nil {
		return nil, nil
	}
	names, err := listDir(p.upper, nil)
	slices.Sort(names)
	return names, err
}

// lowerNames returns the entries that lower directories have together, sorted,
// whiteouts among them.
func lowerNames(lowers []*ldir) (names []string, err error) {
	for _, l := range lowers {
		if names, err = listDir(l.at, names); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// listDir appends the names in a directory to names. A directory that is gone
// has none.
func listDir(dir *at.Dir, names []string) ([]string, error) {
	pfd, err := dir.Acquire()
	if err != nil {
		if err = gone(err); err == syscall.ESTALE {
			err = nil
		}
		return names, err
	}
	fd, err := at.Open(pfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	dir.Release()
	if err != nil {
		if err == syscall.ENOENT {
			err = nil
		}
		return names, err
	}
	defer unix.Close(fd)
	err = at.ReadDir(fd, 0, func(e vfs.DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
		return true
	})
	return names, err
}

// vanished tells whether err says that something went while it was looked at;
// ENXIO that it was to be opened and is a whiteout by now.
func vanished(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.ENXIO)
}
