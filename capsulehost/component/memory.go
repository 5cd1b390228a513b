package component

import (
	"errors"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// memories are the linear memories of a run: address space for all that each
// may become, of which only what it has is accessible. So they grow without
// being copied, never move, and go back to the system at the end. What they
// have together is bounded.
type memories struct {
	limit uint64 // bytes, of all together
	used  uint64
	list  []*linear
}

// linear is one of them.
type linear struct {
	of       *memories
	reserved []byte
	size     uint64 // accessible
}

var (
	_ experimental.MemoryAllocator = (*memories)(nil)
	_ experimental.LinearMemory    = (*linear)(nil)
)

// Allocate reserves the address space. Where that fails the memory has no room,
// and the instantiation fails for it.
func (m *memories) Allocate(_, limit uint64) experimental.LinearMemory {
	l := &linear{of: m}
	if n := min(limit, m.limit); n > 0 {
		if b, err := unix.Mmap(-1, 0, int(n), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE); err == nil {
			l.reserved = b
		}
	}
	m.list = append(m.list, l)
	return l
}

// Reallocate makes the first size bytes accessible. It returns nil, which makes
// memory.grow answer -1, if a limit is reached.
func (l *linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l.reserved)) {
		return nil
	}
	if size > l.size {
		more := size - l.size
		if l.of.used+more > l.of.limit || unix.Mprotect(l.reserved[l.size:size], unix.PROT_READ|unix.PROT_WRITE) != nil {
			return nil
		}
		l.of.used += more
		l.size = size
	}
	return l.reserved[:size:size]
}

// Free is called when a core instance is closed, which may be in the middle of a
// host call that holds a slice of the memory. So it does nothing: release does,
// when the run is over.
func (l *linear) Free() {}

func (m *memories) release() error {
	var err error
	for _, l := range m.list {
		if l.reserved != nil {
			err = errors.Join(err, unix.Munmap(l.reserved))
			l.reserved, l.size = nil, 0
		}
	}
	m.list = nil
	return err
}
