package boundary

import (
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// change replaces r, because the ignore file of the directory at path is list
// now, and has watchers told. It does nothing if r was replaced before.
func (f *FS) change(r *rules, path string, list *ignore.List) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rules.Load() != r {
		return
	}
	before := r.lists()
	next := newRules(f.now(), r.lists())
	next.found(path, list)
	f.rules.Store(next)
	if f.isClosed || f.watching.Load() == 0 {
		return
	}
	f.tellers.Add(1)
	go func() {
		defer f.tellers.Done()
		f.telling.Lock()
		defer f.telling.Unlock()
		// Nobody waits for the answer. It is an error only once f is closed.
		if err := f.tell(f.ctx, before, path, false); f.ctx.Err() == nil {
			f.report(err)
		}
	}()
}

// Reload reads all ignore files again and, before it returns, tells watchers of
// every entry that came to be hidden or visible. It costs a walk of the visible
// tree.
//
// Errnos: EINTR; those of reading the root.
func (f *FS) Reload(ctx context.Context) error {
	f.mu.Lock()
	before := f.rules.Load().lists()
	f.rules.Store(newRules(f.now(), make(map[string]*ignore.List)))
	f.mu.Unlock()
	f.telling.Lock()
	defer f.telling.Unlock()
	return f.tell(ctx, before, "", true)
}

// Stale tells whether an ignore file that was in use has changed. It costs a
// lookup for each of them, and does not find new ones.
//
// Errnos: EINTR; those of Lookup.
func (f *FS) Stale(ctx context.Context) (bool, error) {
	r := f.rules.Load()
	lists := r.lists()
	if lists[""] == nil {
		lists[""] = nil
	}
	for path, list := range lists {
		var d *ignore.List
		err := f.walkTo(ctx, path, func(node vfs.NodeID) error {
			file, err := f.load(ctx, node, path, nil)
			if err == nil {
				d = file.list
			}
			return err
		})
		switch vfs.Errno(err) {
		case 0:
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE:
			d = nil
		default:
			return false, err
		}
		if !list.Equal(d) {
			return true, nil
		}
	}
	return false, nil
}

// walkTo calls fn with the directory at path.
func (f *FS) walkTo(ctx context.Context, path string, fn func(vfs.NodeID) error) error {
	if path == "" {
		return fn(vfs.RootID)
	}
	t, err := vfs.Walk(ctx, f.FS, vfs.RootID, path, 0)
	if err != nil {
		return err
	}
	defer t.Release()
	if !t.Entry.Attr.IsDir() {
		return syscall.ENOTDIR
	}
	return fn(t.Entry.Node)
}

// teller compares what was hidden with what is, and tells watchers.
type teller struct {
	fs     *FS
	before map[string]*ignore.List // ignore files as they were
	all    bool                    // any file may have changed
}

// tell tells watchers what became of the entries at and below the directory at
// path. before is the ignore files as they were; with all set, any may have
// changed, and not that of the directory alone.
func (f *FS) tell(ctx context.Context, before map[string]*ignore.List, path string, all bool) error {
	t := teller{f, before, all}
	own, err := f.load(ctx, vfs.RootID, "", nil)
	if err != nil {
		return err
	}
	was, is := ignore.NewDir(f.deny, before[""]), ignore.NewDir(f.deny, own.list)
	return t.down(ctx, vfs.RootID, "", path, was, is)
}

// down goes from the directory node at path to the one at rest below it, and
// compares from there.
func (t *teller) down(ctx context.Context, node vfs.NodeID, path, rest string, was, is *ignore.Dir) error {
	if rest == "" {
		return t.compare(ctx, node, path, was, is)
	}
	name, rest, _ := strings.Cut(rest, "/")
	return t.enter(ctx, node, path, name, was, is, func(child vfs.NodeID, path string, was, is *ignore.Dir) error {
		return t.down(ctx, child, path, rest, was, is)
	})
}

// enter calls fn for the directory name in node.
func (t *teller) enter(ctx context.Context, node vfs.NodeID, path, name string, was, is *ignore.Dir,
	fn func(child vfs.NodeID, path string, was, is *ignore.Dir) error) error {
	e, err := t.fs.FS.Lookup(ctx, node, name)
	if err != nil {
		return t.fs.gone(err)
	}
	defer t.fs.FS.Forget(e.Node, 1)
	if !e.Attr.IsDir() {
		return nil
	}
	if path != "" {
		path += "/"
	}
	path += name
	own, err := t.fs.load(ctx, e.Node, path, nil)
	if err != nil {
		return t.fs.gone(err)
	}
	t.fs.rules.Load().found(path, own.list)
	return fn(e.Node, path, was.Enter(name, t.before[path]), is.Enter(name, own.list))
}

// compare tells of the entries of the directory node, and of all below.
func (t *teller) compare(ctx context.Context, node vfs.NodeID, path string, was, is *ignore.Dir) error {
	if ctx.Err() != nil {
		return syscall.EINTR
	}
	var other, dirs []string
	err := t.fs.list(ctx, node, func(de *vfs.DirEntry) {
		v, w := was.Judge(de.Name), is.Judge(de.Name)
		if v.Hidden(true) != w.Hidden(true) || v.Hidden(false) != w.Hidden(false) {
			other = append(other, de.Name)
		}
		if (de.Type == unix.S_IFDIR || de.Type == 0) && !(v.Hidden(true) && w.Hidden(true)) {
			dirs = append(dirs, de.Name)
		}
	})
	if err != nil {
		return t.fs.gone(err)
	}
	for _, name := range other {
		t.fs.watch.EntryChanged(ctx, node, name)
		e, err := t.fs.FS.Lookup(ctx, node, name)
		if err != nil {
			continue
		}
		t.fs.watch.NodeChanged(ctx, e.Node, true)
		t.fs.FS.Forget(e.Node, 1)
	}
	if len(other) > 0 {
		t.fs.watch.NodeChanged(ctx, node, true)
	}
	for _, name := range dirs {
		if err := t.enter(ctx, node, path, name, was, is, func(child vfs.NodeID, path string, was, is *ignore.Dir) error {
			if !t.all && was.Same(is) {
				return nil
			}
			return t.compare(ctx, child, path, was, is)
		}); err != nil {
			return err
		}
	}
	return nil
}

// gone is the error of a directory that cannot be compared: nil if it went
// meanwhile, or can't be read, so that nothing was listed of it.
func (f *FS) gone(err error) error {
	if vfs.Errno(err) == syscall.EINTR {
		return err
	}
	return nil
}
