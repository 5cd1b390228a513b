package overlay

import (
	"context"
	"sync"
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
