package wasmbin

import (
	"fmt"
	"unicode/utf8"
)

// FormatError says what is wrong with a binary and where.
type FormatError struct {
	// Offset is the byte at which it was found; -1 where it is not known.
	Offset int64
	What   string
}

func (e *FormatError) Error() string {
	if e.Offset < 0 {
		return "broken WebAssembly binary: " + e.What
	}
	return fmt.Sprintf("broken WebAssembly binary at byte %#x: %s", e.Offset, e.What)
}

// reader decodes a part of a binary. Its first failure stays, and everything
// read after it is zero.
type reader struct {
	b    []byte
	off  int64 // of b[0] in the binary
	pos  int
	fail *FormatError
}

func (r *reader) errorf(format string, args ...any) {
	if r.fail == nil {
		r.fail = &FormatError{Offset: r.off + int64(r.pos), What: fmt.Sprintf(format, args...)}
		r.pos = len(r.b)
	}
}

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) byte() byte {
	if r.left() < 1 {
		r.errorf("it ends early")
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// varint reads an unsigned LEB128 number of at most bits bits.
func (r *reader) varint(bits uint) uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		b := r.byte()
		if r.fail != nil {
			return 0
		}
		if shift+7 > bits && b>>(bits-shift) != 0 {
			r.pos--
			r.errorf("a number has more than %d bits", bits)
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return v
		}
	}
}

func (r *reader) u32() uint32 { return uint32(r.varint(32)) }

// count reads the length of a vector whose elements take a byte at least, so
// that no length leads to an allocation beyond the binary's size.
func (r *reader) count() int {
	n := r.u32()
	if int64(n) > int64(r.left()) {
		r.errorf("%d elements in %d bytes", n, r.left())
		return 0
	}
	if n > maxCount {
		r.errorf("%d elements are more than %d", n, maxCount)
		return 0
	}
	return int(n)
}

// valueType reads a value type. Typed references, whose bytes tell what they
// refer to, are a proposal that the runtime has not switched on and reads
// nevertheless: they are refused.
func (r *reader) valueType() ValueType {
	t := ValueType(r.byte())
	switch t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef, ExnRef:
		return t
	}
	if r.fail != nil {
		return 0
	}
	r.pos--
	if t == 0x63 || t == 0x64 {
		r.errorf("a typed reference, which this host does not take")
	} else {
		r.errorf("there is no value type %#x", byte(t))
	}
	return 0
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > r.left() {
		r.errorf("%d bytes are announced and %d are there", n, r.left())
		return nil
	}
	r.pos += n
	return r.b[r.pos-n : r.pos]
}

func (r *reader) name() string {
	b := r.bytes(int(r.u32()))
	if !utf8.Valid(b) {
		r.pos -= len(b)
		r.errorf("a name is not UTF-8")
		return ""
	}
	return string(b)
}

// sub returns a reader of the next n bytes.
func (r *reader) sub(n int) *reader {
	off := r.off + int64(r.pos)
	return &reader{b: r.bytes(n), off: off}
}
