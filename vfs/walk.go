package vfs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
)

// MaxSymlinks is how many symbolic links a walk follows before it answers
// ELOOP, as Linux does.
const MaxSymlinks = 40

// WalkFlags of [Walk].
type WalkFlags uint8

// Follow makes a walk follow a symbolic link in the last component too.
const Follow WalkFlags = 1 << iota

// Target is where a walk ended. It holds references, which Release gives back.
type Target struct {
	// Parent is the directory that holds, or would hold, Name. It is 0 where
	// the path ends in no name: the root itself, or "." or "..".
	Parent NodeID
	Name   string

	// Entry is what is there; its Node is 0 if nothing is.
	Entry Entry

	// MustBeDir says that the path ended in a slash, "." or "..", so that only
	// a directory can be made or found there.
	MustBeDir bool

	// Path is the resolved path from the walk's root: names joined by '/', no
	// symbolic link, "." or ".." in it, except that a last component that was
	// not followed may be a link. "" is the root.
	Path string

	// Left are the resolved paths of the directories that the walk went into
	// and left by "..": that Path is there tells that they are, too. A
	// directory in which a symbolic link was followed is not among them.
	Left []string

	fs   FS
	root NodeID
}

// WalkError is a walk's failure and the place where it happened.
type WalkError struct {
	// Path is the resolved path (see Target.Path) of the component that
	// failed, with the rest of the path behind it as it stood. It is empty
	// where a ".." led out of the root.
	Path string
	// Rest is the part of Path behind the component that failed, without the
	// slash before it; empty if that was the last.
	Rest string
	Left []string // see Target.Left
	Err  error
}

func (e *WalkError) Error() string { return e.Err.Error() }

// Unwrap returns the cause, which has the errno.
func (e *WalkError) Unwrap() error { return e.Err }

// Exists tells whether something is there.
func (t *Target) Exists() bool { return t.Entry.Node != 0 }

// Release gives back the references that t holds. It may be called again.
func (t *Target) Release() {
	if t.fs == nil {
		return
	}
	for _, n := range [...]NodeID{t.Parent, t.Entry.Node} {
		if n != 0 && n != t.root {
			t.fs.Forget(n, 1)
		}
	}
	t.fs = nil
}

// Walk resolves path from the directory root, component by component. Leading
// slashes count for nothing; ".." is the parent of the directory that has been
// reached, after symbolic links, and never what the string suggests. Symbolic
// links are resolved here and never by the host. A ".." above root, and an
// absolute symbolic link, answer [ErrEscape].
//
// Where only the last component is missing, Walk succeeds and Entry.Node is 0;
// with [Follow], a dangling last link leads to the place its target names.
//
// The caller must hold a reference to root unless it is RootID, and calls
// Release on a successful result.
//
// Errors are of type *[WalkError]. Errnos: ENOENT, ENOTDIR (a component before
// the last is missing, is no directory; or a trailing slash follows a file),
// ELOOP, ENAMETOOLONG, EINVAL (NUL), and those of Lookup.
func Walk(ctx context.Context, fs FS, root NodeID, path string, flags WalkFlags) (t Target, err error) {
	w := walkers.Get().(*walker)
	w.ctx, w.fs, w.root = ctx, fs, root
	if err = w.walk(path, flags); err == nil {
		t = w.out
		t.fs, t.root = fs, root
	}
	w.leave(0)
	if cap(w.stack) <= keptSteps {
		*w = walker{stack: w.stack}
		walkers.Put(w)
	}
	return t, err
}

// keptSteps is the depth of the deepest walk whose memory is kept for others.
const keptSteps = 64

// walkers are those that no walk uses: what they hold is more than an operation
// should cost the garbage collector.
var walkers = sync.Pool{New: func() any { return &walker{stack: make([]step, 0, 8)} }}

// walker is a walk under way.
type walker struct {
	ctx   context.Context
	fs    FS
	root  NodeID
	links int
	stack []step // directories below root that the walk is in
	out   Target // the result, as far as it is known

	// text is the path that the walk was given. While it is plain, its first done
	// bytes are the path of the directory that the walk is in, with a slash.
	text string
	done int
	bent bool // it is not plain: a link, "." or "..", or a doubled slash was in it
}

// step is a directory on the way and the name it was reached by. The walker
// holds a reference to it.
type step struct {
	node NodeID
	name string
	link bool // a symbolic link in it, or below, was followed
}

func (w *walker) dir() NodeID {
	if n := len(w.stack); n > 0 {
		return w.stack[n-1].node
	}
	return w.root
}

// leave goes out of the directories below the first n of the stack.
func (w *walker) leave(n int) {
	for i := n; i < len(w.stack); i++ {
		w.fs.Forget(w.stack[i].node, 1)
	}
	w.drop(n)
}

