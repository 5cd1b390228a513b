package overlay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Kind is what happened to a path; its value is the letter that stands for it.
type Kind byte

// Kinds of change.
const (
	Added       Kind = 'A'
	Modified    Kind = 'M'
	Deleted     Kind = 'D'
	Renamed     Kind = 'R'
	TypeChanged Kind = 'T'
)

func (k Kind) String() string { return string(rune(k)) }

// What names aspects of an entry that differ.
type What uint8

// Aspects of an entry. A difference in Times alone is no change.
const (
	Content What = 1 << iota // contents, link target, device number
	Mode                     // permission bits
	Owner                    // user or group
	Times                    // modification time
	Xattrs                   // extended attributes
)

var whatNames = [...]string{"content", "mode", "owner", "times", "xattrs"}

// Names returns the aspects in words.
func (w What) Names() []string {
	var names []string
	for i, name := range whatNames {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

func (w What) String() string { return strings.Join(w.Names(), ",") }

// Conflict is what the workspace's own entry went through since the overlay
// first diverged from it.
type Conflict uint8

// Conflicts. HostAdded: something appeared where the overlay adds or deletes.
const (
	NoConflict Conflict = iota
	HostChanged
	HostRemoved
	HostAdded
)

func (c Conflict) String() string {
	switch c {
	case HostChanged:
		return "changed in the workspace"
	case HostRemoved:
		return "removed in the workspace"
	case HostAdded:
		return "appeared in the workspace"
	}
	return ""
}

// Change is one difference between the view and the lower layers.
type Change struct {
	// Path is where the entry is in the view; for a deletion, where it was.
	Path string

	// From is the path in the lower layers where that is another: the old path
	// of what was renamed, or of what is inside a renamed directory.
	From string

	Kind    Kind
	Changed What // of Modified, Renamed and TypeChanged

	// Old and New are the attributes in the lower layers and in the view; the
	// zero Attr where there is nothing.
	Old, New vfs.Attr

	// Conflict says that the workspace's own entry is not what it was.
	Conflict Conflict

	old, new location
}

// location is where an object is. A zero location is none.
type location struct {
	dir  *at.Dir
	name string
}

func (l location) ok() bool { return l.dir != nil }

// use calls fn with the descriptor of the directory that holds the object.
func (l location) use(fn func(dirfd int, name string) error) error {
	fd, err := l.dir.Acquire()
	if err != nil {
		return gone(err)
	}
	defer l.dir.Release()
	return fn(fd, l.name)
}

// stat returns the attributes of the object.
func (l location) stat() (a vfs.Attr, id at.Ident, err error) {
	err = l.use(func(fd int, name string) error {
		a, id, err = at.Stat(fd, name)
		return err
	})
	return a, id, err
}

// ChangesOptions of [FS.Changes].
type ChangesOptions struct {
	// Paths limits the changes to those at or below these paths, or renamed
	// from there. None: all.
	Paths []string

	// Expand lists what a deleted directory held, and what moved with a renamed
	// one, entry by entry. Its cost is that of walking those directories.
	Expand bool

	deep bool // look for conflicts inside deleted directories
}

// Changes lists the differences between the view and the lower layers, a
// directory before its entries and entries in the order of their bytes. Its
// cost is that of the upper layer and of comparing the contents of what is in
// it; memory does not depend on the contents.
//
// A deleted directory is one entry; a new one is listed with all that is in it.
// A file that equals the lower one in contents, type, permissions, owner and
// extended attributes is not listed. A change of a lower file with several
// names is listed under the names by which it was made; with Expand, and where
// the upper layer has none of them any more, under all that the view shows,
// which takes a walk of the lower layers.
//
// Changes may be called at any time, and concurrently with everything but
// Close. What changes while it runs may be listed or not. Iteration ends after
// the first error; errnos: EINVAL (a path that is none), EINTR, EIO and those
// of reading the layers.
func (fs *FS) Changes(ctx context.Context, opt ChangesOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if err := fs.nameCopies(ctx, !opt.Expand); err != nil {
			yield(Change{}, err)
			return
		}
		w, err := fs.newWalk(ctx, opt)
		if err != nil {
			yield(Change{}, err)
			return
		}
		w.emit = func(c Change) error {
			if !yield(c, nil) {
				return errStop
			}
			return nil
		}
		if err := w.run(); err != nil && err != errStop {
			yield(Change{}, err)
		}
	}
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// selection is a set of paths, each with all below it. An empty one is
// everything.
type selection struct {
	paths []string
	set   map[string]bool // paths
	over  map[string]bool // what is above one of them
}

// newSelection checks and cleans paths: slashes at the ends and double ones
// are dropped, "." is the root. EINVAL for "..", NUL and names too long.
func newSelection(paths []string) (selection, error) {
	var s selection
	for _, p := range paths {
		var names []string
		for name := range strings.SplitSeq(p, "/") {
			if name == "" || name == "." {
				continue
			}
			if err := vfs.CheckName(name); err != nil {
				return selection{}, fmt.Errorf("%q: %w", p, err)
			}
			names = append(names, name)
		}
		if len(names) == 0 {
			return selection{}, nil // the root: everything
		}
		s.add(strings.Join(names, "/"))
	}
	return s, nil
}

// add adds a path. The caller is alone with s.
func (s *selection) add(path string) {
	if s.set[path] {
		return
	}
	if s.set == nil {
		s.set, s.over = make(map[string]bool), make(map[string]bool)
	}
	s.paths = append(s.paths, path)
	s.set[path] = true
	for up, ok := parentOf(path); ok && !s.over[up]; up, ok = parentOf(up) {
		s.over[up] = true
	}
}

// parentOf returns the path of the directory that holds path; the root is in none.
func parentOf(path string) (dir string, ok bool) {
	if path == "" {
		return "", false
	}
	return path[:max(strings.LastIndexByte(path, '/'), 0)], true
}

func (s *selection) everything() bool { return len(s.paths) == 0 }

// has tells whether path is selected.
func (s *selection) has(path string) bool {
	if s.everything() {
		return true
	}
	for ok := true; ok; path, ok = parentOf(path) {
		if s.set[path] {
			return true
		}
	}
	return false
}

// leads tells whether something at, above or below path is selected.
func (s *selection) leads(path string) bool { return s.has(path) || s.over[path] }

// choice is what a commit or discard works on: the selected paths with all below, and
// single entries that have to come with them.
type choice struct {
	sel  selection
	need selection // single entries, without what is below; none if empty

	// not is paths that are not chosen, nor anything below them, whatever the
	// other fields say.
	not map[string]bool
}

// all tells whether everything is selected.
func (s *choice) all() bool { return s.sel.everything() }

func (s *choice) has(path string) bool {
	return !s.excludes(path) && (s.sel.has(path) || s.need.set[path])
}

// leads tells whether path, something above or something below it is chosen.
func (s *choice) leads(path string) bool {
	return !s.excludes(path) && (s.sel.leads(path) || s.need.set[path] || s.need.over[path])
}

// add chooses one entry, and tells whether it was not chosen before.
func (s *choice) add(path string) bool {
	if s.has(path) || s.excludes(path) {
		return false
	}
	s.need.add(path)
	return true
}

// within tells whether path is dir or below it.
func within(path, dir string) bool {
	return dir == "" || strings.HasPrefix(path, dir) && (len(path) == len(dir) || path[len(dir)] == '/')
}

// rebase returns path, which is from or below it, with that head replaced by to.
func rebase(path, from, to string) string {
	if from == "" {
		return joinPath(to, path)
	}
	return strings.TrimPrefix(to+path[len(from):], "/")
}

// interrupted turns the end of a context into EINTR.
func interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return syscall.EINTR
	}
	return nil
}
