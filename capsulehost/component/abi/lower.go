package abi

import (
	"encoding/binary"

	cm "github.com/astridfs/astridfs/capsulehost/component/binary"
)

// flatWriter collects core values. One of 32 bits has its upper half zero, so
// that it can stand for one of 64 bits in a variant.
type flatWriter struct{ s []uint64 }

func (w *flatWriter) put(v uint64) { w.s = append(w.s, v) }

// bits returns the core value of a type that has one.
func (cx *Context) bits(p *Plan, v Value) uint64 {
	switch p.kind {
	case cm.S64, cm.U64, cm.Float64:
		return v.Num
	case cm.Bool:
		return min(v.Num, 1)
	case cm.Own:
		return uint64(cx.Handles.add(Handle{typ: cx.resource(p.slot), rep: uint32(v.Num), own: true}))
	case cm.Borrow:
		return uint64(cx.Handles.lowerBorrow(cx.resource(p.slot), uint32(v.Num), cx.Borrow))
	}
	return uint64(uint32(v.Num))
}

func (cx *Context) putUint(ptr, size uint32, n uint64) {
	b := cx.buf[ptr:]
	switch size {
	case 1:
		b[0] = byte(n)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(n))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(n))
	default:
		binary.LittleEndian.PutUint64(b, n)
	}
}

func (cx *Context) putPair(ptr, first, second uint32) {
	cx.putUint(ptr, 4, uint64(first))
	cx.putUint(ptr+4, 4, uint64(second))
}

// store writes v at ptr, which is checked to lie in the memory. It may run code
// of the guest, to allocate what v points to.
func (cx *Context) store(p *Plan, ptr uint32, v Value) {
	switch p.kind {
	case cm.String:
		at, n := cx.storeString(v)
		cx.putPair(ptr, at, n)
	case cm.List:
		at, n := cx.storeList(p.elem, v)
		cx.putPair(ptr, at, n)
	case cm.FixedList:
		cx.storeElements(p.elem, ptr, v)
	case cm.Record, cm.Tuple:
		vs := v.Fields()
		for i, f := range p.fields {
			cx.store(f.plan, ptr+f.off, vs[i])
		}
	case cm.Variant, cm.Option, cm.Result:
		cx.putUint(ptr, p.disc, v.Num)
		if in := p.cases[v.Num]; in != nil {
			cx.store(in, ptr+p.payload, v.Payload())
		}
	default:
		cx.putUint(ptr, p.size, cx.bits(p, v))
	}
}

// storeList puts a list where the guest allocates it.
func (cx *Context) storeList(elem *Plan, v Value) (ptr, n uint32) {
	if at, ok := v.Ref.(*Placed); ok {
		return at.Ptr, at.Len
	}
	n = listLen(elem, v)
	ptr = cx.realloc(0, 0, elem.align, n*elem.size)
	cx.storeElements(elem, ptr, v)
	return ptr, n
}

func listLen(elem *Plan, v Value) uint32 {
	switch l := v.Ref.(type) {
	case []byte:
		return uint32(len(l)) / elem.size
	case *[]byte:
		return uint32(len(*l)) / elem.size
	case []Value:
		return uint32(len(l))
	}
	return 0
}

func (cx *Context) storeElements(elem *Plan, ptr uint32, v Value) {
	if b, ok := v.bytes(); ok {
		copy(cx.buf[ptr:], b)
		return
	}
	vs, _ := v.Ref.([]Value)
	if elem.kind == cm.String && cx.storeTexts(ptr, vs) {
		return
	}
	for _, e := range vs {
		cx.store(elem, ptr, e)
		ptr += elem.size
	}
}

// lowerFlat makes core values of v.
func (cx *Context) lowerFlat(p *Plan, v Value, out *flatWriter) {
	switch p.kind {
	case cm.String:
		ptr, n := cx.storeString(v)
		out.put(uint64(ptr))
		out.put(uint64(n))
	case cm.List:
		ptr, n := cx.storeList(p.elem, v)
		out.put(uint64(ptr))
		out.put(uint64(n))
	case cm.FixedList:
		cx.lowerFixed(p, v, out)
	case cm.Record, cm.Tuple:
		vs := v.Fields()
		for i, f := range p.fields {
			cx.lowerFlat(f.plan, vs[i], out)
		}
	case cm.Variant, cm.Option, cm.Result:
		end := len(out.s) + p.flat
		out.put(v.Num)
		if in := p.cases[v.Num]; in != nil {
			cx.lowerFlat(in, v.Payload(), out)
		}
		for len(out.s) < end {
			out.put(0)
		}
	default:
		out.put(cx.bits(p, v))
	}
}

func (cx *Context) lowerFixed(p *Plan, v Value, out *flatWriter) {
	b, raw := v.bytes()
	if !raw {
		for _, e := range v.Fields() {
			cx.lowerFlat(p.elem, e, out)
		}
		return
	}
	for len(b) > 0 {
		var n [8]byte
		copy(n[:], b[:p.elem.size])
		b = b[p.elem.size:]
		// Signed numbers are extended to 32 bits.
		out.put(cx.bits(p.elem, cx.number(p.elem, binary.LittleEndian.Uint64(n[:]))))
	}
}
