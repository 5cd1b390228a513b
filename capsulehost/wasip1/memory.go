package wasip1

import (
	"encoding/binary"
	"math"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"
)

// memory is the guest's memory. What it hands out is the guest's own bytes,
// good until the guest runs again, which it does only when the call is over.
type memory struct{ m api.Memory }

// memoryOf returns the memory of mod. A module without one has an interface
// that holds a nil pointer.
func memoryOf(mod api.Module) memory {
	m := mod.Memory()
	if v := reflect.ValueOf(m); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return memory{}
	}
	return memory{m}
}

// bytes returns n bytes at p.
func (m memory) bytes(p, n uint32) ([]byte, Errno) {
	if m.m == nil {
		return nil, EFAULT
	}
	b, ok := m.m.Read(p, n)
	if !ok {
		return nil, EFAULT
	}
	return b, Success
}

// array returns count elements of size bytes at p.
func (m memory) array(p, count, size uint32) ([]byte, Errno) {
	n := uint64(count) * uint64(size)
	if n > math.MaxUint32 {
		return nil, EFAULT
	}
	return m.bytes(p, uint32(n))
}

func (m memory) put32(p, v uint32) Errno {
	b, errno := m.bytes(p, 4)
	if errno == Success {
		binary.LittleEndian.PutUint32(b, v)
	}
	return errno
}

func (m memory) put64(p uint32, v uint64) Errno {
	b, errno := m.bytes(p, 8)
	if errno == Success {
		binary.LittleEndian.PutUint64(b, v)
	}
	return errno
}

// maxPath is the longest path or link target that a guest can give, in bytes.
const maxPath = 4096

// path returns the n bytes at p as a path of the guest, which they are a copy
// of.
func (m memory) path(p, n uint32) (string, Errno) {
	b, errno := m.bytes(p, n)
	switch {
	case errno != Success:
		return "", errno
	case n > maxPath:
		return "", ENAMETOOLONG
	case !utf8.Valid(b):
		return "", EILSEQ
	}
	return string(b), Success
}

// maxIovecs is how many buffers a read or write may have, as IOV_MAX of Linux.
const maxIovecs = 1024

// iovecs are the buffers of a read or write: those that are not empty, checked.
type iovecs struct {
	one   [1][]byte // so that one buffer, the usual case, costs no allocation
	list  [][]byte
	total uint64
}

// iovecs reads an array of n buffers at p. More than maxIovecs is EINVAL, as is
// more in all than a call could return.
func (m memory) iovecs(v *iovecs, p, n uint32) Errno {
	if n > maxIovecs {
		return EINVAL
	}
	raw, errno := m.array(p, n, 8)
	if errno != Success {
		return errno
	}
	v.list = v.one[:0]
	for ; len(raw) > 0; raw = raw[8:] {
		b, errno := m.bytes(binary.LittleEndian.Uint32(raw), binary.LittleEndian.Uint32(raw[4:]))
		if errno != Success {
			return errno
		}
		if len(b) == 0 {
			continue
		}
		v.list = append(v.list, b)
		v.total += uint64(len(b))
	}
	if v.total > math.MaxUint32 {
		return EINVAL
	}
	return Success
}

// gatherSize is up to how many bytes a read or write of several buffers is one
// call of the filesystem.
const gatherSize = 64 << 10

// gatherPool lends buffers for that.
type gatherPool struct{ p sync.Pool }

func (g *gatherPool) get() *[gatherSize]byte {
	if b, ok := g.p.Get().(*[gatherSize]byte); ok {
		return b
	}
	return new([gatherSize]byte)
}

func (g *gatherPool) put(b *[gatherSize]byte) { g.p.Put(b) }
