package wasmbin_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

func leb(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }

func sized(s string) string { return leb(len(s)) + s }

func section(id byte, body string) string { return string([]byte{id}) + sized(body) }

// TestBound has modules announce what is not there, which a compiler that
// believes them would allocate memory for.
func TestBound(t *testing.T) {
	const all = "\xff\xff\xff\xff\x0f" // 2^32-1
	start := header + section(1, "\x01\x60\x00\x00") + section(3, "\x01\x00")
	table := section(4, "\x01\x70\x00\x01")
	memory := section(5, "\x01\x00\x01")
	export := section(7, "\x01\x03run\x00\x00")
	code := section(10, "\x01\x02\x00\x0b")
	locals := func(functions, n int) string {
		return header + section(1, "\x01\x60\x00\x00") + section(3, leb(functions)+strings.Repeat("\x00", functions)) +
			section(10, leb(functions)+strings.Repeat(sized("\x01"+leb(n)+"\x7f\x0b"), functions))
	}
	elements := func(n int) string {
		return start + table + section(9, "\x01\x01\x00"+leb(n)+strings.Repeat("\x00", n)) + code
	}
	names := func(s string) string { return start + code + section(0, "\x04name"+s) }
	for _, c := range []struct {
		name, wasm string
		want       string // of the error; empty: none
	}{
		{"nothing", header, ""},
		{"small", start + table + memory + export + code, ""},
		{"data, elements, globals, names", start + table + memory +
			section(6, "\x02\x7f\x00\x41\x07\x0b\x7b\x01\xfd\x0c"+strings.Repeat("x", 16)+"\x0b") +
			section(9, "\x02\x00\x41\x00\x0b\x01\x00\x05\x70\x02\xd2\x00\x0b\xd0\x70\x0b") + code +
			section(11, "\x02\x00\x41\x00\x0b\x03abc\x01\x00") +
			section(0, "\x04name\x00\x02\x01m\x01\x04\x01\x00\x01f\x02\x06\x01\x00\x01\x00\x01x") + section(0, "\x01c\xff"), ""},
		{"functions", start + section(10, all+"\x02\x00\x0b"), "elements in 3 bytes"},
		{"elements", start + table + section(9, all) + code, "elements in 0 bytes"},
		{"elements of one", start + table + section(9, "\x01\x00\x41\x00\x0b"+all) + code, "elements in 0 bytes"},
		{"data", start + memory + code + section(11, all), "elements in 0 bytes"},
		{"data of one", start + memory + code + section(11, "\x01\x00\x41\x00\x0b"+all), "4294967295 bytes are announced and 0"},
		{"globals", start + section(6, all) + code, "elements in 0 bytes"},
		{"tables", start + section(4, all) + code, "elements in 0 bytes"},
		{"tags", start + section(13, all) + code, "elements in 0 bytes"},
		{"elements of a typed reference", start + table + section(9, "\x01\x05\x63\x00"+all) + code, "at byte 0x1c: a typed reference"},
		{"a global of a typed reference", start + section(6, "\x01\x64\x00\x00\x41\x00\x0b"+all) + code, "a typed reference"},
		{"a local of a typed reference", start + section(10, "\x01\x05\x01\x01\x63\x70\x0b"), "a typed reference"},
		{"many", header + section(6, leb(1_000_001)+strings.Repeat("\x7f\x00\x41\x00\x0b", 1_000_001)), "more than 1000000"},
		{"a long name", start + code + "\x00\x05" + all, "4294967295 bytes are announced and 0"},
		{"a body", start + section(10, "\x01"+all), "4294967295 bytes are announced and 0"},
		{"locals", locals(1, 50_000), ""},
		{"too many locals", locals(1, 50_001), "50001 locals of a function"},
		{"too many locals together", locals(9, 10_000), "10000 locals of a function, and it may have"},
		{"2^32 locals", locals(1, 1<<32-1), "4294967295 locals of a function"},
		{"elements for a table", elements(100), ""},
		{"elements for no table", elements(101), "101 elements for its tables"},
		{"names", names("\x01\x06" + all), "dropped"},
		{"names of locals", names("\x02\x08\x01\x00" + all), "dropped"},
		{"names cut off", names("\x01\x7f\x01"), "dropped"},
	} {
		if _, err := wasmbin.Decode([]byte(c.wasm)); err != nil && c.want == "" {
			t.Fatalf("%s: %v", c.name, err)
		}
		out, err := wasmbin.Bound([]byte(c.wasm), 100)
		var format *wasmbin.FormatError
		var limit *wasmbin.LimitError
		switch {
		case c.want == "dropped":
			if err != nil || string(out) != start+code {
				t.Errorf("%s: %q, %v", c.name, out, err)
			}
		case c.want != "":
			if !errors.As(err, &format) && !errors.As(err, &limit) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, not %q", c.name, err, c.want)
			}
			continue
		case err != nil || string(out) != c.wasm:
			t.Errorf("%s: changed or refused: %v", c.name, err)
		}
		rt := wazero.NewRuntime(context.Background())
		if _, err := rt.CompileModule(context.Background(), out); err != nil {
			t.Errorf("%s: compiling: %v", c.name, err)
		}
		rt.Close(context.Background())
	}
}

// FuzzBound finds that Bound refuses nothing that the compiler takes, but for
// its own bounds.
func FuzzBound(f *testing.F) {
	f.Add(growing("\x02\x70\x00\x02\x70\x01\x02\x0a"))
	f.Add([]byte(header + section(1, "\x01\x60\x00\x00") + section(3, "\x01\x00") + section(4, "\x01\x70\x00\x05") + section(5, "\x01\x00\x01") +
		section(6, "\x01\x7f\x00\x41\x07\x0b") + section(9, "\x02\x00\x41\x00\x0b\x01\x00\x05\x70\x02\xd2\x00\x0b\xd0\x70\x0b") +
		section(10, "\x01\x04\x01\x03\x7f\x0b") + section(11, "\x02\x00\x41\x00\x0b\x03abc\x01\x00")))
	rt := wazero.NewRuntime(context.Background())
	f.Cleanup(func() { rt.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if _, err := wasmbin.Decode(wasm); err != nil {
			return
		}
		out, err := wasmbin.Bound(wasm, 1<<20)
		given := out
		if err != nil {
			if !strings.Contains(err.Error(), "of unknown form") && !strings.Contains(err.Error(), "in a constant expression") && !strings.Contains(err.Error(), "no value type") {
				return // the compiler might allocate what it announces
			}
			given = wasm
		}
		mod, compiled := rt.CompileModule(context.Background(), given)
		if err != nil && compiled == nil {
			t.Errorf("the compiler takes it, and Bound says %v", err)
		}
		if compiled == nil {
			mod.Close(context.Background())
		}
	})
}
