package wasip1

import (
	"sync"
	"sync/atomic"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// kind is what a descriptor stands for.
type kind uint8

const (
	kindStream kind = iota // standard input, output or error
	kindFile               // an open regular file
	kindDir                // a directory of a tree
	kindRoot               // the directory of the preopens
)

// nodeRef is one reference to a node of a tree, shared by the descriptors that
// were opened from one another as ".".
type nodeRef struct {
	fs   vfs.FS
	id   vfs.NodeID
	uses atomic.Int32
}

// newRef takes over a reference that the caller holds. Of a tree's root none is
// held.
func newRef(fs vfs.FS, id vfs.NodeID) *nodeRef {
	n := &nodeRef{fs: fs, id: id}
	n.uses.Store(1)
	return n
}

func (n *nodeRef) share() *nodeRef {
	n.uses.Add(1)
	return n
}

func (n *nodeRef) drop() {
	if n.uses.Add(-1) == 0 && n.id != vfs.RootID {
		n.fs.Forget(n.id, 1)
	}
}

// desc is an open descriptor. It is shared by the table and the calls that use
// it; whoever lets go of it last closes what it holds.
type desc struct {
	// Immutable.
	kind    kind
	scheme  view.Scheme
	node    *nodeRef // of a kindFile and a kindDir
	stream  *stream
	mode    int        // of a kindFile: the access mode of open(2)
	granted vfs.Access // what the gate was asked about when it was opened
	preopen string     // the name it was preopened as, if named
	named   bool

	refs int // of the table and of the calls that use it; guarded by table.mu

	// mu guards what follows, and is held by a call for as long as it uses it:
	// a read or write that moves the position is one step. It is taken without
	// table.mu held.
	mu      sync.Mutex
	base    rights
	inherit rights
	flags   fdflags
	file    vfs.Handle    // of a kindFile
	dir     vfs.DirHandle // of a kindDir, opened by the first call that lists
	pos     int64
}

// close gives back what d holds. Nothing uses d any more.
func (d *desc) close() error {
	var err error
	if d.file != nil {
		err = d.file.Close()
	}
	if d.dir != nil {
		err = d.dir.Close()
	}
	if d.node != nil {
		d.node.drop()
	}
	return err
}

// table is a guest's descriptors by number.
type table struct {
	mu     sync.Mutex
	slots  []*desc
	open   int // slots in use
	free   int // no slot before this one is free
	max    int // immutable
	closed bool
}

// add gives d the lowest free number. Where it fails, d is still the caller's.
func (t *table) add(d *desc) (uint32, Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return 0, EBADF
	case t.open >= t.max:
		return 0, EMFILE
	}
	for t.free < len(t.slots) && t.slots[t.free] != nil {
		t.free++
	}
	if t.free == len(t.slots) {
		t.slots = append(t.slots, nil)
	}
	n := t.free
	t.slots[n] = d
	t.free++
	t.open++
	d.refs++
	return uint32(n), Success
}

// full tells whether add would answer EMFILE now.
func (t *table) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open >= t.max
}

// isStream tells whether a stream stands at fd.
func (t *table) isStream(fd uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.at(fd)
	return d != nil && d.kind == kindStream
}

// at returns what stands at fd, or nil. The caller holds t.mu.
func (t *table) at(fd uint32) *desc {
	if uint64(fd) >= uint64(len(t.slots)) {
		return nil
	}
	return t.slots[fd]
}

// get returns what stands at fd for a call to use, which puts it back.
func (t *table) get(fd uint32) (*desc, Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.at(fd)
	if d == nil {
		return nil, EBADF
	}
	d.refs++
	return d, Success
}

// put ends a call's use of d. The error is that of closing it, if the table
// had let go of it meanwhile; no call is there any more to be told.
func (t *table) put(d *desc) error {
	t.mu.Lock()
	d.refs--
	last := d.refs == 0
	t.mu.Unlock()
	if !last {
		return nil
	}
	return d.close()
}

// take removes what stands at fd and returns it for the caller to put. The
// caller holds t.mu.
func (t *table) take(fd uint32) *desc {
	d := t.at(fd)
	if d != nil {
		t.slots[fd] = nil
		t.open--
		t.free = min(t.free, int(fd))
	}
	return d
}

// remove closes fd, or leaves that to the calls that are using it.
func (t *table) remove(fd uint32) Errno {
	t.mu.Lock()
	d := t.take(fd)
	t.mu.Unlock()
	if d == nil {
		return EBADF
	}
	return errnoOf(t.put(d))
}

// renumber moves from to the number to, which must be in use and is closed.
func (t *table) renumber(from, to uint32) Errno {
	t.mu.Lock()
	if t.at(from) == nil || t.at(to) == nil {
		t.mu.Unlock()
		return EBADF
	}
	if from == to {
		t.mu.Unlock()
		return Success
	}
	old := t.slots[to]
	t.slots[to] = t.take(from)
	t.mu.Unlock()
	// As dup2 has it, an error of closing what stood there is not told: the
	// renumbering is done.
	_ = t.put(old)
	return Success
}

// preopened returns the name that fd was preopened as; EBADF if it was not.
func (t *table) preopened(fd uint32) (string, Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.at(fd)
	if d == nil || !d.named {
		return "", EBADF
	}
	return d.preopen, Success
}

// close removes everything and lets nothing in any more.
func (t *table) close() error {
	t.mu.Lock()
	slots := t.slots
	t.slots, t.open, t.free, t.closed = nil, 0, 0, true
	t.mu.Unlock()
	var first error
	for _, d := range slots {
		if d == nil {
			continue
		}
		if err := t.put(d); err != nil && first == nil {
			first = err
		}
	}
	return first
}
