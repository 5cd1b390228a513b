package binary

import (
	"fmt"
	"unicode/utf8"

	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

// reader walks over a part of a binary. What is wrong ends the decoding by a
// panic with a bail, which Decode turns into an error: every check of a decoder
// can then stand where it belongs, without a way out at each of its callers.
type reader struct {
	b     []byte
	off   int64 // of b[0] in the binary
	pos   int
	items *int // that vectors may still have, all together; nil: not counted
}

// bail is the only value that decoding panics with.
type bail struct{ err *wasmbin.FormatError }

func failAt(off int64, format string, args ...any) {
	panic(bail{&wasmbin.FormatError{Offset: off, What: fmt.Sprintf(format, args...)}})
}

// at is the offset in the binary of what is read next.
func (r *reader) at() int64 { return r.off + int64(r.pos) }

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) failf(format string, args ...any) { failAt(r.at(), format, args...) }

// expect reads a byte that must be want.
func (r *reader) expect(want byte, what string) {
	at := r.at()
	if b := r.byte(what); b != want {
		failAt(at, "expected %#02x (%s), found %#02x", want, what, b)
	}
}

// byte reads a byte; what says which, for the error.
func (r *reader) byte(what string) byte {
	if r.left() < 1 {
		r.failf("expected %s, but the section ends", what)
	}
	r.pos++
	return r.b[r.pos-1]
}

// varint reads an unsigned LEB128 number of at most bits bits.
func (r *reader) varint(bits uint, what string) uint64 {
	at := r.at()
	var v uint64
	for shift := uint(0); ; shift += 7 {
		b := r.byte(what)
		if shift+7 > bits && b>>(bits-shift) != 0 {
			failAt(at, "expected %s, found a number of more than %d bits", what, bits)
		}
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return v
		}
	}
}

func (r *reader) u32(what string) uint32 { return uint32(r.varint(32, what)) }

// s33 reads a signed LEB128 number of 33 bits: a type's index, or the code of a
// type as a negative number.
func (r *reader) s33(what string) int64 {
	at := r.at()
	var v int64
	for shift := uint(0); ; shift += 7 {
		b := r.byte(what)
		v |= int64(b&0x7f) << shift
		if b&0x80 != 0 {
			if shift >= 28 {
				failAt(at, "expected %s, found a number of more than 33 bits", what)
			}
			continue
		}
		if b&0x40 != 0 {
			v |= -1 << (shift + 7)
		}
		if v < -1<<32 || v >= 1<<32 {
			failAt(at, "expected %s, found a number of more than 33 bits", what)
		}
		return v
	}
}

// count reads the length of a vector whose elements take a byte at least.
func (r *reader) count(what string) int {
	at := r.at()
	n := r.u32("the number of " + what)
	if int64(n) > int64(r.left()) {
		failAt(at, "%d %s are announced in %d bytes", n, what, r.left())
	}
	if r.items != nil {
		if *r.items -= int(n); *r.items < 0 {
			failAt(at, "%d %s are too many: the binary has more than %d definitions and parts of them", n, what, maxItems)
		}
	}
	return int(n)
}

// countTo is count, where there can be no more than most.
func (r *reader) countTo(most int, what string) int {
	at := r.at()
	n := r.count(what)
	if n > most {
		failAt(at, "%d %s are more than %d", n, what, most)
	}
	return n
}

// bytes returns the next n bytes of the binary itself.
func (r *reader) bytes(n uint32, what string) []byte {
	if int64(n) > int64(r.left()) {
		r.failf("expected %d bytes of %s, but %d are left", n, what, r.left())
	}
	r.pos += int(n)
	return r.b[r.pos-int(n) : r.pos]
}

// maxName bounds a name, in bytes.
const maxName = 100_000

func (r *reader) name(what string) string {
	at := r.at()
	n := r.u32("the length of " + what)
	if n > maxName {
		failAt(at, "%s has %d bytes, more than %d", what, n, maxName)
	}
	b := r.bytes(n, what)
	if !utf8.Valid(b) {
		failAt(at, "%s is not UTF-8", what)
	}
	return string(b)
}

// sub returns a reader of the next n bytes.
func (r *reader) sub(n uint32, what string) *reader {
	off := r.at()
	return &reader{b: r.bytes(n, what), off: off, items: r.items}
}

// end checks that everything was read.
func (r *reader) end(what string) {
	if r.left() > 0 {
		r.failf("expected the end of %s, but %d bytes are left", what, r.left())
	}
}
