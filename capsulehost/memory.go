package capsulehost

import (
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// memory is a guest's linear memory: address space for all that it may become,
// of which only what it has is accessible. So it grows without being copied,
// never moves, and goes back to the system at the end.
type memory struct {
	limit    uint64 // bytes
	reserved []byte
	size     uint64 // accessible
}

var (
	_ experimental.MemoryAllocator = (*memory)(nil)
	_ experimental.LinearMemory    = (*memory)(nil)
)

// Allocate reserves the address space. Where that fails the memory has no room,
// and the instantiation fails for it.
func (m *memory) Allocate(_, limit uint64) experimental.LinearMemory {
	if m.reserved == nil {
		n := min(limit, m.limit)
		if b, err := unix.Mmap(-1, 0, int(n), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE); err == nil {
			m.reserved = b
		}
	}
	return m
}

// Reallocate makes the first size bytes accessible. It returns nil, which makes
// memory.grow answer -1, if the limit is reached.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.reserved)) {
		return nil
	}
	if size > m.size {
		if unix.Mprotect(m.reserved[m.size:size], unix.PROT_READ|unix.PROT_WRITE) != nil {
			return nil
		}
		m.size = size
	}
	return m.reserved[:size:size]
}

// Free is called when the instance is closed, which may be in the middle of a
// host call that holds a slice of the memory. So it does nothing: release does,
// when the run is over.
func (m *memory) Free() {}

func (m *memory) release() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved) // of a mapping of our own; there is nothing to fail
		m.reserved, m.size = nil, 0
	}
}
