package overlay

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Options of [Open].
type Options struct {
	// Lower are the read-only layers, the topmost first; at least one. They are
	// never written to, except by a commit.
	Lower []string

	// Upper is the directory that takes all changes, Work an empty directory of
	// the same filesystem for objects in the making. Work belongs to the
	// overlay alone. Both must exist.
	Upper, Work string

	// State is the directory for the record of what lower entries looked like
	// before they changed, which a commit compares with. Empty: none is kept.
	State string

	// UserXattr has the marks written in the "user." namespace also by a
	// privileged process, which would take "trusted.".
	UserXattr bool

	// LowerStatic promises that nobody else changes the lower layers while the
	// overlay is open, so that nothing of it need be called volatile.
	LowerStatic bool

	// DirFDs bounds the cached directory descriptors, and as many again for
	// files that are used without having a name; IdleNodes the nodes kept in
	// memory without a reference. Zero takes the defaults, 512 and 16384.
	DirFDs, IdleNodes int

	step   func(string) // told of the points where a crash is tested
	looked func()       // told of each entry that a walk of the layers looks at
}

// Errors that [Open] may wrap, each with the directory and the cause.
var (
	ErrNoLower     = errors.New("no lower directory given")
	ErrNotDir      = errors.New("not an existing directory")
	ErrOverlap     = errors.New("directories overlap")
	ErrOtherDevice = errors.New("the work directory is not on the upper directory's filesystem")
	ErrNoXattr     = errors.New("the filesystem has no extended attributes for the overlay's marks")
	ErrNoWhiteout  = errors.New("the filesystem cannot hold whiteouts (character device 0:0)")
	ErrNoRename    = errors.New("the filesystem cannot exchange and whiteout on rename")
	ErrInUse       = errors.New("the work directory is in use by another overlay")
	ErrForeignWork = errors.New("the work directory holds files that are not an overlay's")
)

// FS is an overlay as a [vfs.FS]. The package comment has its model, its
// format on disk and its lock order.
type FS struct {
	vfs.Watchers
	ly    layers
	opt   Options
	gate  gate
	nodes table
	root  *node
	base  baseRecorder
	log   *baseLog // base, if a state directory is given

	host    hostWatch
	renames sync.Mutex    // held by every rename of a directory
	renamed atomic.Uint64 // counts renames of directories, which it grows under, and removals of renamed ones

	changing sync.Mutex // held by a commit or discard; before every other lock
	moves    moves
	temps    atomic.Pointer[string] // what the names begin with that a commit under way makes in the workspace for a moment
	copies   flights
	devs     devices
	white    whiteouts
	parking  *at.Dir      // Work/work
	orphans  atomic.Int64 // descriptors of nodes without a name
	modes    sync.Mutex   // of an ordinary user's process, see openAnyway
	hard     hardLinks
	inos     reservedInos
	nextTmp  atomic.Uint64
	seed     maphash.Seed // of nameCookie
	workFD   int
	closed   atomic.Bool
}

var _ vfs.FS = (*FS)(nil)

// Open opens an overlay, clearing away what a crash left in the work
// directory. It changes nothing in the upper directory and the lower ones.
func Open(ctx context.Context, opt Options) (_ *FS, err error) {
	if len(opt.Lower) == 0 {
		return nil, ErrNoLower
	}
	if opt.DirFDs == 0 {
		opt.DirFDs = 512
	}
	if opt.IdleNodes == 0 {
		opt.IdleNodes = 16384
	}
	fs := &FS{opt: opt, workFD: -1, seed: maphash.MakeSeed()}
	fs.ly.dirs = at.NewCache(opt.DirFDs)
	fs.nodes.init(opt.IdleNodes)
	fs.copies.init()
	defer func() {
		if err != nil {
			fs.Close()
		}
	}()
	if err := fs.openLayers(); err != nil {
		return nil, err
	}
	if err := fs.openWork(); err != nil {
		return nil, err
	}
	fs.devs.init(fs.ly.upper.Ident().Dev)
	for _, l := range fs.ly.lowers {
		fs.devs.id(l.at.Ident().Dev)
	}
	if err := fs.openState(); err != nil {
		return nil, err
	}
	if err := fs.openRoot(); err != nil {
		return nil, err
	}
	return fs, nil
}

