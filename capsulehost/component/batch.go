package component

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astridfs/astridfs/capsulehost/guest"
)

// batch calls the realloc of canonical options many times at the cost of one
// call: see guest.Batch. It is made by the first list that is long enough.
type batch struct {
	mem  api.Memory
	many coreFunc
}

// batchModule returns the module of batches for a realloc of this name.
func (p *Program) batchModule(ctx context.Context, name string) (wazero.CompiledModule, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.batches[name]; m != nil {
		return m, nil
	}
	m, err := p.rt.CompileModule(ctx, guest.BatchModule(name))
	if err != nil {
		return nil, err
	}
	if p.batches == nil {
		p.batches = map[string]wazero.CompiledModule{}
	}
	p.batches[name] = m
	p.extra = append(p.extra, m)
	return m, nil
}

// allocateMany calls realloc for a new block of each size, aligned to bytes. It
// returns nil where that would cost more than calls one by one. What it returns
// is good until the next call.
func (o *options) allocateMany(ctx context.Context, sizes []uint32) []uint32 {
	if len(sizes) < guest.BatchMin || len(sizes) > guest.BatchMax {
		return nil
	}
	may := o.in.mayLeave
	o.in.mayLeave = false
	if o.batch == nil {
		mod, err := o.in.store.p.batchModule(ctx, o.realloc.ref.name)
		if err != nil {
			panic(err)
		}
		m, err := o.in.store.instantiate(ctx, mod, func(string) api.Module { return o.realloc.ref.mod })
		if err != nil {
			panic(err)
		}
		o.batch = &batch{mem: m.ExportedMemory("memory"), many: coreFunc{ref: coreRef{m, "many"}}}
	}
	table, _ := o.batch.mem.Read(0, uint32(4*len(sizes))) // its one page holds BatchMax
	for i, n := range sizes {
		binary.LittleEndian.PutUint32(table[4*i:], n)
	}
	stack := [1]uint64{uint64(4 * len(sizes))}
	o.batch.many.call(ctx, o.in.store, stack[:])
	o.in.mayLeave = may
	ptrs := sizes[:0]
	for i := range sizes {
		ptrs = append(ptrs, binary.LittleEndian.Uint32(table[4*i:]))
	}
	return ptrs
}
