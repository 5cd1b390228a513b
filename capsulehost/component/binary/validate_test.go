package binary

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// Core modules are written like components, in rules_test.go.

func module(sections ...[]byte) []byte {
	return sect(secCoreModule, append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Join(sections, nil)...)...)
}

// funcType has core types for parameters and results.
func funcType(params, results []byte) []byte {
	return slices.Concat([]byte{0x60, byte(len(params))}, params, []byte{byte(len(results))}, results)
}

func i32s(n int) []byte { return bytes.Repeat([]byte{0x7f}, n) }

// library is a core module, and core functions 0 to 6 and core memory 0 of an
// instance of it; the functions have the types below, in turn.
func library() []byte {
	fns := [][]byte{
		funcType(nil, nil), funcType(i32s(1), nil), funcType(nil, i32s(1)), funcType(i32s(2), nil),
		funcType(i32s(4), i32s(1)), funcType(i32s(2), i32s(1)), funcType([]byte{0x7e}, nil),
	}
	var exports, aliases, bodies [][]byte
	for i := range fns {
		name := sized(fmt.Appendf(nil, "f%d", i))
		exports = append(exports, append(name, 0, byte(i)))
		aliases = append(aliases, append([]byte{0, 0, 1, 0}, name...))
		bodies = append(bodies, []byte{3, 0, 0, 0x0b})
	}
	exports, aliases = append(exports, []byte{1, 'm', 2, 0}), append(aliases, []byte{0, 2, 1, 0, 1, 'm'})
	return slices.Concat(
		module(sect(1, list(fns...)...), sect(3, 7, 0, 1, 2, 3, 4, 5, 6), sect(5, 1, 0, 1), sect(7, list(exports...)...), sect(10, list(bodies...)...)),
		sect(secCoreInstance, 1, 0, 0, 0), sect(secAlias, list(aliases...)...))
}

const (
	fnNone     = iota // () -> ()
	fnI32             // (i32) -> ()
	fnGet             // () -> i32
	fnText            // (i32, i32) -> ()
	fnRealloc         // (i32, i32, i32, i32) -> i32
	fnTextBack        // (i32, i32) -> i32
	fnI64             // (i64) -> ()
)

// lift makes a function of a core one; lower does the reverse. Options are as in
// the binary.
func lift(core, typ byte, options ...[]byte) []byte {
	return sect(secCanon, slices.Concat([]byte{1, 0, 0, core}, list(options...), []byte{typ})...)
}
func lower(fn byte, options ...[]byte) []byte {
	return sect(secCanon, slices.Concat([]byte{1, 1, 0, fn}, list(options...))...)
}

var (
	optUTF8, optUTF16, optMemory = []byte{0}, []byte{1}, []byte{3, 0}
	optRealloc                   = []byte{4, fnRealloc}
)

func postReturn(fn byte) []byte { return []byte{5, fn} }

const text = 0x73 // the type string

