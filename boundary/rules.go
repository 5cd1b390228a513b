package boundary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// dirSlots is the size of the table of directories, a power of two. One that
// another displaced is examined anew.
const dirSlots = 1 << 12

// rules is what is known while no ignore file changes. When one does, a new
// value takes its place, with nothing known yet.
type rules struct {
	started vfs.Timespec // by the host's clock, less settle

	dirs  [dirSlots]atomic.Pointer[dirState]
	nodes nodeSet      // visible nodes that are no ignore files
	since atomic.Int64 // now when nodes was empty
	known atomic.Int64 // the number of files

	links linkIndex

	mu    sync.Mutex
	files map[string]*ignore.List // lists that were found last, by directory
}

// newRules makes rules at now, for which files is what was known before.
func newRules(now int64, files map[string]*ignore.List) *rules {
	r := &rules{started: vfs.TimespecOf(time.Now().Add(-settle)), files: files}
	r.since.Store(now)
	r.known.Store(int64(len(files)))
	r.links.busy = make(chan struct{}, 1)
	return r
}

func (r *rules) list(path string) *ignore.List {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[path]
}

func (r *rules) found(path string, l *ignore.List) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l == nil {
		delete(r.files, path)
	} else {
		r.files[path] = l
	}
	r.known.Store(int64(len(r.files)))
}

// moved takes note that what was at from is at to now; what was at to is at from
// if they were exchanged.
func (r *rules) moved(from, to string, exchange bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.files) == 0 {
		return
	}
	moved := make(map[string]*ignore.List, len(r.files))
	for path, l := range r.files {
		if rest, ok := below(path, from); ok {
			path = to + rest
		} else if rest, ok := below(path, to); ok && exchange {
			path = from + rest
		}
		moved[path] = l
	}
	r.files = moved
}

// below tells whether path is dir or lies below it, and the rest of it then.
func below(path, dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// lists returns a copy of all that were found.
func (r *rules) lists() map[string]*ignore.List {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.files)
}

// dirState is what is known of a directory. It is immutable but for checked and
// file. With rules nil it is a note of where the directory was seen, to be made
// use of while parent is fresh.
type dirState struct {
	node   vfs.NodeID
	path   string // when it was looked at; later renames make no difference
	name   string
	parent *dirState   // of a note
	above  *ignore.Dir // the parent's rules
	rules  *ignore.Dir
	file   atomic.Pointer[ownFile]

	// checked is the now of the oldest look that the state rests on.
	checked atomic.Int64
}

func (s *dirState) hidden() bool { return s.rules.Hidden() != nil }

// child returns the path of name in s.
func (s *dirState) child(name string) string {
	if s.path == "" {
		return name
	}
	return s.path + "/" + name
}

func (r *rules) dir(node vfs.NodeID) *dirState {
	if s := r.dirs[node%dirSlots].Load(); s != nil && s.node == node {
		return s
	}
	return nil
}

func (r *rules) keep(s *dirState) { r.dirs[s.node%dirSlots].Store(s) }

// note remembers where a directory was seen, for when it is used.
func (r *rules) note(parent *dirState, node vfs.NodeID, name string) {
	if s := r.dir(node); s != nil && s.rules != nil && s.above == parent.rules && s.name == name {
		return
	}
	s := &dirState{node: node, path: parent.child(name), name: name, parent: parent}
	s.checked.Store(parent.checked.Load())
	r.keep(s)
}

// verified tells whether node was found visible, and no ignore file, of late.
func (f *FS) verified(r *rules, node vfs.NodeID) bool {
	since := r.since.Load() // before has: what it tells of is younger
	if !r.nodes.has(node) {
		return false
	}
	now := f.now()
	if f.isFresh(since, now) {
		return true
	}
	if f.deny == nil && r.known.Load() == 0 && since >= f.expired.Load() {
		return true // there is nothing to hide it; what is new is found by its directory
	}
	r.nodes.next()
	r.since.CompareAndSwap(since, now)
	return false
}

// Answers of locate beside errnos.
var (
	errChanged  = errors.New("the rules changed")
	errMoved    = errors.New("the directory moved")
	errNameless = fmt.Errorf("the directory has no name: %w", syscall.ENOENT)
)

// dir returns the state of the directory node. It may be hidden itself.
//
// Errors: errNameless (it was removed), ENOTDIR, ESTALE, those of Lookup.
func (f *FS) dir(ctx context.Context, node vfs.NodeID) (*rules, *dirState, error) {
	for range 16 {
		r := f.rules.Load()
		if s := r.dir(node); s != nil && s.rules != nil && f.isFresh(s.checked.Load(), f.now()) {
			return r, s, nil
		}
		s, err := f.locate(ctx, r, node)
		if err != errChanged {
			return r, s, err
		}
	}
	return nil, nil, syscall.EIO // files that change under every look
}

