package overlay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// withhold is what a commit leaves out although it was selected: paths, each
// with all below it.
type withhold struct {
	commit *commit
	paths  map[string]bool
}

// excludes tells whether path, or something above it, is left out.
func (s *choice) excludes(path string) bool {
	for len(s.not) > 0 {
		if s.not[path] {
			return true
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return false
		}
		path = path[:i]
	}
	return false
}

// judge leaves a change out if it would write what is to be withheld.
func (w *withhold) judge(ch *Change) error {
	ask := w.commit.opt.Withhold
	if ask == nil || w.paths[ch.Path] {
		return nil
	}
	isNew := ch.Kind != Deleted
	why := ""
	var err error
	try := func(path string, isDir bool) {
		if why == "" && err == nil {
			why, err = ask(path, isDir)
		}
	}
	if isNew {
		try(ch.Path, ch.New.IsDir())
	}
	if ch.Kind != Added {
		try(ch.Path, ch.Old.IsDir())
	}
	if ch.Kind == Renamed {
		try(ch.From, ch.Old.IsDir())
	}
	if err == nil && why == "" && ch.Old.IsDir() && (ch.Kind == Deleted || ch.Kind == TypeChanged) {
		why, err = w.below(ch)
	}
	if err == nil && why != "" {
		w.add(ch.Path, why)
	}
	return pathError(ch.Path, err)
}

// below tells why a directory of the workspace must not be deleted: for what it
// holds.
func (w *withhold) below(ch *Change) (why string, err error) {
	origin := ch.Path
	if ch.From != "" {
		origin = ch.From
	}
	c, err := w.commit.fs.coverAt(origin)
	if err != nil || !c.isDir() {
		return "", err
	}
	err = w.commit.fs.lowerTree(w.commit.ctx, &c, func(rel string, sub *cover) error {
		if w.commit.survey.movedTo(sub) != "" {
			return errSkip
		}
		reason, err := w.commit.opt.Withhold(joinPath(ch.Path, rel), sub.isDir())
		if err == nil && reason != "" {
			why, err = fmt.Sprintf("it holds %q: %s", rel, reason), errStop
		}
		return err
	})
	if err == errStop {
		err = nil
	}
	return why, err
}

func (w *withhold) add(path, why string) {
	if !w.paths[path] {
		w.paths[path] = true
		w.commit.left(path, errors.New(why))
	}
}

// close leaves out what would be done by halves without what is left out:
// the other ends of renames, and the other names of files.
func (w *withhold) close() {
	s := w.commit.survey
	not := choice{not: w.paths}
	pair := func(a, b string) {
		switch {
		case not.excludes(a) && !not.excludes(b):
			w.add(b, fmt.Sprintf("what was here is %q, which is left out", a))
		case not.excludes(b) && !not.excludes(a):
			w.add(a, fmt.Sprintf("what is here was %q, which is left out", b))
		}
	}
	for before := -1; before != len(w.paths); {
		before = len(w.paths)
		for path, m := range s.fileFrom {
			pair(path, m.white)
		}
		for _, r := range s.redirects {
			if r.renamed {
				pair(r.path, s.viewOf(r.redirect))
			}
		}
		for _, names := range s.groups {
			i := slices.IndexFunc(names, not.excludes)
			for _, path := range names {
				if i >= 0 && !not.excludes(path) {
					w.add(path, fmt.Sprintf("another name of it is %q, which is left out", names[i]))
				}
			}
		}
	}
}
