// Package guest gives host functions access to a guest's memory and allocator
// by the rules of the Component Model's canonical ABI: every pointer and length
// is checked, and a bad one is a [Fault], which traps the guest.
package guest

import (
	"context"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"
)

// Fault is what a guest did wrong in a call of the host. A host function panics
// with a *Fault, which the runtime turns into a trap of that guest alone.
type Fault struct{ Reason string }

func (f *Fault) Error() string { return f.Reason }

// MaxNested is how deep calls of the host may be within each other, by way of code
// of the guest that they run: an allocator, a destructor. Each level takes stack
// of the host, of which a process has only so much, and may take the whole stack
// that a guest can have, some 100 MB.
const MaxNested = 16

// Nest adds one to *depth, which is how many calls are within each other, and
// traps if those are too many. The caller takes it away again, also where it
// traps.
func Nest(depth *int) {
	if *depth++; *depth > MaxNested {
		Trap("more than %d calls of the host within each other", MaxNested)
	}
}

// Trap ends the call that is under way with a Fault.
func Trap(format string, args ...any) {
	panic(&Fault{Reason: fmt.Sprintf(format, args...)})
}

// Memory is a guest's linear memory and the function of the guest that
// allocates in it. It belongs to one guest and is not for several goroutines.
type Memory struct {
	mem     api.Memory
	mod     api.Module
	name    string // of the allocator's export
	realloc api.Function
	busy    bool // realloc is running, so that a call within it needs another
	stack   [4]uint64
	batch   *Batch // nil: none
	batcher *batcher
}

// Bind returns the memory that mod exports as "memory" and its allocator
// "cabi_realloc", which may be missing until something is allocated. It traps
// if there is no memory. batch may be nil. The caller closes it.
func Bind(mod api.Module, batch *Batch) *Memory {
	mem := mod.ExportedMemory("memory")
	if mem == nil {
		Trap("the guest exports no memory")
	}
	return &Memory{mem: mem, mod: mod, name: "cabi_realloc", batch: batch}
}

// Bytes returns n bytes at ptr: the guest's own memory, valid until code of the
// guest runs again. It traps if they do not lie in the memory.
func (m *Memory) Bytes(ptr, n uint32) []byte {
	p, ok := m.mem.Read(ptr, n)
	if !ok {
		Trap("%d bytes at %#x are outside of the guest's memory", n, ptr)
	}
	return p
}

// String returns a copy of n bytes at ptr, whatever they are; it traps as
// Bytes.
func (m *Memory) String(ptr, n uint32) string { return string(m.Bytes(ptr, n)) }

// Text is String for what has to be UTF-8; it traps if it is not.
func (m *Memory) Text(ptr, n uint32) string {
	s := m.String(ptr, n)
	if !utf8.ValidString(s) {
		Trap("%d bytes at %#x are not UTF-8", n, ptr)
	}
	return s
}

// Record returns the size bytes at ptr as Bytes does; it traps as well if ptr
// is not a multiple of align.
func (m *Memory) Record(ptr, size, align uint32) []byte {
	if ptr&(align-1) != 0 {
		Trap("pointer %#x is not aligned to %d bytes", ptr, align)
	}
	return m.Bytes(ptr, size)
}

// Realloc has the guest allocate n bytes, or make the block of oldSize bytes at
// old that long. It runs code of the guest: every slice of its memory is
// invalid after. It traps if the guest cannot, or answers a bad pointer.
func (m *Memory) Realloc(ctx context.Context, old, oldSize, align, n uint32) uint32 {
	fn := m.allocator()
	// A guest's allocator may call the host, which may allocate again, and one
	// api.Function must not be entered twice.
	nested := m.busy
	if nested {
		fn = m.mod.ExportedFunction(m.name)
	}
	stack := &m.stack
	if nested {
		stack = new([4]uint64)
	}
	*stack = [4]uint64{uint64(old), uint64(oldSize), uint64(align), uint64(n)}
	m.busy = true
	err := fn.CallWithStack(ctx, stack[:])
	m.busy = nested
	if err != nil {
		panic(err) // the guest's own trap, or its end
	}
	ptr := api.DecodeU32(stack[0])
	m.Record(ptr, n, align)
	return ptr
}

func (m *Memory) allocator() api.Function {
	if m.realloc != nil {
		return m.realloc
	}
	fn := m.mod.ExportedFunction(m.name)
	if fn == nil {
		Trap("the guest exports no %s", m.name)
	}
	def := fn.Definition()
	if !Signature(def, "iiii", "i") {
		Trap("the guest's %s has the wrong type", m.name)
	}
	m.realloc = fn
	return fn
}

// Signature tells whether a function has these parameters and results, one
// letter each: i is i32, I is i64.
func Signature(def api.FunctionDefinition, params, results string) bool {
	return letters(def.ParamTypes()) == params && letters(def.ResultTypes()) == results
}

// Types is the inverse of what Signature compares.
func Types(s string) []api.ValueType {
	types := make([]api.ValueType, len(s))
	for i := range types {
		types[i] = api.ValueTypeI32
		if s[i] == 'I' {
			types[i] = api.ValueTypeI64
		}
	}
	return types
}

func letters(types []api.ValueType) string {
	b := make([]byte, len(types))
	for i, t := range types {
		switch t {
		case api.ValueTypeI32:
			b[i] = 'i'
		case api.ValueTypeI64:
			b[i] = 'I'
		default:
			b[i] = '?'
		}
	}
	return string(b)
}

// PutString stores s where the guest allocates it, and its pointer and length
// at the 8 bytes at. It runs code of the guest.
func (m *Memory) PutString(ctx context.Context, at uint32, s string) {
	ptr := m.Realloc(ctx, 0, 0, 1, uint32(len(s)))
	copy(m.Bytes(ptr, uint32(len(s))), s)
	m.PutPair(at, ptr, uint32(len(s)))
}

// Store puts a copy of b where the guest allocates it. It runs code of the
// guest.
func (m *Memory) Store(ctx context.Context, b []byte) (ptr, n uint32) {
	n = uint32(len(b))
	ptr = m.Realloc(ctx, 0, 0, 1, n)
	copy(m.Bytes(ptr, n), b)
	return ptr, n
}

// PutPair stores a pointer and a length at the 8 bytes at.
func (m *Memory) PutPair(at, ptr, n uint32) {
	p := m.Bytes(at, 8)
	binary.LittleEndian.PutUint32(p, ptr)
	binary.LittleEndian.PutUint32(p[4:], n)
}

// Pair reads a pointer and a length from the 8 bytes at.
func (m *Memory) Pair(at uint32) (ptr, n uint32) {
	p := m.Bytes(at, 8)
	return binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])
}

// List is a list<u8> that a result goes into, in memory that the guest
// allocates: a fsapi.Buffer. The zero value is one without memory.
type List struct {
	ctx  context.Context
	mem  *Memory
	made bool
	ptr  uint32
	n    uint32
}

// NewList returns a list in m; ctx is that of the host call.
func (m *Memory) NewList(ctx context.Context) *List { return &List{ctx: ctx, mem: m} }

// Resize makes the list n bytes long and keeps what it held. It runs code of
// the guest.
func (l *List) Resize(n int) ([]byte, error) {
	if !l.made || uint32(n) != l.n {
		l.ptr = l.mem.Realloc(l.ctx, l.ptr, l.n, 1, uint32(n))
		l.n, l.made = uint32(n), true
	}
	return l.mem.Bytes(l.ptr, l.n), nil
}

// Pair returns where the list is and its length.
func (l *List) Pair() (ptr, n uint32) { return l.ptr, l.n }
