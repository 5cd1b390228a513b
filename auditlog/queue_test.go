package auditlog

import "testing"

// Records come out in the order they went in, and a queue that is emptied again
// and again takes no more memory.
func TestQueue(t *testing.T) {
	var q queue
	next := uint64(0)
	fill := func(n int) {
		for range n {
			next++
			q.push(&Record{Seq: next, Path: "p"})
		}
	}
	empty := func(want int) []*block {
		first := next - uint64(want)
		blocks := q.take()
		for _, b := range blocks {
			for i := range b.records[:b.n] {
				first++
				if r := &b.records[i]; r.Seq != first || r.Path != "p" {
					t.Fatalf("record %d in the place of %d", r.Seq, first)
				}
			}
		}
		if first != next || q.n != 0 || len(q.blocks) != 0 {
			t.Fatalf("%d of %d records taken, %d left", first, next, q.n)
		}
		return blocks
	}
	for _, n := range []int{0, 1, blockLen - 1, blockLen, blockLen + 1, keepBlocks*blockLen + 5*blockLen} {
		fill(n)
		if q.n != n {
			t.Fatalf("%d queued, want %d", q.n, n)
		}
		q.reuse(empty(n))
	}
	if len(q.free) != keepBlocks {
		t.Fatalf("%d blocks are kept, want %d", len(q.free), keepBlocks)
	}
	for _, b := range q.free {
		if b.n != 0 || b.records[0].Path != "" {
			t.Fatal("a block that is kept holds records")
		}
	}
	if n := testing.AllocsPerRun(10, func() { fill(keepBlocks * blockLen); q.reuse(empty(keepBlocks * blockLen)) }); n > 10 {
		t.Errorf("%v allocations to queue as many records as room is kept for", n)
	}
}
