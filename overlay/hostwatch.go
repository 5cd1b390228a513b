package overlay

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// hostWatch learns from the kernel (inotify) what others change in the lower
// directories that the view has looked into, and tells the overlay's own
// watchers. What lies in a watched directory is not volatile, so that caches
// may keep it for long and still show the host's change at once.
//
// It begins with the first watcher: without one nothing is cached. A directory
// is watched before it is read for the first time, so that no change can come
// between; and, while half the watches are left, before its own attributes are
// told, so that they need not be asked for again once it was read. Not covered,
// and therefore left volatile: files with several names,
// of which another may be in a directory that is not watched; directories beyond
// the bound; filesystems that others can change behind this kernel's back. A
// host program's writes through a shared mapping are told by no one before it
// closes the file.
//
// mu is a leaf, but for system calls on the inotify descriptor.
type hostWatch struct {
	active atomic.Bool
	max    int

	mu    sync.Mutex
	file  *os.File
	fd    int
	nodes map[int32]map[vfs.NodeID]bool // by watch descriptor
	wds   map[vfs.NodeID][]int32
	full  bool
	devs  map[uint64]bool // devices, and whether changes on them are told
	done  chan struct{}
}

// States of ldir.watch.
const (
	watchUntried int32 = iota
	watchOn
	watchOff // refused; what is there stays volatile
)

const (
	hostEvents = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB |
		unix.IN_MODIFY | unix.IN_CLOSE_WRITE
	hostEntryEvents = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO

	// maxHostWatches bounds the directories watched; each costs the kernel about
	// a kilobyte.
	maxHostWatches = 1 << 16
)

// Watch implements [vfs.FS].
func (fs *FS) Watch(inv vfs.Invalidator) (stop func()) {
	stop = fs.Watchers.Watch(inv)
	if !fs.opt.LowerStatic {
		fs.host.start(fs)
	}
	return stop
}

// start begins watching, once. Where the kernel has no room for it, everything
// stays volatile.
func (w *hostWatch) start(fs *FS) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != nil || w.full || fs.closed.Load() {
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		w.full = true
		return
	}
	w.max = maxHostWatches
	if data, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			w.max = min(w.max, n/2) // the user has other programs
		}
	}
	w.file, w.fd, w.done = os.NewFile(uintptr(fd), "inotify"), fd, make(chan struct{})
	w.nodes, w.wds, w.devs = make(map[int32]map[vfs.NodeID]bool), make(map[vfs.NodeID][]int32), make(map[uint64]bool)
	w.active.Store(true)
	go w.run(fs)
}

// stop ends watching and waits for what start began.
func (w *hostWatch) stop() {
	w.mu.Lock()
	file := w.file
	w.active.Store(false)
	w.full = true
	w.mu.Unlock()
	if file != nil {
		file.Close()
		<-w.done
	}
}

// watchDir has the lower directories of p watched before they are read. p.d.mu
// is held, shared or not.
func (fs *FS) watchDir(p *node) {
	if !fs.host.active.Load() {
		return
	}
	for _, l := range p.d.lowers {
		if l.watch.Load() == watchUntried {
			l.watch.Store(fs.host.add(l, p.id))
		}
	}
}

// watchEntry has the lower directories of n, an entry of a directory, watched if
// half the watches are left: the rest is for what is looked into. It tells
// whether it began to, so that attributes from before may be outdated.
func (fs *FS) watchEntry(n *node) (began bool) {
	if n.d == nil || !fs.host.active.Load() {
		return false
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, l := range n.d.lowers {
		if l.watch.Load() != watchUntried {
			continue
		}
		if !fs.host.plenty() {
			return began
		}
		l.watch.Store(fs.host.add(l, n.id))
		began = true
	}
	return began
}

// plenty tells whether less than half the watches are in use.
func (w *hostWatch) plenty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.nodes) < w.max/2
}

// watched tells whether changes in all lower directories of d are told. d.mu is
// held, shared or not.
func (d *dirState) watched() bool {
	for _, l := range d.lowers {
		if l.watch.Load() != watchOn {
			return false
		}
	}
	return true
}