// TestTypes has definitions of types, each rule of theirs at its edge.
func TestTypes(t *testing.T) {
	labels := func(code byte, n int) []byte {
		b := []byte{code, byte(n)}
		for i := range n {
			b = append(b, sized(fmt.Appendf(nil, "l%d", i))...)
		}
		return b
	}
	def := func(b ...byte) [][]byte { return sections(types(b)) }
	res := func(b ...byte) [][]byte { return sections(imported("r", asResource...), types(b)) }
	blocks := func(n int) [][]byte { // n lists of 2^26 bytes, and what is more
		return sections(types(append([]byte{0x67, 0x7d}, 0x80, 0x80, 0x80, 0x20), append([]byte{0x6f, byte(n)}, make([]byte, n)...)))
	}
	checkRules(t, []rule{
		{"a record of nothing", "needs a field", def(0x72, 0)},
		{"a variant of nothing", "needs a case", def(0x71, 0)},
		{"a tuple of nothing", "needs an element", def(0x6f, 0)},
		{"flags of nothing", "need a label", def(0x6e, 0)},
		{"an enum of nothing", "need a label", def(0x6d, 0)},
		{"a fixed list of nothing", "needs an element", def(0x67, 0x7d, 0)},
		{"a fixed list", "", def(0x67, 0x7d, 1)},
		{"32 flags", "", sections(types(labels(0x6e, 32)))},
		{"33 flags", "33 flags", sections(types(labels(0x6e, 33)))},
		{"an enum of 33", "", sections(types(labels(0x6d, 33)))},
		{"fields of one name", "is there twice", def(0x72, 2, 1, 'a', 0x7d, 1, 'A', 0x7d)},
		{"cases of one name", "is there twice", def(0x71, 2, 1, 'a', 0, 0, 1, 'a', 0, 0)},
		{"flags of one name", "is there twice", def(0x6e, 2, 1, 'a', 1, 'a')},
		{"an enum of one name", "is there twice", def(0x6d, 2, 1, 'a', 1, 'a')},
		{"parameters of one name", "is there twice", def(0x40, 2, 1, 'a', 0x7d, 1, 'a', 0x7d, 1, 0)},
		{"a field without a name", "expected a label", def(0x72, 1, 0, 0x7d)},
		{"a parameter that is no label", "expected a label", def(0x40, 1, 2, '1', 'a', 0x7d, 1, 0)},
		{"a case that goes on", "the end of a case", def(0x71, 1, 1, 'a', 0, 1)},
		{"a list of a function", "expected a value type", sections(types(noResult, listOf(0)))},
		{"a list of a resource", "expected a value type", res(listOf(0)...)},
		{"an owner", "", res(own(0)...)},
		{"an owner of a record", "expected a resource type", sections(types(record, own(0)))},
		{"a borrow of a record", "expected a resource type", sections(types(record, borrow(0)))},
		{"a borrow in a result", "a result has a borrow", sections(imported("r", asResource...), types(borrow(0), answers(1)))},
		{"a borrow in a list in a result", "a result has a borrow", sections(imported("r", asResource...), types(borrow(0), listOf(1), answers(2)))},
		{"two results", "no result", def(0x40, 0, 1, 2)},
		{"64 MiB thrice", "", blocks(3)},
		{"64 MiB four times", "2^28 bytes", blocks(4)},
		// 2^27 bytes in a memory of 32 bits are twice as many in one of 64.
		{"strings", "2^28 bytes", sections(types(append([]byte{0x67, text}, 0x80, 0x80, 0x80, 8)))},
		{"strings in a record", "2^28 bytes", sections(types(append([]byte{0x67, text}, 0x80, 0x80, 0x80, 4), []byte{0x72, 2, 1, 'a', 0, 1, 'b', 0}))},
		{"strings in a variant", "2^28 bytes", sections(types(append([]byte{0x67, text}, 0xff, 0xff, 0xff, 7), []byte{0x6b, 0}, []byte{0x6f, 2, 1, 0x7d}))},
		{"a resource", "", def(resource...)},
		{"a resource of 64 bits", "representation of a resource", def(0x3f, 0x7e, 0)},
		{"a resource in the type of an instance", "defined in a type", sections(types(instanceType(declType(resource...))))},
		{"a resource in the type of a component", "defined in a type", sections(types(componentType(declType(resource...))))},
		{"a destructor", "", sections(library(), types([]byte{0x3f, 0x7f, 1, fnI32}))},
		{"a destructor of another type", "a destructor has the type", sections(library(), types([]byte{0x3f, 0x7f, 1, fnNone}))},
		{"an import in the type of an instance", "expected a declaration", sections(types(instanceType(declImport("r", asResource...))))},
		{"a type as a function", "expected the type of a function", sections(types(record), imported("f", asFunc(0)...))},
		{"a type as an instance", "expected the type of an instance", sections(types(record), imported("f", asInstance(0)...))},
		{"a type as a component", "expected the type of a component", sections(types(record), imported("f", asComponent(0)...))},
		{"a function's core type as a module", "expected the type of a core module", sections(sect(secCoreType, 1, 0x60, 0, 0), imported("m", 0, 0x11, 0))},
		{"a core module", "", sections(sect(secCoreType, 1, 0x50, 0), imported("m", 0, 0x11, 0))},
		{"the type of a module in another", "a function type", sections(sect(secCoreType, 1, 0x50, 1, 1, 0x50, 0))},
	})
}

