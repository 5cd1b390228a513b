package abi

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"unicode/utf16"

	cm "github.com/astridfs/astridfs/capsulehost/component/binary"
)

// The model says how values look in memory and as core values. It follows the
// specification word by word: each type is first made one of the fundamental
// ones, and every size is computed where it is needed.
type model struct {
	mem  []byte
	next uint32
	enc  cm.Encoding
}

// fundamental types: a list or string, a record, a variant, or a number.
type mtype struct {
	record  []*cm.ValType
	variant []*cm.ValType // nil: no payload
	kind    byte          // r, v, n
}

func despecialize(t *cm.ValType) mtype {
	fields := func(l []cm.Field) (out []*cm.ValType) {
		for _, f := range l {
			out = append(out, f.Type)
		}
		return out
	}
	switch t.Kind {
	case cm.Record, cm.Tuple:
		return mtype{kind: 'r', record: fields(t.Fields)}
	case cm.FixedList:
		m := mtype{kind: 'r'}
		for range t.Len {
			m.record = append(m.record, t.Elem)
		}
		return m
	case cm.Variant:
		return mtype{kind: 'v', variant: fields(t.Fields)}
	case cm.Option:
		return mtype{kind: 'v', variant: []*cm.ValType{nil, t.Elem}}
	case cm.Result:
		return mtype{kind: 'v', variant: []*cm.ValType{t.Elem, t.Err}}
	case cm.Enum:
		return mtype{kind: 'v', variant: make([]*cm.ValType, len(t.Labels))}
	}
	return mtype{kind: 'n'}
}

func discSize(n int) uint32 {
	switch int(math.Ceil(math.Log2(float64(n)) / 8)) {
	case 0, 1:
		return 1
	case 2:
		return 2
	}
	return 4
}

func numSize(t *cm.ValType) uint32 {
	switch t.Kind {
	case cm.Bool, cm.S8, cm.U8:
		return 1
	case cm.S16, cm.U16:
		return 2
	case cm.S64, cm.U64, cm.Float64:
		return 8
	case cm.Flags:
		switch n := len(t.Labels); {
		case n <= 8:
			return 1
		case n <= 16:
			return 2
		}
	}
	return 4
}

func alignOf(t *cm.ValType) uint32 {
	a := uint32(1)
	switch m := despecialize(t); {
	case m.kind == 'r':
		for _, f := range m.record {
			a = max(a, alignOf(f))
		}
	case m.kind == 'v':
		a = discSize(len(m.variant))
		for _, c := range m.variant {
			if c != nil {
				a = max(a, alignOf(c))
			}
		}
	case t.Kind == cm.String || t.Kind == cm.List:
		a = 4
	default:
		a = numSize(t)
	}
	return a
}

func up(n, a uint32) uint32 { return uint32(math.Ceil(float64(n)/float64(a))) * a }

func caseAlign(cases []*cm.ValType) uint32 {
	a := uint32(1)
	for _, c := range cases {
		if c != nil {
			a = max(a, alignOf(c))
		}
	}
	return a
}

func sizeOf(t *cm.ValType) uint32 {
	s := uint32(0)
	switch m := despecialize(t); {
	case m.kind == 'r':
		for _, f := range m.record {
			s = up(s, alignOf(f)) + sizeOf(f)
		}
		return up(s, alignOf(t))
	case m.kind == 'v':
		s = up(discSize(len(m.variant)), caseAlign(m.variant))
		most := uint32(0)
		for _, c := range m.variant {
			if c != nil {
				most = max(most, sizeOf(c))
			}
		}
		return up(s+most, alignOf(t))
	case t.Kind == cm.String || t.Kind == cm.List:
		return 8
	}
	return numSize(t)
}

func flatten(t *cm.ValType) []cm.CoreType {
	switch m := despecialize(t); {
	case m.kind == 'r':
		var out []cm.CoreType
		for _, f := range m.record {
			out = append(out, flatten(f)...)
		}
		return out
	case m.kind == 'v':
		out := []cm.CoreType{cm.I32}
		for _, c := range m.variant {
			if c == nil {
				continue
			}
			for i, f := range flatten(c) {
				switch {
				case i+1 >= len(out):
					out = append(out, f)
				case out[i+1] == f:
				case out[i+1] == cm.I32 && f == cm.F32, out[i+1] == cm.F32 && f == cm.I32:
					out[i+1] = cm.I32
				default:
					out[i+1] = cm.I64
				}
			}
		}
		return out
	}
	switch t.Kind {
	case cm.String, cm.List:
		return []cm.CoreType{cm.I32, cm.I32}
	case cm.S64, cm.U64:
		return []cm.CoreType{cm.I64}
	case cm.Float32:
		return []cm.CoreType{cm.F32}
	case cm.Float64:
		return []cm.CoreType{cm.F64}
	}
	return []cm.CoreType{cm.I32}
}

