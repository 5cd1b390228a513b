package abi

// List is a list<u8> that a host function fills in the memory of the guest that
// called it, so that the bytes are copied once. It is a fsapi.Buffer.
type List struct {
	cx   *Context
	made bool
	ptr  uint32
	n    uint32
}

// NewList returns an empty list in the memory that results go to.
func (cx *Context) NewList() *List { return &List{cx: cx} }

// Resize makes the list n bytes long and keeps what it held. It runs code of
// the guest, and traps if the guest cannot. The slice is the guest's memory,
// valid until code of the guest runs again.
func (l *List) Resize(n int) ([]byte, error) {
	if !l.made || uint32(n) != l.n {
		l.ptr = l.cx.realloc(l.ptr, l.n, 1, uint32(n))
		l.n, l.made = uint32(n), true
	}
	end := l.ptr + l.n
	return l.cx.buf[l.ptr:end:end], nil
}

// Value returns the list as a result.
func (l *List) Value() Value { return Value{Ref: Placed{l.ptr, l.n}} }
