package fusefs

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// OpenDir is answered ENOSYS: from then on the kernel opens directories without
// asking and keeps listings until they change, so that walking a tree once more
// costs no request at all. A change on this mount it sees itself; others are
// told (notify.go); with a volatile root it compares the time of the last
// change, as it does with files.
//
// So a listing comes without a handle: a node, and the cookie to go on from.
// Listings that are under way are found again by these in dirStreams.
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
	d := r.streams.take(streamKey{id, in.Offset}, in.Pid)
	if d == nil {
		var err error
		if d, err = r.fs.OpenDir(ctx, id); err != nil {
			return status(err)
		}
	}
	err := read(ctx, d)
	if len(out.Bytes()) > 0 {
		// References went out with the entries in the reply, so an error that
		// came behind them must wait: the kernel asks again from there.
		r.closeDirs(r.streams.put(streamKey{id, out.Offset}, in.Pid, d))
		return fuse.OK
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return status(err)
	}
	if n.listingEnds(r.stillVolatile(ctx, n), in.Pid) {
		r.server.InodeNotify(in.NodeId, 0, 0)
	}
	return fuse.OK
}

// stillVolatile tells whether others may change the directory n without telling.
// What could not be watched when it was looked up can be since it was listed.
func (r *rawFS) stillVolatile(ctx *request, n *node) bool {
	if r.rootVolatile || !n.volatile.Load() {
		return false // with a volatile root, the kernel compares times itself
	}
	if a, err := r.fs.GetAttr(ctx, n.id, nil); err == nil {
		n.volatile.Store(a.Volatile)
	}
	return n.volatile.Load()
}

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

// streamKey is where a listing stands.
type streamKey struct {
	node vfs.NodeID
	off  uint64
}

type dirStream struct {
	key streamKey
	pid uint32
	dir vfs.DirHandle
}

// dirStreams are listings that were begun and not ended, the oldest first. There
// are few, so a slice is searched from its young end.
type dirStreams struct {
	n    atomic.Int32 // how many there are
	mu   sync.Mutex
	list []dirStream // protected by mu
}

// take returns the handle of the listing that stands at key, and nil if there is
// none: that of thread pid, or else the youngest, which a program of several
// threads may have begun on another. A listing from the start is always a new one.
func (s *dirStreams) take(key streamKey, pid uint32) vfs.DirHandle {
	if key.off == 0 || s.n.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := -1
	for i := len(s.list) - 1; i >= 0; i-- {
		if s.list[i].key != key {
			continue
		}
		if found < 0 {
			found = i
		}
		if s.list[i].pid == pid {
			found = i
			break
		}
	}
	if found < 0 {
		return nil
	}
	d := s.list[found].dir
	s.list = append(s.list[:found], s.list[found+1:]...)
	s.n.Store(int32(len(s.list)))
	return d
}

// put remembers a listing and returns what has to be closed in its place.
func (s *dirStreams) put(key streamKey, pid uint32, d vfs.DirHandle) (dropped []vfs.DirHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) >= streamsMax {
		dropped = append(dropped, s.list[0].dir)
		s.list = append(s.list[:0], s.list[1:]...)
	}
	s.list = append(s.list, dirStream{key, pid, d})
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
		if node == 0 || l.key.node == node {
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