// Close releases the overlay. No operation may be under way, and no handle open.
func (fs *FS) Close() error {
	if fs.closed.Swap(true) {
		return nil
	}
	fs.host.stop()
	var err error
	if fs.log != nil {
		err = fs.log.close()
	}
	fs.nodes.each(func(*node) {}, func(n *node) {
		n.mu.Lock()
		fs.dropOrphanLocked(n)
		n.mu.Unlock()
	})
	fs.hard.drop()
	if fs.parking != nil {
		fs.parking.Drop()
	}
	fs.ly.drop()
	closeFD(fs.workFD)
	return err
}

// openDir opens a layer's directory.
func (fs *FS) openDir(path string) (*at.Dir, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrNotDir, err)
	}
	d, err := fs.ly.dirs.Root(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// openLayers opens the directories and makes sure that none holds another.
func (fs *FS) openLayers() (err error) {
	type named struct {
		path string
		dir  *at.Dir
	}
	var all []named
	open := func(path string) (*at.Dir, error) {
		d, err := fs.openDir(path)
		if err == nil {
			all = append(all, named{path, d})
		}
		return d, err
	}
	if fs.ly.upper, err = open(fs.opt.Upper); err != nil {
		return err
	}
	work, err := open(fs.opt.Work)
	if err != nil {
		return err
	}
	defer work.Drop()
	for i, path := range fs.opt.Lower {
		d, err := open(path)
		if err != nil {
			return err
		}
		fs.ly.lowers = append(fs.ly.lowers, &ldir{at: d, layer: i})
	}
	for i, a := range all {
		above, err := ancestors(a.path)
		if err != nil {
			return err
		}
		for j, b := range all {
			if i != j && above[b.dir.Ident()] {
				return fmt.Errorf("%s lies in %s: %w", a.path, b.path, ErrOverlap)
			}
		}
	}
	if work.Ident().Dev != fs.ly.upper.Ident().Dev {
		return fmt.Errorf("%s, %s: %w", fs.opt.Work, fs.opt.Upper, ErrOtherDevice)
	}
	fs.workFD, err = unix.Open(fs.opt.Work, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", fs.opt.Work, err)
	}
	if err := unix.Flock(fs.workFD, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s: %w: %w", fs.opt.Work, ErrInUse, err)
	}
	return nil
}

// openState opens the record of what lower entries looked like.
func (fs *FS) openState() error {
	fs.base = noBase{}
	if fs.opt.State == "" {
		return nil
	}
	fd, err := unix.Open(fs.opt.State, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", fs.opt.State, ErrNotDir, err)
	}
	defer unix.Close(fd)
	bottom := len(fs.ly.lowers) - 1
	if fs.log, err = openBase(fd, bottom, fs.ly.lowers[bottom].at.Ident()); err != nil {
		return fmt.Errorf("%s: %w", fs.opt.State, err)
	}
	fs.base = fs.log
	return fs.recoverCommit()
}

// ancestors returns path's directory and all above it.
func ancestors(path string) (map[at.Ident]bool, error) {
	path, err := filepath.EvalSymlinks(path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, err
	}
	set := make(map[at.Ident]bool)
	for {
		_, id, err := at.Stat(unix.AT_FDCWD, path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		set[id] = true
		up := filepath.Dir(path)
		if up == path {
			return set, nil
		}
		path = up
	}
}

// openRoot makes the root's node.
func (fs *FS) openRoot() error {
	ufd, err := fs.ly.upper.Acquire()
	if err != nil {
		return err
	}
	defer fs.ly.upper.Release()
	up := fs.ly.upper.Ident()
	for _, l := range fs.ly.lowers {
		fd, err := l.at.Acquire()
		if err != nil {
			return err
		}
		v, _, err := fs.ly.opaqueValue(fd, "")
		l.at.Release()
		if err != nil {
			return err
		}
		l.xwh = v == "x"
	}
	n := &node{typ: unix.S_IFDIR, d: new(dirState), up: true, orphan: -1, spare: -1, real: up}
	n.d.upper.Store(fs.ly.upper)
	n.d.lowers = fs.ly.lowers
	impure, err := fs.ly.impure(ufd, "")
	if err != nil {
		return err
	}
	n.d.impure.Store(impure)
	// The root shows the number of the topmost lower root, as any copied-up
	// directory does.
	n.ino.Store(fs.devs.ino(fs.ly.lowers[0].at.Ident()))
	fs.nodes.add(n)
	fs.root = n
	return nil
}

// node returns the node with a reference for one operation. ESTALE.
func (fs *FS) node(id vfs.NodeID) (*node, error) {
	n := fs.nodes.get(id)
	if n == nil {
		return nil, syscall.ESTALE
	}
	if n.lookups.Load() == 0 && n.opens.Load() == 0 && id != vfs.RootID {
		fs.put(n)
		return nil, syscall.ESTALE // nobody may know it
	}
	return n, nil
}

// dirNode is node for a directory. ENOTDIR.
func (fs *FS) dirNode(id vfs.NodeID) (*node, error) {
	n, err := fs.node(id)
	if err == nil && n.d == nil {
		fs.put(n)
		return nil, syscall.ENOTDIR
	}
	return n, err
}

// Forget implements [vfs.FS].
func (fs *FS) Forget(id vfs.NodeID, count uint64) {
	if id == vfs.RootID || count == 0 {
		return
	}
	n := fs.nodes.get(id)
	if n == nil {
		return
	}
	for {
		have := n.lookups.Load()
		take := min(have, count)
		if !n.lookups.CompareAndSwap(have, have-take) {
			continue
		}
		n.refs.Add(-int64(take)) // not the last: this call holds one
		break
	}
	fs.put(n)
}

// entry makes the answer of an operation for n, of which the caller of the
// operation gets a reference: the one that this function is given.
func (fs *FS) entry(n *node, a vfs.Attr, volatile bool) vfs.Entry {
	e := vfs.Entry{Attr: a, Volatile: volatile}
	fs.hand(n, &e)
	return e
}

// hand completes e as entry does, whose attributes and Volatile are set.
func (fs *FS) hand(n *node, e *vfs.Entry) {
	n.lookups.Add(1)
	e.Node = n.id
	if fs.opt.LowerStatic {
		e.Attr.Volatile, e.Volatile = false, false
	}
}

// step marks a point between two states on disk.
func (fs *FS) step(name string) {
	if fs.opt.step != nil {
		fs.opt.step(name)
	}
}

func (fs *FS) looked() {
	if fs.opt.looked != nil {
		fs.opt.looked()
	}
}

// devices gives each device of the layers a small number that keeps its inode
// numbers apart from the others': 0 for the upper's own. Inode numbers are thus
// the host's where all layers are on one device.
type devices struct {
	mu  sync.RWMutex
	ids map[uint64]uint64
}

const devShift = 56 // no filesystem of Linux numbers its inodes as high

func (d *devices) init(upper uint64) { d.ids = map[uint64]uint64{upper: 0} }

func (d *devices) id(dev uint64) uint64 {
	d.mu.RLock()
	id, ok := d.ids[dev]
	d.mu.RUnlock()
	if ok {
		return id
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if id, ok = d.ids[dev]; !ok {
		id = uint64(len(d.ids))
		d.ids[dev] = id
	}
	return id
}

// ino returns the number that the view shows for an inode of the host.
func (d *devices) ino(id at.Ident) uint64 { return id.Ino ^ d.id(id.Dev)<<devShift }
