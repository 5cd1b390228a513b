package abi

import (
	"encoding/binary"
	"math"
	"slices"

	cm "github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// maxList is the most bytes that a list or string has in a memory.
const maxList = 1<<28 - 1

// valueSize is what a Value takes in the host, in bytes.
const valueSize = 24

// flatReader reads core values. Only the low half of one of 32 bits counts: the
// other may hold anything.
type flatReader struct{ s []uint64 }

func (r *flatReader) next() uint64 {
	v := r.s[0]
	r.s = r.s[1:]
	return v
}

// number makes the value of a type of one core value from its bits.
func (cx *Context) number(p *Plan, bits uint64) Value {
	switch p.kind {
	case cm.Bool:
		return Bool(uint32(bits) != 0)
	case cm.S8:
		bits = uint64(int64(int8(bits)))
	case cm.U8:
		bits = uint64(uint8(bits))
	case cm.S16:
		bits = uint64(int64(int16(bits)))
	case cm.U16:
		bits = uint64(uint16(bits))
	case cm.S32:
		bits = uint64(int64(int32(bits)))
	case cm.U32:
		bits = uint64(uint32(bits))
	case cm.Float32:
		bits = uint64(uint32(bits))
		if f := math.Float32frombits(uint32(bits)); f != f {
			bits = 0x7fc00000
		}
	case cm.Float64:
		if f := math.Float64frombits(bits); f != f {
			bits = 0x7ff8000000000000
		}
	case cm.Char:
		bits = uint64(uint32(bits))
		if bits > 0x10ffff || bits >= 0xd800 && bits <= 0xdfff {
			guest.Trap("%#x is no char", bits)
		}
	case cm.Enum:
		bits = uint64(uint32(bits))
		cx.checkCase(p, bits)
	case cm.Flags:
		bits &= 1<<p.count - 1
	case cm.Own:
		return Value{Num: uint64(cx.Handles.liftOwn(uint32(bits), cx.resource(p.slot)))}
	case cm.Borrow:
		return Value{Num: uint64(cx.Handles.liftBorrow(uint32(bits), cx.resource(p.slot), cx.Lend))}
	}
	return Value{Num: bits}
}

func (cx *Context) checkCase(p *Plan, n uint64) {
	if n >= uint64(p.count) {
		guest.Trap("there is no case %d of %d", n, p.count)
	}
}

// uint reads a number of size bytes.
func (cx *Context) uint(ptr, size uint32) uint64 {
	b := cx.buf[ptr:]
	switch size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// load reads the value at ptr, which is checked to lie in the memory.
func (cx *Context) load(p *Plan, ptr uint32) Value {
	switch p.kind {
	case cm.String:
		return cx.loadString(uint32(cx.uint(ptr, 4)), uint32(cx.uint(ptr+4, 4)))
	case cm.List:
		return cx.loadList(p.elem, uint32(cx.uint(ptr, 4)), uint32(cx.uint(ptr+4, 4)))
	case cm.FixedList:
		return cx.loadElements(p.elem, ptr, p.count)
	case cm.Record, cm.Tuple:
		vs := cx.values(len(p.fields))
		for i, f := range p.fields {
			vs[i] = cx.load(f.plan, ptr+f.off)
		}
		return Value{Ref: vs}
	case cm.Variant, cm.Option, cm.Result:
		n := cx.uint(ptr, p.disc)
		cx.checkCase(p, n)
		in := p.cases[n]
		if in == nil {
			return Value{Num: n}
		}
		cx.take(valueSize)
		return Case(n, cx.load(in, ptr+p.payload))
	}
	return cx.number(p, cx.uint(ptr, p.size))
}

func (cx *Context) values(n int) []Value {
	cx.take(uint64(n) * valueSize)
	return make([]Value, n)
}

func (cx *Context) loadList(elem *Plan, ptr, n uint32) Value {
	size := uint64(n) * uint64(elem.size)
	if size > maxList {
		guest.Trap("a list has %d bytes", size)
	}
	cx.check(ptr, uint32(size), elem.align)
	return cx.loadElements(elem, ptr, n)
}

// loadElements reads the elements of a list, which lie in the memory.
func (cx *Context) loadElements(elem *Plan, ptr, n uint32) Value {
	if elem.raw() {
		end := ptr + n*elem.size
		b := cx.buf[ptr:end:end]
		if cx.Copy {
			cx.take(uint64(len(b)))
			b = slices.Clone(b)
		}
		if !cx.Copy && cx.lifted < len(cx.lists) {
			l := &cx.lists[cx.lifted] // without an allocation
			cx.lifted++
			*l = b
			return Value{Ref: l}
		}
		return Value{Ref: b}
	}
	vs := cx.values(int(n))
	for i := range vs {
		vs[i] = cx.load(elem, ptr)
		ptr += elem.size
	}
	return Value{Ref: vs}
}

// liftFlat makes a value from core values.
func (cx *Context) liftFlat(p *Plan, it *flatReader) Value {
	switch p.kind {
	case cm.String:
		ptr := uint32(it.next())
		return cx.loadString(ptr, uint32(it.next()))
	case cm.List:
		ptr := uint32(it.next())
		return cx.loadList(p.elem, ptr, uint32(it.next()))
	case cm.FixedList:
		return cx.liftFixed(p, it)
	case cm.Record, cm.Tuple:
		vs := cx.values(len(p.fields))
		for i, f := range p.fields {
			vs[i] = cx.liftFlat(f.plan, it)
		}
		return Value{Ref: vs}
	case cm.Variant, cm.Option, cm.Result:
		rest := it.s[p.flat:]
		n := uint64(uint32(it.next()))
		cx.checkCase(p, n)
		v := Value{Num: n}
		if in := p.cases[n]; in != nil {
			cx.take(valueSize)
			v = Case(n, cx.liftFlat(in, it))
		}
		it.s = rest
		return v
	}
	return cx.number(p, it.next())
}

func (cx *Context) liftFixed(p *Plan, it *flatReader) Value {
	if !p.elem.raw() {
		vs := cx.values(int(p.count))
		for i := range vs {
			vs[i] = cx.liftFlat(p.elem, it)
		}
		return Value{Ref: vs}
	}
	b := make([]byte, 0, p.count*p.elem.size)
	for range p.count {
		b = appendNumber(b, p.elem.size, it.next())
	}
	return Value{Ref: b}
}

func appendNumber(b []byte, size uint32, n uint64) []byte {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], n)
	return append(b, raw[:size]...)
}
