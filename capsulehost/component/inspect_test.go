package component

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/component/binary"
)

// decodeFile decodes a component of testdata.
func decodeFile(tb testing.TB, name string) *Component {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	c, err := Decode(b)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestText compares the text of what components import and export with that in
// the file beside each.
func TestText(t *testing.T) {
	for _, name := range []string{"conformance", "types"} {
		c := decodeFile(t, name+".wasm")
		got := Text("import", c.Imports()) + Text("export", c.Exports())
		file := filepath.Join("testdata", name+".txt")
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is:\n%s", file, got)
		}
	}
}

// TestLongTexts writes 10,000 functions of a type whose text is long.
func TestLongTexts(t *testing.T) {
	wide := &binary.ValType{Kind: binary.Bool}
	for range 4 {
		up := &binary.ValType{Kind: binary.Tuple}
		for range 10 {
			up.Fields = append(up.Fields, binary.Field{Type: wide})
		}
		wide = up
	}
	f := binary.NewFuncType([]binary.Field{{Name: "a", Type: wide}}, nil)
	var l []binary.Extern
	for range 10_000 {
		l = append(l, binary.Extern{Name: "f", Entity: binary.Entity{Sort: binary.Func, Type: f}})
	}
	got := externsOf(l, &texts{})
	if n := len(Text("import", got)); n > maxTexts+100*len(l) {
		t.Errorf("%d bytes", n)
	}
	if n := len(got[0].Type); n < maxText || n > 2*maxText {
		t.Errorf("the first has %d bytes", n)
	}
	if last := got[len(l)-1].Type; last != "…" {
		t.Errorf("the last is %.100q", last)
	}
}

func TestMethods(t *testing.T) {
	for _, e := range decodeFile(t, "conformance.wasm").Imports() {
		for _, i := range e.Items {
			if strings.HasPrefix(i.Name, "[") {
				t.Errorf("%s is not within its resource", i.Name)
			}
			if i.Kind == "resource" && len(i.Items) != 6 {
				t.Errorf("%s has %d methods", i.Name, len(i.Items))
			}
		}
	}
}
