package overlay

import (
	"context"
	"errors"
	"slices"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// walk makes the change set. It is for one goroutine.
type walk struct {
	ctx        context.Context
	fs         *FS
	opt        ChangesOptions
	sel        selection
	choice     *choice // of a commit, in place of sel
	survey     *survey
	base       *baseTree        // nil if nothing is recorded
	baseLength int64            // of the log when base was read, or a little less
	settled    bool             // a commit has begun, which records what it does itself
	inodes     map[inode]*known // of base; nil before it is needed
	compared   map[pair]What    // of files with several names
	emit       func(Change) error
}

func (fs *FS) newWalk(ctx context.Context, opt ChangesOptions) (*walk, error) {
	sel, err := newSelection(opt.Paths)
	if err != nil {
		return nil, err
	}
	w := &walk{ctx: ctx, fs: fs, opt: opt, sel: sel}
	if w.survey, err = fs.survey(ctx); err != nil {
		return nil, err
	}
	if fs.log != nil {
		w.baseLength = fs.log.length()
		if w.base, err = fs.log.load(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *walk) run() error {
	root, err := w.fs.rootPlace()
	if err != nil {
		return err
	}
	return w.dir(root)
}

// wanted tells whether a change at path, renamed from another if that is not
// empty, is selected.
func (w *walk) wanted(path, from string) bool {
	if w.choice != nil {
		return w.choice.has(path)
	}
	return w.sel.has(path) || from != "" && w.sel.has(from)
}

// enters tells whether a directory may hold something selected.
func (w *walk) enters(path, origin string) bool {
	if w.choice != nil {
		return w.choice.leads(path)
	}
	return w.sel.leads(path) || path != origin && w.sel.leads(origin) || w.hasMoved()
}

// hasMoved tells whether paths in the view and in the lower layers can differ
// anywhere.
func (w *walk) hasMoved() bool {
	return len(w.survey.fileFrom) > 0 || slices.ContainsFunc(w.survey.redirects, func(r *object) bool { return r.renamed })
}

// dir goes through the entries of a directory of the view.
func (w *walk) dir(p *place) error {
	if err := interrupted(w.ctx); err != nil {
		return err
	}
	names, err := p.names()
	if err != nil {
		return err
	}
	// Lower entries that the upper directory says nothing of have to be looked
	// at where they are hidden, and where each move is to be told.
	moving := w.opt.Expand && p.path != p.origin && len(p.lowers) > 0
	var lower []string
	if (p.hidden || moving) && len(p.lowers) > 0 {
		if lower, err = lowerNames(p.lowers); err != nil {
			return err
		}
	}
	all := names
	if len(lower) > 0 {
		all = slices.Concat(names, lower)
		slices.Sort(all)
		all = slices.Compact(all)
	}
	for _, name := range all {
		if _, ok := slices.BinarySearch(names, name); ok {
			err = w.upperEntry(p, name)
		} else {
			err = w.lowerEntry(p, name)
		}
		if err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

// upperEntry handles an entry of the upper layer.
func (w *walk) upperEntry(p *place, name string) error {
	path := joinPath(p.path, name)
	if !w.enters(path, joinPath(p.origin, name)) {
		return nil
	}
	o, err := w.fs.look(p, name)
	if err != nil {
		return err
	}
	w.survey.settle(o)
	switch {
	case o.white && isStage(p, name):
		return nil // it hides what a commit left on its way
	case o.white:
		return w.deleted(o.path, o.origin, &o.low)
	case o.attr.IsDir():
		return w.upperDir(p, o)
	}
	return w.upperFile(o)
}

// lowerEntry handles an entry that only lower layers have.
func (w *walk) lowerEntry(p *place, name string) error {
	c, err := w.fs.cover(p.lowers, name)
	if err != nil || !c.exists() {
		return err
	}
	path, origin := joinPath(p.path, name), joinPath(p.origin, name)
	if p.hidden {
		return w.deleted(path, origin, &c)
	}
	if w.survey.movedTo(&c) != "" {
		return nil // told where it is
	}
	if err := w.tell(Change{Path: path, From: origin, Kind: Renamed, Old: c.attr, New: c.attr, old: c.location(), new: c.location()}); err != nil {
		return err
	}
	if !c.isDir() {
		return nil
	}
	return w.dir(&place{path: path, origin: origin, lowers: c.lowers})
}

func (w *walk) tell(c Change) error {
	if c.From == c.Path {
		c.From = ""
	}
	if !w.wanted(c.Path, c.From) {
		return nil
	}
	return w.emit(c)
}

// upperDir handles a directory of the upper layer and all below it.
func (w *walk) upperDir(p *place, o *object) error {
	if o.renamed {
		// What was there before gave way to it.
		c, err := w.fs.cover(p.lowers, o.name)
		if err == nil {
			err = w.deleted(o.path, joinPath(p.origin, o.name), &c)
		}
		if err != nil {
			return err
		}
	}
	c := Change{Path: o.path, From: o.origin, Kind: Modified, New: o.attr, new: o.loc}
	switch {
	case !o.low.exists():
		c.Kind, c.From = Added, ""
		c.Conflict = w.conflict(o, 0)
		if err := w.tell(c); err != nil {
			return err
		}
	case !o.low.isDir():
		c.Kind, c.Old, c.old = TypeChanged, o.low.attr, o.low.location()
		c.Conflict = w.conflict(o, Content)
		if err := w.tell(c); err != nil {
			return err
		}
	default:
		diff, err := w.compare(o)
		if err != nil {
			return err
		}
		c.Changed, c.Old, c.old = diff, o.low.attr, o.low.location()
		if o.renamed {
			c.Kind = Renamed
		}
		c.Conflict = w.conflict(o, diff)
		if o.renamed || diff&^Times != 0 {
			if err := w.tell(c); err != nil {
				return err
			}
		}
	}
	return w.dir(p.enter(o))
}

// pair is two files in the state that they were looked at in.
type pair struct {
	low, up           at.Ident
	lowCtime, upCtime vfs.Timespec
}

// compare returns how o differs from what it covers, which is of its type. Of
// two files that have several names each, that is found out once.
func (w *walk) compare(o *object) (What, error) {
	several := !o.attr.IsDir() && o.attr.Nlink > 1 && o.low.attr.Nlink > 1
	key := pair{o.low.id, o.id, o.low.attr.Ctime, o.attr.Ctime}
	if d, ok := w.compared[key]; several && ok {
		return d, nil
	}
	d, err := differences(w.ctx, o.low.location(), &o.low.attr, o.loc, &o.attr)
	if o.attr.IsDir() {
		d &^= Content
	}
	if several && err == nil {
		if w.compared == nil {
			w.compared = make(map[pair]What)
		}
		w.compared[key] = d
	}
	return d, err
}

// upperFile handles what is no directory.
func (w *walk) upperFile(o *object) error {
	c := Change{Path: o.path, From: o.origin, New: o.attr, new: o.loc}
	m, moved := w.survey.fileFrom[o.path]
	switch {
	case !o.low.exists() && moved:
		from := *o
		from.low, from.origin = m.low, m.low.in.join(m.low.name)
		diff, err := w.compare(&from)
		if err != nil {
			return err
		}
		c.Kind, c.From, c.Changed, c.Old, c.old = Renamed, from.origin, diff, m.low.attr, m.low.location()
		// What is in the way where it went, and what became of where it was.
		if c.Conflict = w.conflict(o, 0); c.Conflict == NoConflict {
			c.Conflict = w.deletion(from.origin, &m.low)
		}
	case !o.low.exists():
		c.Kind, c.From = Added, ""
		c.Conflict = w.conflict(o, 0)
	case o.low.attr.Type() != o.attr.Type():
		if o.low.isDir() && w.opt.Expand {
			if err := w.deletedBelow(o.path, o.origin, &o.low); err != nil {
				return err
			}
		}
		c.Kind, c.Old, c.old = TypeChanged, o.low.attr, o.low.location()
		if c.Conflict = w.conflict(o, Content); c.Conflict == NoConflict && o.low.isDir() && w.opt.deep {
			var err error
			if c.Conflict, err = w.deletionBelow(o.origin, &o.low); err != nil {
				return err
			}
		}
	default:
		diff, err := w.compare(o)
		if err != nil || diff&^Times == 0 && !(w.opt.Expand && c.From != c.Path) {
			return err
		}
		c.Kind, c.Changed, c.Old, c.old = Modified, diff, o.low.attr, o.low.location()
		if w.opt.Expand && c.From != c.Path {
			c.Kind = Renamed
		}
		c.Conflict = w.conflict(o, diff)
	}
	return w.tell(c)
}

// deleted handles a lower entry that the view does not have at path.
func (w *walk) deleted(path, origin string, c *cover) error {
	if !c.exists() || w.survey.movedTo(c) != "" {
		return nil
	}
	conflict := w.deletion(origin, c)
	if w.opt.deep && conflict == NoConflict && c.isDir() {
		var err error
		if conflict, err = w.deletionBelow(origin, c); err != nil {
			return err
		}
	}
	if err := w.tell(Change{Path: path, From: origin, Kind: Deleted, Old: c.attr, old: c.location(), Conflict: conflict}); err != nil {
		return err
	}
	if !w.opt.Expand || !c.isDir() {
		return nil
	}
	return w.deletedBelow(path, origin, c)
}

// deletedBelow tells of all that a deleted directory held.
func (w *walk) deletedBelow(path, origin string, c *cover) error {
	return w.fs.lowerTree(w.ctx, c, func(rel string, sub *cover) error {
		if w.survey.movedTo(sub) != "" {
			return errSkip
		}
		from := joinPath(origin, rel)
		return w.tell(Change{Path: joinPath(path, rel), From: from, Kind: Deleted, Old: sub.attr, old: sub.location(), Conflict: w.deletion(from, sub)})
	})
}

// errSkip, from the function that lowerTree calls, leaves a directory out.
var errSkip = errors.New("skip")

// lowerTree calls fn for everything below a lower directory, with its path from
// there, a directory before its entries.
func (fs *FS) lowerTree(ctx context.Context, c *cover, fn func(rel string, sub *cover) error) error {
	return fs.lowerTreeAt(ctx, "", c.lowers, fn)
}

func (fs *FS) lowerTreeAt(ctx context.Context, rel string, lowers []*ldir, fn func(string, *cover) error) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	names, err := lowerNames(lowers)
	if err != nil {
		return err
	}
	for _, name := range names {
		c, err := fs.cover(lowers, name)
		if err != nil {
			return err
		}
		if !c.exists() {
			continue
		}
		sub := joinPath(rel, name)
		err = fn(sub, &c)
		if err == nil && c.isDir() {
			err = fs.lowerTreeAt(ctx, sub, c.lowers, fn)
		}
		if err != nil && err != errSkip {
			return err
		}
	}
	return nil
}

// attrsDiffer tells in which of mode and owner two entries differ.
func attrsDiffer(a, b *vfs.Attr) What {
	var d What
	if (a.Mode^b.Mode)&07777 != 0 && !b.IsSymlink() {
		d |= Mode
	}
	if a.UID != b.UID || a.GID != b.GID {
		d |= Owner
	}
	return d
}
