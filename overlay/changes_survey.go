package overlay

import (
	"context"
	"maps"
	"slices"

	"github.com/astridfs/astridfs/vfs/at"
)

// A survey is what must be known of the whole upper layer before one entry of
// it can be judged: what moved where, and which names are one file.
type survey struct {
	dirs      map[lowerKey]*object // renamed directories by what they were
	fileFrom  map[string]movedFile // moved files by where they are in the view
	fileTo    map[lowerKey]string  // and by what they were
	groups    map[at.Ident][]string
	redirects []*object            // directories with a redirect, those above first
	strangers map[uint64][]*object // upper files by the number that they show, where it is not that of what they cover
}

// movedFile is what a moved file was: a lower file, and the whiteout that is
// in its place.
type movedFile struct {
	low   cover
	white string // path in the view
}

// lowerKey names an entry of a lower layer.
type lowerKey struct {
	layer int
	path  string
}

// key returns the name of what is covered; the topmost layer's for a merged
// directory.
func (c *cover) key() lowerKey { return lowerKey{c.in.layer, c.in.join(c.name)} }

// survey walks the whole upper layer once.
func (fs *FS) survey(ctx context.Context) (*survey, error) {
	s := &survey{
		dirs: make(map[lowerKey]*object), fileFrom: make(map[string]movedFile),
		fileTo: make(map[lowerKey]string), groups: make(map[at.Ident][]string), strangers: make(map[uint64][]*object),
	}
	root, err := fs.rootPlace()
	if err != nil {
		return nil, err
	}
	v := surveyor{fs: fs, s: s, copied: make(map[uint64]string), gone: make(map[uint64]movedFile)}
	if err := v.dir(ctx, root); err != nil {
		return nil, err
	}
	// A file that carries the number of a lower file whose name was deleted is
	// that file, moved.
	for ino, path := range v.copied {
		if m, ok := v.gone[ino]; ok && path != "" {
			s.fileFrom[path] = m
			s.fileTo[m.low.key()] = path
		}
	}
	return s, nil
}

type surveyor struct {
	fs     *FS
	s      *survey
	copied map[uint64]string    // added files that carry a lower inode's number; "" for several
	gone   map[uint64]movedFile // deleted lower files by the number that the view showed
}

func (v *surveyor) dir(ctx context.Context, p *place) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	names, err := p.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		o, err := v.fs.look(p, name)
		if err == nil {
			err = v.object(ctx, p, o)
		}
		if err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

func (v *surveyor) object(ctx context.Context, p *place, o *object) error {
	switch {
	case o.white:
		if o.low.exists() && o.low.attr.IsRegular() {
			v.gone[v.fs.devs.ino(o.low.id)] = movedFile{o.low, o.path}
		}
	case o.attr.IsDir():
		if o.redirect != "" {
			v.s.redirects = append(v.s.redirects, o)
			if o.low.isDir() {
				v.s.dirs[o.low.key()] = o
			}
		}
		return v.dir(ctx, p.enter(o))
	default:
		if o.attr.Nlink > 1 {
			v.s.groups[o.id] = append(v.s.groups[o.id], o.path)
		}
		var ino uint64
		err := o.loc.use(func(fd int, name string) (err error) {
			ino, err = v.fs.ly.ino(fd, name)
			return err
		})
		if err != nil || ino == 0 || o.low.exists() && ino == v.fs.devs.ino(o.low.id) {
			return err
		}
		v.s.strangers[ino] = append(v.s.strangers[ino], o)
		if o.low.exists() || !o.attr.IsRegular() {
			return nil
		}
		if _, again := v.copied[ino]; again {
			v.copied[ino] = "" // one of several names: which one is the moved?
		} else {
			v.copied[ino] = o.path
		}
	}
	return nil
}

// drop forgets the directory id with a redirect, which the upper layer does not
// have any more.
func (s *survey) drop(id at.Ident) {
	s.redirects = slices.DeleteFunc(s.redirects, func(r *object) bool { return r.id == id })
	maps.DeleteFunc(s.dirs, func(_ lowerKey, r *object) bool { return r.id == id })
}

// settle takes away what o covers if a renamed directory has it now.
func (s *survey) settle(o *object) {
	if !o.renamed && o.low.isDir() {
		if by, ok := s.dirs[o.low.key()]; ok && by.path != o.path {
			o.low = cover{moved: true}
		}
	}
}

// movedTo tells where the view has a lower entry now, "" if nowhere else.
func (s *survey) movedTo(c *cover) string {
	if c.isDir() {
		if o := s.dirs[c.key()]; o != nil {
			return o.path
		}
		return ""
	}
	return s.fileTo[c.key()]
}
