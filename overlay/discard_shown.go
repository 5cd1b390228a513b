package overlay

import (
	"slices"

	"github.com/astridfs/astridfs/vfs"
)

// unindexBelow has what stands for lower files with several names, at and below
// o, stand for them no more.
func (d *discard) unindexBelow(p *place, o *object) error {
	if !d.fs.hard.used.Load() {
		return nil
	}
	if o.white {
		return d.shows(&o.low)
	}
	if !o.attr.IsDir() {
		copied, err := d.unindexFile(o)
		if err == nil && !copied {
			err = d.shows(&o.low)
		}
		return err
	}
	if o.renamed || !o.low.isDir() {
		low, err := d.fs.cover(p.lowers, o.name)
		if err == nil {
			err = d.shows(&low)
		}
		if err != nil {
			return err
		}
	}
	in := p.enter(o)
	names, err := in.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		sub, err := d.fs.look(in, name)
		if err != nil {
			return err
		}
		if err := d.unindexBelow(in, sub); err != nil {
			return err
		}
	}
	if !in.hidden {
		return nil
	}
	lower, err := lowerNames(in.lowers)
	if err != nil {
		return err
	}
	for _, name := range lower {
		if _, ok := slices.BinarySearch(names, name); ok {
			continue
		}
		low, err := d.fs.cover(in.lowers, name)
		if err == nil {
			err = d.shows(&low)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unindexFile has the upper file o stand for the lower file that it is a copy of
// no more, unless other names of it, which stay, still do. copied tells whether
// it is the copy of what it covers.
func (d *discard) unindexFile(o *object) (copied bool, err error) {
	own := d.own[o.id]
	copied, err = d.fs.isCopy(o)
	if err != nil || !copied && own > 0 {
		return copied, err
	}
	return copied, o.loc.use(func(fd int, name string) error {
		return d.fs.unindex(fd, name, func(string, *vfs.Attr) (int, error) {
			if d.choice.all() || copied && own >= int(o.low.attr.Nlink) {
				return -1, nil // nothing stays hidden
			}
			return own, nil
		})
	})
}

// shows notes that a lower entry, with all below, was hidden and will show.
func (d *discard) shows(low *cover) error {
	one := func(f *cover) error {
		if f.isDir() || f.attr.Nlink < 2 {
			return nil
		}
		return f.location().use(func(fd int, _ string) error { return d.fs.nameBack(f, fd) })
	}
	if !low.exists() || low.isDir() && d.survey.movedTo(low) != "" {
		return nil // or it shows elsewhere already
	}
	if !low.isDir() {
		return one(low)
	}
	return d.fs.lowerTree(d.ctx, low, func(_ string, sub *cover) error {
		if sub.isDir() && d.survey.movedTo(sub) != "" {
			return errSkip
		}
		return one(sub)
	})
}

// renumber has upper files that show the number of a lower file which shows
// itself again, as what was once exchanged with it, show their own: two files of
// one number are one file to the programs that copy trees.
func (d *discard) renumber() error {
	if d.choice.all() || len(d.survey.strangers) == 0 {
		return nil
	}
	s, err := d.fs.survey(d.ctx)
	if err != nil || len(s.strangers) == 0 {
		return err
	}
	one := func(low *cover) error {
		strangers := s.strangers[d.fs.devs.ino(low.id)]
		if low.isDir() || len(strangers) == 0 {
			return nil
		}
		var x indexed
		if low.attr.Nlink > 1 {
			err := low.location().use(func(fd int, name string) (err error) {
				x, err = d.fs.findIndexed(low.in, fd, name, &low.attr, low.id)
				return err
			})
			if err != nil || x.up {
				return err // its copy shows
			}
		}
		for _, o := range strangers {
			if err := d.fs.ownNumber(o); err != nil {
				return pathError(o.path, err)
			}
		}
		return nil
	}
	for i := range d.bared {
		low := &d.bared[i]
		if !low.exists() {
			continue
		}
		err := one(low)
		if err == nil && low.isDir() {
			err = d.fs.lowerTree(d.ctx, low, func(_ string, sub *cover) error { return one(sub) })
		}
		if err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

// ownNumber has an upper file show its own number and be the copy of nothing.
func (fs *FS) ownNumber(o *object) error {
	return o.loc.use(func(fd int, name string) error {
		for _, mark := range []string{markIndex, markOrigin, markNlink, markIno} {
			if err := fs.ly.remove(fd, name, mark); err != nil {
				return gone(err)
			}
		}
		return nil
	})
}
