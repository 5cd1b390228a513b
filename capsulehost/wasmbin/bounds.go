package wasmbin

import "fmt"

// Bounds of a module, those of the JavaScript interface of WebAssembly, which
// compilers keep to. Counts are per section.
const (
	maxCount  = 1_000_000
	maxLocals = 50_000 // of one function
)

// Bound checks everything in a module that the compiler allocates memory for
// because a number says so: vectors that are longer than what holds them, the
// locals of functions, the elements for tables, of which there may be elements
// together. It returns the binary that is to be compiled: without its section of
// names, which are for people, if that is broken. The module must have passed
// Decode, or another decoder that checks the same sections.
//
// Errors: *FormatError, *LimitError.
func Bound(b []byte, elements uint64) ([]byte, error) {
	r := &reader{b: b, pos: 8}
	out, kept := b[:0:0], 0 // what is kept before what was left out, and where that ends
	for r.left() > 0 && r.fail == nil {
		start := r.pos
		id := r.byte()
		s := r.sub(int(r.u32()))
		if r.fail != nil {
			break
		}
		var err error
		switch id {
		case secCustom:
			if s.name() == "name" && !goodNames(s) {
				out, kept = append(out, b[kept:start]...), r.pos
				s.fail = nil
			}
		case secTable, secTag:
			s.count()
		case secGlobal:
			globals(s)
		case secElement:
			err = elementSegments(s, elements)
		case secCode:
			err = functions(s)
		case secData:
			dataSegments(s)
		}
		if err != nil {
			return nil, err
		}
		r.fail = s.fail
	}
	switch {
	case r.fail != nil:
		return nil, r.fail
	case kept == 0:
		return b, nil
	}
	return append(out, b[kept:]...), nil
}

// goodNames tells whether a section of names is worth compiling.
func goodNames(r *reader) bool {
	names := func(r *reader) {
		for range r.count() {
			if r.u32(); r.fail != nil {
				return
			}
			r.name()
		}
	}
	for r.left() > 0 && r.fail == nil {
		id := r.byte()
		s := r.sub(int(r.u32()))
		switch id {
		case 0:
			s.name()
		case 1:
			names(s)
		case 2:
			for range s.count() {
				if s.u32(); s.fail != nil {
					break
				}
				names(s)
			}
		default: // not read
			s.pos = len(s.b)
		}
		if s.fail != nil || s.left() > 0 {
			return false
		}
	}
	return r.fail == nil
}

func globals(r *reader) {
	for range r.count() {
		r.valueType()
		r.byte() // mutability
		if constExpr(r); r.fail != nil {
			return
		}
	}
}

func elementSegments(r *reader, limit uint64) error {
	var sum uint64
	for range r.count() {
		flags := r.u32()
		if flags > 7 {
			r.errorf("an element segment of unknown form %d", flags)
		}
		if flags&1 == 0 { // active
			if flags&2 != 0 {
				r.u32()
			}
			constExpr(r)
		}
		switch {
		case flags&3 == 0:
		case flags&4 == 0:
			r.byte() // the kind of the elements
		default:
			r.valueType()
		}
		n := r.count()
		if sum += uint64(n); sum > limit {
			return &LimitError{fmt.Sprintf("%d elements for its tables, and they may have %d", sum, limit)}
		}
		for range n {
			if flags&4 != 0 {
				constExpr(r)
			} else {
				r.u32()
			}
			if r.fail != nil {
				return nil
			}
		}
	}
	return nil
}

// functions looks at the locals that functions declare, and at nothing behind
// them. All together may be about as many as there are bytes of code.
func functions(r *reader) error {
	left := uint64(len(r.b)) + maxLocals
	for range r.count() {
		body := r.sub(int(r.u32()))
		var sum uint64
		for range body.count() {
			sum += uint64(body.u32())
			body.valueType()
			if body.fail != nil {
				break
			}
		}
		if r.fail == nil {
			r.fail = body.fail
		}
		if r.fail != nil {
			return nil
		}
		if sum > maxLocals || sum > left {
			return &LimitError{fmt.Sprintf("%d locals of a function, and it may have %d", sum, min(left, maxLocals))}
		}
		left -= sum
	}
	return nil
}

func dataSegments(r *reader) {
	for range r.count() {
		switch mode := r.u32(); mode {
		case 0:
			constExpr(r)
		case 1:
		case 2:
			r.u32()
			constExpr(r)
		default:
			r.errorf("a data segment of unknown form %d", mode)
		}
		if r.bytes(int(r.u32())); r.fail != nil {
			return
		}
	}
}

// constExpr passes over a constant expression.
func constExpr(r *reader) {
	for r.fail == nil {
		switch op := r.byte(); op {
		case 0x0b: // end
			return
		case 0x41, 0x42, 0x23, 0xd2, 0xd0: // i32.const, i64.const, global.get, ref.func, ref.null
			for r.byte()&0x80 != 0 && r.fail == nil {
			}
		case 0x43: // f32.const
			r.bytes(4)
		case 0x44: // f64.const
			r.bytes(8)
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // extended constant expressions
		case 0xfd: // v128.const
			r.u32()
			r.bytes(16)
		default:
			r.errorf("instruction %#02x in a constant expression", op)
		}
	}
}
