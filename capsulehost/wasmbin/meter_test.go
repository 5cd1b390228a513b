package wasmbin_test

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

// metered is
//
//	(module
//	  (import "env" "base" (global $base i32))
//	  (import "env" "add" (func $add (param i32 i32) (result i32)))
//	  (memory 1) (data $d "abcdef") (table 4 funcref) (elem $e func $fib $fib)
//	  (global $own (mut i64) (i64.const 7))
//	  (func $fib (export "fib") (param $n i32) (result i32) (local i64 f64)
//	    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
//	      (then (local.get $n))
//	      (else (call $add
//	        (call $fib (i32.sub (local.get $n) (i32.const 1)))
//	        (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
//	  (func (export "bulk") (param $n i32) (param i64) (result i64) (local v128 i32 i32)
//	    (memory.fill (i32.const 100) (i32.const 1) (local.get $n))
//	    (memory.init $d (i32.const 50) (i32.const 1) (i32.const 4))
//	    (memory.copy (i32.const 104) (i32.const 50) (i32.const 3))
//	    (table.init $e (i32.const 0) (i32.const 0) (i32.const 2))
//	    (table.copy (i32.const 2) (i32.const 0) (i32.const 1))
//	    (table.fill 0 (i32.const 3) (ref.func $fib) (i32.const 1))
//	    (global.set $own (i64.add (global.get $own) (i64.load (i32.const 100))))
//	    (i64.add (global.get $own)
//	      (i64.extend_i32_u (call_indirect (param i32) (result i32) (global.get $base) (i32.const 2))))))
const metered = "" +
	"0061736d0100000001120360027f7f017f60017f017f60027f7e017e02170203656e760462617365037f0003656e7603" +
	"6164640000030302010204040170000405030100010606017e0142070b070e020366696200010462756c6b0002090601" +
	"01000201010c01010a7c022102017e017c2000410249047f200005200041016b1001200041026b100110000b0b580201" +
	"7b027f41e40041012000fc0b00413241014104fc08000041e80041324103fc0a0000410041004102fc0c000041024100" +
	"4101fc0e00004103d2014101fc1100230141e4002903007c2401230123004102110100ad7c0b0b090101066162636465" +
	"66"

const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesExceptionHandling

// A module that was made interruptible computes the same.
func TestInterruptible(t *testing.T) {
	ctx := context.Background()
	wasm, err := hex.DecodeString(metered)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := wasmbin.Interruptible(wasm)
	if err != nil {
		t.Fatal(err)
	}
	if len(changed) <= len(wasm) {
		t.Error("nothing was added")
	}
	var got [2][]uint64
	for i, w := range [][]byte{wasm, changed} {
		rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features))
		defer rt.Close(ctx)
		// (module (global (export "base") i32 (i32.const 9)) (func (export "add") (param i32 i32) (result i32) …))
		env := "\x00asm\x01\x00\x00\x00\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\x00\x06\x06\x01\x7f\x00\x41\x09\x0b" +
			"\x07\x0e\x02\x04base\x03\x00\x03add\x00\x00\x0a\x09\x01\x07\x00\x20\x00\x20\x01\x6a\x0b"
		if _, err := rt.InstantiateWithConfig(ctx, []byte(env), wazero.NewModuleConfig().WithName("env")); err != nil {
			t.Fatal(err)
		}
		mod, err := rt.Instantiate(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for name, args := range map[string][]uint64{"fib": {23}, "bulk": {3000, 0}} { // more than the counter holds
				out, err := mod.ExportedFunction(name).Call(ctx, args...)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if name == "fib" && out[0] != 28657 {
					t.Errorf("fib(23) is %d", out[0])
				} else if name == "bulk" {
					got[i] = append(got[i], out[0])
				}
			}
		}
		mem, _ := mod.Memory().Read(0, 4000)
		for _, b := range mem {
			got[i] = append(got[i], uint64(b))
		}
	}
	for i := range got[0] {
		if got[0][i] != got[1][i] {
			t.Fatalf("value %d is %#x, and was %#x", i, got[1][i], got[0][i])
		}
	}
}

