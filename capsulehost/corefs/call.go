package corefs

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero/api"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// Layouts of the canonical ABI, in bytes. A result's tag is its first byte, its
// payload stands behind it at its own alignment.
const (
	smallResult  = 16 // result<_, error-code>, and with bool, u32, handle, string or list
	smallAlign   = 4
	smallPayload = 4

	u64Result   = 24 // result<u64, error-code>
	statResult  = 96 // result<file-stat, error-code>
	wideAlign   = 8
	widePayload = 8
)

// call is one call of a guest: its parameters, and where its result goes.
type call struct {
	ctx  context.Context
	in   *Instance
	fs   *fsapi.FS
	mem  *guest.Memory
	args []uint64

	ret     uint32 // the result
	payload uint32 // and its payload
	entered bool   // it has a slot
}

// u32 is parameter i. The upper half of the stack's slot is not part of it.
func (c *call) u32(i int) uint32 { return api.DecodeU32(c.args[i]) }

// path copies the string whose pointer is parameter i.
func (c *call) path(i int) string { return c.mem.String(c.u32(i), c.u32(i+1)) }

// data is the list<u8> whose pointer is parameter i, in the guest's memory.
func (c *call) data(i int) []byte { return c.mem.Bytes(c.u32(i), c.u32(i+1)) }

// small says that parameter i is the pointer to a small result, wide that it is
// one to a result of size bytes with a u64 in it. They trap if it is bad, so
// that a call with nowhere to answer has no effect.
func (c *call) small(i int) {
	c.ret = c.u32(i)
	c.payload = c.ret + smallPayload
	c.mem.Record(c.ret, smallResult, smallAlign)
}

func (c *call) wide(i int, size uint32) {
	c.ret = c.u32(i)
	c.payload = c.ret + widePayload
	c.mem.Record(c.ret, size, wideAlign)
}

// enter takes a slot for the call, until it ends. If there is none, it stores
// the error as the result and the call is over. A call from within another one,
// which an allocator can make, has the other's slot.
func (c *call) enter() bool {
	if c.in.depth > 1 {
		return true
	}
	if err := c.in.Slots.Enter(c.ctx); err != nil {
		c.fail(err)
		return false
	}
	c.entered = true
	return true
}

// fail stores an error as the result.
func (c *call) fail(err error) {
	guest.Over(c.ctx)
	code, text := fsapi.CodeOf(err)
	c.mem.Bytes(c.ret, 1)[0] = 1
	c.mem.Bytes(c.payload, 1)[0] = byte(code)
	if code == fsapi.Unknown {
		c.mem.PutString(c.ctx, c.payload+4, text)
	}
}

// ok stores the tag of success and returns the n bytes of the payload.
func (c *call) ok(n uint32) []byte {
	c.mem.Bytes(c.ret, 1)[0] = 0
	return c.mem.Bytes(c.payload, n)
}

func (c *call) unit(err error) {
	if err != nil {
		c.fail(err)
		return
	}
	c.ok(0)
}

func (c *call) bool(v bool, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	b := byte(0)
	if v {
		b = 1
	}
	c.ok(1)[0] = b
}

func (c *call) u32Result(v uint32, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	binary.LittleEndian.PutUint32(c.ok(4), v)
}

func (c *call) u64Result(v uint64, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	binary.LittleEndian.PutUint64(c.ok(8), v)
}

func (c *call) string(s string, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	c.mem.PutString(c.ctx, c.payload, s)
	c.ok(0)
}

// strings stores a list<string>: the list's elements are pairs of pointer and
// length, each string an allocation of its own, which the guest frees.
func (c *call) strings(l []string, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	ptr := c.mem.Realloc(c.ctx, 0, 0, 4, uint32(8*len(l)))
	sizes := make([]uint32, len(l))
	for i, s := range l {
		sizes[i] = uint32(len(s))
	}
	ptrs := c.mem.ReallocMany(c.ctx, sizes)
	for i, s := range l {
		copy(c.mem.Bytes(ptrs[i], sizes[i]), s)
		c.mem.PutPair(ptr+uint32(8*i), ptrs[i], sizes[i])
	}
	c.mem.PutPair(c.payload, ptr, uint32(len(l)))
	c.ok(0)
}

func (c *call) list(l *guest.List, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	ptr, n := l.Pair()
	c.mem.PutPair(c.payload, ptr, n)
	c.ok(0)
}

// stat stores a file-stat: size @0, kind @8, mode @12, and the three
// option<datetime> of 24 bytes each @16, @40 and @64.
func (c *call) stat(s fsapi.Stat, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	p := c.ok(88)
	binary.LittleEndian.PutUint64(p, s.Size)
	p[8] = byte(s.Kind)
	binary.LittleEndian.PutUint32(p[12:], s.Mode)
	putTime(p[16:], s.Modified)
	putTime(p[40:], s.Created)
	putTime(p[64:], s.Accessed)
}

func putTime(p []byte, t fsapi.Datetime) {
	if !t.Known {
		p[0] = 0
		return
	}
	p[0] = 1
	binary.LittleEndian.PutUint64(p[8:], uint64(t.Seconds))
	binary.LittleEndian.PutUint32(p[16:], t.Nanoseconds)
}
