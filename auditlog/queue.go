package auditlog

// blockLen is how many records a block has room for, keepBlocks how many blocks
// are kept for the next records.
const (
	blockLen   = 128
	keepBlocks = 32
)

// block is a piece of a queue.
type block struct {
	n       int
	records [blockLen]Record
}

// queue holds records in the order of their Seq. It is made of blocks, so that
// it grows without what is in it being copied, and it uses their memory again.
type queue struct {
	n      int // records
	blocks []*block
	free   []*block
}

// push puts r behind what is queued.
func (q *queue) push(r *Record) {
	last := len(q.blocks) - 1
	if last < 0 || q.blocks[last].n == blockLen {
		q.blocks = append(q.blocks, q.room())
		last++
	}
	b := q.blocks[last]
	b.records[b.n] = *r
	b.n++
	q.n++
}

// room returns an empty block.
func (q *queue) room() *block {
	k := len(q.free) - 1
	if k < 0 {
		return new(block)
	}
	b := q.free[k]
	q.free = q.free[:k]
	return b
}

// take returns what is queued, which is empty then.
func (q *queue) take() []*block {
	blocks := q.blocks
	q.blocks, q.n = nil, 0
	return blocks
}

// reuse gives back blocks that were taken and written.
func (q *queue) reuse(blocks []*block) {
	for _, b := range blocks {
		if len(q.free) == keepBlocks {
			return
		}
		clear(b.records[:b.n]) // lets go of the paths
		b.n = 0
		q.free = append(q.free, b)
	}
}