func (m *model) alloc(align, n uint32) uint32 {
	m.next = up(m.next, align)
	at := m.next
	m.next += n
	return at
}

func (m *model) put(at, size uint32, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	copy(m.mem[at:at+size], b[:])
}

func (m *model) text(s string) (ptr, n uint32) {
	if m.enc == cm.UTF8 {
		ptr = m.alloc(1, uint32(len(s)))
		copy(m.mem[ptr:], s)
		return ptr, uint32(len(s))
	}
	wide := utf16.Encode([]rune(s))
	if m.enc == cm.Latin1UTF16 && narrow(s) {
		ptr = m.alloc(2, uint32(len(s)))
		for i, r := range []rune(s) {
			m.mem[int(ptr)+i] = byte(r)
		}
		if n := uint32(len(wide)); n < uint32(len(s)) {
			to := m.alloc(2, n)
			copy(m.mem[to:], m.mem[ptr:ptr+n])
			ptr = to
		}
		return ptr, uint32(len(wide))
	}
	first := uint32(2 * len(s))
	if m.enc == cm.Latin1UTF16 {
		m.alloc(2, uint32(len(s)))
	}
	ptr = m.alloc(2, first)
	if uint32(2*len(wide)) < first {
		ptr = m.alloc(2, uint32(2*len(wide)))
	}
	for i, c := range wide {
		m.put(ptr+uint32(2*i), 2, uint64(c))
	}
	n = uint32(len(wide))
	if m.enc == cm.Latin1UTF16 {
		n |= 1 << 31
	}
	return ptr, n
}

// elements takes a list apart.
func elements(t *cm.ValType, v Value) []Value {
	b, ok := v.Ref.([]byte)
	if !ok {
		vs, _ := v.Ref.([]Value)
		return vs
	}
	var out []Value
	size := numSize(t)
	for i := 0; i < len(b); i += int(size) {
		var raw [8]byte
		copy(raw[:], b[i:i+int(size)])
		n := binary.LittleEndian.Uint64(raw[:])
		switch t.Kind {
		case cm.S8:
			n = uint64(int64(int8(n)))
		case cm.S16:
			n = uint64(int64(int16(n)))
		case cm.S32:
			n = uint64(int64(int32(n)))
		}
		out = append(out, Value{Num: n})
	}
	return out
}

func (m *model) list(t *cm.ValType, v Value) (ptr, n uint32) {
	es := elements(t.Elem, v)
	size := sizeOf(t.Elem)
	ptr = m.alloc(alignOf(t.Elem), size*uint32(len(es)))
	for i, e := range es {
		m.store(t.Elem, e, ptr+uint32(i)*size)
	}
	return ptr, uint32(len(es))
}

func (m *model) store(t *cm.ValType, v Value, at uint32) {
	switch d := despecialize(t); {
	case d.kind == 'r':
		vs := v.Ref
		if t.Kind == cm.FixedList {
			vs = elements(t.Elem, v)
		}
		for i, f := range d.record {
			at = up(at, alignOf(f))
			m.store(f, vs.([]Value)[i], at)
			at += sizeOf(f)
		}
	case d.kind == 'v':
		m.put(at, discSize(len(d.variant)), v.Num)
		if c := d.variant[v.Num]; c != nil {
			m.store(c, v.Payload(), up(at+discSize(len(d.variant)), caseAlign(d.variant)))
		}
	case t.Kind == cm.String:
		ptr, n := m.text(v.Text())
		m.put(at, 4, uint64(ptr))
		m.put(at+4, 4, uint64(n))
	case t.Kind == cm.List:
		ptr, n := m.list(t, v)
		m.put(at, 4, uint64(ptr))
		m.put(at+4, 4, uint64(n))
	default:
		m.put(at, numSize(t), v.Num)
	}
}

func (m *model) flat(t *cm.ValType, v Value) []uint64 {
	switch d := despecialize(t); {
	case d.kind == 'r':
		var out []uint64
		vs := v.Ref
		if t.Kind == cm.FixedList {
			vs = elements(t.Elem, v)
		}
		for i, f := range d.record {
			out = append(out, m.flat(f, vs.([]Value)[i])...)
		}
		return out
	case d.kind == 'v':
		out := []uint64{v.Num}
		if c := d.variant[v.Num]; c != nil {
			out = append(out, m.flat(c, v.Payload())...)
		}
		for len(out) < len(flatten(t)) {
			out = append(out, 0)
		}
		return out
	case t.Kind == cm.String:
		ptr, n := m.text(v.Text())
		return []uint64{uint64(ptr), uint64(n)}
	case t.Kind == cm.List:
		ptr, n := m.list(t, v)
		return []uint64{uint64(ptr), uint64(n)}
	case numSize(t) == 8:
		return []uint64{v.Num}
	}
	return []uint64{uint64(uint32(v.Num))}
}

