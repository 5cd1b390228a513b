package overlay

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// node is an inode of the view.
type node struct {
	id  vfs.NodeID // immutable
	typ uint32     // immutable: file type bits
	d   *dirState  // immutable: nil unless it is a directory

	refs    atomic.Int64  // lookups, handles, entries below, operations; evicted once negative
	lookups atomic.Uint64 // references that callers hold
	opens   atomic.Int32  // handles
	writers atomic.Int32  // handles open for writing
	pins    atomic.Int32  // handles whose descriptor the kernel uses directly
	queued  atomic.Bool   // in its shard's queue of idle nodes
	used    atomic.Bool   // since it was last looked at there
	changed atomic.Bool   // copied up, linked, or marked on disk, since it came into memory
	ino     atomic.Uint64 // st_ino shown; changed by a refresh alone
	suid    atomic.Bool   // setuid or setgid was seen on the regular file

	// mu guards what follows. Data is read and written under its shared side;
	// whatever puts another real file behind the node takes it exclusively.
	mu       sync.RWMutex
	up       bool   // the real object is in the upper layer
	nameless bool   // its last name is gone
	stale    bool   // the host replaced what was behind it
	tmp      bool   // from Tmpfile, and never had a name
	gen      uint32 // grows when handles must open the real file anew
	nlAdj    int32  // st_nlink shown less the real inode's
	orphan   int    // descriptor of a real object without a name; -1 without
	spare    int    // descriptor for handles that were open at the last growth of gen; -1 without
	real     at.Ident

	// Where the real object of a non-directory is, unless it is an orphan.
	dir  *at.Dir
	name string
	low  *ldir  // with the object in a lower layer: its directory, dir being low.at
	idx  string // its name in the index directory; "" if it is not indexed

	link  link   // first name in the view; zero without
	links []link // further ones
}

// link is a name of a node in the view. It holds a reference to parent.
type link struct {
	parent  *node
	name    string
	inUpper bool // an entry of the upper directory, not only of a lower one
}

// dirState is what a directory has beyond other nodes.
type dirState struct {
	// upper is the directory in the upper layer, nil before its copy-up. It is
	// set once, and cleared only by a refresh, which excludes all changes.
	upper atomic.Pointer[at.Dir]

	// mu guards the namespace: lookups and listings share it, a change of an
	// entry takes it exclusively. It guards the fields below; lowers, which
	// also tells what the attributes are, changes under node.mu as well.
	mu       sync.RWMutex
	lowers   []*ldir // what is merged below upper, the topmost first
	opaque   bool    // upper is marked so
	dead     bool    // removed: empty for ever
	version  uint64  // counts changes of entries
	redirect string  // upper's redirect as a path from the root; guarded by FS.renames as well

	impure atomic.Bool // upper is marked so

	// kmu guards what follows.
	kmu       sync.Mutex
	kids      map[string]*node // known entries
	evictions uint64           // see changes
}

// evicted is what refs is set to when a node leaves the table.
const evicted = -1 << 40

// tryRef takes a reference unless the node is being evicted.
func (n *node) tryRef() bool {
	for {
		r := n.refs.Load()
		if r < 0 {
			return false
		}
		if n.refs.CompareAndSwap(r, r+1) {
			if !n.used.Load() {
				n.used.Store(true)
			}
			return true
		}
	}
}

// ref takes a further reference; the caller holds one already.
func (n *node) ref() { n.refs.Add(1) }

// isDir tells whether n is a directory.
func (n *node) isDir() bool { return n.d != nil }

// exclusive and shared are the two sides of a node's lock, for lockNodes.
func exclusive(n *node) sync.Locker { return &n.mu }
func shared(n *node) sync.Locker    { return n.mu.RLocker() }

// lockNodes takes that side of the locks of two nodes, which may be one, in the
// order of ids, so that two that wait for a third cannot wait for each other. b
// may be nil.
func lockNodes(a, b *node, side func(*node) sync.Locker) (unlock func()) {
	if b == nil || a == b {
		l := side(a)
		l.Lock()
		return l.Unlock
	}
	if a.id > b.id {
		a, b = b, a
	}
	la, lb := side(a), side(b)
	la.Lock()
	lb.Lock()
	return func() {
		lb.Unlock()
		la.Unlock()
	}
}

// kid returns the known entry name with a reference, or nil.
func (d *dirState) kid(name string) *node {
	d.kmu.Lock()
	defer d.kmu.Unlock()
	if c := d.kids[name]; c != nil && c.tryRef() {
		return c
	}
	return nil
}

// known returns all known entries by name, with a reference to each.
func (d *dirState) known() map[string]*node {
	d.kmu.Lock()
	defer d.kmu.Unlock()
	kids := make(map[string]*node, len(d.kids))
	for name, c := range d.kids {
		if c.tryRef() {
			kids[name] = c
		}
	}
	return kids
}

// setKidLocked enters n as name. d.kmu is held.
func (d *dirState) setKidLocked(name string, n *node) {
	if d.kids == nil {
		d.kids = make(map[string]*node)
	}
	d.kids[name] = n
}

