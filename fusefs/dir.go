package fusefs

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// OpenDir is answered ENOSYS: from then on the kernel opens directories without
// asking and keeps listings until they change, so that walking a tree once more
// costs no request at all. A change on this mount it sees itself; others are
// told (notify.go); with a volatile root it compares the time of the last
// change, as it does with files.
//
// So a listing comes without a handle: a node, and the cookie to go on from. One
// that is under way is found again in dirStreams; if it is not, a new handle goes
// on from the cookie, which [vfs.DirHandle] allows.
func (r *rawFS) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.ENOSYS
}

// ReleaseDir is never called: nothing was opened.
func (r *rawFS) ReleaseDir(*fuse.ReleaseIn) {}

// ReadDir lists names.
func (r *rawFS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return r.list(cancel, in, out, func(ctx *request, d vfs.DirHandle) error {
		return d.ReadDir(ctx, in.Offset, func(e vfs.DirEntry) bool {
			return out.AddDirEntry(fuse.DirEntry{Name: e.Name, Ino: e.Ino, Mode: e.Type, Off: e.Off})
		})
	})
}

// ReadDirPlus lists names with what a lookup of each would answer.
func (r *rawFS) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return r.list(cancel, in, out, func(ctx *request, d vfs.DirHandle) error {
		return d.ReadDirPlus(ctx, in.Offset, func(de vfs.DirEntry, e vfs.Entry) bool {
			if e.Node != 0 {
				de.Ino, de.Type = e.Attr.Ino, e.Attr.Mode
			}
			eo := out.AddDirLookupEntry(fuse.DirEntry{Name: de.Name, Ino: de.Ino, Mode: de.Type, Off: de.Off})
			if eo == nil {
				return false
			}
			if e.Node != 0 {
				r.entry(ctx, &e, eo)
			}
			return true
		})
	})
}

func (r *rawFS) list(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList, read func(*request, vfs.DirHandle) error) fuse.Status {
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx, id := r.request(cancel, &in.InHeader), vfs.NodeID(in.NodeId)
	n, _ := r.nodes.find(id)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	n.listingBegins()
	defer n.listingAnswered(in.Pid)
	changes := r.streams.changes.Load() + r.notify.changes.Load()
	l, dropped := r.streams.take(id, in.Pid, in.Offset == 0, changes)
	if dropped != nil {
		r.closeDirs([]vfs.DirHandle{dropped})
	}
	if l.dir == nil {
		d, err := r.fs.OpenDir(ctx, id)
		if err != nil {
			return status(err)
		}
		l = dirStream{node: id, begun: changes, dir: d}
	}
	l.pid, l.used = in.Pid, time.Now()
	err := read(ctx, l.dir)
	if len(out.Bytes()) > 0 {
		// References went out with the entries in the reply, so an error that
		// came behind them must wait: the kernel asks again from there.
		r.closeDirs(r.streams.put(l))
		return fuse.OK
	}
	if err = errors.Join(err, l.dir.Close()); err != nil {
		return status(err)
	}
	if n.listingEnds(r.stillVolatile(ctx, n), in.Pid) {
		r.server.InodeNotify(in.NodeId, 0, 0)
	}
	return fuse.OK
}

// stillVolatile tells whether others may change the directory n without anything
// that shows it. With a volatile root, the kernel compares times itself, but a
// filesystem below may give two changes one after the other the same. Without,
// what could not be watched when it was looked up can be since it was listed.
func (r *rawFS) stillVolatile(ctx *request, n *node) bool {
	if !r.rootVolatile && !n.volatile.Load() {
		return false
	}
	a, err := r.fs.GetAttr(ctx, n.id, nil)
	if r.rootVolatile {
		return err != nil || time.Since(a.Ctime.Time()) < clockTick
	}
	if err == nil {
		n.volatile.Store(a.Volatile)
	}
	return n.volatile.Load()
}

// clockTick is longer than the clock of a filesystem stands still: 10 ms where the
// kernel ticks a hundred times a second.
const clockTick = 20 * time.Millisecond

