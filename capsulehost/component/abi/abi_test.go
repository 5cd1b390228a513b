package abi

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	cm "github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// trap runs f and returns the fault that it ends with; "" is none.
func trap(f func()) (reason string) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *guest.Fault:
			reason = p.Reason
		default:
			panic(p)
		}
	}()
	f()
	return ""
}

func newContext(enc cm.Encoding) (*Context, *fakeMemory) {
	f := &fakeMemory{mem: make([]byte, 1<<16), next: 8}
	cx := &Context{Ctx: context.Background(), Encoding: enc, Mem: f, Realloc: f.realloc, Budget: DefaultBudget, Handles: &Table{}}
	cx.refresh()
	return cx, f
}

// text makes values comparable: what a string was lifted from does not count.
func text(v Value) string {
	switch r := v.Ref.(type) {
	case string:
		return fmt.Sprintf("%q", r)
	case *string:
		return fmt.Sprintf("%q", *r)
	case []byte:
		return fmt.Sprintf("%x", r)
	case *[]byte:
		return fmt.Sprintf("%x", *r)
	case []Value:
		s := "("
		for _, e := range r {
			s += text(e) + " "
		}
		return s + ")"
	case *Value:
		return fmt.Sprintf("%d:%s", v.Num, text(*r))
	}
	return fmt.Sprint(v.Num)
}

// TestModel compares conversions of random types and values with the model: the
// layout, every byte of memory, the core values, and the way back.
func TestModel(t *testing.T) {
	g := gen{rand.New(rand.NewPCG(3, 4))}
	flat := map[int]int{}
	for i := range 4000 {
		typ := g.typ(1 + i%4)
		enc := cm.Encoding(i % 3)
		var c Compiler
		p := c.Plan(typ)
		if p.size != sizeOf(typ) || p.align != alignOf(typ) {
			t.Fatalf("%d: size %d align %d, and %d and %d by the model", i, p.size, p.align, sizeOf(typ), alignOf(typ))
		}
		want := flatten(typ)
		if len(want) <= cm.MaxFlat && !slices.Equal(typ.Flat, want) || len(want) > cm.MaxFlat && len(typ.Flat) != cm.MaxFlat+1 {
			t.Fatalf("%d: flat %v, and %v by the model", i, typ.Flat, want)
		}
		v := g.value(typ)
		if p.size > 1<<12 {
			continue
		}

		cx, f := newContext(enc)
		m := &model{mem: make([]byte, len(f.mem)), next: 8, enc: enc}
		at := cx.realloc(0, 0, p.align, p.size)
		cx.store(p, at, v)
		mat := m.alloc(p.align, p.size)
		m.store(typ, v, mat)
		// The model writes strings once; blocks that were given up stay different.
		if enc == cm.UTF8 && !bytes.Equal(f.mem, m.mem) {
			t.Fatalf("%d: memory differs from the model's", i)
		}
		if f.next != m.next {
			t.Fatalf("%d: %d bytes allocated, and %d by the model", i, f.next, m.next)
		}
		if got := cx.load(p, at); text(got) != text(v) {
			t.Fatalf("%d: lifted %s from memory, lowered %s", i, text(got), text(v))
		}
		copy(f.mem, m.mem)
		if got := cx.load(p, mat); text(got) != text(v) {
			t.Fatalf("%d: lifted %s from the model's memory, lowered %s", i, text(got), text(v))
		}

		if len(want) > cm.MaxFlat {
			continue
		}
		flat[len(want)]++
		cx, f = newContext(enc)
		m = &model{mem: make([]byte, len(f.mem)), next: 8, enc: enc}
		out := flatWriter{}
		cx.lowerFlat(p, v, &out)
		if w := m.flat(typ, v); !slices.Equal(out.s, w) {
			t.Fatalf("%d: core values %x, and %x by the model", i, out.s, w)
		}
		for k, ct := range want {
			if ct == cm.I32 || ct == cm.F32 {
				out.s[k] |= 0xdeadbeef << 32 // a runtime may leave anything there
			}
		}
		if got := cx.liftFlat(p, &flatReader{out.s}); text(got) != text(v) {
			t.Fatalf("%d: lifted %s from core values, lowered %s", i, text(got), text(v))
		}
	}
	for n := 1; n <= cm.MaxFlat; n++ {
		if flat[n] == 0 {
			t.Errorf("no type of %d core values was tried", n)
		}
	}
}

