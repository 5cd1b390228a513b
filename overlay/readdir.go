package overlay

import (
	"context"
	"sort"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// dirHandle is an open directory. A directory that comes from one layer is
// streamed. One that is merged is read whole when a listing starts, into names and
// a few bytes for each. See cookies.go for what cookies are.
type dirHandle struct {
	fs *FS
	n  *node

	mu     sync.Mutex // one listing at a time
	fd     int        // of the streamed directory, open for reading; -1
	reader *at.DirReader
	upper  bool     // fd is of the upper layer
	merged *listing // nil while streaming
	ready  bool     // fd or merged is of a listing that has started

	last, lastHost uint64 // cookie of the entry that was streamed last, and the host's
}

var _ vfs.DirHandle = (*dirHandle)(nil)

// OpenDir implements [vfs.FS].
func (fs *FS) OpenDir(ctx context.Context, id vfs.NodeID) (vfs.DirHandle, error) {
	n, err := fs.dirNode(id)
	if err != nil {
		return nil, err
	}
	n.opens.Add(1) // the reference stays with the handle
	return &dirHandle{fs: fs, n: n, fd: -1}, nil
}

// Close implements [vfs.DirHandle].
func (h *dirHandle) Close() error {
	h.mu.Lock()
	h.reset()
	h.mu.Unlock()
	h.n.opens.Add(-1)
	h.fs.put(h.n)
	return nil
}

func (h *dirHandle) reset() {
	if h.reader != nil {
		h.reader.Reset()
	}
	closeFD(h.fd)
	h.fd, h.reader, h.merged, h.ready = -1, nil, nil, false
}

// Sync implements [vfs.DirHandle].
func (h *dirHandle) Sync(ctx context.Context) error {
	h.n.d.mu.RLock()
	up, dead := h.n.d.upper.Load(), h.n.d.dead
	h.n.d.mu.RUnlock()
	if up == nil || dead {
		return nil
	}
	dfd, err := up.Acquire()
	if err != nil {
		return gone(err)
	}
	defer up.Release()
	fd, err := at.Open(dfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(fd)
	return syncFile(fd)
}

// begin is start for a listing of which the host may have removed a lower part
// since the directory was looked up.
func (h *dirHandle) begin(ctx context.Context, off uint64) error {
	start := func(whole bool) error {
		return h.fs.moves.steady(func() error { return h.start(off, whole) })
	}
	err := start(true)
	if !vanished(err) || h.n.d.upper.Load() == nil {
		return err
	}
	h.fs.lookAnew(ctx, h.n)
	return start(false)
}

// start prepares a listing that goes on from the cookie off, or begins. Unless
// it is to be whole, lower directories that are gone do not count.
func (h *dirHandle) start(off uint64, whole bool) error {
	h.reset()
	d := h.n.d
	d.mu.RLock()
	defer d.mu.RUnlock()
	h.fs.watchDir(h.n)
	up := d.upper.Load()
	var err error
	switch {
	case d.dead:
		h.merged = new(listing)
	case isMerged(off):
		h.merged, err = h.fs.mergeLocked(d, whole)
	case len(d.lowers) == 0 && up != nil:
		h.upper = true
		h.fd, err = openForList(up)
	case len(d.lowers) == 1 && up == nil, len(d.lowers) > 0 && off != 0:
		// The second: it was a lower one alone when the listing began.
		h.upper = false
		h.fd, err = openForList(d.lowers[0].at)
	default:
		h.merged, err = h.fs.mergeLocked(d, whole)
	}
	if h.ready = err == nil; h.fd >= 0 {
		h.reader = at.NewDirReader(h.fd)
	}
	return err
}

// ReadDir implements [vfs.DirHandle].
func (h *dirHandle) ReadDir(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.read(ctx, off, func(e vfs.DirEntry, from uint8) bool { return fn(e) })
}

// read lists the entries after off, with the layer that each comes from.
func (h *dirHandle) read(ctx context.Context, off uint64, fn func(vfs.DirEntry, uint8) bool) error {
	if off == 0 || !h.ready || isMerged(off) != (h.merged != nil) {
		if err := h.begin(ctx, off); err != nil {
			return err
		}
	}
	if h.merged != nil {
		return h.readMerged(off, fn)
	}
	return h.stream(off, fn)
}

// dots completes "." and "..", and tells whether e is one of them.
func (h *dirHandle) dots(e *vfs.DirEntry) bool {
	switch e.Name {
	case ".":
		e.Ino = h.n.ino.Load()
	case "..":
		h.n.mu.RLock()
		p := h.n.link.parent
		h.n.mu.RUnlock()
		if p == nil {
			p = h.n
		}
		e.Ino = p.ino.Load()
	default:
		return false
	}
	e.Type = unix.S_IFDIR
	return true
}

// stream lists a directory that came from one layer when the listing began.
func (h *dirHandle) stream(off uint64, fn func(vfs.DirEntry, uint8) bool) error {
	if off == h.last {
		off = h.lastHost
	} else {
		off = toHost(off)
	}
	dev := uint64(0)
	from := uint8(fromUpper)
	xwh := false
	if !h.upper {
		h.n.d.mu.RLock()
		if len(h.n.d.lowers) > 0 {
			dev = h.fs.devs.id(h.n.d.lowers[0].at.Ident().Dev) << devShift
			xwh = h.n.d.lowers[0].xwh
		}
		h.n.d.mu.RUnlock()
		from = 1
	}
	own := h.upper && h.n.d.impure.Load()
	over := -1 // the directory in the upper layer, if it has one by now
	if up := h.n.d.upper.Load(); up != nil && !h.upper {
		fd, err := up.Acquire()
		if err != nil {
			return gone(err)
		}
		defer up.Release()
		over = fd
	}
	return h.reader.Read(off, func(e vfs.DirEntry) bool {
		host := e.Off
		e.Off = ofHost(host)
		if !h.dots(&e) {
			if h.fs.hiddenEntry(h.fd, &e, xwh) {
				return true
			}
			e.Ino ^= dev
			switch {
			case own:
				e.Ino = h.fs.ownIno(h.n, h.fd, e.Name, e.Ino)
			case over >= 0 && h.overtaken(over, &e):
				return true
			}
		}
		if !fn(e, from) {
			return false
		}
		h.last, h.lastHost = e.Off, host
		return true
	})
}

// overtaken brings a lower entry to what the upper directory, open as fd, has
// under its name, and tells whether that hides it.
func (h *dirHandle) overtaken(fd int, e *vfs.DirEntry) bool {
	a, id, err := at.Stat(fd, e.Name)
	if err != nil {
		return false
	}
	if isWhiteout(&a) {
		return true
	}
	e.Type, e.Ino = a.Type(), h.fs.ownIno(h.n, fd, e.Name, h.fs.devs.ino(id))
	return false
}

// readMerged lists the snapshot.
func (h *dirHandle) readMerged(off uint64, fn func(vfs.DirEntry, uint8) bool) error {
	if off != 0 && !isMerged(off) {
		return nil // removed since the listing began
	}
	for i, next := range [...]uint64{dotCookie, dotsCookie} {
		if off >= next {
			continue
		}
		e := vfs.DirEntry{Name: [...]string{".", ".."}[i], Off: next}
		h.dots(&e)
		if !fn(e, fromUpper) {
			return nil
		}
	}
	l := h.merged
	dirfd := -1
	if up := h.n.d.upper.Load(); up != nil && h.n.d.impure.Load() {
		var err error
		if dirfd, err = up.Acquire(); err == nil {
			defer up.Release()
		}
	}
	first := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].off > off })
	for i := first; i < len(l.entries); i++ {
		x := &l.entries[i]
		e := vfs.DirEntry{Name: l.name(x), Ino: x.ino, Type: uint32(x.typ) << 12, Off: x.off}
		if x.from == fromUpper && dirfd >= 0 {
			e.Ino = h.fs.ownIno(h.n, dirfd, e.Name, e.Ino)
		}
		if !fn(e, x.from) {
			return nil
		}
	}
	return nil
}

