package abi

import (
	"math"
	"slices"

	"github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// Plan is how values of a type are converted. It is immutable.
type Plan struct {
	kind        binary.Kind
	size, align uint32
	flat        int // how many core values pass it; only used up to binary.MaxFlat

	fields  []field // of a record or tuple
	cases   []*Plan // of a variant, option or result; nil: no payload
	count   uint32  // of the cases, labels or elements of fixed number
	disc    uint32  // size of the number of the case
	payload uint32  // where the payload is
	elem    *Plan   // of a list
	slot    int     // of a handle's resource
}

type field struct {
	off  uint32
	plan *Plan
}

// raw tells whether a list of it is the bytes that it is in memory.
func (p *Plan) raw() bool {
	switch p.kind {
	case binary.S8, binary.U8, binary.S16, binary.U16, binary.S32, binary.U32,
		binary.S64, binary.U64, binary.Float32, binary.Float64:
		return true
	}
	return false
}

// Compiler makes plans and keeps them, so that a type that occurs often is
// compiled once. It is not for several goroutines; the zero value is ready.
type Compiler struct{ plans map[*binary.ValType]*Plan }

// Plan compiles a type. A nil type has a nil plan.
func (c *Compiler) Plan(t *binary.ValType) *Plan {
	if t == nil {
		return nil
	}
	if p := c.plans[t]; p != nil {
		return p
	}
	p := &Plan{kind: t.Kind, size: t.Size, align: t.Align, flat: len(t.Flat)}
	switch t.Kind {
	case binary.Record, binary.Tuple:
		var off uint32
		for _, f := range t.Fields {
			off = binary.AlignTo(off, f.Type.Align)
			p.fields = append(p.fields, field{off, c.Plan(f.Type)})
			off += f.Type.Size
		}
	case binary.Variant, binary.Option, binary.Result:
		for _, in := range t.CaseTypes() {
			p.cases = append(p.cases, c.Plan(in))
		}
		p.count, p.disc, p.payload = uint32(len(p.cases)), t.Discriminant(), t.Payload()
	case binary.Enum, binary.Flags:
		p.count, p.disc = uint32(len(t.Labels)), t.Discriminant()
	case binary.List:
		p.elem = c.Plan(t.Elem)
	case binary.FixedList:
		p.elem, p.count = c.Plan(t.Elem), t.Len
	case binary.Own, binary.Borrow:
		p.slot = t.Resource.Slot
	}
	if c.plans == nil {
		c.plans = map[*binary.ValType]*Plan{}
	}
	c.plans[t] = p
	return p
}

// Func is how the parameters and the result of a function are converted. It is
// immutable.
type Func struct {
	params []field // their offsets count where they go through memory
	result *Plan

	size, align uint32 // of the parameters in memory
	spill       bool   // the parameters go through memory
	huge        bool   // and no memory can hold them
	out         bool   // the result does
	flat        int    // core values of the parameters
	borrows     bool
}

// Func compiles the type of a function.
func (c *Compiler) Func(t *binary.FuncType) *Func {
	f := &Func{align: 1, result: c.Plan(t.Result)}
	var size uint64 // the types' sizes are bounded, that of all of them is not
	for _, p := range t.Params {
		size = binary.AlignTo(size, uint64(p.Type.Align))
		f.params = append(f.params, field{uint32(size), c.Plan(p.Type)})
		size += uint64(p.Type.Size)
		f.align = max(f.align, p.Type.Align)
		f.borrows = f.borrows || p.Type.Borrows
	}
	size = binary.AlignTo(size, uint64(f.align))
	f.size, f.huge = uint32(size), size > math.MaxUint32
	f.flat = len(t.FlatParams())
	if f.flat > binary.MaxFlat {
		f.spill, f.flat = true, 1
	}
	f.out = len(t.FlatResults()) > 1
	return f
}

// Stack returns how long the stack of core values of a call has to be.
func (f *Func) Stack() int { return f.flat + 1 }

func (f *Func) fits() {
	if f.huge {
		guest.Trap("the parameters of the function have more than a memory can hold")
	}
}

// LiftParams takes the parameters of a call that a guest makes from the core
// values, into args if there is room. Where the result goes through memory too,
// its place is checked, so that a call with nowhere to answer has no effect.
func (f *Func) LiftParams(cx *Context, stack []uint64, args []Value) []Value {
	cx.lifted, cx.texted, cx.listed = 0, 0, false
	cx.refresh()
	if f.out {
		cx.check(uint32(stack[f.flat]), f.result.size, f.result.align)
	}
	args = slices.Grow(args[:0], len(f.params))[:len(f.params)]
	if f.spill {
		base := uint32(stack[0])
		f.fits()
		cx.check(base, f.size, f.align)
		for i, p := range f.params {
			args[i] = cx.load(p.plan, base+p.off)
		}
		return args
	}
	it := flatReader{stack}
	for i, p := range f.params {
		args[i] = cx.liftFlat(p.plan, &it)
	}
	return args
}

// LowerResult gives the result of a call that a guest made back to it: in
// stack[0], or where the guest wants it. args is the value of the stack behind
// the parameters when the call began, the place of the result.
func (f *Func) LowerResult(cx *Context, stack []uint64, place uint64, v Value) {
	if f.result == nil {
		return
	}
	cx.refresh()
	if !f.out {
		out := flatWriter{stack[:0]}
		cx.lowerFlat(f.result, v, &out)
		return
	}
	at := uint32(place)
	cx.check(at, f.result.size, f.result.align)
	cx.store(f.result, at, v)
}

// Place returns the core value that says where the result goes; 0 if it does
// not go through memory. It has to be asked for before the stack is written.
func (f *Func) Place(stack []uint64) uint64 {
	if !f.out {
		return 0
	}
	return stack[f.flat]
}

// LowerParams puts the parameters of a call into a guest on the stack and
// returns it; it allocates in the guest what goes through memory.
func (f *Func) LowerParams(cx *Context, args []Value, stack []uint64) []uint64 {
	cx.refresh()
	out := flatWriter{stack[:0]}
	if f.spill {
		f.fits()
		base := cx.realloc(0, 0, f.align, f.size)
		for i, p := range f.params {
			cx.store(p.plan, base+p.off, args[i])
		}
		out.put(uint64(base))
		return out.s
	}
	for i, p := range f.params {
		cx.lowerFlat(p.plan, args[i], &out)
	}
	return out.s
}

// LiftResult takes the result of a call into a guest from the core values.
func (f *Func) LiftResult(cx *Context, stack []uint64) Value {
	if f.result == nil {
		return Value{}
	}
	cx.refresh()
	if !f.out {
		return cx.liftFlat(f.result, &flatReader{stack})
	}
	at := uint32(stack[0])
	cx.check(at, f.result.size, f.result.align)
	return cx.load(f.result, at)
}