// locate finds the state of a directory that is not known, or not of late.
func (f *FS) locate(ctx context.Context, r *rules, node vfs.NodeID) (*dirState, error) {
	if s := r.dir(node); s != nil && s.rules == nil && f.isFresh(s.parent.checked.Load(), f.now()) {
		return f.enter(ctx, r, s.parent, node, s.name)
	}
	var s *dirState
	err := f.whileMoving(ctx, func() error {
		path, err := f.FS.Path(ctx, node)
		if errors.Is(err, syscall.ENOENT) {
			err = errNameless
		}
		if err == nil {
			var last vfs.NodeID
			if s, last, err = f.descend(ctx, r, path); err == nil && last != node {
				err = errMoved
			}
		}
		if err != errMoved && err != errNameless {
			return err
		}
		a, aerr := f.FS.GetAttr(ctx, node, nil)
		switch {
		case aerr != nil:
			return aerr
		case !a.IsDir():
			return syscall.ENOTDIR
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// whileMoving calls try until it answers something else than errMoved. Between
// asking for a path and going there, renames through the view can change it,
// again and again. Without one, errMoved means that something else than the
// view has moved the directory, which is ESTALE.
func (f *FS) whileMoving(ctx context.Context, try func() error) error {
	for still := 0; still < 8; {
		ended := f.renamed.Load()
		begun := f.renaming.Load()
		if err := try(); err != errMoved {
			return err
		}
		if ctx.Err() != nil {
			return syscall.EINTR
		}
		if begun == ended && f.renaming.Load() == begun {
			still++
		}
		runtime.Gosched()
	}
	return syscall.ESTALE
}

// descend goes from the root to the directory at path and returns its state and
// node. errMoved: no directory is there. No reference is kept.
func (f *FS) descend(ctx context.Context, r *rules, path string) (*dirState, vfs.NodeID, error) {
	node := vfs.RootID
	leave := func() {
		if node != vfs.RootID {
			f.FS.Forget(node, 1)
		}
	}
	s, err := f.enter(ctx, r, nil, node, "")
	for err == nil && path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		var e vfs.Entry
		e, err = f.FS.Lookup(ctx, node, name)
		leave()
		if err != nil {
			switch vfs.Errno(err) {
			case syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE:
				err = errMoved
			}
			return nil, 0, err
		}
		node = e.Node
		if !e.Attr.IsDir() {
			err = errMoved
			break
		}
		s, err = f.enter(ctx, r, s, node, name)
	}
	leave()
	if err != nil {
		return nil, 0, err
	}
	return s, node, nil
}

// enter returns the state of node, the directory name in parent, whose state is
// fresh; of the root if parent is nil.
//
// Errors: errChanged, if an ignore file is not as it was; f.rules is new then.
func (f *FS) enter(ctx context.Context, r *rules, parent *dirState, node vfs.NodeID, name string) (*dirState, error) {
	now := f.now()
	checked, path := now, ""
	var above *ignore.Dir
	if parent != nil {
		checked, path, above = parent.checked.Load(), parent.child(name), parent.rules
	}
	old := r.dir(node)
	if old != nil && (old.rules == nil || old.above != above || old.name != name) {
		old = nil
	}
	if old != nil && f.isFresh(old.checked.Load(), now) {
		return old, nil
	}
	s := &dirState{node: node, path: path, name: name, above: above}
	s.checked.Store(checked)
	if parent != nil {
		if hidden, _ := above.Match(name, true); hidden {
			s.rules = above.Enter(name, nil) // files in there count for nothing
			r.keep(s)
			return s, nil
		}
	}
	var known *ownFile
	if old != nil {
		known = old.file.Load()
	}
	file, err := f.load(ctx, node, path, known)
	if err != nil {
		return nil, err
	}
	before := r.list(path)
	changed := !file.list.Equal(before) && (before != nil || file.stamp.after(r.started))
	if known != nil {
		changed = !file.list.Equal(known.list)
	}
	if changed {
		f.change(r, path, file.list)
		return nil, errChanged
	}
	if known != nil {
		old.file.Store(file)
		old.checked.Store(checked)
		return old, nil
	}
	f.report(file.err)
	r.found(path, file.list)
	s.file.Store(file)
	if parent == nil {
		s.rules = ignore.NewDir(f.deny, file.list)
	} else {
		s.rules = above.Enter(name, file.list)
	}
	r.keep(s)
	return s, nil
}
