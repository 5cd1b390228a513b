package wasmbin

import (
	"encoding/binary"
	"fmt"
)

// What is counted between two looks, in units of about a nanosecond's work: a
// call is one and one more for each codeUnit bytes of the function, a bulk
// operation one for each 1<<bulkShift bytes or elements.
const (
	meterBudget = 10_000
	codeUnit    = 64
	bulkShift   = 8
)

// Interruptible returns a binary whose every endless computation comes by a loop
// again and again, which is where the runtime looks whether it is to end. Without,
// one that recurses with no loop on the way could neither be ended nor be paused
// for a garbage collection, which stops the whole process. So a counter, a global
// that the module cannot name, goes down with each call and with the size of each
// bulk operation, and when it is used up the code goes once through an empty loop.
// What begins with a loop of its own, as all that Go compiles does, or calls
// nothing is left as it is.
//
// The module must have passed Decode. Errors: *FormatError, as code that cannot
// be read is not let through; *LimitError.
func Interruptible(b []byte) ([]byte, error) {
	d, err := decode(b)
	if err != nil {
		return nil, err
	}
	m := meter{types: d.types, funcs: d.funcs, out: append(make([]byte, 0, len(b)+len(b)/8), b[:8]...)}
	for _, im := range d.m.Imports {
		switch im.Kind {
		case Func:
			m.next++
		case Global:
			m.global++
		}
	}
	if m.next == len(m.funcs) {
		return b, nil // it has no code
	}
	placed := false
	r := &reader{b: b, pos: 8}
	for r.left() > 0 {
		start := r.pos
		id := r.byte()
		s := r.sub(int(r.u32()))
		if !placed && id != secCustom && after(id, secGlobal) {
			m.section(secGlobal, append([]byte{1}, counter()...))
			placed = true
		}
		switch id {
		case secType:
			m.section(id, extend(s, []byte{0x60, 1, byte(I32), 0}))
		case secFunction:
			m.section(id, extend(s, binary.AppendUvarint(nil, uint64(len(m.types)))))
		case secGlobal:
			m.global += (&reader{b: s.b}).u32()
			m.section(id, extend(s, counter()))
			placed = true
		case secCode:
			m.out = append(m.out, id)
			m.code(s)
		default:
			m.out = append(m.out, b[start:r.pos]...)
		}
		if r.fail == nil {
			r.fail = s.fail
		}
	}
	switch {
	case m.limit != nil:
		return nil, m.limit
	case r.fail != nil:
		return nil, r.fail
	}
	return m.out, nil
}

// extend returns a section that is a vector with one element more.
func extend(s *reader, element []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(s.u32())+1)
	return append(append(out, s.b[s.pos:]...), element...)
}

// after tells whether a section comes behind another in a module, which is not
// the order of their numbers.
func after(id, other byte) bool {
	rank := func(id byte) int {
		switch id {
		case secTag:
			return 2*secMemory + 1
		case secDataCount:
			return 2*secElement + 1
		}
		return 2 * int(id)
	}
	return rank(id) > rank(other)
}

// counter is the definition of the global: (mut i32) (i32.const meterBudget).
func counter() []byte {
	return append(appendSigned([]byte{byte(I32), 1, 0x41}, meterBudget), 0x0b)
}

// meter rewrites a module. The function that it adds, behind all others, counts a
// bulk operation of the size that it is given.
type meter struct {
	types  []FuncType
	funcs  []uint32 // type of each function
	next   int      // the function whose code comes next
	global uint32   // the counter's number
	out    []byte
	forks  int // of all functions, see maxForks
	limit  *LimitError
}

// What a function costs the compiler, in time and in memory, grows with the
// number of its blocks, loops and ifs times that of its variables, and times how
// deep they are within each other, of which depthUnit counts as a variable.
// maxForks bounds that, and forksPerByte that of all functions for each byte of
// code beyond it. An interpreter's loop in a JavaScript engine has 200,000, all of
// that 0.3 for each byte.
const (
	maxForks     = 1 << 20
	forksPerByte = 4
	depthUnit    = 64
)

func (m *meter) section(id byte, body []byte) {
	m.out = append(m.out, id)
	m.out = binary.AppendUvarint(m.out, uint64(len(body)))
	m.out = append(m.out, body...)
}

