package wasmbin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

const header = "\x00asm\x01\x00\x00\x00"

// growing is a module with a table without a bound, and a function that grows
// it:
//
//	(module (table 2 funcref)
//	  (func (export "grow") (param i32) (result i32) (table.grow 0 (ref.null func) (local.get 0))))
func growing(tables string) []byte {
	return []byte(header +
		"\x01\x06\x01\x60\x01\x7f\x01\x7f" +
		"\x03\x02\x01\x00" +
		"\x04" + string([]byte{byte(len(tables))}) + tables +
		"\x07\x08\x01\x04grow\x00\x00" +
		"\x0a\x0b\x01\x09\x00\xd0\x70\x20\x00\xfc\x0f\x00\x0b")
}

func TestCapTables(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		tables  string
		changed bool
		limit   bool
		format  string
	}{
		{"\x01\x70\x00\x02", true, false, ""},
		{"\x01\x70\x01\x02\xff\xff\xff\xff\x0f", true, false, ""},
		{"\x01\x70\x01\x02\x0a", false, false, ""},
		{"\x02\x70\x00\x02\x70\x01\x02\x0a", true, false, ""},
		{"\x01\x70\x00\x80\x80\x04", false, true, ""},
		{"\x04\x70\x00\x01\x70\x00\x01\x70\x00\x01\x70\x00\x01", false, true, ""},
		{"\x01\x63\x70\x00\x02", false, false, "a typed reference"},
		{"\x01\x40\x00\x70\x00\x02\xd0\x70\x0b", false, false, "no value type 0x40"}, // with an initial value
		{"\x01\x70\x02\x02", false, false, "flags 0x2"},
		{"\x01\x70\x00\x02\x70", false, false, "shorter than their section"},
	} {
		wasm := growing(c.tables)
		if _, err := wasmbin.Decode(wasm); err != nil {
			t.Fatal(err)
		}
		out, err := wasmbin.CapTables(wasm, 100, 3)
		if _, ok := errors.AsType[*wasmbin.LimitError](err); ok != c.limit {
			t.Errorf("%q: %v", c.tables, err)
		}
		if format, ok := errors.AsType[*wasmbin.FormatError](err); ok != (c.format != "") || ok && !strings.Contains(format.What, c.format) {
			t.Errorf("%q: %v", c.tables, err)
		}
		if err != nil {
			continue
		}
		if changed := string(out) != string(wasm); changed != c.changed {
			t.Errorf("%q: changed %v", c.tables, changed)
		}
		rt := wazero.NewRuntime(ctx)
		mod, err := rt.Instantiate(ctx, out)
		if err != nil {
			t.Fatal(err)
		}
		grow := mod.ExportedFunction("grow")
		most := uint64(98)
		if !c.changed {
			most = 8
		}
		if res, err := grow.Call(ctx, most+1); err != nil || int32(res[0]) != -1 {
			t.Errorf("%q: over the bound: %v, %v", c.tables, res, err)
		}
		if res, err := grow.Call(ctx, most); err != nil || res[0] != 2 {
			t.Errorf("%q: to the bound: %v, %v", c.tables, res, err)
		}
		rt.Close(ctx)
	}
}

func TestDecode(t *testing.T) {
	good := header +
		"\x00\x0b\x04name\x00\x04\x03mod" +
		"\x01\x0c\x02\x60\x02\x7f\x7e\x01\x7f\x60\x00\x02\x7d\x7b" +
		"\x02\x0f\x02\x01a\x01f\x00\x01\x01b\x01m\x02\x01\x01\x02" +
		"\x03\x02\x01\x00" +
		"\x07\x09\x02\x01f\x00\x00\x01g\x00\x01" +
		"\x08\x01\x01"
	m, err := wasmbin.Decode([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "mod" || !m.HasStart || len(m.Imports) != 2 || m.Imports[0].Type.String() != "() -> (f32, v128)" ||
		m.Imports[1].Memory != (wasmbin.Limits{Min: 1, Max: 2, HasMax: true}) {
		t.Errorf("%+v", m)
	}
	if e, ok := m.Export("g", wasmbin.Func); !ok || e.Type.String() != "(i32, i64) -> i32" {
		t.Errorf("%+v", m.Exports)
	}
	// Cut anywhere, it is an error with an offset inside, or a shorter module.
	for n := range len(good) {
		_, err := wasmbin.Decode([]byte(good[:n]))
		if e, ok := errors.AsType[*wasmbin.FormatError](err); err != nil && (!ok || e.Offset < 0 || e.Offset > int64(n)) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for text, want := range map[string]string{
		"":                                                      "begin",
		"\x00asm\x02\x00\x00\x00":                               "version",
		"\x00asm\x0d\x00\x01\x00":                               "component",
		header + "\x0e\x00":                                     "no section 14",
		header + "\x01\x02\x01\x5f":                             "no function type",
		header + "\x01\x05\xff\xff\xff\xff\x7f":                 "more than 32 bits",
		header + "\x01\x05\xff\xff\xff\xff\x0f":                 "elements in",
		header + "\x02\x05\x01\x01\xff\x01a":                    "not UTF-8",
		header + "\x02\x07\x01\x01a\x01b\x00\x00":               "no type 0",
		header + "\x01\x04\x01\x60\x00\x00\x03\x03\x02\x00\x01": "at byte 0x13: there is no type 1",
		header + "\x02\x06\x01\x01a\x01b\x09":                   "unknown kind",
		header + "\x07\x05\x01\x01f\x00\x07":                    "no function 7",
		header + "\x05\x04\x01\x00\x01\x00":                     "longer than what it holds",
		header + "\x01\x07\x01\x60\x01\x63\x70\x00\x00":         "at byte 0xd: a typed reference",
		header + "\x02\x0a\x01\x01a\x01b\x01\x63\x00\x00\x02":   "a typed reference",
		header + "\x02\x09\x01\x01a\x01b\x03\x64\x70\x00":       "a typed reference",
		header + "\x02\x08\x01\x01a\x01b\x03\x40\x00":           "no value type 0x40",
	} {
		if _, err := wasmbin.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzCapTables(f *testing.F) {
	f.Add(growing("\x02\x70\x00\x02\x70\x01\x02\x0a"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if _, err := wasmbin.Decode(wasm); err != nil {
			return
		}
		out, err := wasmbin.CapTables(wasm, 100, 3)
		if err != nil {
			return
		}
		if _, err := wasmbin.Decode(out); err != nil {
			t.Fatal(err)
		}
		if again, err := wasmbin.CapTables(out, 100, 3); err != nil || string(again) != string(out) {
			t.Fatal("it is changed again", err)
		}
	})
}
