package component

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
