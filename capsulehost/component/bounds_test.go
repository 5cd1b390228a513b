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

var coreHeader, componentHeader = []byte("\x00asm\x01\x00\x00\x00"), []byte("\x00asm\x0d\x00\x01\x00")

// sec is a section of a module or a component.
func sec(id byte, body ...[]byte) []byte {
	b := bytes.Join(body, nil)
	return append(bin.AppendUvarint([]byte{id}, uint64(len(b))), b...)
}

// each is a vector of what f answers.
func each(n int, f func(i int) []byte) []byte {
	b := leb(nil, n)
	for i := range n {
		b = append(b, f(i)...)
	}
	return b
}

func text(s string) []byte { return name(nil, s) }

// TestThings instantiates a small component again and again whose one core
// module has many exports.
func TestThings(t *testing.T) {
	exports := leb(nil, 8000)
	for i := range 8000 {
		exports = append(name(exports, fmt.Sprint(i)), 0, 0)
	}
	core := "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00"
	core = string(append([]byte(core), 7)) + string(leb(nil, len(exports))) + string(exports) + "\x0a\x04\x01\x02\x00\x0b"
	many := func(n int, one ...byte) []byte { return append(leb(nil, n), bytes.Repeat(one, n)...) }
	child := bytes.Join([][]byte{componentHeader, sec(1, []byte(core)), sec(2, many(50, 0, 0, 0))}, nil)
	for n, want := range map[int]bool{2: true, 6: false} {
		c, err := Decode(bytes.Join([][]byte{componentHeader, sec(4, child), sec(5, many(n, 0, 0, 0))}, nil))
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
	memory := bytes.Join([][]byte{coreHeader, sec(5, []byte{1, 0, size >> 16}), sec(7, []byte{1, 1, 'm', 2, 0})}, nil)
	code := []byte{0} // no locals; each call is with the pointer 0 and size
	for i := range calls {
		code = append(append(code, 0x41, 0, 0x41, 0x80, 0x80, 0xc0, 0, 0x10), leb(nil, i)...)
	}
	code = append(code, 0x0b)
	program := bytes.Join([][]byte{coreHeader,
		sec(1, []byte{2, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 0, 0}),
		sec(2, each(calls, func(i int) []byte { return append(append([]byte{1, 'h'}, text(fmt.Sprint(i))...), 0, 0) })),
		sec(3, []byte{1, 1}),
		sec(7, append(append([]byte{1}, text("run")...), append([]byte{0}, leb(nil, calls)...)...)),
		sec(10, []byte{1}, leb(nil, len(code)), code)}, nil)
	c, err := Decode(bytes.Join([][]byte{componentHeader,
		// an instance with a function of a string, and that function
		sec(7, []byte{1, 0x42, 2, 1, 0x40, 1, 1, 's', 0x73, 1, 0, 4, 0, 1, 'f', 1, 0}),
		sec(10, append(append([]byte{1, 0}, text("test:host/strings")...), 5, 0)),
		sec(6, []byte{1, 1, 0, 0, 1, 'f'}),
		sec(1, memory), sec(1, program),
		sec(2, []byte{1, 0, 0, 0}),
		sec(6, []byte{1, 0, 2, 1, 0, 1, 'm'}),
		sec(8, each(calls, func(int) []byte { return []byte{1, 0, 0, 1, 3, 0} })),
		sec(2, append([]byte{1, 1}, each(calls, func(i int) []byte { return append(append(text(fmt.Sprint(i)), 0), leb(nil, i)...) })...)),
		sec(2, []byte{1, 0, 1, 1, 1, 'h', 0x12, 1}),
		sec(6, append([]byte{1, 0, 0, 1, 2}, text("run")...)),
		sec(7, []byte{1, 0x40, 0, 1, 0}),
		sec(8, append(append([]byte{1, 0, 0}, leb(nil, calls)...), 0, 1)),
		sec(11, append(append([]byte{1, 0}, text("run")...), 1, 1, 0)),
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

// caller is a component that exports a function g, which calls the function f that
// it imports; without import it calls none. It lifts the function so many times.
func caller(imports bool, lifts int) []byte {
	f, code := []byte{}, []byte{0, 0x0b}
	parts := [][]byte{componentHeader, sec(7, []byte{1, 0x40, 0, 1, 0})}
	first, n := 0, byte(0) // the first function that is lifted, the core functions there are before it
	if imports {
		first, n = 1, 1
		f, code = sec(2, append(append(append([]byte{1}, text("a")...), text("f")...), 0, 0)), []byte{0, 0x10, 0, 0x0b}
		parts = append(parts, sec(10, []byte{1, 0, 1, 'f', 1, 0}), sec(8, []byte{1, 1, 0, 0, 0}), sec(2, []byte{1, 1, 1, 1, 'f', 0, 0}))
	}
	core := bytes.Join([][]byte{coreHeader, sec(1, []byte{1, 0x60, 0, 0}), f, sec(3, []byte{1, 0}), sec(7, []byte{1, 1, 'g', 0, n}),
		sec(10, []byte{1}, leb(nil, len(code)), code)}, nil)
	made := []byte{1, 0, 0, 0}
	if imports {
		made = []byte{1, 0, 0, 1, 1, 'a', 0x12, 0}
	}
	return bytes.Join(append(parts, sec(1, core), sec(2, made), sec(6, []byte{1, 0, 0, 1, n, 1, 'g'}),
		sec(8, each(lifts, func(int) []byte { return []byte{0, 0, n, 0, 0} })),
		sec(11, append([]byte{1, 0, 1, 'g', 1}, append(leb(nil, first), 0)...))), nil)
}

// open makes an instance of a component. The test ends it.
func open(t *testing.T, wasm []byte) *Instance {
	t.Helper()
	ctx := context.Background()
	c, err := Decode(wasm)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(ctx, newRuntime(t), c, NewSet(nil))
	if err != nil {
		t.Fatal(err)
	}
	i, err := p.Instantiate(ctx, 1<<20)
	t.Cleanup(func() {
		if err := errors.Join(i.Close(ctx), p.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestNestedCalls has components call each other, each the one before.
func TestNestedCalls(t *testing.T) {
	for _, n := range []int{1, guest.MaxNested, guest.MaxNested + 1, 100} {
		parts := [][]byte{componentHeader, sec(4, caller(false, 1)), sec(4, caller(true, 1)), sec(5, []byte{1, 0, 0, 0})}
		alias := func(i int) []byte { return sec(6, []byte{1, 1, 0}, leb(nil, i), text("g")) }
		for i := range n {
			parts = append(parts, alias(i), sec(5, []byte{1, 0, 1, 1, 1, 'f', 1}, leb(nil, i)))
		}
		i := open(t, bytes.Join(append(parts, alias(n), sec(11, []byte{1, 0}, text("run"), []byte{1}, leb(nil, n), []byte{0})), nil))
		_, err := i.Call(context.Background(), []string{"run"})
		fault, ok := errors.AsType[*guest.Fault](err)
		if n <= guest.MaxNested && err != nil || n > guest.MaxNested && (!ok || !strings.Contains(fault.Reason, "within each other")) {
			t.Errorf("%d within each other: %v", n, err)
		}
	}
}

// TestManyFunctions has as many functions as a component can have. What it takes
// to call one is not there for each.
func TestManyFunctions(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	i := open(t, caller(false, 9_000))
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 32<<20 {
		t.Errorf("an instance of 9,000 functions has %d bytes", held)
	}
	if _, err := i.Call(context.Background(), []string{"g"}); err != nil {
		t.Error(err)
	}
}

// TestTables instantiates a module whose table can be large.
func TestTables(t *testing.T) {
	table := sec(4, []byte{1, 0x70, 1, 0}, leb(nil, 1<<20))
	for n, want := range map[int]string{64: "", 65: "tables of the component's instances"} {
		comp, err := Decode(bytes.Join([][]byte{componentHeader, sec(1, coreHeader, table), sec(2, each(n, func(int) []byte { return []byte{0, 0, 0} }))}, nil))
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		p, err := Compile(ctx, newRuntime(t), comp, NewSet(nil))
		if err != nil {
			t.Fatal(err)
		}
		i, err := p.Instantiate(ctx, 1<<20)
		fault, ok := errors.AsType[*guest.Fault](err)
		if want == "" && err != nil || want != "" && (!ok || !strings.Contains(fault.Reason, want)) {
			t.Errorf("%d instances: %v", n, err)
		}
		if err := errors.Join(i.Close(ctx), p.Close(ctx)); err != nil {
			t.Error(err)
		}
	}
}