// Code that cannot be read is refused, and none is no error.
func TestInterruptibleRefuses(t *testing.T) {
	fn := header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00"
	for _, wasm := range []string{
		fn + "\x0a\x05\x01\x03\x00\xfb\x0b",                                             // a prefix that is not known
		fn + "\x0a\x06\x01\x04\x00\xfc\x20\x0b",                                         // an instruction that is not
		fn + "\x0a\x05\x01\x03\x00\x41\x80",                                             // that ends early
		fn + "\x0a\x04\x02\x02\x00\x0b",                                                 // more code than functions
		fn + "\x0a\x05\x01\x83\x80\x80\x10",                                             // longer than what is there
		fn + "\x0a\x08\x01\x06\xff\xff\xff\xff\x0f\x0b",                                 // locals without end
		fn + "\x0a\x10\x01\x0e\x00\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x0b", // a number of 11 bytes
	} {
		_, err := wasmbin.Interruptible([]byte(wasm))
		if e, ok := errors.AsType[*wasmbin.FormatError](err); !ok || e.Offset < 8 || e.Offset > int64(len(wasm)) {
			t.Errorf("%q: %v", wasm, err)
		}
	}
	if out, err := wasmbin.Interruptible([]byte(header)); err != nil || string(out) != header {
		t.Errorf("%q, %v", out, err)
	}
}

// What the compiler takes is understood, and still compiles.
func FuzzInterruptible(f *testing.F) {
	ctx := context.Background()
	wasm, err := hex.DecodeString(metered)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wasm)
	f.Add(growing("\x01\x70\x00\x02"))
	f.Add([]byte(header + section(1, "\x01\x60\x00\x00") + section(9, "\xff\xff\xff\xff\x0f"))) // which the compiler must not be given
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features))
	defer rt.Close(ctx)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		out, err := wasmbin.Interruptible(wasm)
		if _, derr := wasmbin.Decode(wasm); derr != nil {
			if err == nil {
				t.Fatal("it cannot be decoded")
			}
			return
		}
		if _, berr := wasmbin.Bound(wasm, 1<<20); berr != nil {
			return
		}
		mod, cerr := rt.CompileModule(ctx, wasm)
		if cerr != nil {
			return
		}
		mod.Close(ctx)
		if err != nil && strings.Contains(err.Error(), "typed reference") {
			return
		} else if err != nil {
			t.Fatalf("it compiles, and: %v", err)
		}
		if mod, cerr = rt.CompileModule(ctx, out); cerr != nil {
			t.Fatal(cerr)
		}
		mod.Close(ctx)
	})
}

// TestInterruptibleBounds has functions whose branches, times their variables,
// are more than a compiler should be asked to take.
func TestInterruptibleBounds(t *testing.T) {
	// A function with loops, each left in two ways, and all of its locals used.
	branching := func(functions, loops, locals int, blockType string) string {
		body := "\x01" + leb(locals) + "\x7f" + strings.Repeat("\x03"+blockType+"\x20\x00\x0d\x00\x0b", loops) + "\x0b"
		return header + section(1, "\x02\x60\x00\x00\x60\x00"+leb(500)+strings.Repeat("\x7f", 500)) +
			section(3, leb(functions)+strings.Repeat("\x00", functions)) +
			section(10, leb(functions)+strings.Repeat(sized(body), functions))
	}
	nested := func(n int) string {
		return header + section(1, "\x01\x60\x00\x00") + section(3, "\x01\x00") +
			section(10, "\x01"+sized("\x00"+strings.Repeat("\x02\x40", n)+strings.Repeat("\x0b", n+1)))
	}
	for _, c := range []struct {
		name, wasm string
		want       string // of the error; empty: none
	}{
		{"a large function", branching(1, 1000, 1000, "\x40"), ""},
		{"one that is too large", branching(1, 1100, 1000, "\x40"), "between 1000 variables"},
		{"values of blocks", branching(1, 2200, 1, "\x01"), "between 1 variables"},
		{"nested blocks", nested(10_000), ""},
		{"too many nested blocks", nested(20_000), "between 0 variables"},
		{"many", branching(40, 100, 1000, "\x40"), "so many branches"},
		{"many small ones", branching(1000, 10, 30, "\x40"), ""},
	} {
		if _, err := wasmbin.Decode([]byte(c.wasm)); err != nil {
			t.Fatal(err)
		}
		_, err := wasmbin.Interruptible([]byte(c.wasm))
		limit, ok := errors.AsType[*wasmbin.LimitError](err)
		if c.want == "" && err != nil || c.want != "" && (!ok || !strings.Contains(limit.What, c.want)) {
			t.Errorf("%s: %v, not %q", c.name, err, c.want)
		}
	}
}
