package binary

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// What follows writes parts of components. Types, functions and so on are
// numbered as they come; an import or export of one makes a further number.

func list(items ...[]byte) []byte { return append([]byte{byte(len(items))}, bytes.Join(items, nil)...) }

func types(defs ...[]byte) []byte { return sect(secType, list(defs...)...) }

func extern(name string) []byte { return append([]byte{0}, sized([]byte(name))...) }

// imported and exported are with the type, or index, that describes the thing.
func imported(name string, what ...byte) []byte {
	return sect(secImport, append([]byte{1}, append(extern(name), what...)...)...)
}

func exported(name string, what ...byte) []byte {
	return sect(secExport, append([]byte{1}, append(extern(name), what...)...)...)
}

// Declarations of types of instances and components.
func declType(def ...byte) []byte { return append([]byte{1}, def...) }
func declImport(name string, what ...byte) []byte {
	return append(append([]byte{3}, extern(name)...), what...)
}
func declExport(name string, what ...byte) []byte {
	return append(append([]byte{4}, extern(name)...), what...)
}
func declOuterType(count, index byte) []byte { return []byte{2, 3, 2, count, index} }

func instanceType(decls ...[]byte) []byte  { return append([]byte{0x42}, list(decls...)...) }
func componentType(decls ...[]byte) []byte { return append([]byte{0x41}, list(decls...)...) }

// The types of things: t is the number of a type.
func asFunc(t byte) []byte      { return []byte{1, t} }
func asType(t byte) []byte      { return []byte{3, 0, t} }
func asComponent(t byte) []byte { return []byte{4, t} }
func asInstance(t byte) []byte  { return []byte{5, t} }

var asResource = []byte{3, 1}

// What is exported, with no type of its own.
func itemFunc(i byte) []byte     { return []byte{1, i, 0} }
func itemType(i byte) []byte     { return []byte{3, i, 0} }
func itemInstance(i byte) []byte { return []byte{5, i, 0} }

// itemAs is with a type of its own.
func itemAs(item, as []byte) []byte { return append(append(item[:2:2], 1), as...) }

func aliasType(instance byte, name string) []byte {
	return sect(secAlias, append([]byte{1, 3, 0, instance}, sized([]byte(name))...)...)
}

func nested(sections ...[]byte) []byte { return sect(secComponent, component(sections...)...) }

// instantiate makes an instance of a component; each argument is name, sort and
// index.
func instantiate(c byte, args ...[]byte) []byte {
	return sect(secInstance, append([]byte{1, 0, c}, list(args...)...)...)
}

func arg(name string, item []byte) []byte { return append(sized([]byte(name)), item[:2]...) }

// gathered makes an instance of things that are there.
func gathered(items ...[]byte) []byte {
	return sect(secInstance, append([]byte{1, 1}, list(items...)...)...)
}

func item(name string, item []byte) []byte { return append(extern(name), item[:2]...) }

var (
	record   = []byte{0x72, 1, 1, 'x', 0x79}
	variant  = []byte{0x71, 1, 1, 'x', 0, 0}
	enum     = []byte{0x6d, 1, 1, 'x'}
	flags    = []byte{0x6e, 1, 1, 'x'}
	resource = []byte{0x3f, 0x7f, 0}
	noResult = []byte{0x40, 0, 1, 0}
)

func own(t byte) []byte       { return []byte{0x69, t} }
func borrow(t byte) []byte    { return []byte{0x68, t} }
func listOf(t byte) []byte    { return []byte{0x70, t} }
func tupleOf(t byte) []byte   { return []byte{0x6f, 1, t} }
func optionOf(t byte) []byte  { return []byte{0x6b, t} }
func resultOf(t byte) []byte  { return []byte{0x6a, 1, t, 0} }
func recordOf(t byte) []byte  { return []byte{0x72, 1, 1, 'r', t} }
func variantOf(t byte) []byte { return []byte{0x71, 1, 1, 'c', 1, t, 0} }

// answers is the type of a function with this result, takes of one with this
// parameter.
func answers(t byte) []byte { return []byte{0x40, 0, 0, t} }
func takes(name string, t byte) []byte {
	return append(append([]byte{0x40, 1}, sized([]byte(name))...), t, 1, 0)
}

// rule is a component and what is said of it; "" is that it is valid.
type rule struct {
	name, want string
	sections   [][]byte
}

func checkRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		_, err := Decode(component(r.sections...))
		broken, ok := errors.AsType[*FormatError](err)
		switch {
		case r.want == "" && err != nil:
			t.Errorf("%s: %v", r.name, err)
		case r.want != "" && (!ok || !strings.Contains(broken.What, r.want)):
			t.Errorf("%s: %v, not %q", r.name, err, r.want)
		}
	}
}

func sections(s ...[]byte) [][]byte { return s }

// TestVisible holds imports and exports to names for the resources, records,
// variants, enums and flags in their types.
func TestVisible(t *testing.T) {
	const toImport, toExport = "has to be imported before", "has to be imported or exported before"
	rules := []rule{
		{"a resource, named", "", sections(imported("r", asResource...), types(own(0), answers(1)), imported("f", asFunc(2)...))},
		{"an own resource in an import", "a resource type in it that " + toImport,
			sections(types(resource, own(0), answers(1)), imported("f", asFunc(2)...))},
		{"an exported resource in an import", toImport,
			sections(types(resource), exported("r", itemType(0)...), types(own(1), answers(2)), imported("f", asFunc(3)...))},
		{"an own resource as an import", toImport, sections(types(resource), imported("r", asType(0)...))},
		{"an own resource as an import of an instance", toImport,
			sections(types(resource, instanceType(declOuterType(1, 0), declExport("r", asType(0)...))), imported("i", asInstance(1)...))},
		{"an own resource in the type of an instance that is imported as a type", toImport,
			sections(types(resource, instanceType(declOuterType(1, 0), declExport("r", asType(0)...))), imported("i", asType(1)...))},
		{"an own resource in the type of an imported component", toImport,
			sections(types(resource, componentType(declOuterType(1, 0), declExport("r", asType(0)...))), imported("c", asComponent(1)...))},
		{"an own resource in the type of a component that is exported as a type", toExport,
			sections(types(resource, componentType(declOuterType(1, 0), declExport("r", asType(0)...))), exported("c", itemType(1)...))},
		{"an exported resource in the type of a component that is exported as a type", "",
			sections(types(resource, componentType(declOuterType(1, 0), declExport("r", asType(0)...))),
				exported("r", itemType(0)...), exported("c", itemType(1)...))},
		// The function's type is written with the resource itself, not with its name.
		{"a resource exported under a name that the function does not use", toExport,
			sections(imported("r", asResource...), types(own(0), answers(1)), imported("f", asFunc(2)...),
				nested(types(resource, own(0)), exported("r", itemType(0)...), types(listOf(1)), exported("l", itemType(3)...)))},
		{"that is exported as such", "",
			sections(nested(types(resource), exported("r", itemType(0)...), types(own(1), listOf(2)), exported("l", itemType(3)...)))},
		{"a function exported as of named types", "",
			sections(types(record), imported("a", asType(0)...), types(answers(1)), imported("f", asFunc(2)...),
				exported("b", itemType(0)...), types(answers(3)), exported("f", itemAs(itemFunc(0), asFunc(4))...))},
		{"a function exported as of a type without a name", toExport,
			sections(types(record), imported("a", asType(0)...), types(answers(1)), imported("f", asFunc(2)...),
				exported("b", itemType(0)...), types(answers(0)), exported("f", itemAs(itemFunc(0), asFunc(4))...))},
		{"names of exports are none for imports", toImport,
			sections(types(record), exported("a", itemType(0)...), types(answers(1)), imported("f", asFunc(2)...))},
		{"names of imports are for exports too", "",
			sections(types(record), imported("a", asType(0)...), types(recordOf(1)), exported("b", itemType(2)...))},
		{"an instance with a name in it", "",
			sections(types(record, instanceType(declType(record...), declExport("a", asType(0)...), declType(answers(1)...), declExport("f", asFunc(2)...))),
				imported("i", asInstance(1)...), aliasType(0, "a"), types(answers(2)), imported("f", asFunc(3)...))},
		{"an instance without", toImport,
			sections(types(instanceType(declType(record...), declType(answers(0)...), declExport("f", asFunc(1)...))), imported("i", asInstance(0)...))},
		{"an instance without, that nothing has", "",
			sections(types(instanceType(declType(record...), declType(answers(0)...), declExport("f", asFunc(1)...))))},
		{"the type of an instance with a name in it, imported as a type", "",
			sections(types(instanceType(declType(record...), declExport("a", asType(0)...), declType(answers(1)...), declExport("f", asFunc(2)...))),
				imported("i", asType(0)...))},
		// A type that is imported brings no names from within it, and neither does
		// it keep those out that an instance of it brings later.
		{"what is in it has no name then", toImport,
			sections(types(record, instanceType(declOuterType(1, 0), declExport("a", asType(0)...))), imported("i", asType(1)...),
				types(answers(0)), imported("f", asFunc(3)...))},
		{"an instance of it brings its names", "",
			sections(types(instanceType(declType(record...), declExport("a", asType(0)...))), imported("i", asType(0)...),
				imported("j", asInstance(0)...), aliasType(0, "a"), types(answers(2)), imported("f", asFunc(3)...))},
		{"an export of an instance after its import", "",
			sections(types(instanceType(declType(record...), declExport("a", asType(0)...))), imported("i", asInstance(0)...),
				exported("j", itemInstance(0)...), aliasType(1, "a"), types(answers(1)), imported("f", asFunc(2)...))},
		{"the type of a component with a record in an import", toImport,
			sections(types(componentType(declType(record...), declType(answers(0)...), declImport("f", asFunc(1)...))))},
		{"the type of a component with a record in an export", toExport,
			sections(types(componentType(declType(record...), declType(answers(0)...), declExport("f", asFunc(1)...))))},
		{"the type of a component that imports what it exports", toImport,
			sections(types(componentType(declExport("r", asResource...), declType(own(0)...), declType(answers(1)...), declImport("f", asFunc(2)...))))},
		{"the type of a component that exports what it imports", "",
			sections(types(componentType(declImport("r", asResource...), declType(own(0)...), declType(answers(1)...), declExport("f", asFunc(2)...))))},
		{"a name of the component around it", toImport,
			sections(types(record), imported("a", asType(0)...), nested(sect(secAlias, 1, 3, 2, 1, 1), types(answers(0)), imported("f", asFunc(1)...)))},
		{"gathered, and exported", "",
			sections(types(record), gathered(item("a", itemType(0))), exported("i", itemInstance(0)...), aliasType(1, "a"), types(recordOf(1)), exported("b", itemType(2)...))},
		{"gathered, and not exported", toExport,
			sections(types(record), gathered(item("a", itemType(0))), aliasType(0, "a"), types(recordOf(1)), exported("b", itemType(2)...))},
		{"gathered in an instance that is gathered", "",
			sections(types(record), gathered(item("a", itemType(0))), gathered(item("i", itemInstance(0))), exported("j", itemInstance(1)...), types(recordOf(0)), exported("b", itemType(1)...))},
		{"of an instance that is exported", "",
			sections(nested(types(record), exported("a", itemType(0)...)), instantiate(0), exported("i", itemInstance(0)...), aliasType(1, "a"),
				types(recordOf(0)), exported("b", itemType(1)...))},
		{"of an instance that is not", toExport,
			sections(nested(types(record), exported("a", itemType(0)...)), instantiate(0), aliasType(0, "a"), types(recordOf(0)), exported("b", itemType(1)...))},
		// What a component answers is of the types that it is given.
		{"a record through an instance", "",
			sections(types(record), imported("a", asType(0)...),
				nested(types(record), imported("a", asType(0)...), types(recordOf(1)), exported("b", itemType(2)...)),
				instantiate(0, arg("a", itemType(1))), aliasType(0, "b"), exported("b", itemType(2)...))},
		{"a record without a name through an instance", toExport,
			sections(types(record),
				nested(types(record), imported("a", asType(0)...), types(recordOf(1)), exported("b", itemType(2)...)),
				instantiate(0, arg("a", itemType(0))), aliasType(0, "b"), exported("b", itemType(1)...))},
		{"a record of an instance through an instance", "",
			sections(types(instanceType(declType(record...), declExport("a", asType(0)...))), imported("i", asInstance(0)...),
				nested(types(instanceType(declType(record...), declExport("a", asType(0)...))), imported("i", asInstance(0)...), aliasType(0, "a"),
					types(recordOf(1)), exported("b", itemType(2)...)),
				instantiate(0, arg("i", itemInstance(0))), aliasType(1, "b"), exported("b", itemType(1)...))},
		{"a resource through an instance", "",
			sections(types(resource), exported("r", itemType(0)...),
				nested(imported("x", asResource...), types(own(0), recordOf(1)), exported("b", itemType(2)...)),
				instantiate(0, arg("x", itemType(1))), aliasType(0, "b"), exported("b", itemType(2)...))},
		{"a resource without a name through an instance", toExport,
			sections(types(resource), exported("r", itemType(0)...),
				nested(imported("x", asResource...), types(own(0), recordOf(1)), exported("b", itemType(2)...)),
				instantiate(0, arg("x", itemType(0))), aliasType(0, "b"), exported("b", itemType(2)...))},
		// A record with a resource of this component, in an instance whose own
		// resources are new, is still the same record.
		{"a named record beside new resources", "",
			sections(imported("r", asResource...), types(own(0), recordOf(1)), imported("a", asType(2)...),
				types(instanceType(declOuterType(1, 3), declExport("s", asResource...), declType(answers(0)...), declExport("f", asFunc(2)...))),
				imported("i", asInstance(4)...))},
	}
	for name, def := range map[string][]byte{"a record": record, "a variant": variant, "an enum": enum, "a flags": flags} {
		rules = append(rules,
			rule{name + " without a name", name + " type in it that " + toImport, sections(types(def, answers(0)), imported("f", asFunc(1)...))},
			rule{name + " with a name", "", sections(types(def), imported("a", asType(0)...), types(answers(1)), imported("f", asFunc(2)...))},
			rule{name + " as an import", "", sections(types(def), imported("a", asType(0)...))},
			rule{name + " as an export", "", sections(types(def), exported("a", itemType(0)...))})
	}
	for name, of := range map[string]func(byte) []byte{"list": listOf, "tuple": tupleOf, "option": optionOf, "result": resultOf, "record": recordOf, "variant": variantOf} {
		rules = append(rules,
			rule{"a " + name + " of a record without a name", toExport, sections(types(record, of(0)), exported("a", itemType(1)...))},
			rule{"a " + name + " of a record with a name", "", sections(types(record), exported("a", itemType(0)...), types(of(1)), exported("b", itemType(2)...))},
			rule{"a " + name + " of numbers", "", sections(types(of(0x7d)), exported("b", itemType(0)...))})
	}
	checkRules(t, rules)
}