func (w *hostWatch) add(l *ldir, id vfs.NodeID) int32 {
	fd, err := l.at.Acquire()
	if err != nil {
		return watchUntried
	}
	defer l.at.Release()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full || len(w.nodes) >= w.max || !w.tellsLocked(fd, l.at.Ident().Dev) {
		return watchOff
	}
	wd, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(fd), hostEvents|unix.IN_ONLYDIR|unix.IN_EXCL_UNLINK)
	if err != nil {
		return watchOff
	}
	ids := w.nodes[int32(wd)]
	if ids == nil {
		ids = make(map[vfs.NodeID]bool)
		w.nodes[int32(wd)] = ids
	}
	if !ids[id] {
		ids[id] = true
		w.wds[id] = append(w.wds[id], int32(wd))
	}
	return watchOn
}

// tellsLocked tells whether all changes on a device pass this kernel. w.mu is
// held.
func (w *hostWatch) tellsLocked(fd int, dev uint64) bool {
	tells, known := w.devs[dev]
	if known {
		return tells
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err == nil {
		switch st.Type {
		case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.F2FS_SUPER_MAGIC,
			unix.OVERLAYFS_SUPER_MAGIC, unix.BCACHEFS_SUPER_MAGIC:
			tells = true
		}
	}
	w.devs[dev] = tells
	return tells
}

// forget ends the watches of a directory that leaves memory.
func (w *hostWatch) forget(id vfs.NodeID) {
	if !w.active.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, wd := range w.wds[id] {
		ids := w.nodes[wd]
		delete(ids, id)
		if len(ids) == 0 {
			delete(w.nodes, wd)
			unix.InotifyRmWatch(w.fd, uint32(wd)) // gone already where the directory is
		}
	}
	delete(w.wds, id)
}

// run passes on what the kernel tells, until stop.
func (w *hostWatch) run(fs *FS) {
	defer close(w.done)
	buf := make([]byte, 64<<10)
	var last hostEvent
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				w.active.Store(false)
				fs.forgetAll()
			}
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			e := hostEvent{wd: int32(binary.NativeEndian.Uint32(b)), mask: binary.NativeEndian.Uint32(b[4:])}
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			if size > len(b) {
				break
			}
			e.name = strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00")
			b = b[size:]
			// A writer's many writes are one change while they lie in the
			// queue together; the last of them is told.
			if e == last && e.mask == unix.IN_MODIFY && len(b) > 0 {
				continue
			}
			last = e
			w.pass(fs, e)
		}
		last = hostEvent{}
	}
}

type hostEvent struct {
	wd   int32
	mask uint32
	name string
}

// pass tells the overlay's watchers of one event.
func (w *hostWatch) pass(fs *FS, e hostEvent) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		fs.forgetAll()
		return
	}
	w.mu.Lock()
	ids := make([]vfs.NodeID, 0, 1)
	for id := range w.nodes[e.wd] {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	ctx := context.Background()
	for _, id := range ids {
		p := fs.nodes.get(id)
		if p == nil {
			continue
		}
		fs.hostChanged(ctx, p, e.mask, e.name)
		fs.put(p)
	}
}

// hostChanged tells of a change of name in a lower directory of p, or of that
// directory itself.
func (fs *FS) hostChanged(ctx context.Context, p *node, mask uint32, name string) {
	if name == "" {
		fs.NodeChanged(ctx, p.id, false)
		return
	}
	child := vfs.NodeID(0)
	if c := p.d.kid(name); c != nil {
		child = c.id
		fs.put(c)
	}
	if mask&hostEntryEvents != 0 {
		fs.EntryChanged(ctx, p.id, name)
		fs.NodeChanged(ctx, p.id, true)
	}
	if child != 0 {
		fs.NodeChanged(ctx, child, mask&^(unix.IN_ATTRIB|unix.IN_ISDIR) != 0)
	}
}

// forgetAll tells of every node in memory, after events were lost.
func (fs *FS) forgetAll() {
	ctx := context.Background()
	fs.nodes.each(fs.put, func(n *node) {
		n.mu.RLock()
		links := append([]link{n.link}, n.links...)
		n.mu.RUnlock()
		for _, l := range links {
			if l.parent != nil {
				fs.EntryChanged(ctx, l.parent.id, l.name)
			}
		}
		fs.NodeChanged(ctx, n.id, true)
	})
}

// nameVolatile tells whether name may come to stand for something else than n in
// p without anybody being told. p.d.mu is held, shared or not.
func (fs *FS) nameVolatile(p, n *node) bool {
	if len(p.d.lowers) == 0 || p.d.watched() {
		return false
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.d != nil {
		return len(n.d.lowers) > 0
	}
	return !n.up
}
