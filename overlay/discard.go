package overlay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// Discard takes what the upper layer has at and below the given paths away, so
// that the lower layers show again; without paths, everything.
//
// A rename is discarded if either end of it is given, with all that was changed
// in the directory; what is given inside a renamed directory is restored where
// that is now. In a deleted directory, single entries can be brought back. The
// report names under Also what went though it was not given: the other ends of
// renames.
//
// Killed at any moment, it leaves each entry discarded or not; of a rename, the
// new name goes first. A cancelled one stops before it has changed anything and
// answers EINTR. Handles to discarded files keep what they hold, or show the
// lower file if there is one under their name.
//
// At most one Commit or Discard runs at a time; another one waits. Errnos:
// EINVAL (a path that is none), EINTR, EIO, ENOSPC (bringing single entries of
// a deleted directory back takes some), and those of the layers.
func (fs *FS) Discard(ctx context.Context, paths []string) (Report, error) {
	sel, err := newSelection(paths)
	if err != nil {
		return Report{}, err
	}
	fs.changing.Lock()
	defer fs.changing.Unlock()
	if err := fs.nameIndexed(ctx, false); err != nil {
		return Report{}, err
	}
	d := &discard{fs: fs, ctx: ctx, own: make(map[at.Ident]int), choice: choice{sel: sel}}
	err = d.run()
	return d.report, err
}

// discard is one run of Discard. It is for one goroutine.
type discard struct {
	fs     *FS
	ctx    context.Context
	survey *survey
	choice choice
	roots  []string // paths whose upper entry goes, with all below
	report Report
	trash  []string // names in the scratch directory
	clear  []string // origins whose records go, with all below
	shrunk []*place // upper directories that lost entries
	told   [][2]string
	own    map[at.Ident]int // how many names of an upper file cover the lower file that it is a copy of
	bared  []cover          // what shows again
}

func (d *discard) run() error {
	w, err := d.fs.newWalk(d.ctx, ChangesOptions{})
	if err != nil {
		return err
	}
	d.survey = w.survey
	if err := d.close(); err != nil {
		return err
	}
	w.choice = &d.choice
	w.emit = func(c Change) error {
		d.report.Steps = append(d.report.Steps, c.step())
		return nil
	}
	if err := w.run(); err != nil {
		return err
	}
	thaw, err := d.fs.freeze(d.ctx)
	if err != nil {
		d.report = Report{}
		return err
	}
	d.ctx = context.WithoutCancel(d.ctx) // from here on it is not left half done
	err = d.take()
	thaw()
	for _, t := range d.told {
		if p := d.fs.liveDir(t[0]); p != nil {
			d.fs.EntryChanged(d.ctx, p.id, t[1])
			d.fs.NodeChanged(d.ctx, p.id, true)
			d.fs.put(p)
		}
	}
	for _, name := range d.trash {
		d.fs.discard(name)
	}
	return err
}

// close finds what goes: the selected entries, and the other ends of renames.
func (d *discard) close() error {
	if d.choice.all() {
		names, err := listDir(d.fs.ly.upper, nil)
		if err != nil {
			return err
		}
		slices.Sort(names)
		d.roots, d.clear = names, []string{""}
		return nil
	}
	d.roots = slices.Clone(d.choice.sel.paths)
	add := func(path, why string) bool {
		if !d.choice.add(path) {
			return false
		}
		d.roots = append(d.roots, path)
		// Everything below goes as well.
		d.choice.sel.add(path)
		d.report.Also = append(d.report.Also, Note{path, why})
		return true
	}
	for again := true; again; {
		again = false
		for id, names := range d.survey.groups {
			more, err := d.together(id, names)
			if err != nil {
				return err
			}
			for _, path := range more {
				again = add(path, "another name of a file that was given") || again
			}
		}
		for path, m := range d.survey.fileFrom {
			if d.choice.has(path) || d.choice.has(m.white) {
				again = add(path, fmt.Sprintf("was renamed from %q", m.white)) || again
				again = add(m.white, fmt.Sprintf("was renamed to %q", path)) || again
			}
		}
		for _, r := range d.survey.redirects {
			was := d.survey.viewOf(r.redirect)
			if r.renamed && (d.choice.has(r.path) || d.choice.has(was)) {
				again = add(r.path, fmt.Sprintf("was renamed from %q", was)) || again
				again = add(was, fmt.Sprintf("was renamed to %q", r.path)) || again
			}
		}
	}
	return nil
}