// code rewrites the code section, behind its id.
func (m *meter) code(s *reader) {
	n := s.count()
	if n != len(m.funcs)-m.next {
		s.errorf("the code of %d functions, and there are %d", n, len(m.funcs)-m.next)
		return
	}
	size := len(m.out)
	out := append(m.out, 0x80, 0x80, 0x80, 0x80, 0) // its size, once that is known
	out = binary.AppendUvarint(out, uint64(n)+1)
	for range n {
		body := s.sub(int(s.u32()))
		rewritten := m.body(body)
		if s.fail == nil {
			s.fail = body.fail
		}
		if m.forks > maxForks+forksPerByte*len(s.b) && m.limit == nil {
			m.limit = &LimitError{"code with so many branches between so many variables"}
		}
		if s.fail != nil || m.limit != nil {
			return
		}
		out = binary.AppendUvarint(out, uint64(len(rewritten)))
		out = append(out, rewritten...)
	}
	bulk := m.spend([]byte{0}, []byte{0x20, 0, 0x41, bulkShift, 0x76, 0x41, 1, 0x6a}) // (size >> bulkShift) + 1
	out = binary.AppendUvarint(out, uint64(len(bulk))+1)
	m.out = append(append(out, bulk...), 0x0b)
	for i, left := 0, len(m.out)-size-5; i < 5; i++ {
		m.out[size+i] |= byte(left & 0x7f)
		left >>= 7
	}
}

// body rewrites the code of one function.
func (m *meter) body(r *reader) []byte {
	var local uint64 // the number of one that is added
	if t := m.funcs[m.next]; int64(t) < int64(len(m.types)) {
		local = uint64(len(m.types[t].Params))
	}
	m.next++
	groups := r.count()
	first := r.pos
	for range groups {
		local += uint64(r.u32())
		r.valueType()
	}
	begin := r.pos
	var bulk []int // where bulk operations begin
	calls, loops, straight := false, false, true
	forks, depth := 0, 0
	for r.plain(); r.left() > 0; r.plain() {
		at := r.pos
		switch op := r.b[at]; op {
		case 0x02, 0x03, 0x04, 0x1f: // block, loop, if, try_table
			forks += int(min(local, maxForks)) + m.arity(r.b[at+1:]) + depth/depthUnit
			depth++
		case 0x0b: // end
			depth--
		}
		switch r.instruction() {
		case opCall:
			calls, straight = true, false
		case opBranch:
			straight = false
		case opLoop:
			loops = loops || straight
		case opBulk:
			bulk = append(bulk, at)
		}
	}
	if m.forks += forks; forks > maxForks && m.limit == nil {
		m.limit = &LimitError{fmt.Sprintf("a function of %d bytes with so many branches between %d variables", len(r.b), local)}
	}
	if r.fail != nil || len(bulk) == 0 && (!calls || loops) {
		return r.b
	}
	var out []byte
	if len(bulk) == 0 {
		out = append(out, r.b[:begin]...)
	} else {
		out = binary.AppendUvarint(out, uint64(groups)+1)
		out = append(append(out, r.b[first:begin]...), 1, byte(I32))
	}
	if calls && !loops {
		out = m.spend(out, appendSigned([]byte{0x41}, 1+int64(len(r.b)/codeUnit)))
	}
	for _, at := range bulk {
		out = append(out, r.b[begin:at]...)
		begin = at
		out = binary.AppendUvarint(append(out, 0x22), local) // the size stands on the stack and stays there
		out = binary.AppendUvarint(append(out, 0x20), local)
		out = binary.AppendUvarint(append(out, 0x10), uint64(len(m.funcs)))
	}
	return append(out, r.b[begin:]...)
}

// arity returns how many values a block with this type takes and leaves.
func (m *meter) arity(blockType []byte) int {
	r := reader{b: blockType}
	if r.left() == 0 || r.b[0]&0x80 == 0 && r.b[0]&0x40 != 0 {
		return 1 // none, or a value of this type
	}
	i := r.u32()
	if r.fail != nil || int64(i) >= int64(len(m.types)) {
		return 0 // which the compiler refuses
	}
	return len(m.types[i].Params) + len(m.types[i].Results)
}

// spend takes what the instructions cost come to from the counter, and has the
// code go through a loop when it is used up.
func (m *meter) spend(out, cost []byte) []byte {
	get := binary.AppendUvarint([]byte{0x23}, uint64(m.global))
	set := binary.AppendUvarint([]byte{0x24}, uint64(m.global))
	out = append(append(out, get...), cost...)
	out = append(append(out, 0x6b), set...) // i32.sub
	out = append(append(out, get...),
		0x41, 0x00, 0x48, // i32.lt_s 0
		0x04, 0x40, 0x03, 0x40, 0x0b) // if, loop, end
	out = appendSigned(append(out, 0x41), meterBudget)
	return append(append(out, set...), 0x0b)
}

// appendSigned appends a signed LEB128 number.
func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
