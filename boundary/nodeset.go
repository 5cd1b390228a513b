package boundary

import (
	"sync/atomic"

	"github.com/astridfs/astridfs/vfs"
)

// Sizes of a nodeSet: nodeSlots is what the low bits of a node choose from, so
// that a slot has as many bits left for the number of a period.
const (
	slotBits  = 16
	nodeSlots = 1 << slotBits
	periods   = nodeSlots - 1 // 0 is that of an empty slot
)

// nodeSet is a set of nodes that forgets some, where others come to their slots,
// and all at once in next, at no cost for each. Its zero value is empty. It is
// safe for concurrent use.
type nodeSet struct {
	slots  [nodeSlots]atomic.Uint64 // a node's high bits, and the period that it was added in
	period atomic.Uint64            // counts the calls of next
}

func (s *nodeSet) slot(node vfs.NodeID, period uint64) (*atomic.Uint64, uint64) {
	return &s.slots[node%nodeSlots], uint64(node)&^(nodeSlots-1) | (period%periods + 1)
}

// has tells whether node was added since the last next.
func (s *nodeSet) has(node vfs.NodeID) bool {
	slot, want := s.slot(node, s.period.Load())
	return slot.Load() == want
}

func (s *nodeSet) add(node vfs.NodeID) {
	slot, value := s.slot(node, s.period.Load())
	slot.Store(value)
}

// next forgets all nodes. Of several calls at once one may count.
func (s *nodeSet) next() {
	p := s.period.Load()
	if (p+1)%periods == 0 { // numbers come again from here on
		for i := range s.slots {
			s.slots[i].Store(0)
		}
	}
	s.period.CompareAndSwap(p, p+1)
}