// TestAbstract exports a resource type as another one.
func TestAbstract(t *testing.T) {
	same := nested(imported("a", asResource...), imported("b", asType(0)...)) // takes a resource twice
	checkRules(t, []rule{
		{"two names", "", sections(nested(types(resource), exported("a", itemType(0)...), exported("b", itemType(0)...)), instantiate(0),
			aliasType(0, "a"), aliasType(0, "b"), same, instantiate(1, arg("a", itemType(0)), arg("b", itemType(1))))},
		{"two types", "not what the component imports", sections(nested(types(resource), exported("a", itemType(0)...), exported("b", itemAs(itemType(0), asResource)...)), instantiate(0),
			aliasType(0, "a"), aliasType(0, "b"), same, instantiate(1, arg("a", itemType(0)), arg("b", itemType(1))))},
		{"two types inside", "not what the component imports", sections(types(resource), exported("a", itemType(0)...), exported("b", itemAs(itemType(0), asResource)...),
			same, instantiate(0, arg("a", itemType(1)), arg("b", itemType(2))))},
		{"a type of an instance", "not what the component imports", sections(types(resource, instanceType(declExport("r", asResource...))), gathered(item("r", itemType(0))),
			exported("i", itemAs(itemInstance(0), asInstance(1))...), aliasType(1, "r"), same, instantiate(0, arg("a", itemType(0)), arg("b", itemType(2))))},
		{"its representation", "that the component defines",
			sections(types(resource), exported("a", itemAs(itemType(0), asResource)...), sect(secCanon, 1, 4, 1))},
		{"the representation under another name", "", sections(types(resource), exported("a", itemType(0)...), sect(secCanon, 1, 4, 1))},
		{"a record as one", "is exported as a resource type and is none", sections(types(record), exported("a", itemAs(itemType(0), asResource)...))},
	})
}

