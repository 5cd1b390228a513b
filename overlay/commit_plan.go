package overlay

import (
	"fmt"
	"slices"
	"strings"
)

// plan finds out what is chosen and in conflict.
func (c *commit) plan() error {
	sel, err := newSelection(c.opt.Paths)
	if err != nil {
		return err
	}
	out := withhold{commit: c, paths: make(map[string]bool)}
	conflicts, err := c.judge(sel, &out)
	if err == nil && len(conflicts) > 0 && !c.opt.Force {
		// What changes while the layers are gone through, a directory that is
		// renamed above all, may look like a conflict: only where nothing does
		// is it one.
		var thaw func()
		if thaw, err = c.fs.freeze(c.ctx); err != nil {
			return err
		}
		conflicts, err = c.judge(sel, &out)
		thaw()
	}
	if err != nil {
		return err
	}
	c.walk.settled = true
	c.base = c.walk.base // read again, perhaps
	c.progress.Total = len(c.report.Steps)
	if len(conflicts) > 0 && !c.opt.Force {
		c.report = Report{}
		return &ConflictError{conflicts}
	}
	return nil
}

// judge goes through the changes, until nothing more is to be withheld, and
// returns those in conflict.
func (c *commit) judge(sel selection, out *withhold) (conflicts []Change, err error) {
	for again := true; again; {
		c.renamed = c.fs.renamedYet()
		w, err := c.fs.newWalk(c.ctx, ChangesOptions{deep: true})
		if err != nil {
			return nil, err
		}
		c.walk, c.survey, c.base = w, w.survey, w.base
		c.choice = choice{sel: sel, not: out.paths}
		c.moves, c.report.Also, c.report.Steps, conflicts = nil, nil, nil, nil
		if err := c.close(); err != nil {
			return nil, err
		}
		w.choice = &c.choice
		before := len(out.paths)
		w.emit = func(ch Change) error {
			if err := out.judge(&ch); err != nil {
				return err
			}
			if ch.Conflict != NoConflict {
				conflicts = append(conflicts, ch)
			}
			c.report.Steps = append(c.report.Steps, ch.step())
			return nil
		}
		if err := w.run(); err != nil {
			return nil, err
		}
		out.close()
		again = len(out.paths) != before
	}
	return conflicts, nil
}

// close adds to the choice what cannot be left out: the directories above that
// the workspace lacks, both ends of a rename, and renames whose directory would
// otherwise be deleted with what it was in.
func (c *commit) close() error {
	if c.choice.all() {
		for _, r := range c.survey.redirects {
			if r.renamed && !c.choice.excludes(r.path) {
				c.moves = append(c.moves, r)
			}
		}
		return nil
	}
	for _, p := range c.choice.sel.paths {
		if err := c.above(p); err != nil {
			return err
		}
	}
	taken := make(map[*object]bool)
	for before := -1; before != len(c.choice.need.paths)+len(taken); {
		before = len(c.choice.need.paths) + len(taken)
		for _, f := range []func() error{c.linked, c.movedFiles, func() error { return c.movedDirs(taken) }} {
			if err := f(); err != nil {
				return err
			}
		}
	}
	for _, r := range c.survey.redirects {
		if taken[r] {
			c.moves = append(c.moves, r)
		}
	}
	return nil
}

// movedFiles chooses both ends of the files moved of which one is chosen.
func (c *commit) movedFiles() error {
	for path, m := range c.survey.fileFrom {
		if !c.choice.has(path) && !c.choice.has(m.white) {
			continue
		}
		for _, p := range []string{path, m.white} {
			if c.choice.add(p) {
				c.also(p, "renamed together with what was selected")
			}
		}
		if err := c.above(path); err != nil {
			return err
		}
	}
	return nil
}

// movedDirs takes the renamed directories of which an end is chosen, or that
// lead to what is.
func (c *commit) movedDirs(taken map[*object]bool) error {
	for _, r := range c.survey.redirects {
		was := c.survey.viewOf(r.redirect)
		if taken[r] || !r.renamed || c.choice.excludes(r.path) || !c.choice.leads(r.path) && !c.choice.has(r.redirect) && !c.choice.has(was) {
			continue
		}
		taken[r] = true
		if c.choice.add(r.path) {
			c.also(r.path, fmt.Sprintf("renamed from %q", r.redirect))
		}
		// The whiteout that it left goes with it.
		o, err := c.fs.lookPath(was)
		if err == nil && o.white {
			c.choice.add(was)
		} else if err != nil && !vanished(err) {
			return err
		}
		if err := c.above(r.path); err != nil {
			return err
		}
	}
	return nil
}

// linked chooses all names of the files of which one is chosen: a file that was
// committed under one name and not under another would be two files.
func (c *commit) linked() error {
	for _, names := range c.survey.groups {
		if !slices.ContainsFunc(names, c.choice.has) {
			continue
		}
		for _, path := range names {
			if !c.choice.add(path) {
				continue
			}
			c.also(path, "another name of a file that was selected")
			if err := c.above(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *commit) also(path, why string) {
	c.report.Also = append(c.report.Also, Note{path, why})
}

// above chooses the directories above path that the workspace does not have
// under that name.
func (c *commit) above(path string) error {
	p, err := c.fs.rootPlace()
	if err != nil {
		return err
	}
	for {
		name, rest, more := strings.Cut(path[len(p.path):], "/")
		if name == "" && more { // the slash behind the place's own path
			name, rest, more = strings.Cut(rest, "/")
		}
		if !more || rest == "" {
			return nil
		}
		o, err := c.fs.look(p, name)
		if vanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !o.attr.IsDir() {
			return nil
		}
		c.survey.settle(o)
		if (!o.low.isDir() || o.renamed) && c.choice.add(o.path) {
			why := "new directory"
			if o.renamed {
				why = fmt.Sprintf("renamed from %q", o.redirect)
			}
			c.also(o.path, why)
		}
		p = p.enter(o)
	}
}

// viewOf returns the path by which the view would show a lower path if nothing
// below the directories that were renamed had been moved out of them.
func (s *survey) viewOf(lower string) string {
	r := s.above(lower)
	if r == nil {
		return lower
	}
	return rebase(lower, r.redirect, r.path)
}

// above returns what shows the nearest directory above a lower path, of those
// that were renamed; nil where none of these is among them.
func (s *survey) above(lower string) (best *object) {
	for _, r := range s.redirects {
		if r.redirect != lower && within(lower, r.redirect) && (best == nil || len(r.redirect) > len(best.redirect)) {
			best = r
		}
	}
	return best
}