// together returns the names of an upper file that go because another one does:
// as a copy of a lower file it stands for all its names, and none of them can
// show the lower file alone.
func (d *discard) together(id at.Ident, names []string) ([]string, error) {
	var own []string
	given := false
	for _, path := range names {
		o, err := d.fs.lookPath(path)
		if vanished(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		copied, err := d.fs.isCopy(o)
		if err != nil {
			return nil, err
		}
		if copied {
			own = append(own, path)
			given = given || d.choice.has(path)
		}
	}
	d.own[id] = len(own)
	if !given {
		return nil, nil
	}
	return own, nil
}

// take removes the roots from the upper layer. Everything is frozen.
func (d *discard) take() error {
	// What was moved somewhere goes before what it was moved from shows again,
	// and whiteouts last.
	moved := func(path string) bool {
		_, file := d.survey.fileFrom[path]
		return file || slices.ContainsFunc(d.survey.redirects, func(r *object) bool { return r.path == path && r.renamed })
	}
	for pass := range 3 {
		for _, path := range d.roots {
			if err := d.root(path, pass, moved(path)); err != nil {
				return pathError(path, err)
			}
		}
	}
	if d.choice.all() {
		// Nothing is a copy any more, and no name is gone.
		if err := errors.Join(clearDir(d.fs.ly.index), clearDir(d.fs.ly.links)); err != nil {
			return err
		}
	}
	if err := d.renumber(); err != nil {
		return err
	}
	if err := d.prune(); err != nil {
		return err
	}
	if d.fs.log != nil {
		for _, origin := range d.clear {
			if err := d.fs.log.clear(origin, true); err != nil {
				return err
			}
		}
	}
	return d.fs.refresh(d.ctx, "")
}

// root removes the upper entry at path if its turn has come: what was moved in
// pass 0, whiteouts in pass 2, all else in pass 1.
func (d *discard) root(path string, pass int, moved bool) error {
	if moved != (pass == 0) && pass < 2 {
		return nil
	}
	p, o, err := d.find(path, pass == 2)
	if err != nil || o == nil || o.white != (pass == 2) {
		return err
	}
	err = d.release(p, o)
	if err != nil {
		return err
	}
	d.shrunk = append(d.shrunk, p)
	if !p.hidden {
		low, err := d.fs.cover(p.lowers, o.name)
		if err != nil {
			return err
		}
		d.bared = append(d.bared, low)
	}
	d.told = append(d.told, [2]string{p.path, o.name})
	d.clear = append(d.clear, o.origin)
	if natural := joinPath(p.origin, o.name); natural != o.origin {
		d.clear = append(d.clear, natural)
	}
	d.fs.step("discard.taken")
	return nil
}

// find returns the upper object at path and its directory, nil if there is
// none. On its way it makes what hides lower entries say so one by one, in
// deleted directories only if reveal is set.
func (d *discard) find(path string, reveal bool) (*place, *object, error) {
	p, err := d.fs.rootPlace()
	if err != nil {
		return nil, nil, err
	}
	names := strings.Split(path, "/")
	for i, name := range names {
		o, err := d.fs.look(p, name)
		if vanished(err) {
			return p, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if i == len(names)-1 {
			return p, o, nil
		}
		if o.white {
			if !reveal || !o.low.isDir() {
				return p, nil, nil
			}
			if err := d.fs.expandWhiteout(p, o); err != nil {
				return nil, nil, err
			}
			d.told = append(d.told, [2]string{p.path, name})
		} else if !o.attr.IsDir() {
			if o.low.isDir() {
				d.report.Left = append(d.report.Left, Note{path, fmt.Sprintf("%q is no directory in the overlay", o.path)})
			}
			return p, nil, nil
		}
		if o.opaque {
			if err := d.fs.expandFrozen(d.ctx, p, o); err != nil {
				return nil, nil, err
			}
		}
		if o, err = d.fs.look(p, name); err != nil {
			return nil, nil, err
		}
		p = p.enter(o)
	}
	return p, nil, nil
}

// release takes an upper entry out of its directory.
func (d *discard) release(p *place, o *object) error {
	if err := d.unindexBelow(p, o); err != nil {
		return err
	}
	return keepTimes(p.upper, func(fd int) error {
		if o.white {
			return at.Unlink(fd, o.name, 0)
		}
		tmp := d.fs.tmpName()
		err := d.fs.alter(d.ctx, p.path, o.name, func() error {
			return d.fs.movable(fd, o.name, func() error {
				return at.Rename(fd, o.name, d.fs.ly.scratch, tmp, unix.RENAME_NOREPLACE)
			})
		})
		if err == nil {
			d.trash = append(d.trash, tmp)
		}
		return err
	})
}

// prune removes upper directories that hold nothing and differ from the lower
// ones in times alone.
func (d *discard) prune() error {
	for _, p := range d.shrunk {
		for path := p.path; path != ""; path = path[:max(strings.LastIndexByte(path, '/'), 0)] {
			again, err := d.pruneDir(path)
			if err != nil {
				return pathError(path, err)
			}
			if !again {
				break
			}
		}
	}
	return d.pruneRoot()
}

func (d *discard) pruneDir(path string) (gone bool, err error) {
	p, o, err := d.find(path, false)
	if err != nil || o == nil {
		return o == nil, err
	}
	if !o.attr.IsDir() || o.opaque || o.renamed || p.hidden || !o.low.isDir() {
		return false, nil
	}
	diff, err := differences(d.ctx, o.low.location(), &o.low.attr, o.loc, &o.attr)
	if err != nil || diff&^(Times|Content) != 0 {
		return false, err
	}
	err = keepTimes(p.upper, func(fd int) error {
		return d.fs.alter(d.ctx, p.path, o.name, func() error { return at.Unlink(fd, o.name, unix.AT_REMOVEDIR) })
	})
	if err == syscall.ENOTEMPTY || err == syscall.EEXIST {
		return false, nil
	}
	if err == nil {
		d.clear = append(d.clear, o.origin)
	}
	return err == nil, err
}

// pruneRoot gives an upper root that is empty the times of the lower one.
func (d *discard) pruneRoot() error {
	names, err := listDir(d.fs.ly.upper, nil)
	if err != nil || len(names) > 0 {
		return err
	}
	a, _, err := location{dir: d.fs.ly.lowers[0].at}.stat()
	if err != nil {
		return err
	}
	return location{dir: d.fs.ly.upper}.use(func(fd int, _ string) error {
		setTimes(fd, "", &a) // only for show
		return nil
	})
}

// expandWhiteout puts a directory whose entries are all deleted in the place of
// a deleted directory. Everything is frozen.
func (fs *FS) expandWhiteout(p *place, o *object) error {
	w, err := fs.makeScratch(unix.S_IFDIR, -1, 0)
	if err != nil {
		return err
	}
	defer w.close(fs)
	err = o.low.location().use(func(fd int, name string) error { return fs.copyMeta(fd, name, -1, w, &o.low.attr) })
	if err != nil {
		return err
	}
	if err := fs.ly.setIno(fs.ly.scratch, w.name, fs.devs.ino(o.low.id)); err != nil {
		return err
	}
	names, err := lowerNames(o.low.lowers)
	if err != nil {
		return err
	}
	dir, err := at.Open(fs.ly.scratch, w.name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for _, name := range names {
		if err := fs.white.make(fs, dir, name); err != nil {
			return err
		}
	}
	setTimes(dir, "", &o.low.attr) // only for show
	return keepTimes(p.upper, func(fd int) error {
		if err := fs.ly.setImpure(fd, ""); err != nil {
			return err
		}
		return w.exchange(fs, fd, o.name)
	})
}
