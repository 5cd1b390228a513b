package guest

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Batch makes many allocations of a guest at the cost of one call into it: a
// call from the host costs about ten times what one between modules does, and
// every string of a list is an allocation of its own. It is a small module that
// imports the guest's allocator and calls it in a loop. A Batch serves any
// number of guests of its runtime.
type Batch struct {
	rt  wazero.Runtime
	mod wazero.CompiledModule
}

// BatchMin is from how many allocations on a batch pays for its instantiation;
// BatchMax is how many sizes its one page of memory holds.
const (
	BatchMin = 32
	BatchMax = 65536 / 4
)

// NewBatch compiles the module for guests of rt, whose closing frees it.
func NewBatch(ctx context.Context, rt wazero.Runtime) (*Batch, error) {
	mod, err := rt.CompileModule(ctx, BatchModule("cabi_realloc"))
	if err != nil {
		return nil, err
	}
	return &Batch{rt: rt, mod: mod}, nil
}

// BatchModule returns the module of a batch for an allocator of this name. It is,
// in the text format:
//
//	(module
//	  (import "guest" "NAME" (func $realloc (param i32 i32 i32 i32) (result i32)))
//	  (memory (export "memory") 1 1)
//	  (func (export "many") (param $end i32) (local $at i32)
//	    (block (loop
//	      (br_if 1 (i32.ge_u (local.get $at) (local.get $end)))
//	      (i32.store (local.get $at)
//	        (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.load (local.get $at))))
//	      (local.set $at (i32.add (local.get $at) (i32.const 4)))
//	      (br 0)))))
//
// It replaces each size in its memory by the address of an allocation.
func BatchModule(name string) []byte {
	length := func(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }
	section := func(id byte, body string) string { return string([]byte{id}) + length(body) }
	code := "\x01\x01\x7f" + // one local
		"\x02\x40\x03\x40" + // block, loop
		"\x20\x01\x20\x00\x4f\x0d\x01" + // br_if 1 at >= end
		"\x20\x01" + // at, for the store
		"\x41\x00\x41\x00\x41\x01\x20\x01\x28\x02\x00\x10\x00" + // call realloc
		"\x36\x02\x00" + // store
		"\x20\x01\x41\x04\x6a\x21\x01" + // at += 4
		"\x0c\x00\x0b\x0b\x0b" // br 0, ends
	return []byte("\x00asm\x01\x00\x00\x00" +
		section(1, "\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x01\x7f\x00") +
		section(2, "\x01\x05guest"+length(name)+"\x00\x00") +
		section(3, "\x01\x01") +
		section(5, "\x01\x01\x01\x01") +
		section(7, "\x02\x06memory\x02\x00\x04many\x00\x01") +
		section(10, "\x01"+string([]byte{byte(len(code))})+code))
}

// batcher is the module's instance for one guest.
type batcher struct {
	mod  api.Module
	mem  api.Memory
	many api.Function
}

// start makes the instance for the guest mod.
func (b *Batch) start(ctx context.Context, mod api.Module) *batcher {
	ctx = experimental.WithImportResolver(ctx, func(name string) api.Module {
		if name == "guest" {
			return mod
		}
		return nil
	})
	in, err := b.rt.InstantiateModule(ctx, b.mod, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		panic(err)
	}
	return &batcher{mod: in, mem: in.ExportedMemory("memory"), many: in.ExportedFunction("many")}
}

// ReallocMany has the guest allocate a block of each size, aligned to bytes. It
// runs code of the guest, and traps, as Realloc does.
func (m *Memory) ReallocMany(ctx context.Context, sizes []uint32) []uint32 {
	ptrs := make([]uint32, 0, len(sizes))
	if m.batch == nil || len(sizes) < BatchMin || m.busy {
		for _, n := range sizes {
			ptrs = append(ptrs, m.Realloc(ctx, 0, 0, 1, n))
		}
		return ptrs
	}
	m.allocator() // it is there, and has its type
	if m.batcher == nil {
		m.batcher = m.batch.start(ctx, m.mod)
	}
	for len(ptrs) < len(sizes) {
		part := sizes[len(ptrs):min(len(ptrs)+BatchMax, len(sizes))]
		table, _ := m.batcher.mem.Read(0, uint32(4*len(part))) // its one page holds BatchMax
		for i, n := range part {
			binary.LittleEndian.PutUint32(table[4*i:], n)
		}
		m.busy = true
		_, err := m.batcher.many.Call(ctx, uint64(4*len(part)))
		m.busy = false
		if err != nil {
			panic(err)
		}
		for i, n := range part {
			ptr := binary.LittleEndian.Uint32(table[4*i:])
			m.Bytes(ptr, n)
			ptrs = append(ptrs, ptr)
		}
	}
	return ptrs
}

// Close frees what the memory's owner does not: the instance of a Batch.
func (m *Memory) Close(ctx context.Context) error {
	if m.batcher == nil {
		return nil
	}
	return m.batcher.mod.Close(ctx)
}
