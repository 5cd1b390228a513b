package fusefs

import (
	"sync"
	"sync/atomic"

	"github.com/astridfs/astridfs/vfs"
)

// node is what is kept of a node that the kernel knows. It lives as long as the
// kernel holds a reference or an open file.
type node struct {
	id vfs.NodeID

	// Protected by the shard's mutex.
	lookups uint64 // references the kernel holds
	opens   int    // open handles

	// volatile says that others may change the node without telling.
	volatile atomic.Bool

	// modeEpoch counts the changes of the mode. A writer that found no setuid
	// or setgid bit stores the count it began with, plus one, in plainEpoch;
	// while that is modeEpoch+1 there are none.
	modeEpoch  atomic.Uint32
	plainEpoch atomic.Uint32

	// loose says that the file may change without a request, see mapped.go; probe
	// is a descriptor of it, plus one, by which that is found out, or 0. It is
	// used and closed with mu held.
	loose atomic.Bool
	probe atomic.Int32
	slot  int // in probes.nodes, plus one; protected by probes.mu

	// foreign says that someone else changed the contents while the node was
	// open here.
	foreign atomic.Bool

	mu sync.Mutex
	// The following are protected by mu.

	// cached says that the kernel's pages of this node, which an earlier open
	// began to fill, are right; for a volatile node, if its print is still the
	// same.
	cached bool
	print  fingerprint

	listing listing // of a directory

	cachedOpens  int        // files open through the page cache
	backingOpens int        // files open with passthrough
	backing      int32      // the backing id of those
	left         vfs.Handle // the registered file, if its own open is over already
}

// fingerprint tells whether a volatile node is as it was.
type fingerprint struct {
	size         int64
	mtime, ctime vfs.Timespec
}

func printOf(a *vfs.Attr) fingerprint { return fingerprint{a.Size, a.Mtime, a.Ctime} }

const nodeShards = 64

// nodeTable holds the nodes that the kernel knows. Lock order: a shard's mutex
// and a node's mu are never held together.
type nodeTable struct {
	shards [nodeShards]nodeShard
	count  atomic.Int64 // nodes in all shards
	probes probes       // see mapped.go

	// root stands for the root, to which the kernel holds no counted reference.
	root node
}

type nodeShard struct {
	mu    sync.Mutex
	m     map[vfs.NodeID]*node // protected by mu
	count *atomic.Int64        // the table's
	_     [40]byte             // a cache line for each
}

func (t *nodeTable) init() {
	t.root.id = vfs.RootID
	for i := range t.shards {
		t.shards[i].count = &t.count
	}
}

func (t *nodeTable) shard(id vfs.NodeID) *nodeShard { return &t.shards[id%nodeShards] }

// getLocked returns the node, making it if need be. Called with s.mu held.
func (s *nodeShard) getLocked(id vfs.NodeID) *node {
	n := s.m[id]
	if n == nil {
		if s.m == nil {
			s.m = make(map[vfs.NodeID]*node)
		}
		n = &node{id: id}
		s.m[id] = n
		s.count.Add(1)
	}
	return n
}

// dropLocked takes n out of the table if nobody refers to it any more, and then
// answers true: the caller calls dropProbe, without the shard's lock.
func (s *nodeShard) dropLocked(n *node) bool {
	if n.lookups > 0 || n.opens > 0 {
		return false
	}
	if s.m[n.id] == n {
		delete(s.m, n.id)
		s.count.Add(-1)
	}
	return true
}

// ref counts a reference that an answer gives to the kernel, and returns its node.
func (t *nodeTable) ref(id vfs.NodeID, volatile bool) *node {
	s := t.shard(id)
	s.mu.Lock()
	n := s.getLocked(id)
	n.lookups++
	s.mu.Unlock()
	n.volatile.Store(volatile)
	return n
}

// unref takes back up to k references. It tells how many there were to take,
// and whether none is left.
func (t *nodeTable) unref(id vfs.NodeID, k uint64) (taken uint64, last bool) {
	s := t.shard(id)
	s.mu.Lock()
	n := s.m[id]
	if n == nil {
		s.mu.Unlock()
		return 0, false
	}
	k = min(k, n.lookups)
	n.lookups -= k
	last = n.lookups == 0
	dropped := s.dropLocked(n)
	s.mu.Unlock()
	if dropped {
		t.dropProbe(n)
	}
	return k, last
}

// open counts an open file.
func (t *nodeTable) open(id vfs.NodeID) *node {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.getLocked(id)
	n.opens++
	return n
}

// close is the end of what open counted.
func (t *nodeTable) close(n *node) {
	s := t.shard(n.id)
	s.mu.Lock()
	if n.opens--; n.opens == 0 {
		n.foreign.Store(false)
	}
	dropped := s.dropLocked(n)
	s.mu.Unlock()
	if dropped {
		t.dropProbe(n)
	}
}

// find returns the node if the kernel knows it, and whether it is open.
func (t *nodeTable) find(id vfs.NodeID) (n *node, open bool) {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n = s.m[id]; n == nil {
		if id == vfs.RootID {
			return &t.root, false
		}
		return nil, false
	}
	return n, n.opens > 0
}

// known tells whether the kernel holds a reference to the node.
func (t *nodeTable) known(id vfs.NodeID) bool {
	n, _ := t.find(id)
	return n != nil
}

// attributes notes what an answer tells of a node's attributes and returns the
// node, nil if the kernel does not know it.
func (t *nodeTable) attributes(id vfs.NodeID, volatile bool) *node {
	n, _ := t.find(id)
	if n != nil {
		n.volatile.Store(volatile)
	}
	return n
}

// drain empties the table at the end of a mount and calls forget for the
// references that the kernel did not give back.
func (t *nodeTable) drain(forget func(vfs.NodeID, uint64)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		m := s.m
		s.m = nil
		s.count.Add(-int64(len(m)))
		s.mu.Unlock()
		for id, n := range m {
			t.dropProbe(n)
			if n.lookups > 0 {
				forget(id, n.lookups)
			}
		}
	}
}

// idle returns about k nodes that are not open, any of them.
func (t *nodeTable) idle(k int) []uint64 {
	list := make([]uint64, 0, k)
	for i := range t.shards {
		s := &t.shards[i]
		share := (k - len(list)) / (nodeShards - i)
		s.mu.Lock()
		for id, n := range s.m {
			if share <= 0 {
				break
			}
			if n.opens == 0 && id != vfs.RootID {
				list = append(list, uint64(id))
				share--
			}
		}
		s.mu.Unlock()
	}
	return list
}
