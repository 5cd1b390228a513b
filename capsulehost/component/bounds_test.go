package component

import (
	"bytes"
	"context"
	bin "encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// TestThings instantiates a small component again and again whose one core
// module has many exports.
func TestThings(t *testing.T) {
	exports := leb(nil, 8000)
	for i := range 8000 {
		exports = append(name(exports, fmt.Sprint(i)), 0, 0)
	}
	core := "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00"
	core = string(append([]byte(core), 7)) + string(leb(nil, len(exports))) + string(exports) + "\x0a\x04\x01\x02\x00\x0b"
	part := func(id byte, body []byte) []byte {
		return append(bin.AppendUvarint([]byte{id}, uint64(len(body))), body...)
	}
	header := []byte("\x00asm\x0d\x00\x01\x00")
	many := func(n int, one ...byte) []byte { return append(leb(nil, n), bytes.Repeat(one, n)...) }
	child := bytes.Join([][]byte{header, part(1, []byte(core)), part(2, many(50, 0, 0, 0))}, nil)
	for n, want := range map[int]bool{2: true, 6: false} {
		c, err := Decode(bytes.Join([][]byte{header, part(4, child), part(5, many(n, 0, 0, 0))}, nil))
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		p, err := Compile(ctx, newRuntime(t), c, NewSet(nil))
		if err != nil {
			t.Fatal(err)
		}
		i, err := p.Instantiate(ctx, 1<<20)
		fault, ok := errors.AsType[*guest.Fault](err)
		if want && err != nil || !want && (!ok || !strings.Contains(fault.Reason, "more than 2000000")) {
			t.Errorf("%d instances: %v", n, err)
		}
		if err := errors.Join(i.Close(ctx), p.Close(ctx)); err != nil {
			t.Error(err)
		}
	}
}

// TestArgumentsAreLetGo calls the host by many functions, with a large string by
// each. The host must not hold them all.
func TestArgumentsAreLetGo(t *testing.T) {
	const calls, size = 100, 1 << 20
	part := func(id byte, body ...[]byte) []byte {
		b := bytes.Join(body, nil)
		return append(bin.AppendUvarint([]byte{id}, uint64(len(b))), b...)
	}
	each := func(n int, f func(i int) []byte) []byte {
		b := leb(nil, n)
		for i := range n {
			b = append(b, f(i)...)
		}
		return b
	}
	text := func(s string) []byte { return name(nil, s) }
	magic := []byte("\x00asm\x01\x00\x00\x00")
	memory := bytes.Join([][]byte{magic, part(5, []byte{1, 0, size >> 16}), part(7, []byte{1, 1, 'm', 2, 0})}, nil)
	code := []byte{0} // no locals; each call is with the pointer 0 and size
	for i := range calls {
		code = append(append(code, 0x41, 0, 0x41, 0x80, 0x80, 0xc0, 0, 0x10), leb(nil, i)...)
	}
	code = append(code, 0x0b)
	program := bytes.Join([][]byte{magic,
		part(1, []byte{2, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 0, 0}),
		part(2, each(calls, func(i int) []byte { return append(append([]byte{1, 'h'}, text(fmt.Sprint(i))...), 0, 0) })),
		part(3, []byte{1, 1}),
		part(7, append(append([]byte{1}, text("run")...), append([]byte{0}, leb(nil, calls)...)...)),
		part(10, []byte{1}, leb(nil, len(code)), code)}, nil)
	c, err := Decode(bytes.Join([][]byte{[]byte("\x00asm\x0d\x00\x01\x00"),
		// an instance with a function of a string, and that function
		part(7, []byte{1, 0x42, 2, 1, 0x40, 1, 1, 's', 0x73, 1, 0, 4, 0, 1, 'f', 1, 0}),
		part(10, append(append([]byte{1, 0}, text("test:host/strings")...), 5, 0)),
		part(6, []byte{1, 1, 0, 0, 1, 'f'}),
		part(1, memory), part(1, program),
		part(2, []byte{1, 0, 0, 0}),
		part(6, []byte{1, 0, 2, 1, 0, 1, 'm'}),
		part(8, each(calls, func(int) []byte { return []byte{1, 0, 0, 1, 3, 0} })),
		part(2, append([]byte{1, 1}, each(calls, func(i int) []byte { return append(append(text(fmt.Sprint(i)), 0), leb(nil, i)...) })...)),
		part(2, []byte{1, 0, 1, 1, 1, 'h', 0x12, 1}),
		part(6, append([]byte{1, 0, 0, 1, 2}, text("run")...)),
		part(7, []byte{1, 0x40, 0, 1, 0}),
		part(8, append(append([]byte{1, 0, 0}, leb(nil, calls)...), 0, 1)),
		part(11, append(append([]byte{1, 0}, text("run")...), 1, 1, 0)),
	}, nil))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	set := NewSet([]*Interface{{Name: "test:host/strings", Funcs: map[string]HostFunc{"f": {
		Type: "func(string)",
		Call: func(c *Call) abi.Value { seen += len(c.Args[0].Text()); return abi.Value{} },
	}}}})
	ctx := context.Background()
	p, err := Compile(ctx, newRuntime(t), c, set)
	if err != nil {
		t.Fatal(err)
	}
	i, err := p.Instantiate(ctx, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if _, err := i.Call(ctx, []string{"run"}); err != nil || seen != calls*size {
		t.Fatalf("%d bytes, %v", seen, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > calls*size/10 {
		t.Errorf("the host holds %d bytes of the calls", held)
	}
	if err := errors.Join(i.Close(ctx), p.Close(ctx)); err != nil {
		t.Error(err)
	}
}
