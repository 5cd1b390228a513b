package boundary

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// linkIndex tells which files with several names are hidden under one of them,
// or are ignore files.
type linkIndex struct {
	busy  chan struct{} // holds a token while the index is being made
	index atomic.Pointer[links]
}

// links is one state of the index. It is immutable.
type links struct {
	inos    map[uint64]class // by inode number; what is ordinary is not in it
	started vfs.Timespec     // of the walk, by the host's clock, less settle
	ended   int64            // as FS.now
	took    time.Duration
}

// The index is made anew for a file that changed after it was made, if that
// takes less than one part in linksShare of the time, and not within linksRest.
const (
	linksShare = 20
	linksRest  = 2 * time.Second
)

func (l *links) outdated(a *vfs.Attr, now int64) bool {
	return stampOf(a).after(l.started) && now-l.ended > int64(max(linksRest, linksShare*l.took))
}

// linked tells whether a file is hidden, or an ignore file, under any of its
// names.
//
// Errors: EINTR.
func (f *FS) linked(ctx context.Context, a *vfs.Attr) (class, error) {
	if a.Nlink <= 1 || a.IsDir() {
		return ordinary, nil
	}
	for range 16 {
		r := f.rules.Load()
		l := r.links.index.Load()
		if l == nil || l.outdated(a, f.now()) {
			var err error
			if l, err = f.findLinks(ctx, r, a); err == errChanged {
				continue
			} else if err != nil {
				return 0, err
			}
		}
		return l.inos[a.Ino], nil
	}
	return 0, syscall.EIO
}

// knowsHidden tells whether an entry is known for a further name of a hidden
// file. Unlike linked, it finds out nothing.
func (r *rules) knowsHidden(de *vfs.DirEntry) bool {
	l := r.links.index.Load()
	return l != nil && len(l.inos) > 0 && de.Type != unix.S_IFDIR && l.inos[de.Ino] == hidden
}

// findLinks makes the index for the first that needs it; others wait.
func (f *FS) findLinks(ctx context.Context, r *rules, a *vfs.Attr) (*links, error) {
	select {
	case r.links.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, syscall.EINTR
	}
	defer func() { <-r.links.busy }()
	old := r.links.index.Load()
	if old != nil && !old.outdated(a, f.now()) {
		return old, nil
	}
	begin := time.Now()
	w := linkWalk{fs: f, rules: r, inos: make(map[uint64]class)}
	s, err := f.enter(ctx, r, nil, vfs.RootID, "")
	if err == nil {
		err = w.dir(ctx, vfs.RootID, "", s.rules)
	}
	if err != nil {
		return nil, err
	}
	l := &links{inos: w.inos, started: vfs.TimespecOf(begin.Add(-settle)), ended: f.now(), took: time.Since(begin)}
	r.links.index.Store(l)
	if old != nil {
		for ino := range l.inos {
			if old.inos[ino] == ordinary {
				r.nodes.next() // one of them may be this file
				break
			}
		}
	}
	return l, nil
}

// linkWalk looks for files with several names in the whole tree.
type linkWalk struct {
	fs    *FS
	rules *rules
	inos  map[uint64]class
}

// found is an entry that a walk has to look at.
type found struct {
	name   string
	hidden bool
}

// dir walks the directory node, whose rules are d. Only errors that end the walk
// are returned: errChanged, EINTR.
func (w *linkWalk) dir(ctx context.Context, node vfs.NodeID, path string, d *ignore.Dir) error {
	if ctx.Err() != nil {
		return syscall.EINTR
	}
	var list []found
	err := w.fs.list(ctx, node, func(de *vfs.DirEntry) {
		v := d.Judge(de.Name)
		hides := v.Hidden(de.Type == unix.S_IFDIR) || de.Type == 0 && v.Hidden(true)
		if hides || de.Type == unix.S_IFDIR || de.Type == 0 || de.Name == ignore.FileName {
			list = append(list, found{de.Name, hides})
		}
	})
	if err != nil {
		return w.fs.skip(path, err)
	}
	for _, x := range list {
		if err := w.entry(ctx, node, path, d, x); err != nil {
			return err
		}
	}
	return nil
}

func (w *linkWalk) entry(ctx context.Context, node vfs.NodeID, path string, d *ignore.Dir, x found) error {
	e, err := w.fs.FS.Lookup(ctx, node, x.name)
	if path != "" {
		path += "/"
	}
	path += x.name
	if err != nil {
		return w.fs.skip(path, err)
	}
	defer w.fs.FS.Forget(e.Node, 1)
	if e.Attr.IsDir() {
		var own *ignore.List
		if !x.hidden {
			file, err := w.fs.load(ctx, e.Node, path, nil)
			if err != nil {
				return w.fs.skip(path, err)
			}
			own = file.list
			w.rules.found(path, own)
		}
		return w.dir(ctx, e.Node, path, d.Enter(x.name, own))
	}
	switch hides, _ := d.Match(x.name, false); {
	case e.Attr.Nlink <= 1:
	case hides:
		w.inos[e.Attr.Ino] = hidden
	case x.name == ignore.FileName && w.inos[e.Attr.Ino] == ordinary:
		w.inos[e.Attr.Ino] = ignoreFile
	}
	return nil
}

// list calls fn for each entry of the directory node but "." and "..".
func (f *FS) list(ctx context.Context, node vfs.NodeID, fn func(*vfs.DirEntry)) error {
	h, err := f.FS.OpenDir(ctx, node)
	if err != nil {
		return err
	}
	err = h.ReadDir(ctx, 0, func(de vfs.DirEntry) bool {
		if de.Name != "." && de.Name != ".." {
			fn(&de)
		}
		return true
	})
	if cerr := h.Close(); err == nil {
		err = cerr
	}
	return err
}

// skip has a walk of the whole tree go on after an error at path: nil, unless
// the walk was interrupted.
func (f *FS) skip(path string, err error) error {
	switch vfs.Errno(err) {
	case syscall.EINTR:
		return err
	case syscall.ENOENT, syscall.ESTALE, syscall.ENOTDIR: // it went meanwhile
		return nil
	}
	f.report(fmt.Errorf("%s: not searched for hard links: %w", path, err))
	return nil
}