// fakeMemory is a guest's memory with an allocator that frees nothing.
type fakeMemory struct {
	mem  []byte
	next uint32
}

func (f *fakeMemory) Size() uint32 { return uint32(len(f.mem)) }

func (f *fakeMemory) Read(at, n uint32) ([]byte, bool) {
	if uint64(at)+uint64(n) > uint64(len(f.mem)) {
		return nil, false
	}
	return f.mem[at : at+n], true
}

func (f *fakeMemory) realloc(_ context.Context, old, oldSize, align, n uint32) uint32 {
	f.next = up(f.next, align)
	at := f.next
	f.next += n
	copy(f.mem[at:at+min(n, oldSize)], f.mem[old:])
	return at
}

// gen makes types and values at random.
type gen struct{ *rand.Rand }

func must(t *cm.ValType) *cm.ValType {
	t, err := cm.NewValType(t)
	if err != nil {
		panic(err)
	}
	return t
}

func (g gen) labels(most int) []string { return make([]string, 1+g.IntN(most)) }

func (g gen) typ(depth int) *cm.ValType {
	n := 22
	if depth == 0 {
		n = 13
	}
	k := cm.Kind(g.IntN(n))
	t := &cm.ValType{Kind: k}
	switch k {
	case cm.List, cm.Option:
		t.Elem = g.typ(depth - 1)
	case cm.FixedList:
		t.Elem, t.Len = g.typ(depth-1), uint32(1+g.IntN(4))
	case cm.Record, cm.Tuple, cm.Variant:
		for range 1 + g.IntN(5) {
			f := cm.Field{Type: g.typ(depth - 1)}
			if k == cm.Variant && g.IntN(4) == 0 {
				f.Type = nil
			}
			t.Fields = append(t.Fields, f)
		}
		if k == cm.Variant && g.IntN(8) == 0 {
			t.Fields = append(t.Fields, make([]cm.Field, 255+g.IntN(3))...)
		}
	case cm.Enum:
		t.Labels = g.labels([]int{3, 256, 257, 65537}[g.IntN(4)])
	case cm.Flags:
		t.Labels = g.labels(32)
	case cm.Result:
		if g.IntN(3) > 0 {
			t.Elem = g.typ(depth - 1)
		}
		if g.IntN(3) > 0 {
			t.Err = g.typ(depth - 1)
		}
	}
	return must(t)
}

var texts = []string{"", "a", "plain text", "é", "ÿþ latin", "☃ snow", "𝒳 beyond", "日本", "mixed é ☃ 𝒳"}

func (g gen) number(t *cm.ValType) Value {
	n := g.Uint64()
	switch t.Kind {
	case cm.Bool:
		n &= 1
	case cm.S8:
		n = uint64(int64(int8(n)))
	case cm.U8:
		n = uint64(uint8(n))
	case cm.S16:
		n = uint64(int64(int16(n)))
	case cm.U16:
		n = uint64(uint16(n))
	case cm.S32:
		n = uint64(int64(int32(n)))
	case cm.U32:
		n = uint64(uint32(n))
	case cm.Float32:
		n = uint64(math.Float32bits(g.Float32()))
	case cm.Float64:
		n = math.Float64bits(g.Float64())
	case cm.Char:
		n = uint64([]rune("aé☃𝒳\U0010ffff\ud7ff\ue000")[g.IntN(7)])
	case cm.Flags:
		n &= 1<<len(t.Labels) - 1
	}
	return Value{Num: n}
}

func (g gen) value(t *cm.ValType) Value {
	d := despecialize(t)
	switch {
	case t.Kind == cm.List || t.Kind == cm.FixedList:
		n := int(t.Len)
		if t.Kind == cm.List {
			n = g.IntN(4)
		}
		var c Compiler
		if elem := c.Plan(t.Elem); elem.raw() {
			b := make([]byte, 0, 8)
			for range n {
				b = appendNumber(b, elem.size, g.number(t.Elem).Num)
			}
			return Value{Ref: b}
		}
		vs := make([]Value, n)
		for i := range vs {
			vs[i] = g.value(t.Elem)
		}
		return Value{Ref: vs}
	case t.Kind == cm.String:
		return String(texts[g.IntN(len(texts))])
	case d.kind == 'r':
		vs := make([]Value, len(d.record))
		for i, f := range d.record {
			vs[i] = g.value(f)
		}
		return Value{Ref: vs}
	case d.kind == 'v':
		n := g.IntN(len(d.variant))
		if c := d.variant[n]; c != nil {
			return Case(uint64(n), g.value(c))
		}
		return Value{Num: uint64(n)}
	}
	return g.number(t)
}
