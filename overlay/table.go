package overlay

import (
	"sync"
	"sync/atomic"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

const tableShards = 64

// table holds the nodes in memory: by id, and those that may have several
// names by their real inode. Nodes that nothing refers to stay, up to a bound,
// and the ones not used for longest are the first to go.
type table struct {
	last    atomic.Uint64 // id minted last
	maxIdle int           // in one shard
	shards  [tableShards]shard
	linked  [tableShards]linkShard
}

type shard struct {
	mu    sync.RWMutex
	nodes map[vfs.NodeID]*node
	idle  []*node // queue of nodes that were without references once
}

type linkShard struct {
	mu    sync.Mutex
	nodes map[at.Ident]*node
}

func (t *table) init(maxIdle int) {
	t.last.Store(uint64(vfs.RootID) - 1)
	t.maxIdle = max(maxIdle/tableShards, 1)
	for i := range t.shards {
		t.shards[i].nodes = make(map[vfs.NodeID]*node)
		t.linked[i].nodes = make(map[at.Ident]*node)
	}
}

func (t *table) shard(id vfs.NodeID) *shard { return &t.shards[id%tableShards] }

func (t *table) linkShard(id at.Ident) *linkShard {
	return &t.linked[(id.Ino^id.Dev)%tableShards]
}

// add gives n its id, and the caller a reference.
func (t *table) add(n *node) {
	n.id = vfs.NodeID(t.last.Add(1))
	n.refs.Store(1)
	s := t.shard(n.id)
	s.mu.Lock()
	s.nodes[n.id] = n
	s.mu.Unlock()
}

// get returns the node with a reference, or nil.
func (t *table) get(id vfs.NodeID) *node {
	s := t.shard(id)
	s.mu.RLock()
	n := s.nodes[id]
	s.mu.RUnlock()
	if n == nil || !n.tryRef() {
		return nil
	}
	return n
}

// byIdent returns the node registered for a real inode with a reference.
func (t *table) byIdent(id at.Ident) *node {
	s := t.linkShard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[id]; n != nil && n.tryRef() {
		return n
	}
	return nil
}

// registerIdent has byIdent find n, unless another live node is registered,
// which it then returns with a reference.
func (t *table) registerIdent(id at.Ident, n *node) *node {
	s := t.linkShard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.nodes[id]; o != nil && o != n && o.tryRef() {
		return o
	}
	s.nodes[id] = n
	return nil
}

// setIdent has byIdent find n.
func (t *table) setIdent(id at.Ident, n *node) {
	s := t.linkShard(id)
	s.mu.Lock()
	s.nodes[id] = n
	s.mu.Unlock()
}

func (t *table) unregisterIdent(id at.Ident, n *node) {
	s := t.linkShard(id)
	s.mu.Lock()
	if s.nodes[id] == n {
		delete(s.nodes, id)
	}
	s.mu.Unlock()
}

// each calls f for every node in memory, with a reference that it gives back by
// put.
func (t *table) each(put func(*node), f func(*node)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		list := make([]*node, 0, len(s.nodes))
		for _, n := range s.nodes {
			if n.tryRef() {
				list = append(list, n)
			}
		}
		s.mu.RUnlock()
		for _, n := range list {
			f(n)
			put(n)
		}
	}
}

// put gives back a reference.
func (fs *FS) put(n *node) {
	for n != nil && n.refs.Add(-1) == 0 {
		n = fs.idle(n)
	}
}

// idle deals with a node that lost its last reference: one without a name goes
// at once, any other is queued. It returns a node whose reference the caller
// has to give back next, or nil.
func (fs *FS) idle(n *node) *node {
	n.mu.RLock()
	nameless := n.link.parent == nil && n.id != vfs.RootID
	n.mu.RUnlock()
	if nameless {
		return fs.evict(n)
	}
	if !n.queued.CompareAndSwap(false, true) {
		return nil
	}
	s := fs.nodes.shard(n.id)
	s.mu.Lock()
	s.idle = append(s.idle, n)
	victim := fs.nodes.victimLocked(s)
	s.mu.Unlock()
	if victim == nil {
		return nil
	}
	return fs.evict(victim)
}

// victimLocked takes a node without references out of a queue that is too
// long. One that was used since gets a second chance.
func (t *table) victimLocked(s *shard) *node {
	for tries := 2 * len(s.idle); len(s.idle) > t.maxIdle && tries > 0; tries-- {
		n := s.idle[0]
		s.idle = s.idle[1:]
		switch {
		case n.refs.Load() < 0:
		case n.refs.Load() > 0:
			n.queued.Store(false)
			// It may have become idle before queued was false; then nobody
			// else puts it back.
			if n.refs.Load() == 0 && n.queued.CompareAndSwap(false, true) {
				s.idle = append(s.idle, n)
			}
		case n.used.Swap(false):
			s.idle = append(s.idle, n)
		default:
			return n
		}
	}
	return nil
}

// evict drops a node that has no references. It returns a parent to put; the
// parents of further names are put here.
func (fs *FS) evict(n *node) *node {
	if n.id == vfs.RootID || !n.refs.CompareAndSwap(0, evicted) {
		n.queued.Store(false)
		return nil
	}
	s := fs.nodes.shard(n.id)
	s.mu.Lock()
	delete(s.nodes, n.id)
	s.mu.Unlock()
	// Nobody else reaches n from here on, but for its entries in maps.
	n.mu.Lock()
	first, more, real := n.link, n.links, n.real
	n.link, n.links = link{}, nil
	fs.dropOrphanLocked(n)
	nameless := n.nameless
	n.mu.Unlock()
	if nameless && n.d == nil {
		fs.inos.release(fs, n.ino.Load())
	}
	if n.d == nil {
		fs.nodes.unregisterIdent(real, n)
	} else {
		fs.host.forget(n.id)
	}
	if first.parent != nil {
		first.parent.d.evictKid(first.name, n)
	}
	for _, l := range more {
		l.parent.d.evictKid(l.name, n)
		fs.put(l.parent)
	}
	return first.parent
}

// forgetKid drops the entry if it is n.
func (d *dirState) forgetKid(name string, n *node) {
	d.kmu.Lock()
	if d.kids[name] == n {
		delete(d.kids, name)
	}
	d.kmu.Unlock()
}

// evictKid drops the entry if it is n, which goes out of memory.
func (d *dirState) evictKid(name string, n *node) {
	d.kmu.Lock()
	if d.kids[name] == n {
		d.dropKidLocked(name, n)
	}
	d.kmu.Unlock()
}

// dropKidLocked drops the entry, which is n. d.kmu is held.
func (d *dirState) dropKidLocked(name string, n *node) {
	delete(d.kids, name)
	if n.changed.Load() {
		d.evictions++
	}
}

// changes returns the count of entries that went out of memory after a change
// on disk that needs no more than the shared side of d.mu. A search on disk and
// the making of a node of its result, all under that shared side, belong
// together only if the count stays the same.
func (d *dirState) changes() uint64 {
	d.kmu.Lock()
	defer d.kmu.Unlock()
	return d.evictions
}
