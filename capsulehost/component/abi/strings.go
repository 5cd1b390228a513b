package abi

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	cm "github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// utf16Tag in the length of a latin1+utf16 string says that it is UTF-16.
const utf16Tag = 1 << 31

// What Value.Num of a string says of the encoding that it was lifted from. It
// has no meaning but that the guest that the string goes to is asked for the
// memory that the specification wants; a string of the host is as UTF-8.
const (
	fromUTF8 = iota
	fromUTF16
	fromLatin1
	fromWide // UTF-16 of latin1+utf16
)

// loadString reads a string of n code units.
func (cx *Context) loadString(ptr, n uint32) Value {
	size, align, from := uint64(n), uint32(1), uint64(fromUTF8)
	switch {
	case cx.Encoding == cm.UTF16:
		size, align, from = 2*uint64(n), 2, fromUTF16
	case cx.Encoding == cm.Latin1UTF16 && n&utf16Tag != 0:
		size, align, from = 2*uint64(n^utf16Tag), 2, fromWide
	case cx.Encoding == cm.Latin1UTF16:
		align, from = 2, fromLatin1
	}
	if size > maxList {
		guest.Trap("a string has %d bytes", size)
	}
	cx.check(ptr, uint32(size), align)
	b := cx.buf[ptr : uint64(ptr)+size]
	switch from {
	case fromUTF8:
		cx.take(size)
		if !utf8.Valid(b) {
			guest.Trap("%d bytes at %#x are not UTF-8", size, ptr)
		}
		return cx.text(from, string(b))
	case fromLatin1:
		cx.take(2 * size)
		return cx.text(from, decodeLatin1(b))
	}
	cx.take(2 * size)
	s, ok := decodeUTF16(b)
	if !ok {
		guest.Trap("%d bytes at %#x are not UTF-16", size, ptr)
	}
	return cx.text(from, s)
}

// text makes the value of a lifted string, of the first ones of a call without
// an allocation.
func (cx *Context) text(from uint64, s string) Value {
	if cx.Copy || cx.texted == len(cx.texts) {
		return Value{Num: from, Ref: s}
	}
	t := &cx.texts[cx.texted]
	cx.texted++
	*t = s
	return Value{Num: from, Ref: t}
}

