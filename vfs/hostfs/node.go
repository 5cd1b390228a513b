package hostfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// maxAliases is how many names of one file are remembered.
const maxAliases = 4

// node is an inode of the host as the caller knows it.
type node struct {
	// Immutable.
	id    vfs.NodeID
	ident at.Ident
	birth vfs.Timespec // zero where it tells nothing
	typ   uint32       // file type bits
	dir   *directory   // of a directory
	shard *shard

	// setID says that the file may have a setuid or setgid bit, which a write
	// clears.
	setID atomic.Bool

	// Guarded by shard.mu. A directory's alias changes with FS.tree held as
	// well, once it has been published.
	refs    uint64  // references of callers
	holds   int     // handles, and aliases of nodes that lie in this directory
	aliases []alias // names, the one seen last first
	named   uint64  // names that were added, ever
	pin     *held   // the file itself, if it has no name
	open    []*held // files of its handles
	closed  bool    // another file takes its place: it is not opened any more
	last    *vfs.Attr
	dead    bool // taken out of the table

	// Links of shard.idle while the node is in it.
	prev, next *node
}

// directory is the part of a node that only directories have.
type directory struct {
	at    *at.Dir
	names sync.RWMutex // see the package comment
}

// alias is a name by which a node can be reached.
type alias struct {
	parent *node
	name   string
}

// held is a descriptor that is closed when its last user is done.
type held struct {
	fd   int
	uses atomic.Int32
}

func newHeld(fd int) *held {
	h := &held{fd: fd}
	h.uses.Store(1)
	return h
}

// use adds a user. The caller makes sure that there is one already.
func (h *held) use() *held {
	h.uses.Add(1)
	return h
}

// done ends a use; the last one closes the descriptor and gets its error.
func (h *held) done() error {
	if h.uses.Add(-1) == 0 {
		return unix.Close(h.fd)
	}
	return nil
}

// is tells whether attributes a, found with n's identity, are of n itself and
// not of a later file with the same inode number.
func (n *node) is(a *vfs.Attr) bool {
	return a.Type() == n.typ && (n.birth.IsZero() || n.birth == a.Btime)
}

// matches tells whether what was found on the host is n.
func (n *node) matches(id at.Ident, a *vfs.Attr) bool {
	return n.ident == id && n.is(a)
}

// saw takes note of attributes that n was seen with.
func (n *node) saw(a *vfs.Attr) {
	if n.typ == unix.S_IFREG && hasSetID(a.Mode) && !n.setID.Load() {
		n.setID.Store(true)
	}
}

// hasSetID tells whether a write by an ordinary user changes the mode.
func hasSetID(mode uint32) bool {
	return mode&unix.S_ISUID != 0 || mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP
}

// hasAliasLocked tells whether n is known by that name.
func (n *node) hasAliasLocked(parent *node, name string) bool {
	for i := range n.aliases {
		if n.aliases[i].parent == parent && n.aliases[i].name == name {
			return true
		}
	}
	return false
}

// addAliasLocked puts a name first. The caller has a hold on its parent, which
// the alias takes over; it must give up the hold on the node returned, if any.
func (n *node) addAliasLocked(a alias) (drop *node) {
	if n.hasAliasLocked(a.parent, a.name) {
		return a.parent
	}
	if len(n.aliases) == maxAliases || n.dir != nil && len(n.aliases) == 1 {
		last := len(n.aliases) - 1
		drop = n.aliases[last].parent
		n.aliases = n.aliases[:last]
	}
	n.named++
	n.aliases = append(n.aliases, alias{})
	copy(n.aliases[1:], n.aliases)
	n.aliases[0] = a
	return drop
}

// dropAliasLocked forgets a name and tells whether it was known; the caller must
// then give up the hold on its parent.
func (n *node) dropAliasLocked(parent *node, name string) bool {
	for i := range n.aliases {
		if n.aliases[i].parent == parent && n.aliases[i].name == name {
			n.aliases = append(n.aliases[:i], n.aliases[i+1:]...)
			return true
		}
	}
	return false
}

// idleLocked tells whether nobody needs n.
func (n *node) idleLocked() bool { return n.refs == 0 && n.holds == 0 }

// lastName returns the alias that n was seen by last; false if it has none.
func (n *node) lastName() (alias, bool) {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	if len(n.aliases) == 0 {
		return alias{}, false
	}
	return n.aliases[0], true
}

// names returns a copy of n's aliases.
func (n *node) names() []alias {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	return append([]alias(nil), n.aliases...)
}
