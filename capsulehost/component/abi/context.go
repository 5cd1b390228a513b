package abi

import (
	"context"

	"github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// Memory is a guest's linear memory; an api.Memory is one.
type Memory interface {
	Size() uint32 // bytes
	// Read returns the memory itself, not a copy.
	Read(offset, count uint32) ([]byte, bool)
}

// DefaultBudget is a Context.Budget that serves calls of whole files, in bytes.
const DefaultBudget = 64 << 20

// Context is what values of one call in one direction are converted with. It is
// for one goroutine.
type Context struct {
	Ctx      context.Context
	Encoding binary.Encoding
	// Mem and Realloc are of the canonical options; nil if those lack them.
	// Realloc runs code of the guest, and panics if that traps.
	Mem     Memory
	Realloc func(ctx context.Context, old, oldSize, align, size uint32) uint32
	// ReallocMany does Realloc for a new block of each size, aligned to bytes; it
	// may answer nil, as if it were not there. It may write to sizes.
	ReallocMany func(ctx context.Context, sizes []uint32) []uint32
	// Handles are those of the instance, Resources its resource types by slot.
	Handles   *Table
	Resources []*ResourceType
	// Lend holds the handles that are lent for the call, Borrow counts those that
	// it borrows.
	Lend, Borrow *Scope
	// Copy says that what is lifted stays valid: lists of numbers are copies.
	Copy bool
	// Budget is how many bytes of the host the lifted values may still take.
	Budget int

	buf    []byte
	sizes  []uint32  // for storeTexts
	lists  [2][]byte // lifted lists of numbers, the first ones of a call
	lifted int       // how many of lists are taken
	texts  [2]string // lifted strings, likewise
	texted int
	list   List // the first one that is made in a call
	listed bool // it is taken
}

// refresh looks at the memory anew, after code of the guest has run.
func (cx *Context) refresh() {
	cx.buf = nil
	if cx.Mem != nil {
		cx.buf, _ = cx.Mem.Read(0, cx.Mem.Size())
	}
}

// Release lets go of what the last call lifted, and of the memory.
func (cx *Context) Release() {
	cx.buf, cx.lists, cx.texts = nil, [2][]byte{}, [2]string{}
	if cap(cx.sizes) > 1<<12 {
		cx.sizes = nil
	}
}

// check traps unless size bytes at ptr are in the memory and aligned.
func (cx *Context) check(ptr, size, align uint32) {
	if ptr&(align-1) != 0 {
		guest.Trap("pointer %#x is not aligned to %d bytes", ptr, align)
	}
	if uint64(ptr)+uint64(size) > uint64(len(cx.buf)) {
		guest.Trap("%d bytes at %#x are outside of the guest's memory", size, ptr)
	}
}

// take counts what a value takes in the host.
func (cx *Context) take(n uint64) {
	if n > uint64(max(cx.Budget, 0)) {
		guest.Trap("the values of a call take too much memory")
	}
	cx.Budget -= int(n)
}

// realloc has the guest allocate, or change, a block.
func (cx *Context) realloc(old, oldSize, align, size uint32) uint32 {
	if cx.Realloc == nil {
		guest.Trap("the guest has no realloc for a value that needs it")
	}
	ptr := cx.Realloc(cx.Ctx, old, oldSize, align, size)
	cx.refresh()
	cx.check(ptr, size, align)
	return ptr
}

func (cx *Context) resource(slot int) *ResourceType {
	if slot < 0 || slot >= len(cx.Resources) || cx.Resources[slot] == nil {
		guest.Trap("a handle is of a resource type that there is not yet")
	}
	return cx.Resources[slot]
}
