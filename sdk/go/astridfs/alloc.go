//go:build wasip1

package astridfs

import "unsafe"

// block is memory that the host asked for and that nobody has taken yet. The
// list keeps it reachable. It is a list and not a map because the host asks in
// the middle of a call, when another goroutine may be about to change the map.
type block struct {
	next, prev *block
	data       []byte
}

// pending is the ring of blocks, the oldest behind it.
var pending = newRing()

func newRing() *block {
	b := &block{}
	b.next, b.prev = b, b
	return b
}

func (b *block) remove() {
	b.prev.next, b.next.prev = b.next, b.prev
	b.next, b.prev = nil, nil
}

func find(ptr uint32) *block {
	for b := pending.next; b != pending; b = b.next {
		if address(b.data) == ptr {
			return b
		}
	}
	return nil
}

func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// realloc is the allocator of the canonical ABI: the host calls it for each
// string and list that it returns.
//
//go:wasmexport cabi_realloc
func realloc(old, oldSize, _, size uint32) uint32 {
	// Words are aligned for every type of the interface; a byte more gives
	// each block an address of its own, also those of no bytes.
	words := make([]uint64, size/8+1)
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size+1)[:size]
	if b := find(old); oldSize > 0 && b != nil {
		copy(data, b.data)
		b.remove()
	}
	b := &block{data: data}
	b.prev, b.next = pending.prev, pending
	b.prev.next, pending.prev = b, b
	return address(data)
}

// take returns what the host stored in a block, which is Go's alone from then
// on.
func take(ptr, n uint32) []byte {
	b := find(ptr)
	if b == nil {
		return nil
	}
	b.remove()
	return b.data[:n]
}

// Alloc returns memory for the host to fill and where that is; see [Take]. It
// is for bindings of other interfaces, and for results of exported functions,
// which have to stay in place until the host has read them.
func Alloc(n uint32) (ptr uint32, data []byte) {
	ptr = realloc(0, 0, 8, n)
	return ptr, find(ptr).data
}

// Take returns n bytes that the host allocated at ptr, or that Alloc did, and
// leaves them to the garbage collector. It returns nil for anything else.
func Take(ptr, n uint32) []byte { return take(ptr, n) }