// TestFunctions passes parameters and results by value and through memory.
func TestFunctions(t *testing.T) {
	g := gen{rand.New(rand.NewPCG(5, 6))}
	spills, outs := 0, 0
	for i := range 2000 {
		var params []cm.Field
		var args []Value
		for range g.IntN(9) {
			typ := g.typ(g.IntN(3))
			params = append(params, cm.Field{Name: "p", Type: typ})
			args = append(args, g.value(typ))
		}
		result := g.typ(g.IntN(3))
		typ := cm.NewFuncType(params, result)
		var c Compiler
		f := c.Func(typ)
		if f.spill != (len(typ.FlatParams()) > cm.MaxFlat) || f.size > 1<<12 || f.result.size > 1<<12 {
			continue
		}
		cx, mem := newContext(cm.UTF8)
		stack := f.LowerParams(cx, args, make([]uint64, 0, cm.MaxFlat+1))
		if len(stack) != len(typ.Lifted().Params) {
			t.Fatalf("%d: %d core values for %s", i, len(stack), typ.Lifted())
		}
		place := mem.realloc(cx.Ctx, 0, 0, f.result.align, f.result.size)
		stack = append(stack, uint64(place))
		if got := (Value{Ref: f.LiftParams(cx, stack, nil)}); len(args) > 0 && text(got) != text(Value{Ref: args}) {
			t.Fatalf("%d: lifted %s, lowered %s", i, text(got), text(Value{Ref: args}))
		}
		v := g.value(result)
		at := f.Place(stack)
		f.LowerResult(cx, stack, at, v)
		if f.out {
			outs++
			stack[0] = at
		}
		if f.spill {
			spills++
		}
		if got := f.LiftResult(cx, stack); text(got) != text(v) {
			t.Fatalf("%d: result %s, lowered %s", i, text(got), text(v))
		}
	}
	if spills < 20 || outs < 50 {
		t.Errorf("%d spilled and %d results through memory", spills, outs)
	}
}

// TestTraps gives what a guest must not.
func TestTraps(t *testing.T) {
	u8 := must(&cm.ValType{Kind: cm.U8})
	u64 := must(&cm.ValType{Kind: cm.U64})
	str := must(&cm.ValType{Kind: cm.String})
	for _, c := range []struct {
		name string
		typ  *cm.ValType
		enc  cm.Encoding
		mem  string
		flat []uint64
	}{
		{name: "surrogate", typ: must(&cm.ValType{Kind: cm.Char}), flat: []uint64{0xd800}},
		{name: "char", typ: must(&cm.ValType{Kind: cm.Char}), flat: []uint64{0x110000}},
		{name: "enum", typ: must(&cm.ValType{Kind: cm.Enum, Labels: make([]string, 3)}), flat: []uint64{3}},
		{name: "option", typ: must(&cm.ValType{Kind: cm.Option, Elem: u8}), flat: []uint64{2, 0}},
		{name: "string outside", typ: str, flat: []uint64{1<<16 - 1, 2}},
		{name: "string far outside", typ: str, flat: []uint64{0xffffffff, 0xffffffff}},
		{name: "empty string outside", typ: str, flat: []uint64{1<<16 + 1, 0}},
		{name: "not UTF-8", typ: str, mem: "\xff", flat: []uint64{0, 1}},
		{name: "overlong UTF-8", typ: str, mem: "\xc0\x80", flat: []uint64{0, 2}},
		{name: "surrogate in UTF-8", typ: str, mem: "\xed\xa0\x80", flat: []uint64{0, 3}},
		{name: "lone surrogate", typ: str, enc: cm.UTF16, mem: "\x00\xd8a\x00", flat: []uint64{0, 2}},
		{name: "surrogate at the end", typ: str, enc: cm.UTF16, mem: "\x00\xd8", flat: []uint64{0, 1}},
		{name: "wrong half first", typ: str, enc: cm.UTF16, mem: "\x00\xdc\x00\xd8", flat: []uint64{0, 2}},
		{name: "odd UTF-16", typ: str, enc: cm.UTF16, flat: []uint64{1, 0}},
		{name: "odd latin1", typ: str, enc: cm.Latin1UTF16, flat: []uint64{1, 1}},
		{name: "tagged surrogate", typ: str, enc: cm.Latin1UTF16, mem: "\x00\xd8", flat: []uint64{0, 1 | 1<<31}},
		{name: "list outside", typ: must(&cm.ValType{Kind: cm.List, Elem: u8}), flat: []uint64{0, 1<<16 + 1}},
		{name: "list too long", typ: must(&cm.ValType{Kind: cm.List, Elem: u64}), flat: []uint64{0, 1 << 25}},
		{name: "list not aligned", typ: must(&cm.ValType{Kind: cm.List, Elem: u64}), flat: []uint64{4, 0}},
		{name: "no handle", typ: must(&cm.ValType{Kind: cm.Own, Resource: &cm.Resource{}}), flat: []uint64{1}},
		{name: "handle 0", typ: must(&cm.ValType{Kind: cm.Borrow, Resource: &cm.Resource{}}), flat: []uint64{0}},
	} {
		var comp Compiler
		p := comp.Plan(c.typ)
		cx, f := newContext(c.enc)
		cx.Resources = []*ResourceType{{Name: "r"}}
		copy(f.mem, c.mem)
		if trap(func() { cx.liftFlat(p, &flatReader{c.flat}) }) == "" {
			t.Errorf("%s: lifted from core values", c.name)
		}
		if len(c.flat) != 2 || c.typ.Kind == cm.Option {
			continue
		}
		f.next = 1000
		at := f.realloc(cx.Ctx, 0, 0, 4, 8)
		cx.putPair(at, uint32(c.flat[0]), uint32(c.flat[1]))
		if trap(func() { cx.load(p, at) }) == "" {
			t.Errorf("%s: lifted from memory", c.name)
		}
	}
}

