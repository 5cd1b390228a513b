package binary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const header = "\x00asm\x0d\x00\x01\x00"

func sized(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

// sect is a section of a component.
func sect(id byte, body ...byte) []byte { return append([]byte{id}, sized(body)...) }

func component(sections ...[]byte) []byte {
	return append([]byte(header), bytes.Join(sections, nil)...)
}

// TestBounds decodes what is made to cost much, or to be refused for a reason
// that the error has to name.
func TestBounds(t *testing.T) {
	deep := component()
	for range 100 {
		deep = component(sect(secComponent, deep...))
	}
	types := []byte{}
	for range 100 {
		types = append(types, 0x42, 1, 1) // an instance type with a type in it
	}
	// An index of a type is a signed number.
	index := func(i byte) []byte {
		if i < 64 {
			return []byte{i}
		}
		return []byte{i | 0x80, 0}
	}
	// Lists of lists, each of the one before.
	lists := []byte{0x70, 0x7d}
	for i := range byte(110) {
		lists = append(append(lists, 0x70), index(i)...)
	}
	// Tuples of two of the one before: 2^110 bytes.
	tuples := []byte{0x7d}
	for i := range byte(110) {
		tuples = append(append(append(tuples, 0x6f, 2), index(i)...), index(i)...)
	}
	// Variants of two of the one before: small, and with 2^90 ways through them.
	variants := []byte{0x7d}
	for i := range byte(90) {
		variants = append(append(variants, 0x71, 2, 1, 'a', 1), index(i)...)
		variants = append(append(append(variants, 0, 1, 'b', 1), index(i)...), 0)
	}
	// An instance type with 10,000 resources, imported 10,000 times.
	wide := binary.AppendUvarint([]byte{0x42}, 10_000)
	for i := range 10_000 {
		name := append([]byte("r"), strings.Repeat("a", i%50+1)+"-"+strings.Repeat("b", i/50%50+1)+"-"+strings.Repeat("c", i/2500+1)...)
		wide = append(append(append(wide, 4, 0), sized(name)...), 3, 1)
	}
	imports := binary.AppendUvarint(nil, 10_000)
	for i := range 10_000 {
		name := []byte("i" + strings.Repeat("a", i%50+1) + "-" + strings.Repeat("b", i/50%50+1) + "-" + strings.Repeat("c", i/2500+1))
		imports = append(append(append(imports, 0), sized(name)...), 5, 0)
	}
	repeat := func(n int, one []byte) []byte { return bytes.Repeat(one, n) }
	many := func(n int, one ...byte) []byte {
		return append(binary.AppendUvarint(nil, uint64(n)), repeat(n, one)...)
	}
	core := func(sections ...[]byte) []byte {
		return sect(secCoreModule, append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Join(sections, nil)...)...)
	}
	// As many names, with something before and behind each.
	const often = 8000
	named := func(more int, first []byte, before, after string) []byte {
		b := append(binary.AppendUvarint(nil, uint64(often+more)), first...)
		for i := range often {
			b = append(append(append(b, before...), sized(fmt.Appendf(nil, "n%d", i))...), after...)
		}
		return b
	}
	// A function that takes the first of many resources, and is exported as often.
	index8000 := binary.AppendUvarint(nil, often)
	taker := component(sect(secImport, named(0, nil, "\x00", "\x03\x01")...),
		sect(secType, append(append([]byte{2, 0x69, 0, 0x40, 1, 1, 'a'}, index8000...), 1, 0)...),
		sect(secImport, append([]byte{1, 0, 1, 'f', 1}, binary.AppendUvarint(nil, often+1)...)...),
		sect(secExport, named(0, nil, "\x00", "\x01\x00\x00")...))
	// A component, or core module, that imports nothing, exported again and again
	// as one that imports much.
	modest := component(sect(secType, append([]byte{1, 0x41}, named(1, []byte{1, 0x40, 0, 1, 0}, "\x03\x00", "\x01\x00")...)...),
		sect(secComponent, component()...), sect(secExport, named(0, nil, "\x00", "\x04\x00\x01\x04\x00")...))
	modestCore := component(sect(secCoreType, append([]byte{1, 0x50}, named(1, []byte{1, 0x60, 0, 0}, "\x00\x00", "\x00\x00")...)...),
		sect(secCoreModule, []byte("\x00asm\x01\x00\x00\x00")...), sect(secExport, named(0, nil, "\x00", "\x00\x11\x00\x01\x00\x11\x00")...))
	// Types of which each has an instance, or a component, of the one before.
	chain := func(code, sort byte) []byte {
		b := []byte{102, code, 0}
		for i := range byte(101) {
			b = append(b, code, 2, 2, 3, 2, 1, i, 4, 0, 1, 'a', sort, 0)
		}
		return component(sect(secType, b...))
	}
	two := []byte{60, 0x42, 0}
	for i := range byte(59) {
		two = append(two, 0x42, 3, 2, 3, 2, 1, i, 4, 0, 1, 'a', 5, 0, 4, 0, 1, 'b', 5, 0)
	}
	twos := func(more ...[]byte) []byte { return component(append(sections(sect(secType, two...)), more...)...) }
	doubled := component()
	for range 60 {
		doubled = component(sect(secComponent, doubled...), sect(secInstance, 2, 0, 0, 0, 0, 0, 0),
			exported("a", itemInstance(0)...), exported("b", itemInstance(1)...))
	}
	exports := func(n int) []byte {
		b := binary.AppendUvarint(nil, uint64(n))
		for i := range n {
			b = append(append(append(b, 0), sized(fmt.Appendf(nil, "a%d", i))...), 3, 0, 0)
		}
		return b
	}
	for _, c := range []struct {
		name, want string // "" is no error
		b          []byte
	}{
		{"empty", "", component()},
		{"deep components", "more than 64 deep", deep},
		{"deep types", "more than 64 deep", component(sect(secType, append([]byte{1}, types...)...))},
		{"deep lists", "nested too deep", component(sect(secType, append([]byte{111}, lists...)...))},
		{"a tuple of 2^110 bytes", "2^28 bytes", component(sect(secType, append([]byte{111}, tuples...)...))},
		{"a variant of 2^90 ways", "", component(sect(secType, append([]byte{91}, variants...)...))},
		{"a wide instance imported often", "types of the component are too large",
			component(sect(secType, append([]byte{1}, wide...)...), sect(secImport, imports...))},
		{"a resource of many in many exports", "", taker},
		{"a component as one that imports much", "types of the component are too large", modest},
		{"a core module as one that imports much", "types of the component are too large", modestCore},
		{"many tuples", "more than 2000000 definitions", component(sect(secType, many(1_000_001, 0x6f, 1, 0x7d)...))},
		{"a long tuple", "10001 elements of a tuple are more than 10000", component(sect(secType, append([]byte{1, 0x6f}, many(10_001, 0x7d)...)...))},
		{"a long enum", "10001 labels are more than 10000", component(sect(secType, append([]byte{1, 0x6d}, many(10_001, 1, 'a')...)...))},
		{"a function of many parameters", "1001 parameters are more than 1000", component(sect(secType, append([]byte{1, 0x40}, many(1001, 1, 'a', 0x7d)...)...))},
		{"a core function of many parameters", "1001 core value types are more than 1000", component(core(sect(1, append([]byte{1, 0x60}, many(1001, 0x7f)...)...)))},
		{"instances in each other", "more than 100 deep in each other", chain(0x42, 5)},
		{"components in each other", "more than 100 deep in each other", chain(0x41, 4)},
		{"instances of two of the one before", "types of the component are too large", twos(imported("a", asInstance(59)...))},
		{"instances of two of the one before, as a type", "types of the component are too large", twos(exported("a", itemType(59)...))},
		{"instances of two of the one before, that nothing has", "", twos()},
		{"an instance of many types imported often", "types of the component are too large",
			component(sect(secType, append([]byte{1}, append(binary.AppendUvarint([]byte{0x42}, often+1), named(0, []byte{1, 0x7d}, "\x04\x00", "\x03\x00\x00")[2:]...)...)...),
				sect(secImport, named(0, nil, "\x00", "\x05\x00")...))},
		{"components that make two of the one before", "types of the component are too large", doubled},
		{"many exports", "more than 200000 imports and exports", component(sect(secType, 1, 0x7d), sect(secExport, exports(200_001)...))},
		{"many core functions", "more than 2000000 definitions", component(core(sect(1, 1, 0x60, 0, 0), sect(3, many(2_000_001, 0)...)))},
		{"parts of several", "more than 2000000 definitions", component(
			core(sect(1, 1, 0x60, 0, 0), sect(3, many(1_000_000, 0)...)), core(sect(1, many(400_000, 0x60, 0, 0)...)), sect(secType, many(700_000, 0x7d)...))},
		{"1000 core modules", "", component(repeat(1000, core()))},
		{"1001 core modules", "more than 1000 core modules", component(repeat(1001, core()))},
		{"1000 components", "more than 1000 components", component(repeat(1000, sect(secComponent, component()...)))},
		{"10001 canonical definitions", "more than 10000 canonical definitions",
			component(sect(secType, 1, 0x3f, 0x7f, 0), sect(secCanon, many(10_001, 3, 0)...))},
		{"a core section twice", "section 1 of a core module is there twice", component(core(sect(1, 0), sect(1, 0)))},
		{"an unknown core section", "0 to 13", component(core(sect(14)))},
		{"an import twice", `imports "a" "" twice`, component(core(sect(1, 1, 0x60, 0, 0), sect(2, 2, 1, 'a', 0, 0, 0, 1, 'a', 0, 0, 0)))},
		{"a memory of 65537 pages", "more than 65536 pages", component(core(sect(5, 1, 0, 0x81, 0x80, 4)))},
		{"a count of 2^32-1", "are announced in", component(sect(secType, 0xff, 0xff, 0xff, 0xff, 0x0f))},
		{"a name of 2^32-1 bytes", "more than 100000", component(sect(secImport, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f))},
		{"a number of 40 bits", "more than 32 bits", component(sect(secType, 0xff, 0xff, 0xff, 0xff, 0x7f))},
		{"an unknown section", "0 to 12", component(sect(13))},
		{"a section that is too long", "expected the end of the section", component(sect(secType, 0, 0))},
		{"a section beyond the end", "are left", append(component(), secType, 5)},
		{"a type that is not there", "there is no type 3", component(sect(secType, 1, 0x70, 3))},
		{"itself", "there is no type 0", component(sect(secType, 1, 0x70, 0))},
		{"stream", "streams are not supported", component(sect(secType, 1, 0x66, 0))},
		{"future", "futures are not supported", component(sect(secType, 1, 0x65, 0))},
		{"error-context", "error contexts are not supported", component(sect(secType, 1, 0x70, 0x64))},
		{"async function", "async functions are not supported", component(sect(secType, 1, 0x43, 0, 1, 0))},
		{"task.return", "task.return is not supported", component(sect(secCanon, 1, 9, 1, 0, 0))},
		{"start", "start functions of components are not supported", component(sect(secStart, 0, 0, 0))},
		{"value", "values of components are not supported", component(sect(secValue, 0))},
		{"core module", "found a core module", []byte("\x00asm\x01\x00\x00\x00")},
		{"text", `begins with "\0asm"`, []byte("(component)")},
		{"nothing", `begins with "\0asm"`, nil},
	} {
		_, err := Decode(c.b)
		broken, ok := errors.AsType[*FormatError](err)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!ok || !strings.Contains(broken.What, c.want)):
			t.Errorf("%s: %v, not %q", c.name, err, c.want)
		}
	}
}

