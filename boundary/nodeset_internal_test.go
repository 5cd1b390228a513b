package boundary

import (
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

// A node is in the set until the next period or until another takes its slot,
// also when the numbers of the periods come again.
func TestNodeSet(t *testing.T) {
	var s nodeSet
	nodes := []vfs.NodeID{1, 2, nodeSlots - 1, nodeSlots, 1<<63 + 5}
	for p := range 3 * periods {
		for i, node := range nodes {
			if s.has(node) || s.has(0) {
				t.Fatalf("period %d: node %d is there from before", p, node)
			}
			if p%(i+1) == 0 { // some in every period, some in one of a few
				if s.add(node); !s.has(node) {
					t.Fatalf("period %d: node %d is not there", p, node)
				}
			}
		}
		s.next()
	}
	s.add(1)
	if s.add(1 + nodeSlots); s.has(1) || !s.has(1+nodeSlots) {
		t.Error("two nodes of one slot")
	}
}
