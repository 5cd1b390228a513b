package wasmbin

// What an instruction is for [Interruptible].
const (
	opOther  = iota
	opCall   // calls a function, also in place of a return
	opBranch // may go on elsewhere than behind it
	opLoop
	opBulk // its size, an i32, is the last operand
)

// instruction reads one instruction with its immediates. Those of proposals that
// the runtime has not switched on are refused: what cannot be read cannot be
// bounded.
func (r *reader) instruction() int {
	op := r.byte()
	switch {
	case op >= 0x45 && op <= 0xc4, op == 0x0b: // numeric, end
	case op >= 0x20 && op <= 0x24, op == 0x41: // variables, i32.const
		r.leb()
	case op >= 0x28 && op <= 0x3e:
		r.memArg()
	default:
		return r.special(op)
	}
	return opOther
}

// plain passes over instructions of no block and none of those above, those that
// are frequent. It goes as far as it can without looking for the end of the code.
func (r *reader) plain() {
	const longest = 1 + 1 + 10
	b, pos := r.b, r.pos
	for pos+longest <= len(b) {
		op := b[pos]
		at := pos + 1
		switch {
		case op >= 0x20 && op <= 0x24, op == 0x41, op == 0x42: // variables, constants
		case op >= 0x45 && op <= 0xc4, op == 0x1a, op == 0x1b: // numeric, drop, select
			pos++
			continue
		case op >= 0x28 && op <= 0x3e && b[at]&0xc0 == 0: // memory
			at++
		default:
			r.pos = pos
			return
		}
		end := at
		for b[end] >= 0x80 {
			if end++; end == at+10 {
				r.pos = pos
				return
			}
		}
		pos = end + 1
	}
	r.pos = pos
}

// special reads the rest of an instruction that is neither numeric nor a load or
// store.
func (r *reader) special(op byte) int {
	switch op {
	case 0x01, 0x05, 0x1a, 0x1b, 0xd1: // nop, else, drop, select, ref.is_null
	case 0x00, 0x0a, 0x0f: // unreachable, throw_ref, return
		return opBranch
	case 0x02: // block
		r.blockType()
	case 0x03:
		r.blockType()
		return opLoop
	case 0x04: // if
		r.blockType()
		return opBranch
	case 0x08, 0x0c, 0x0d, 0xd5, 0xd6: // throw, br, br_if, br_on_null, br_on_non_null
		r.leb()
		return opBranch
	case 0x0e: // br_table
		for range r.count() {
			r.leb()
		}
		r.leb()
		return opBranch
	case 0x10, 0x12, 0x14, 0x15: // call, return_call, call_ref, return_call_ref
		r.leb()
		return opCall
	case 0x11, 0x13: // call_indirect, return_call_indirect
		r.leb()
		r.leb()
		return opCall
	case 0x1c: // select with types
		for range r.count() {
			r.valueType()
		}
	case 0x1f: // try_table
		r.blockType()
		for range r.count() {
			if r.byte() < 2 {
				r.leb()
			}
			r.leb()
		}
		return opBranch
	case 0x25, 0x26, 0x3f, 0x40, 0x42, 0xd0, 0xd2: // tables, memory.size, memory.grow, i64.const, references
		r.leb()
	case 0x43:
		r.bytes(4)
	case 0x44:
		r.bytes(8)
	case 0xfc:
		return r.bulk()
	case 0xfd:
		r.vector()
	default:
		r.pos--
		r.errorf("an instruction %#x, which this host does not know", op)
	}
	return opOther
}

// bulk reads the rest of an instruction with the prefix 0xfc.
func (r *reader) bulk() int {
	switch op := r.u32(); op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating truncation
	case 9, 13, 15, 16: // data.drop, elem.drop, table.grow, table.size
		r.leb()
	case 11, 17: // memory.fill, table.fill
		r.leb()
		return opBulk
	case 8, 10, 12, 14: // memory.init, memory.copy, table.init, table.copy
		r.leb()
		r.leb()
		return opBulk
	default:
		r.errorf("an instruction 0xfc %d, which this host does not know", op)
	}
	return opOther
}

// vector reads the rest of an instruction with the prefix 0xfd.
func (r *reader) vector() {
	switch op := r.u32(); {
	case op <= 11, op == 92, op == 93: // loads and stores
		r.memArg()
	case op == 12, op == 13: // v128.const, i8x16.shuffle
		r.bytes(16)
	case op >= 21 && op <= 34: // lanes
		r.byte()
	case op >= 84 && op <= 91: // loads and stores of a lane
		r.memArg()
		r.byte()
	}
}

// memArg reads an alignment, the number of a memory where it says that there is
// one, and an offset.
func (r *reader) memArg() {
	if r.left() > 0 && r.b[r.pos]&0xc0 == 0 { // nearly always
		r.pos++
	} else if r.u32()&0x40 != 0 {
		r.leb()
	}
	r.leb()
}

// blockType reads the type of a block: nothing, a value type or a number.
func (r *reader) blockType() {
	if r.left() > 0 && r.b[r.pos]&0xc0 == 0x40 && r.b[r.pos] != 0x40 { // a negative number of one byte
		r.valueType()
		return
	}
	r.leb()
}

// leb passes over a number of at most 64 bits, signed or not.
func (r *reader) leb() {
	if r.left() > 0 && r.b[r.pos] < 0x80 {
		r.pos++
		return
	}
	for i := 0; r.byte()&0x80 != 0; i++ {
		if i == 9 {
			r.errorf("a number has more than 64 bits")
		}
	}
}
