package binary

import (
	"bytes"
	"errors"
	"testing"
)

// coreModules are those of a component and of the ones in it, in the order of
// their numbers.
func coreModules(c *Component) (out []*DefModule) {
	for _, d := range c.Defs {
		switch d := d.(type) {
		case *DefModule:
			out = append(out, d)
		case *DefComponent:
			out = append(out, coreModules(d.Component)...)
		}
	}
	return out
}

// TestPrepare has each core module get a section more, and nothing else change.
func TestPrepare(t *testing.T) {
	more := []byte("\x00\x03\x01xy")
	several := 0
	for name, b := range samples(t) {
		before, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		want := coreModules(before)
		n := 0
		prepared, err := Prepare(b, func(order int, offset int64, core []byte) ([]byte, error) {
			if order != n || n >= len(want) || want[n].Order != n || offset != want[n].Offset || !bytes.Equal(core, want[n].Bytes) {
				t.Errorf("%s: core module %d (of %d) at %d", name, order, len(want), offset)
			}
			n++
			return append(bytes.Clone(core), more...), nil
		})
		if err != nil || n != len(want) {
			t.Fatalf("%s: %d core modules of %d, %v", name, n, len(want), err)
		}
		after, err := Decode(prepared)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, m := range coreModules(after) {
			if m.Order != i || !bytes.Equal(m.Bytes, append(bytes.Clone(want[i].Bytes), more...)) {
				t.Errorf("%s: core module %d is another", name, i)
			}
		}
		same, err := Prepare(prepared, func(_ int, _ int64, core []byte) ([]byte, error) { return core[:len(core)-len(more)], nil })
		if err != nil {
			t.Fatal(err)
		}
		twice, err := Prepare(same, func(_ int, _ int64, core []byte) ([]byte, error) { return core, nil })
		if err != nil || !bytes.Equal(same, twice) {
			t.Errorf("%s: it changes again, %v", name, err)
		}
		if len(after.Defs) != len(before.Defs) {
			t.Errorf("%s: %d definitions, and it had %d", name, len(after.Defs), len(before.Defs))
		}
		if len(want) > 1 {
			several++
			refused := errors.New("refused")
			if _, err := Prepare(b, func(order int, _ int64, core []byte) ([]byte, error) {
				if order == 1 {
					return nil, refused
				}
				return core, nil
			}); err != refused {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if several == 0 {
		t.Error("no component has several core modules")
	}
}