// TestBudget describes more than the host is to hold by pointing to the same
// bytes again and again.
func TestBudget(t *testing.T) {
	str := must(&cm.ValType{Kind: cm.String})
	list := must(&cm.ValType{Kind: cm.List, Elem: str})
	var c Compiler
	cx, f := newContext(cm.UTF8)
	for i := range uint32(4096) {
		cx.putPair(8*i, 32768, 32768)
	}
	clear(f.mem[32768:])
	if trap(func() { cx.load(c.Plan(list), 40000) }) != "" {
		t.Error("an empty list is refused")
	}
	if trap(func() { cx.liftFlat(c.Plan(list), &flatReader{[]uint64{0, 4096}}) }) == "" {
		t.Error("128 MiB of strings were lifted")
	}
}

func TestNaN(t *testing.T) {
	var c Compiler
	cx, _ := newContext(cm.UTF8)
	p := c.Plan(must(&cm.ValType{Kind: cm.Float32}))
	if v := cx.number(p, 0xff812345); v.Num != 0x7fc00000 {
		t.Errorf("lifted %#x", v.Num)
	}
	p = c.Plan(must(&cm.ValType{Kind: cm.Float64}))
	if v := cx.number(p, 0xfff1234512345678); v.Num != 0x7ff8000000000000 {
		t.Errorf("lifted %#x", v.Num)
	}
}

// TestHandlesTogether fills one table and then another: what they take is bounded
// for both together, and a table keeps the room that it once needed.
func TestHandlesTogether(t *testing.T) {
	typ, count := &ResourceType{}, 0
	full, other := Table{Count: &count}, Table{Count: &count}
	for i := range uint32(maxHandles) {
		full.New(typ, i)
	}
	if got := trap(func() { full.New(typ, 0) }); !strings.Contains(got, "more than 1048576 handles") {
		t.Errorf("one more: %q", got)
	}
	if got := trap(func() { other.New(typ, 0) }); !strings.Contains(got, "more than 1048576 handles") {
		t.Errorf("one of another: %q", got)
	}
	full.Drop(typ, 5)
	if full.New(typ, 0) != 5 {
		t.Error("the room that is free is not used again")
	}
	if trap(func() { other.New(typ, 0) }) == "" {
		t.Error("the room of one table is another's")
	}
}

func TestHandles(t *testing.T) {
	a, b := &ResourceType{Name: "a"}, &ResourceType{Name: "b"}
	var tab Table
	h := tab.New(a, 7)
	if tab.Rep(a, h) != 7 || h == 0 {
		t.Fatal("the handle does not stand for what it was made of")
	}
	if trap(func() { tab.Rep(b, h) }) == "" {
		t.Error("a handle of one type passes for another")
	}
	var call Scope
	if tab.liftBorrow(h, a, &call) != 7 {
		t.Error("the borrow stands for something else")
	}
	if trap(func() { tab.Drop(a, h) }) == "" || trap(func() { tab.liftOwn(h, a) }) == "" {
		t.Error("a handle that is lent is gone")
	}
	call.Return(&tab)
	if tab.liftOwn(h, a) != 7 || tab.Len() != 0 {
		t.Error("the handle was not given away")
	}
	var task Scope
	borrowed := tab.lowerBorrow(a, 9, &task)
	if trap(func() { tab.liftOwn(borrowed, a) }) == "" {
		t.Error("a borrowed handle is given away")
	}
	if trap(task.Exit) == "" {
		t.Error("a borrowed handle is kept beyond the call")
	}
	if rep, owned := tab.Drop(a, borrowed); rep != 9 || owned {
		t.Error("dropping a borrow")
	}
	task.Exit()
	tab.Owner = "instance"
	if tab.lowerBorrow(&ResourceType{Owner: "instance"}, 11, &task) != 11 {
		t.Error("the owner of a resource borrows it by a handle")
	}
}
