package abi

// List is a list<u8> that a host function fills in the memory of the guest that
// called it, so that the bytes are copied once. It is a fsapi.Buffer.
type List struct {
	cx   *Context
	made bool
	at   Placed
}

// NewList returns an empty list in the memory that results go to. The first one
// of a call takes no allocation and is valid until the next call.
func (cx *Context) NewList() *List {
	if cx.listed {
		return &List{cx: cx}
	}
	cx.listed, cx.list = true, List{cx: cx}
	return &cx.list
}

// Resize makes the list n bytes long and keeps what it held. It runs code of
// the guest, and traps if the guest cannot. The slice is the guest's memory,
// valid until code of the guest runs again.
func (l *List) Resize(n int) ([]byte, error) {
	if !l.made || uint32(n) != l.at.Len {
		l.at.Ptr = l.cx.realloc(l.at.Ptr, l.at.Len, 1, uint32(n))
		l.at.Len, l.made = uint32(n), true
	}
	end := l.at.Ptr + l.at.Len
	return l.cx.buf[l.at.Ptr:end:end], nil
}

// Value returns the list as a result.
func (l *List) Value() Value { return Value{Ref: &l.at} }