// FsyncDir makes a directory durable. One that was removed while a process had it
// open has nothing left to be made so.
func (r *rawFS) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	ctx := r.request(cancel, &in.InHeader)
	d, err := r.fs.OpenDir(ctx, vfs.NodeID(in.NodeId))
	switch {
	case err == nil:
	case vfs.Errno(err) == syscall.ESTALE:
		return fuse.OK
	default:
		return status(err)
	}
	return status(errors.Join(d.Sync(ctx), d.Close()))
}

func (r *rawFS) closeDirs(dirs []vfs.DirHandle) {
	for _, d := range dirs {
		if err := d.Close(); err != nil {
			r.opt.Log.Printf("fusefs: closing a directory: %v", err)
		}
	}
}

// streamsMax bounds the listings that are remembered. One that is forgotten goes
// on with a new handle from its cookie.
const streamsMax = 64

// streamIdle is how long a thread's listing may have waited and still be taken
// for the one that it goes on with, rather than one that it gave up: of that only
// the kernel knows.
const streamIdle = time.Second

// dirStream is a listing that was begun and not ended.
type dirStream struct {
	node  vfs.NodeID
	pid   uint32 // the thread that lists
	begun uint64 // what was counted of changes when it began
	used  time.Time
	dir   vfs.DirHandle
}

// dirStreams are the listings under way, the oldest first. There are few, so a
// slice is searched.
type dirStreams struct {
	// changes counts the changes of entries made through this mount.
	changes atomic.Uint64

	n    atomic.Int32 // how many there are
	mu   sync.Mutex
	list []dirStream // protected by mu
}

// take returns the listing of node to go on with from a cookie: that of thread
// pid, which may know things that are gone by now, as it is allowed to, unless
// another's was begun later; or another's in which nothing changed since it began.
// A program may list by one thread after the other, and its listing must not know
// less than when it began; it may always know more. Its dir is nil if there is
// none. For the start of a listing the thread's earlier one is forgotten, and
// returned to be closed.
func (s *dirStreams) take(node vfs.NodeID, pid uint32, start bool, changes uint64) (l dirStream, dropped vfs.DirHandle) {
	if s.n.Load() == 0 {
		return l, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.youngest(func(x *dirStream) bool {
		return x.node == node && x.pid == pid && (start || x.begun == changes || time.Since(x.used) < streamIdle)
	})
	found := own
	if !start {
		if other := s.youngest(func(x *dirStream) bool {
			return x.node == node && (x.begun == changes || own >= 0 && time.Since(x.used) < streamIdle)
		}); own < 0 || s.list[other].begun > s.list[own].begun {
			found = other
		}
	}
	if found < 0 {
		return l, nil
	}
	l = s.list[found]
	s.list = slices.Delete(s.list, found, found+1)
	s.n.Store(int32(len(s.list)))
	if start {
		return dirStream{}, l.dir
	}
	return l, nil
}

// youngest returns which of the listings that f allows was begun last, of several
// the one that was put last, or -1. s.mu is held.
func (s *dirStreams) youngest(f func(*dirStream) bool) int {
	found := -1
	for i := range s.list {
		if x := &s.list[i]; f(x) && (found < 0 || x.begun >= s.list[found].begun) {
			found = i
		}
	}
	return found
}

// put remembers a listing and returns what has to be closed in its place.
func (s *dirStreams) put(l dirStream) (dropped []vfs.DirHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) >= streamsMax {
		dropped = append(dropped, s.list[0].dir)
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.list = append(s.list, l)
	s.n.Store(int32(len(s.list)))
	return dropped
}

// drop forgets the listings of a node, or of all for 0, and returns them to be
// closed.
func (s *dirStreams) drop(node vfs.NodeID) (dropped []vfs.DirHandle) {
	if s.n.Load() == 0 {
		return nil // mostly so: it is asked for each node that is forgotten
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.list[:0]
	for _, l := range s.list {
		if node == 0 || l.node == node {
			dropped = append(dropped, l.dir)
		} else {
			kept = append(kept, l)
		}
	}
	clear(s.list[len(kept):])
	s.list = kept
	s.n.Store(int32(len(kept)))
	return dropped
}