// TestCanon has canonical definitions.
func TestCanon(t *testing.T) {
	lib := library()
	lifted := func(typ []byte, core byte, options ...[]byte) [][]byte {
		return sections(lib, types(typ), lift(core, 0, options...))
	}
	lowered := func(typ []byte, options ...[]byte) [][]byte {
		return sections(lib, types(typ), imported("f", asFunc(0)...), lower(0, options...))
	}
	// A function of 17 numbers, and one that answers two.
	many := []byte{0x40, 17}
	for i := range 17 {
		many = append(append(many, sized(fmt.Appendf(nil, "p%d", i))...), 0x79)
	}
	many = append(many, 1, 0)
	pair := []byte{0x6f, 2, 0x79, 0x79}
	checkRules(t, []rule{
		{"nothing", "", lifted(noResult, fnNone)},
		{"another type", "needs () -> i32, and is ()", lifted(answers(0x79), fnNone)},
		{"a number of 64 bits", "", lifted(takes("a", 0x78), fnI64)},
		{"a number of 32 bits for it", "needs (i64)", lifted(takes("a", 0x78), fnI32)},
		{"a text", "", lifted(takes("a", text), fnText, optMemory, optRealloc)},
		{"a text without memory", "needs the option memory", lifted(takes("a", text), fnText)},
		{"a text without realloc", "needs the option realloc", lifted(takes("a", text), fnText, optMemory)},
		{"a text back", "", lifted(answers(text), fnGet, optMemory)},
		{"a text back without memory", "needs the option memory", lifted(answers(text), fnGet)},
		{"a pair back without memory", "needs the option memory", sections(lib, types(pair, answers(0)), lift(fnGet, 1))},
		{"a pair back", "", sections(lib, types(pair, answers(0)), lift(fnGet, 1, optMemory))},
		{"17 numbers", "", lifted(many, fnI32, optMemory, optRealloc)},
		{"17 numbers without realloc", "needs the option realloc", lifted(many, fnI32, optMemory)},
		{"realloc of another type", "realloc has the type", lifted(takes("a", text), fnText, optMemory, []byte{4, fnI32})},
		{"realloc without memory", "needs memory", lifted(noResult, fnNone, optRealloc)},
		{"an encoding", "", lifted(noResult, fnNone, optUTF16)},
		{"two encodings", "an option is there twice", lifted(noResult, fnNone, optUTF8, optUTF16)},
		{"an encoding twice", "an option is there twice", lifted(noResult, fnNone, optUTF8, optUTF8)},
		{"two memories", "an option is there twice", lifted(noResult, fnNone, optMemory, optMemory)},
		{"post-return", "", lifted(answers(text), fnGet, optMemory, postReturn(fnI32))},
		{"post-return of nothing", "", lifted(noResult, fnNone, postReturn(fnNone))},
		{"post-return of another type", "post-return has the type", lifted(answers(text), fnGet, optMemory, postReturn(fnNone))},
		{"post-return that answers", "post-return has the type", lifted(noResult, fnNone, postReturn(fnGet))},
		{"a memory that is not there", "there is no core memory 1", lifted(noResult, fnNone, []byte{3, 1})},
		{"an unknown option", "expected an option", lifted(noResult, fnNone, []byte{8})},
		{"lifted to a record", "expected the type of a function", sections(lib, types(record), lift(fnNone, 0))},
		{"lower", "", lowered(noResult)},
		{"lower with post-return", "of lift only", lowered(noResult, postReturn(fnNone))},
		{"lower a text", "", lowered(takes("a", text), optMemory)},
		{"lower a text without memory", "needs the option memory", lowered(takes("a", text))},
		{"lower a text back", "", lowered(answers(text), optMemory, optRealloc)},
		{"lower a text back without realloc", "needs the option realloc", lowered(answers(text), optMemory)},
		{"lower 17 numbers without memory", "needs the option memory", lowered(many)},
		{"lower 17 numbers", "", lowered(many, optMemory)},
		{"what lower makes", "", sections(lib, types(noResult), imported("f", asFunc(0)...), lower(0), lift(7, 0))},
		{"what lower makes, as another", "is () -> i32", sections(lib, types(noResult, answers(0x79)), imported("f", asFunc(1)...), lower(0), lift(7, 0))},
		{"resource.new", "", sections(types(resource), sect(secCanon, 1, 2, 0))},
		{"resource.new of an import", "that the component defines", sections(imported("r", asResource...), sect(secCanon, 1, 2, 0))},
		{"resource.rep of an import", "that the component defines", sections(imported("r", asResource...), sect(secCanon, 1, 4, 0))},
		{"resource.drop of an import", "", sections(imported("r", asResource...), sect(secCanon, 1, 3, 0))},
		{"resource.rep of a resource of an instance", "that the component defines",
			sections(nested(types(resource), exported("r", itemType(0)...)), instantiate(0), aliasType(0, "r"), sect(secCanon, 1, 4, 0))},
		{"resource.drop of a record", "expected a resource type", sections(types(record), sect(secCanon, 1, 3, 0))},
		{"what resource.new makes", "", sections(lib, types(resource, own(0), []byte{0x40, 1, 1, 'a', 0x79, 0, 1}), sect(secCanon, 1, 2, 0), lift(7, 2))},
	})
}