// ReadDirPlus implements [vfs.DirHandle].
func (h *dirHandle) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.read(ctx, off, func(de vfs.DirEntry, from uint8) bool {
		if de.Name == "." || de.Name == ".." {
			return fn(de, vfs.Entry{})
		}
		e, err := h.lookup(ctx, &de, from)
		if err != nil {
			return fn(de, vfs.Entry{})
		}
		if fn(de, e) {
			return true
		}
		h.fs.Forget(e.Node, 1)
		return false
	})
}

// lookup is Lookup of a listed entry. If nothing changed in the directory since
// it was listed, a lower non-directory is looked for where it was found, and
// not in the layers above again.
func (h *dirHandle) lookup(ctx context.Context, de *vfs.DirEntry, from uint8) (vfs.Entry, error) {
	if e, ok := h.lookupThere(de, from); ok {
		return e, nil
	}
	var e vfs.Entry
	n, err := h.fs.lookupIn(ctx, h.n, de.Name, &e)
	if err != nil {
		return vfs.Entry{}, err
	}
	de.Ino = e.Attr.Ino
	h.fs.hand(n, &e)
	return e, nil
}

func (h *dirHandle) lookupThere(de *vfs.DirEntry, from uint8) (vfs.Entry, bool) {
	p := h.n
	p.d.mu.RLock()
	defer p.d.mu.RUnlock()
	if h.merged != nil && from != fromUpper && from < 255 && de.Type != unix.S_IFDIR && h.merged.version == p.d.version && !p.d.dead {
		if n, a, ok := h.lowerKid(p, de.Name, int(from)-1); ok {
			return h.fs.entry(n, a, h.fs.nameVolatile(p, n)), true
		}
	}
	return vfs.Entry{}, false
}

// lowerKid looks up an unknown entry that is known to come from one lower
// layer. p.d.mu is held.
func (h *dirHandle) lowerKid(p *node, name string, i int) (*node, vfs.Attr, bool) {
	if i >= len(p.d.lowers) {
		return nil, vfs.Attr{}, false
	}
	if c := p.d.kid(name); c != nil {
		h.fs.put(c)
		return nil, vfs.Attr{}, false
	}
	seen := h.merged.evictions // a copy-up since makes what is listed outdated
	l := p.d.lowers[i]
	fd, err := l.at.Acquire()
	if err != nil {
		return nil, vfs.Attr{}, false
	}
	defer l.at.Release()
	a, id, white, err := h.fs.statLower(l, fd, name)
	if err != nil || white || a.IsDir() {
		return nil, vfs.Attr{}, false
	}
	var f found
	if h.fs.foundLower(l, fd, name, a, id, &f) != nil {
		return nil, vfs.Attr{}, false
	}
	n, a, ok := h.fs.adopt(p, name, &f, seen)
	return n, a, ok
}
