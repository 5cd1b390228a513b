package hostfs

import (
	"sync"
	"sync/atomic"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

const shardBits = 6

// table has every node that is in use or was recently.
type table struct {
	lastID atomic.Uint64
	shards [1 << shardBits]shard
	ids    [1 << shardBits]idShard
}

// shard has the nodes of some inodes of the host.
type shard struct {
	mu      sync.Mutex
	nodes   map[at.Ident]*node
	idle    node // of a ring: next is the one that became idle last
	idleLen int
	idleMax int
}

// idShard has some nodes by id.
type idShard struct {
	mu    sync.RWMutex
	nodes map[vfs.NodeID]*node
}

func (t *table) init(idle int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.nodes = make(map[at.Ident]*node)
		s.idle.next, s.idle.prev = &s.idle, &s.idle
		s.idleMax = max(idle>>shardBits, 1)
		t.ids[i].nodes = make(map[vfs.NodeID]*node)
	}
}

func (t *table) shardOf(id at.Ident) *shard {
	// Inode numbers made together are neighbours; multiplying spreads them.
	h := (id.Ino ^ id.Dev<<32) * 0x9e3779b97f4a7c15
	return &t.shards[h>>(64-shardBits)]
}

func (t *table) idShardOf(id vfs.NodeID) *idShard { return &t.ids[id&(1<<shardBits-1)] }

// get returns the node with that id, or nil.
func (t *table) get(id vfs.NodeID) *node {
	is := t.idShardOf(id)
	is.mu.RLock()
	defer is.mu.RUnlock()
	return is.nodes[id]
}

// addRoot makes the root's node, which is never idle.
func (t *table) addRoot(id at.Ident, a *vfs.Attr, dir *at.Dir) *node {
	s := t.shardOf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := t.addLocked(s, id, a, vfs.Timespec{})
	n.dir = &directory{at: dir}
	n.holds = 1
	return n
}

// addLocked makes a node. The id minted first is that of the root.
func (t *table) addLocked(s *shard, id at.Ident, a *vfs.Attr, birth vfs.Timespec) *node {
	n := &node{
		id:    vfs.NodeID(t.lastID.Add(1)),
		ident: id,
		birth: birth,
		typ:   a.Type(),
		shard: s,
	}
	s.nodes[id] = n
	return n
}

// publish makes n known by its id. The node is complete by then.
func (t *table) publish(n *node) {
	is := t.idShardOf(n.id)
	is.mu.Lock()
	is.nodes[n.id] = n
	is.mu.Unlock()
}

func (t *table) unpublish(n *node) {
	is := t.idShardOf(n.id)
	is.mu.Lock()
	delete(is.nodes, n.id)
	is.mu.Unlock()
}

// drain empties the table and returns what was in it.
func (t *table) drain() []*node {
	var all []*node
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, n := range s.nodes {
			all = append(all, n)
		}
		clear(s.nodes)
		s.mu.Unlock()
	}
	// Nodes whose inode number was taken by another are known by id alone.
	for i := range t.ids {
		is := &t.ids[i]
		is.mu.Lock()
		for _, n := range is.nodes {
			all = append(all, n)
		}
		clear(is.nodes)
		is.mu.Unlock()
	}
	return all
}

// wakeLocked takes n out of the idle ones.
func (s *shard) wakeLocked(n *node) {
	if n.next != nil {
		n.prev.next, n.next.prev = n.next, n.prev
		n.prev, n.next = nil, nil
		s.idleLen--
	}
}

// settleLocked is called when n may have become idle, and returns a node that is
// to be buried: n itself if it can't be found again, or the one idle longest.
func (s *shard) settleLocked(n *node) *node {
	if !n.idleLocked() || n.dead || n.next != nil {
		return nil
	}
	if len(n.aliases) == 0 || s.nodes[n.ident] != n {
		return s.killLocked(n)
	}
	n.prev, n.next = &s.idle, s.idle.next
	n.prev.next, n.next.prev = n, n
	s.idleLen++
	if s.idleLen > s.idleMax {
		return s.killLocked(s.idle.prev)
	}
	return nil
}

// killLocked takes n out of the shard. The caller then buries it.
func (s *shard) killLocked(n *node) *node {
	s.wakeLocked(n)
	n.dead = true
	if s.nodes[n.ident] == n {
		delete(s.nodes, n.ident)
	}
	return n
}