// drop has the stack hold n directories; the references to the others are
// somebody else's.
func (w *walker) drop(n int) {
	clear(w.stack[n:])
	w.stack = w.stack[:n]
}

// cut returns the first component of path and what follows its slashes; last
// tells that no component follows.
func cut(path string) (name, rest string, last, slash bool) {
	i := strings.IndexByte(path, '/')
	if i < 0 {
		return path, "", true, false
	}
	name, rest = path[:i], strings.TrimLeft(path[i:], "/")
	return name, rest, rest == "", true
}

// walk makes the result w.out; where it fails, that holds rubbish.
func (w *walker) walk(path string, flags WalkFlags) error {
	path = strings.TrimLeft(path, "/")
	w.text = path
	e := &w.out.Entry
	for path != "" {
		name, rest, last, slash := cut(path)
		path = rest
		switch name {
		case ".":
			w.bent = true
			continue
		case "..":
			w.bent = true
			if len(w.stack) == 0 {
				return &WalkError{Left: w.out.Left, Err: ErrEscape}
			}
			top := len(w.stack) - 1
			if !w.stack[top].link {
				w.out.Left = append(w.out.Left, w.dirPath())
			}
			w.leave(top)
			continue
		}
		if err := CheckName(name); err != nil {
			return w.fail(name, rest, err)
		}
		var err error
		*e, err = w.fs.Lookup(w.ctx, w.dir(), name)
		if err != nil {
			if last && errors.Is(err, syscall.ENOENT) {
				*e = Entry{Volatile: e.Volatile}
				w.target(name, slash)
				return nil
			}
			return w.fail(name, rest, err)
		}
		if e.Attr.IsSymlink() && (!last || slash || flags&Follow != 0) {
			link, err := w.readlink(e.Node)
			if err != nil {
				return w.fail(name, rest, err)
			}
			w.bent = true
			for i := range w.stack {
				w.stack[i].link = true
			}
			if path = link; slash {
				path = link + "/" + rest
			}
			continue
		}
		if last && (!slash || e.Attr.IsDir()) {
			w.target(name, slash)
			return nil
		}
		if !e.Attr.IsDir() {
			w.fs.Forget(e.Node, 1)
			return w.fail(name, rest, syscall.ENOTDIR)
		}
		w.enter(name, rest, e.Node)
	}
	return w.here()
}

// enter goes into the directory node, whose reference the walker takes over.
func (w *walker) enter(name, rest string, node NodeID) {
	w.stack = append(w.stack, step{node: node, name: name})
	if !w.bent {
		end := w.done + len(name) + 1
		w.done = len(w.text) - len(rest)
		w.bent = w.done != end // but for one slash
	}
}

// readlink gives the link's reference back and returns where it leads.
func (w *walker) readlink(node NodeID) (string, error) {
	defer w.fs.Forget(node, 1)
	if w.links++; w.links > MaxSymlinks {
		return "", syscall.ELOOP
	}
	link, err := w.fs.Readlink(w.ctx, node)
	switch {
	case err != nil:
		return "", err
	case link == "":
		return "", syscall.ENOENT
	case link[0] == '/':
		return "", ErrEscape
	}
	return link, nil
}

// path joins the names of the directories that the walk is in, name and rest.
func (w *walker) path(name, rest string) string {
	if len(w.stack) == 0 && rest == "" {
		return name
	}
	if !w.bent && rest == "" {
		return w.text[:w.done+len(name)]
	}
	var b strings.Builder
	for _, s := range w.stack {
		b.WriteString(s.name)
		b.WriteByte('/')
	}
	b.WriteString(name)
	if rest != "" {
		b.WriteByte('/')
		b.WriteString(rest)
	}
	return b.String()
}

// dirPath is the path of the directory that the walk is in.
func (w *walker) dirPath() string { return strings.TrimSuffix(w.path("", ""), "/") }

func (w *walker) fail(name, rest string, err error) error {
	return &WalkError{Path: w.path(name, rest), Rest: rest, Left: w.out.Left, Err: err}
}

// target completes the result for a name in the directory that the walk is in.
// The reference to that directory moves from the stack to the result.
func (w *walker) target(name string, slash bool) {
	w.out.Parent, w.out.Name, w.out.MustBeDir, w.out.Path = w.dir(), name, slash, w.path(name, "")
	if n := len(w.stack); n > 0 {
		w.drop(n - 1)
	}
}

// here completes the result for a path that ends in the directory that the walk
// is in, whose name it did not say.
func (w *walker) here() error {
	w.out.MustBeDir, w.out.Path = true, w.dirPath()
	dir := w.dir()
	a, err := w.fs.GetAttr(w.ctx, dir, nil)
	if err != nil {
		return &WalkError{Path: w.out.Path, Left: w.out.Left, Err: err}
	}
	w.out.Entry = Entry{Node: dir, Attr: a}
	if n := len(w.stack); n > 0 {
		w.drop(n - 1)
	}
	return nil
}