func decodeLatin1(b []byte) string {
	var s strings.Builder
	s.Grow(len(b))
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// decodeUTF16 fails on a surrogate that has no other.
func decodeUTF16(b []byte) (string, bool) {
	var s strings.Builder
	s.Grow(len(b) / 2)
	for i := 0; i < len(b); i += 2 {
		r := rune(binary.LittleEndian.Uint16(b[i:]))
		if utf16.IsSurrogate(r) {
			if i += 2; i >= len(b) {
				return "", false
			}
			r = utf16.DecodeRune(r, rune(binary.LittleEndian.Uint16(b[i:])))
			if r == utf8.RuneError {
				return "", false
			}
		}
		s.WriteRune(r)
	}
	return s.String(), true
}

// storeString puts a string where the guest allocates it, with the allocations
// that the specification prescribes for where the string comes from.
func (cx *Context) storeString(v Value) (ptr, n uint32) {
	s, from := v.Text(), v.Num
	if from > fromWide || from == fromUTF8 && !utf8.ValidString(s) {
		s, from = strings.ToValidUTF8(s, "\ufffd"), fromUTF8
	}
	switch cx.Encoding {
	case cm.UTF16:
		return cx.storeUTF16(s, from)
	case cm.Latin1UTF16:
		switch from {
		case fromLatin1:
			ptr, n = cx.place(latin1(s), 2)
			return ptr, n
		case fromWide:
			return cx.storeProbablyUTF16(s)
		}
		return cx.storeLatin1OrUTF16(s, from)
	}
	return cx.storeUTF8(s, from)
}

// storeTexts puts strings of the host, as UTF-8, into a list at ptr, in as few
// calls into the guest as can be. It answers false, and has done nothing, where
// they have to be stored one by one.
func (cx *Context) storeTexts(ptr uint32, vs []Value) bool {
	if cx.ReallocMany == nil || cx.Encoding != cm.UTF8 {
		return false
	}
	cx.sizes = cx.sizes[:0]
	for _, v := range vs {
		s := v.Text()
		if v.Num != fromUTF8 || !utf8.ValidString(s) {
			return false
		}
		cx.sizes = append(cx.sizes, uint32(len(s)))
	}
	ptrs := cx.ReallocMany(cx.Ctx, cx.sizes)
	if ptrs == nil {
		return false
	}
	cx.refresh()
	for i, v := range vs {
		s := v.Text()
		cx.check(ptrs[i], uint32(len(s)), 1)
		copy(cx.buf[ptrs[i]:], s)
		cx.putPair(ptr+8*uint32(i), ptrs[i], uint32(len(s)))
	}
	return true
}

// place puts b where the guest allocates it.
func (cx *Context) place(b []byte, align uint32) (ptr, n uint32) {
	n = uint32(len(b))
	ptr = cx.realloc(0, 0, align, n)
	copy(cx.buf[ptr:], b)
	return ptr, n
}

// units returns the code units that s had where it comes from.
func units(s string, from uint64) uint32 {
	switch from {
	case fromUTF8:
		return uint32(len(s))
	case fromLatin1:
		return uint32(utf8.RuneCountInString(s))
	}
	n := uint32(0)
	for _, r := range s {
		n += uint32(utf16.RuneLen(r))
	}
	return n
}

func (cx *Context) storeUTF8(s string, from uint64) (ptr, n uint32) {
	n = uint32(len(s))
	if from == fromUTF8 {
		ptr = cx.realloc(0, 0, 1, n)
		copy(cx.buf[ptr:], s)
		return ptr, n
	}
	src := units(s, from)
	ptr = cx.realloc(0, 0, 1, src)
	if src != n { // not all of it is ASCII
		worst := 3 * src
		if from == fromLatin1 {
			worst = 2 * src
		}
		ptr = cx.realloc(ptr, src, 1, worst)
		copy(cx.buf[ptr:], s)
		if worst > n {
			ptr = cx.realloc(ptr, worst, 1, n)
		}
		return ptr, n
	}
	copy(cx.buf[ptr:], s)
	return ptr, n
}

func (cx *Context) storeUTF16(s string, from uint64) (ptr, n uint32) {
	b := encodeUTF16(s)
	if from != fromUTF8 {
		ptr, n = cx.place(b, 2)
		return ptr, n / 2
	}
	worst := 2 * uint32(len(s))
	ptr = cx.realloc(0, 0, 2, worst)
	copy(cx.buf[ptr:], b)
	if uint32(len(b)) < worst {
		ptr = cx.realloc(ptr, worst, 2, uint32(len(b)))
	}
	return ptr, uint32(len(b)) / 2
}

func (cx *Context) storeLatin1OrUTF16(s string, from uint64) (ptr, n uint32) {
	src := units(s, from)
	ptr = cx.realloc(0, 0, 2, src)
	if narrow(s) {
		b := latin1(s)
		copy(cx.buf[ptr:], b)
		if n = uint32(len(b)); n < src {
			ptr = cx.realloc(ptr, src, 2, n)
		}
		return ptr, n
	}
	b, worst := encodeUTF16(s), 2*src
	ptr = cx.realloc(ptr, src, 2, worst)
	copy(cx.buf[ptr:], b)
	if uint32(len(b)) < worst {
		ptr = cx.realloc(ptr, worst, 2, uint32(len(b)))
	}
	return ptr, uint32(len(b))/2 | utf16Tag
}

func (cx *Context) storeProbablyUTF16(s string) (ptr, n uint32) {
	b := encodeUTF16(s)
	ptr, n = cx.place(b, 2)
	if !narrow(s) {
		return ptr, n/2 | utf16Tag
	}
	copy(cx.buf[ptr:], latin1(s))
	return cx.realloc(ptr, n, 1, n/2), n / 2
}

// narrow tells whether all of s is in Latin-1.
func narrow(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0xff }) }

func latin1(s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}

func encodeUTF16(s string) []byte {
	b := make([]byte, 0, 2*len(s))
	for _, r := range s {
		if hi, lo := utf16.EncodeRune(r); r >= 0x10000 {
			b = binary.LittleEndian.AppendUint16(b, uint16(hi))
			r = lo
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(r))
	}
	return b
}