// addLinkLocked records a name of n; n.mu is held exclusively and the caller
// gives a reference to parent away.
func (n *node) addLinkLocked(l link) {
	if n.link.parent == nil {
		n.link = l
		return
	}
	n.links = append(n.links, l)
}

// dropLinkLocked forgets the name of n and tells whether it was one.
func (n *node) dropLinkLocked(parent *node, name string) bool {
	if n.link.parent == parent && n.link.name == name {
		n.link = link{}
		if k := len(n.links); k > 0 {
			n.link = n.links[k-1]
			n.links = n.links[:k-1]
		}
		return true
	}
	for i := range n.links {
		if n.links[i].parent == parent && n.links[i].name == name {
			n.links = append(n.links[:i], n.links[i+1:]...)
			return true
		}
	}
	return false
}

// findLinkLocked returns the record of a name of n, or nil.
func (n *node) findLinkLocked(parent *node, name string) *link {
	if n.link.parent == parent && n.link.name == name {
		return &n.link
	}
	for i := range n.links {
		if n.links[i].parent == parent && n.links[i].name == name {
			return &n.links[i]
		}
	}
	return nil
}

// spot is a real object as the *at calls take it. release ends its use.
type spot struct {
	fd   int
	name string // "" for fd itself
	dir  *at.Dir
}

func (s spot) release() {
	if s.dir != nil {
		s.dir.Release()
	}
}

// spotLocked returns where the real object of n is; n.mu is held, shared or not.
func (n *node) spotLocked() (spot, error) {
	if n.orphan >= 0 {
		return spot{fd: n.orphan}, nil
	}
	dir, name := n.dir, n.name
	if n.d != nil {
		name = ""
		if dir = n.d.upper.Load(); dir == nil {
			if len(n.d.lowers) == 0 {
				return spot{}, syscall.ESTALE
			}
			dir = n.d.lowers[0].at
		}
	}
	if dir == nil {
		return spot{}, syscall.ESTALE
	}
	fd, err := dir.Acquire()
	if err != nil {
		return spot{}, gone(err)
	}
	return spot{fd: fd, name: name, dir: dir}, nil
}

// gone turns an errno that says that a known object is not where it was into
// ESTALE.
func gone(err error) error {
	switch err {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP:
		return syscall.ESTALE
	}
	return err
}

// statLocked returns the attributes of n as the view shows them; n.mu is held,
// shared or not. It is ESTALE if something else is there now.
func (n *node) statLocked() (a vfs.Attr, err error) {
	err = n.statInto(&a)
	return a, err
}

// statInto is statLocked that sets *a, to rubbish if it fails.
func (n *node) statInto(a *vfs.Attr) error {
	s, err := n.spotLocked()
	if err != nil {
		return err
	}
	id, err := at.StatInto(s.fd, s.name, a)
	s.release()
	if err != nil {
		return gone(err)
	}
	if id != n.real || a.Type() != n.typ {
		return syscall.ESTALE
	}
	if n.d != nil && a.Nlink == 0 && !n.nameless {
		return syscall.ESTALE // the host removed it
	}
	n.showLocked(a)
	return nil
}

// statNamed is statInto that asks by name for a lower directory, too: what the
// name stands for now, and not what an open descriptor says. It costs one system
// call where few directories can be kept open.
func (n *node) statNamed(a *vfs.Attr) error {
	if n.d == nil || n.d.upper.Load() != nil || len(n.d.lowers) == 0 || n.d.lowers[0].up == nil {
		return n.statInto(a)
	}
	l := n.d.lowers[0]
	fd, err := l.up.at.Acquire()
	if err != nil {
		return gone(err)
	}
	id, err := at.StatInto(fd, l.name, a)
	l.up.at.Release()
	if err != nil {
		return gone(err)
	}
	if id != n.real || !a.IsDir() {
		return syscall.ESTALE
	}
	n.showLocked(a)
	return nil
}

// showLocked turns the attributes of the real object into those of the view.
func (n *node) showLocked(a *vfs.Attr) {
	a.Ino = n.ino.Load()
	switch {
	case n.nameless:
		a.Nlink = 0
		a.Volatile = !n.up
	case n.d != nil:
		if n.d.mergedLocked() {
			a.Nlink = 1 // as the kernel: not counted across layers
		}
		a.Volatile = len(n.d.lowers) > 0 && !n.d.watched()
	default:
		if n.typ == unix.S_IFREG {
			if suid := a.Mode&(unix.S_ISUID|unix.S_ISGID) != 0; suid != n.suid.Load() {
				n.suid.Store(suid)
			}
		}
		a.Volatile = !n.up && (n.low == nil || a.Nlink > 1 || n.low.watch.Load() != watchOn)
		a.Nlink = uint32(max(int64(a.Nlink)+int64(n.nlAdj), 0))
	}
}

// mergedLocked tells whether a listing comes from more than one directory.
func (d *dirState) mergedLocked() bool {
	k := len(d.lowers)
	if d.upper.Load() != nil {
		k++
	}
	return k > 1
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
