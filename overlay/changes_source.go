package overlay

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Source is what an entry held before or after a change.
type Source struct {
	Attr vfs.Attr

	// Size is the length of what ReadAt reads, in bytes: contents of a regular
	// file, target of a symbolic link; 0 for everything else.
	Size int64

	reader io.ReaderAt
	fd     int
}

// ReadAt implements [io.ReaderAt]. It may be called concurrently.
func (s *Source) ReadAt(p []byte, off int64) (int, error) {
	if s.reader == nil {
		return 0, io.EOF
	}
	return s.reader.ReadAt(p, off)
}

// Close releases the source. Nothing may be called after it; a nil Source may
// be closed.
func (s *Source) Close() error {
	if s == nil || s.fd < 0 {
		return nil
	}
	return unix.Close(s.fd)
}

// Sources opens what c's entry held in the lower layers and what it holds in
// the view; nil where there is nothing. The caller closes both. What a file
// holds may change until it is read.
//
// c must come from a walk of this overlay. Errnos: ESTALE (what the change is
// of went since), EMFILE, and those of open(2).
func (fs *FS) Sources(c *Change) (old, new *Source, err error) {
	if old, err = c.old.source(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	if new, err = c.new.source(); err != nil {
		old.Close()
		return nil, nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	return old, new, nil
}

func (l location) source() (*Source, error) {
	if !l.ok() {
		return nil, nil
	}
	a, _, err := l.stat()
	if err != nil {
		return nil, gone(err)
	}
	s := &Source{Attr: a, fd: -1}
	switch a.Type() {
	case unix.S_IFREG:
		if s.fd, err = l.openAt(); err != nil {
			return nil, gone(err)
		}
		if s.Attr, _, err = at.Stat(s.fd, ""); err != nil || !s.Attr.IsRegular() {
			unix.Close(s.fd)
			if err == nil {
				err = syscall.ESTALE
			}
			return nil, err
		}
		s.Size, s.reader = s.Attr.Size, fdReader(s.fd)
	case unix.S_IFLNK:
		var target string
		err := l.use(func(fd int, name string) (err error) {
			target, err = at.Readlink(fd, name)
			return err
		})
		if err != nil {
			return nil, gone(err)
		}
		s.Size, s.reader = int64(len(target)), strings.NewReader(target)
	}
	return s, nil
}

// side is the source as package diff takes it.
func (s *Source) side() *diff.Side {
	if s == nil {
		return nil
	}
	return &diff.Side{Mode: s.Attr.Mode, Size: s.Size, Data: s}
}

// Patch writes the patch of the change set at and below paths, or of all, to
// out, as git apply takes it, and returns what it holds, in the order of the
// change set. Deletions come first in it: git apply would take one that follows
// for one of what came to its path before.
func (fs *FS) Patch(ctx context.Context, out io.Writer, paths []string, opt diff.Options) ([]diff.Stat, error) {
	var stats []diff.Stat
	var later []Change
	var order []int // of later in stats
	for c, err := range fs.Changes(ctx, ChangesOptions{Paths: paths, Expand: true}) {
		if err != nil {
			return stats, err
		}
		if !patched(&c.Old) && !patched(&c.New) {
			continue
		}
		var st diff.Stat
		if c.Kind == Deleted {
			if st, err = fs.Diff(out, &c, opt); err != nil {
				return stats, err
			}
		} else {
			later, order = append(later, c), append(order, len(stats))
		}
		stats = append(stats, st)
	}
	for i := range later {
		if err := interrupted(ctx); err != nil {
			return stats, err
		}
		st, err := fs.Diff(out, &later[i], opt)
		if err != nil {
			return stats, err
		}
		stats[order[i]] = st
	}
	return stats, nil
}

// patched tells whether git knows the type of an entry.
func patched(a *vfs.Attr) bool { return a.IsRegular() || a.IsSymlink() }

// Diff writes the patch of one change to out, nothing for what git does not
// know.
func (fs *FS) Diff(out io.Writer, c *Change, opt diff.Options) (diff.Stat, error) {
	old, new, err := fs.Sources(c)
	if err != nil {
		return diff.Stat{}, err
	}
	defer old.Close()
	defer new.Close()
	f := diff.File{Path: c.Path, From: c.From, Old: old.side(), New: new.side()}
	if c.Kind == Deleted && c.From != "" {
		f.Path, f.From = c.From, "" // it never was in the renamed directory
	}
	st, err := opt.Write(out, f)
	if err != nil {
		return st, fmt.Errorf("%s: %w", c.Path, err)
	}
	return st, nil
}
