package overlay

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
)

const gateShards = 16

// gate lets changes through, any number at a time, until it is frozen. It is
// split so that changes of different nodes do not share a cache line.
type gate struct {
	shards [gateShards]struct {
		sync.RWMutex
		_ [40]byte // a line of its own
	}
}

// enter takes the shared side for a change of node id; the caller unlocks what
// it returns. An operation enters once: a second time could wait for a freeze
// that waits for the first.
func (g *gate) enter(id vfs.NodeID) *sync.RWMutex {
	m := &g.shards[id%gateShards].RWMutex
	m.RLock()
	return m
}

func (g *gate) lock() {
	for i := range g.shards {
		g.shards[i].Lock()
	}
}

func (g *gate) unlock() {
	for i := range g.shards {
		g.shards[i].Unlock()
	}
}

// moves counts the directories that a commit moves in a lower layer, and the
// files of several names that it takes from the upper one. While one is on its
// way, it and what is in it is not found; who looks for it waits, and looks again.
type moves struct {
	count atomic.Uint64 // odd while a directory moves
	mu    sync.RWMutex  // held exclusively meanwhile; nothing is held by who waits for it
}

// begin is called before a directory moves, by the one commit that there is,
// and what it returns when all that refers to it knows of its new place.
func (m *moves) begin() (end func()) {
	m.mu.Lock()
	m.count.Add(1)
	return func() {
		m.count.Add(1)
		m.mu.Unlock()
	}
}

// between tells whether a directory may have been on its way since count was
// read.
func (m *moves) between(count uint64) bool { return count&1 != 0 || m.count.Load() != count }

// wait waits until no directory is on its way.
func (m *moves) wait() {
	m.mu.RLock()
	//lint:ignore SA2001 whoever moves one holds the lock meanwhile
	m.mu.RUnlock()
}

// steady calls f, which looks at the lower layers and changes nothing, again if
// it did not find what it was to while a directory moved. No lock is held.
func (m *moves) steady(f func() error) error {
	for {
		count := m.count.Load()
		err := f()
		if err == nil || !vanished(err) || !m.between(count) {
			return err
		}
		m.wait()
	}
}

// freeze waits until no change is in flight and keeps new ones waiting until
// thaw is called, once. Lookups and reads go on. Writes that the kernel does by
// a passthrough descriptor do not pass here; see [FS.pinned]. Errnos: EINTR.
func (fs *FS) freeze(ctx context.Context) (thaw func(), err error) {
	locked := make(chan struct{})
	go func() {
		fs.gate.lock()
		close(locked)
	}()
	select {
	case <-locked:
		return fs.gate.unlock, nil
	case <-ctx.Done():
		go func() {
			<-locked
			fs.gate.unlock()
		}()
		return nil, syscall.EINTR
	}
}
