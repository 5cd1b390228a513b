package abi

import "slices"

// Value is a value of a component's type.
//
// Num holds bool (0 or 1), integers (signed ones extended to 64 bits), the bits
// of floats, char, the number of an enum's or variant's case (of option 0 is
// none and 1 some, of result 0 is ok and 1 error), flags (bit i is label i), and
// the representation of the resource that a handle stands for.
//
// Ref holds a string as string, or as *string to one, which is another in the
// next call; a list of numbers as []byte, the numbers in little-endian order, or
// as *[]byte to it, which may be the guest's own memory and is then valid during
// the call only; other lists, records and tuples as []Value; and the payload of a
// variant, option or result as *Value, nil if there is none.
type Value struct {
	Num uint64
	Ref any
}

// Placed is, by a pointer, the Ref of a list that is in the memory of the guest
// already.
type Placed struct{ Ptr, Len uint32 }

// Bool returns a bool.
func Bool(b bool) Value {
	if b {
		return Value{Num: 1}
	}
	return Value{}
}

// String returns a string, which has to be UTF-8.
func String(s string) Value { return Value{Ref: s} }

// Tuple returns a record or tuple, or a list that is not one of numbers.
func Tuple(fields ...Value) Value { return Value{Ref: fields} }

// Case returns case i of a variant with its payload.
func Case(i uint64, payload Value) Value { return Value{Num: i, Ref: &payload} }

// Ok returns a result with a value.
func Ok(v Value) Value { return Case(0, v) }

// Err returns a result with an error.
func Err(v Value) Value { return Case(1, v) }

// Some returns an option with a value; the zero Value is none.
func Some(v Value) Value { return Case(1, v) }

// Payload returns the payload of a variant, option or result; the zero Value if
// there is none.
func (v Value) Payload() Value {
	if p, _ := v.Ref.(*Value); p != nil {
		return *p
	}
	return Value{}
}

// Text returns a string's text.
func (v Value) Text() string {
	if s, ok := v.Ref.(*string); ok {
		return *s
	}
	return v.Ref.(string)
}

// Bytes returns the bytes of a list of numbers; see Value.
func (v Value) Bytes() []byte {
	b, ok := v.bytes()
	if !ok {
		panic("the value is no list of numbers")
	}
	return b
}

// bytes returns the bytes of a list of numbers; false if it is no such list.
func (v Value) bytes() ([]byte, bool) {
	switch b := v.Ref.(type) {
	case []byte:
		return b, true
	case *[]byte:
		return *b, true
	}
	return nil, false
}

// Fields returns the values of a record or tuple, or of a list that is not one
// of numbers.
func (v Value) Fields() []Value { return v.Ref.([]Value) }

// Clone returns a copy of a value that refers to no memory of a guest.
func (v Value) Clone() Value {
	switch r := v.Ref.(type) {
	case []byte:
		v.Ref = slices.Clone(r)
	case *[]byte:
		v.Ref = slices.Clone(*r)
	case *string:
		v.Ref = *r
	case []Value:
		out := make([]Value, len(r))
		for i, e := range r {
			out[i] = e.Clone()
		}
		v.Ref = out
	case *Value:
		if r != nil {
			p := r.Clone()
			v.Ref = &p
		}
	}
	return v
}