// TestAttributes has names with attributes.
func TestAttributes(t *testing.T) {
	// with is the name a with attributes, each its code and value.
	with := func(name string, attributes ...string) []byte {
		b := append(append([]byte{2}, sized([]byte(name))...), byte(len(attributes)))
		for _, a := range attributes {
			b = append(append(b, a[0]), sized([]byte(a[1:]))...)
		}
		return b
	}
	const implements, suffix, id = "\x00", "\x01", "\x02"
	for _, c := range []struct {
		what, want string
		name       []byte
		function   bool
	}{
		{what: "an interface", name: with("a", implements+"ns:pkg/i@1.2.3")},
		{what: "both", name: with("a", implements+"ns:pkg/i", id+"☃ !")},
		{what: "an id", name: with("ns:pkg/i", id)},
		{what: "the id of a function", name: with("a", id+"x"), function: true},
		{what: "no interface", name: with("a", implements+"i"), want: "not the name of an interface"},
		{what: "nothing", name: with("a", implements), want: "not the name of an interface"},
		{what: "an interface of a bad version", name: with("a", implements+"ns:pkg/i@x"), want: "not the name of an interface"},
		{what: "an interface of an interface", name: with("ns:pkg/j", implements+"ns:pkg/i"), want: "only an instance with a plain name"},
		{what: "an interface of a function", name: with("a", implements+"ns:pkg/i"), want: "only an instance with a plain name", function: true},
		{what: "the rest of a version", name: with("ns:pkg/i@1", suffix+".2.3-x+y")},
		{what: "the rest of 0.2", name: with("ns:pkg/i@0.2", suffix+".6")},
		{what: "no rest", name: with("ns:pkg/i@0.0.3", suffix)},
		{what: "the rest of a whole version", name: with("ns:pkg/i@1.2.3", suffix+"-x"), want: "makes no version"},
		{what: "too little", name: with("ns:pkg/i@1", suffix+".2"), want: "makes no version"},
		{what: "the rest of no version", name: with("ns:pkg/i", suffix+"1.2.3"), want: "makes no version"},
		{what: "the rest of a plain name", name: with("a", suffix+".2.3"), want: "makes no version"},
		{what: "one twice", name: with("a", id+"x", id+"y"), want: "another attribute"},
		{what: "an unknown one", name: with("a", "\x03x"), want: "another attribute"},
	} {
		of, as, code := 0, asInstance, itemInstance
		if c.function {
			of, as, code = 1, asFunc, itemFunc
		}
		kinds := types(instanceType(), noResult)
		one := func(parts ...[]byte) []byte { return append([]byte{1}, bytes.Join(parts, nil)...) }
		thing := imported("thing", as(byte(of))...)
		checkRules(t, []rule{
			{c.what + ", imported", c.want, sections(kinds, sect(secImport, one(c.name, as(byte(of)))...))},
			{c.what + ", exported", c.want, sections(kinds, thing, sect(secExport, one(c.name, code(0))...))},
			{c.what + ", gathered", c.want, sections(kinds, thing, sect(secInstance, one([]byte{1, 1}, c.name, code(0)[:2])...))},
			{c.what + ", in a component's type", c.want, sections(types(componentType(declType(instanceType()...), declType(noResult...),
				slices.Concat([]byte{3}, c.name, as(byte(of))))))},
			{c.what + ", in an instance's type", c.want, sections(types(instanceType(declType(instanceType()...), declType(noResult...),
				slices.Concat([]byte{4}, c.name, as(byte(of))))))},
		})
	}
}