// TestPeople has sections for people with more text than there can be of it.
func TestPeople(t *testing.T) {
	producers := func(field string, values int) []byte {
		b := append(sized([]byte("producers")), 1)
		b = binary.AppendUvarint(append(b, sized([]byte(field))...), uint64(values))
		for range values {
			b = append(b, 1, 'v', 3, '1', '.', '2')
		}
		return sect(secCustom, b...)
	}
	c, err := Decode(component(producers("made-by", 2)))
	if err != nil || len(c.Producers) != 2 || c.Producers[1] != "made-by: v 1.2" {
		t.Errorf("%q, %v", c.Producers, err)
	}
	inner := component(bytes.Repeat(producers(strings.Repeat("f", 50_000), 60_000), 3))
	c, err = Decode(component(sect(secComponent, inner...), producers(strings.Repeat("g", 50_000), 60_000)))
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, c := range []*Component{c, c.Defs[0].(*DefComponent).Component} {
		for _, p := range c.Producers {
			size += len(p)
		}
	}
	if size > 70_000 {
		t.Errorf("%d bytes of text", size)
	}
}

// TestWeight has what an instance of a core module takes, by what it has.
func TestWeight(t *testing.T) {
	fn := slices.Concat(sect(1, 1, 0x60, 0, 0), sect(3, 1, 0))
	code := sect(10, 1, 2, 0, 0x0b)
	for name, c := range map[string]struct {
		module   []byte
		weight   int
		elements uint64
	}{
		"nothing":    {module(), 0, 0},
		"a function": {module(fn, code), 1, 0},
		"tables":     {module(sect(4, 2, 0x70, 0, 3, 0x70, 1, 4, 9)), 2, 12},
		"elements":   {module(fn, sect(9, slices.Concat([]byte{1, 1, 0}, binary.AppendUvarint(nil, 8000), make([]byte, 8000))...), code), 1001, 0},
		"data":       {module(sect(5, 1, 0, 1), sect(11, 2, 1, 1, 'a', 1, 1, 'b')), 3, 0},
	} {
		d, err := Decode(component(c.module))
		if err != nil {
			t.Fatal(err)
		}
		if typ := d.Defs[0].(*DefModule).Type; typ.Weight != c.weight || typ.Elements != c.elements {
			t.Errorf("%s: it weighs %d, with %d elements", name, typ.Weight, typ.Elements)
		}
	}
}