// TestInstantiation has instances, aliases and exports.
func TestInstantiation(t *testing.T) {
	takesFunc := nested(types(noResult), imported("f", asFunc(0)...))
	f := slices.Concat(types(noResult, answers(0x79)), imported("f", asFunc(0)...), imported("g", asFunc(1)...))
	coreFunc := []byte{0, 0x00, 0} // core function 0
	user := module(sect(1, list(funcType(nil, nil))...), sect(2, 1, 1, 'm', 1, 'f', 0, 0))
	maker := module(sect(1, list(funcType(nil, nil), funcType(i32s(1), nil))...), sect(3, 2, 0, 1),
		sect(7, 2, 1, 'f', 0, 0, 1, 'g', 0, 1), sect(10, 2, 2, 0, 0x0b, 2, 0, 0x0b))
	core := func(module byte, args ...[]byte) []byte {
		return sect(secCoreInstance, append([]byte{1, 0, module}, list(args...)...)...)
	}
	given := func(name string, instance byte) []byte { return append(sized([]byte(name)), 0x12, instance) }
	aliasOf := func(b ...byte) []byte { return sect(secAlias, append([]byte{1}, b...)...) }
	checkRules(t, []rule{
		{"given", "", sections(f, takesFunc, instantiate(0, arg("f", itemFunc(0))))},
		{"given more", "", sections(f, takesFunc, instantiate(0, arg("f", itemFunc(0)), arg("x", itemFunc(1))))},
		{"given twice", "is there twice", sections(f, takesFunc, instantiate(0, arg("f", itemFunc(0)), arg("f", itemFunc(0))))},
		{"given by another case", "which it is not given", sections(f, takesFunc, instantiate(0, arg("F", itemFunc(0))))},
		{"not given", "which it is not given", sections(f, takesFunc, instantiate(0))},
		{"of another type", "not what the component imports", sections(f, takesFunc, instantiate(0, arg("f", itemFunc(1))))},
		{"of another sort", "it is a type and should be a func", sections(f, takesFunc, instantiate(0, arg("f", itemType(0))))},
		{"a component that is not there yet", "there is no component 0", sections(f, instantiate(0), takesFunc)},
		{"a core function", "can be no import or export", sections(library(), takesFunc, sect(secInstance, append([]byte{1, 0, 0, 1, 1, 'f'}, coreFunc[:3]...)...))},
		{"gathered twice", "is there twice", sections(f, gathered(item("a", itemFunc(0)), item("a", itemFunc(1))))},
		{"a gathered core function", "can be no import or export", sections(library(), sect(secInstance, append(append([]byte{1, 1, 1}, extern("f")...), 0, 0, 0)...))},
		{"an exported core function", "can be no import or export", sections(library(), exported("f", 0, 0, 0, 0))},
		{"exported twice", "is there twice", sections(f, exported("a", itemFunc(0)...), exported("a", itemFunc(0)...))},
		{"imported and exported by one name", "", sections(f, exported("f", itemFunc(0)...))},
		{"exported as of another type", "not of the type it is given", sections(f, exported("a", itemAs(itemFunc(0), asFunc(1))...))},
		{"exported with less", "", sections(f, gathered(item("a", itemFunc(0))), types(instanceType()), exported("i", itemAs(itemInstance(0), asInstance(2))...))},
		{"exported with more", "there is no", sections(f, gathered(), types(instanceType(declType(noResult...), declExport("a", asFunc(0)...))),
			exported("i", itemAs(itemInstance(0), asInstance(2))...))},
		{"an export that is used", "", sections(f, exported("a", itemFunc(0)...), takesFunc, instantiate(0, arg("f", itemFunc(2))))},
		{"core, given", "", sections(maker, user, core(0), core(1, given("m", 0)))},
		{"core, not given", `imports from "m"`, sections(maker, user, core(0), core(1))},
		{"core, given twice", "is there twice", sections(maker, user, core(0), core(1, given("m", 0), given("m", 0)))},
		{"core, of another type", "its type is (i32)", sections(maker, user, core(0), sect(secAlias, 1, 0, 0, 1, 0, 1, 'g'),
			sect(secCoreInstance, 1, 1, 1, 1, 'f', 0, 0), core(1, given("m", 1)))},
		{"core, without it", "has no such export", sections(maker, user, sect(secCoreInstance, 1, 1, 0), core(1, given("m", 0)))},
		{"core, gathered twice", "is there twice", sections(maker, core(0), sect(secAlias, 1, 0, 0, 1, 0, 1, 'g'), sect(secCoreInstance, 1, 1, 2, 1, 'f', 0, 0, 1, 'f', 0, 0))},
		{"an alias of an export", "", sections(f, gathered(item("a", itemFunc(0))), aliasOf(1, 0, 0, 1, 'a'))},
		{"of what is not exported", "exports no", sections(f, gathered(item("a", itemFunc(0))), aliasOf(1, 0, 0, 1, 'b'))},
		{"of another sort", "exports no", sections(f, gathered(item("a", itemFunc(0))), aliasOf(5, 0, 0, 1, 'a'))},
		{"of an instance that is not there", "there is no instance 0", sections(aliasOf(5, 0, 0, 1, 'a'))},
		{"of a core export of another sort", "exports no", sections(library(), aliasOf(0, 1, 1, 0, 2, 'f', '0'))},
		{"an outer alias", "", sections(types(record), nested(aliasOf(3, 2, 1, 0)))},
		{"an outer alias of this scope", "", sections(types(record), aliasOf(3, 2, 0, 0))},
		{"an outer alias of a component", "", sections(nested(), nested(aliasOf(4, 2, 1, 0)))},
		{"an outer alias of too far out", "there are no 2 scopes", sections(types(record), nested(aliasOf(3, 2, 2, 0)))},
		{"an outer alias of a function", "cannot be of a func", sections(f, nested(aliasOf(1, 2, 1, 0)))},
		{"an outer alias of a resource", "resource type of another component", sections(types(resource), nested(aliasOf(3, 2, 1, 0)))},
		{"an outer alias of a list of owners", "resource type of another component", sections(types(resource, own(0), listOf(1)), nested(aliasOf(3, 2, 1, 2)))},
		{"an outer alias of a resource in a type", "", sections(types(resource, instanceType(declOuterType(1, 0))))},
		{"an outer alias of a resource in a type of another component", "resource type of another component",
			sections(types(resource), nested(types(instanceType(declOuterType(2, 0)))))},
		{"an outer alias of a component in a type", "can only be of a type", sections(nested(), types(instanceType([]byte{2, 4, 2, 1, 0})))},
		{"an alias of a function in a type", "can only be of a type or an instance", sections(types(componentType(
			declType(instanceType(declType(noResult...), declExport("f", asFunc(0)...))...), declImport("i", asInstance(0)...), []byte{2, 1, 0, 0, 1, 'f'})))},
		{"an alias of a type in a type", "", sections(types(componentType(
			declType(instanceType(declExport("r", asResource...))...), declImport("i", asInstance(0)...), []byte{2, 3, 0, 0, 1, 'r'})))},
		// Each instance has resources of its own.
		{"a resource of another instance", "not what the component imports", sections(
			nested(types(resource), exported("r", itemType(0)...)), instantiate(0), instantiate(0), aliasType(0, "r"), aliasType(1, "r"),
			nested(imported("a", asResource...), imported("b", asType(0)...)), instantiate(1, arg("a", itemType(0)), arg("b", itemType(1))))},
		{"a resource of the same instance", "", sections(
			nested(types(resource), exported("r", itemType(0)...)), instantiate(0), aliasType(0, "r"), aliasType(0, "r"),
			nested(imported("a", asResource...), imported("b", asType(0)...)), instantiate(1, arg("a", itemType(0)), arg("b", itemType(1))))},
		{"a resource for a record", "not what the component imports", sections(types(resource), nested(types(record), imported("a", asType(0)...)), instantiate(0, arg("a", itemType(0))))},
		{"a component that wants more", "not what the component imports", sections(
			nested(imported("x", asResource...)), nested(types(componentType()), imported("c", asComponent(0)...)), instantiate(1, arg("c", []byte{4, 0})))},
		{"a component that wants less", "", sections(
			nested(), nested(types(componentType(declImport("x", asResource...))), imported("c", asComponent(0)...)), instantiate(1, arg("c", []byte{4, 0})))},
	})
}