// TestNames has names and versions at the edges of what is one.
func TestNames(t *testing.T) {
	names := map[string]string{}
	for name := range strings.FieldsSeq(`a A a1 A1 a-1 a-B-c1 A-b ns:pkg/i ns:pkg/I-a n-1:p-2/i ns:pkg/i@1.2.3 ns:pkg/i@0.0.0
		ns:pkg/i@1 ns:pkg/i@12 ns:pkg/i@0.2 ns:pkg/i@0.0.3 ns:pkg/i@1.2.3-a.0.1a+001 ns:pkg/i@1.2.3-0-0 ns:pkg/i@0.0.0-x`) {
		names[name] = ""
	}
	for name := range strings.FieldsSeq(`1 1a -a a- a--b aB a_b ä a.b ns:pkg ns: :pkg/i ns:pkg/ Ns:pkg/i ns:Pkg/i ns:pkg/i/j ns:a:pkg/i ns:pkg/i@
		ns:pkg/i@0 ns:pkg/i@0.0 ns:pkg/i@1.2 ns:pkg/i@01 ns:pkg/i@0.02 ns:pkg/i@1.2.3.4 ns:pkg/i@1.2.03 ns:pkg/i@1.2.3-01 ns:pkg/i@1.2.3-
		ns:pkg/i@1.2.3+ ns:pkg/i@1.2.3-a..b ns:pkg/i@1.2.3-ä ns:pkg/i@1-x ns:pkg/i@v1.2.3 [method] [method]a [method].a [method]a. [method]a.b.c [static]a
		[constructor] [constructor]a.b [other]a url=<https://a> unlocked-dep=<a:b> locked-dep=<a:b> integrity=<sha256-x>`) {
		names[name] = "expected the name of an import or export"
	}
	var rules []rule
	for name, want := range names {
		rules = append(rules, rule{name, want, sections(types(noResult), imported(name, asFunc(0)...))},
			rule{name + ", exported", want, sections(types(noResult), imported("thing", asFunc(0)...), exported(name, itemFunc(0)...))})
	}
	twice := func(a, b string) [][]byte {
		return sections(types(noResult), imported(a, asFunc(0)...), imported(b, asFunc(0)...))
	}
	for pair, like := range map[string]bool{"a a": true, "a-b A-b": true, "ns:pkg/a ns:pkg/A": true, "ns:pkg/a@1.0.0 ns:pkg/a@1.0.0": true,
		"a b": false, "a ns:a/a": false, "ns:pkg/a@1.0.0 ns:pkg/a@1.0.1": false, "a1 a-1": false} {
		a, b, _ := strings.Cut(pair, " ")
		want := ""
		if like {
			want = "is there twice"
		}
		rules = append(rules, rule{pair, want, twice(a, b)})
	}
	checkRules(t, rules)
}

// TestAnnotations has functions of resources by their names.
func TestAnnotations(t *testing.T) {
	self, made := takes("self", 1), answers(1)
	res := func(name string, handle, fn []byte, more ...[]byte) [][]byte {
		return append(sections(imported("a", asResource...), types(handle, fn), imported(name, asFunc(2)...)), more...)
	}
	const other = "as self"
	checkRules(t, []rule{
		{"a method", "", res("[method]a.b", borrow(0), self)},
		{"a method of an owner", other, res("[method]a.b", own(0), self)},
		{"a method by another name", other, res("[method]a.b", borrow(0), takes("me", 1))},
		{"a method of nothing", "needs a resource", res("[method]b.b", borrow(0), self)},
		{"a method named as its resource", "too much like it", res("[method]a.a", borrow(0), self)},
		{"a static function named as its resource", "too much like it", res("[static]a.a", borrow(0), self)},
		{"a constructor", "", res("[constructor]a", own(0), made)},
		{"a constructor of a borrow", "has to answer", res("[constructor]a", own(0), self)},
		{"a method and a static function", "too much like it", res("[method]a.b", borrow(0), self, imported("[static]A.B", asFunc(2)...))},
		// The resource has the name of the import there, not that of the export.
		{"a method of a resource by another name of it", other,
			res("[method]a.b", borrow(0), self, exported("c", itemType(0)...), exported("[method]c.b", itemFunc(0)...))},
		{"a method of a resource by its name", "", res("[method]a.b", borrow(0), self, exported("c", itemType(0)...),
			types(borrow(3), takes("self", 4)), exported("[method]c.b", itemAs(itemFunc(0), asFunc(5))...))},
		// What is gathered has no names of its own.
		{"a gathered method", "names no resource", res("[method]a.b", borrow(0), self, gathered(item("a", itemType(0)), item("[method]a.b", itemFunc(0))))},
		{"a gathered constructor", "names no resource", res("[constructor]a", own(0), made, gathered(item("a", itemType(0)), item("[constructor]a", itemFunc(0))))},
		{"a gathered static function", "names no resource", res("[static]a.b", own(0), made, gathered(item("a", itemType(0)), item("[static]a.b", itemFunc(0))))},
	})
}

// TestCoreTypes has types of core modules.
func TestCoreTypes(t *testing.T) {
	module := func(decls ...[]byte) []byte { return append([]byte{0x50}, list(decls...)...) }
	coreTypes := func(defs ...[]byte) []byte { return sect(secCoreType, list(defs...)...) }
	fn, answering := []byte{1, 0x60, 0, 0}, []byte{1, 0x60, 0, 1, 0x7f}
	use := func(index byte) []byte { return []byte{3, 1, 'f', 0, index} }
	checkRules(t, []rule{
		{"an alias of the type itself", "", sections(coreTypes(module(fn, []byte{2, 0x10, 1, 0, 0}, use(1))))},
		{"an alias of a type that is not there", "no core type 1", sections(coreTypes(module(fn, []byte{2, 0x10, 1, 0, 1})))},
		{"an alias of a type around it", "", sections(coreTypes(fn[1:], module([]byte{2, 0x10, 1, 1, 0}, use(0))))},
		{"an alias of a module's type", "expected a core function type", sections(coreTypes(module(), module([]byte{2, 0x10, 1, 1, 0})))},
		{"a tag", "", sections(coreTypes(module(fn, []byte{3, 1, 't', 4, 0, 0})))},
		{"a tag with results", "has results", sections(coreTypes(module(answering, []byte{3, 1, 't', 4, 0, 0})))},
	})
}
