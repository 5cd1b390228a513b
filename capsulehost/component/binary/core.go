package binary

import (
	"encoding/binary"
	"slices"
)

// CoreFuncType is the type of a core function.
type CoreFuncType struct{ Params, Results []CoreType }

// Equal tells whether two types are the same.
func (t CoreFuncType) Equal(u CoreFuncType) bool {
	return slices.Equal(t.Params, u.Params) && slices.Equal(t.Results, u.Results)
}

// String returns the type as "(i32, i64) -> i32".
func (t CoreFuncType) String() string {
	s := "(" + coreNames(t.Params) + ")"
	if len(t.Results) > 0 {
		s += " -> " + coreNames(t.Results)
	}
	return s
}

func coreNames(types []CoreType) string {
	s := ""
	for i, t := range types {
		if i > 0 {
			s += ", "
		}
		s += t.String()
	}
	return s
}

// String returns the type's name in the text format.
func (t CoreType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case 0x7b:
		return "v128"
	case 0x70:
		return "funcref"
	case 0x6f:
		return "externref"
	case 0x69:
		return "exnref"
	}
	return "ref"
}

// Limits are those of a table or memory.
type Limits struct {
	Min, Max uint64
	HasMax   bool
}

// CoreExtern is something that a core module imports or exports.
type CoreExtern struct {
	Module string // of an import
	Name   string
	CoreEntity
}

// CoreEntity is the type of something of a core module.
type CoreEntity struct {
	Sort    Sort // CoreFunc, CoreTable, CoreMemory, CoreGlobal or CoreTag
	Func    CoreFuncType
	Elem    CoreType // of a table; the type of a global
	Mutable bool     // of a global
	Limits  Limits
}

// ModuleType is the type of a core module.
type ModuleType struct {
	Imports, Exports []CoreExtern
	// Weight is how many things an instance of it has, those that it imports and
	// exports included, and Elements how many elements its own tables can have; 0
	// for the type of a module that is not there. A table without a maximum counts
	// as it begins.
	Weight   int
	Elements uint64

	index map[string]int     // of exports
	given map[[2]string]bool // the names of imports
}

// Export returns the export with this name.
func (t *ModuleType) Export(name string) (CoreEntity, bool) {
	i, ok := t.index[name]
	if !ok {
		return CoreEntity{}, false
	}
	return t.Exports[i].CoreEntity, true
}

// addImport refuses a second import of the same name, which core WebAssembly
// allows and components do not.
func (t *ModuleType) addImport(at int64, e CoreExtern) {
	key := [2]string{e.Module, e.Name}
	if t.given[key] {
		failAt(at, "a core module imports %.100q %.100q twice", e.Module, e.Name)
	}
	if t.given == nil {
		t.given = map[[2]string]bool{}
	}
	t.given[key] = true
	t.Imports = append(t.Imports, e)
}

func (t *ModuleType) addExport(at int64, e CoreExtern) {
	if _, ok := t.index[e.Name]; ok {
		failAt(at, "a core module exports %.100q twice", e.Name)
	}
	if t.index == nil {
		t.index = map[string]int{}
	}
	t.index[e.Name] = len(t.Exports)
	t.Exports = append(t.Exports, e)
}

// Ids of the sections of a core module that tell its type.
const (
	coreTypes   = 1
	coreImports = 2
	coreFuncs   = 3
	coreTables  = 4
	coreMems    = 5
	coreGlobals = 6
	coreExports = 7
	coreElems   = 9
	coreData    = 11
	coreTags    = 13
)

// maxPages is the most that a memory can have, in pages of 64 KiB.
const maxPages = 1 << 16

// coreModule reads the type of the core module that is all of r. Its code is not
// looked at.
func coreModule(r *reader) *ModuleType {
	if r.left() < 8 || string(r.b[:8]) != "\x00asm\x01\x00\x00\x00" {
		r.failf(`expected a core module, which begins with "\0asm" and version 1`)
	}
	r.pos = 8
	m := &ModuleType{}
	d := &coreDecoder{m: m}
	var seen uint64
	for r.left() > 0 {
		at := r.at()
		id := r.byte("a section")
		switch {
		case id > coreTags:
			failAt(at, "expected a section of a core module (0 to %d), found %d", coreTags, id)
		case id != 0 && seen&(1<<id) != 0:
			failAt(at, "section %d of a core module is there twice", id)
		}
		seen |= 1 << id
		s := r.sub(r.u32("the size of a section"), "a section")
		d.section(id, s)
	}
	m.Weight = d.segments + len(d.funcs) + len(d.tables) + len(d.mems) + len(d.globals) + len(d.tags) + len(m.Exports)
	return m
}

type coreDecoder struct {
	m       *ModuleType
	types   []CoreFuncType
	funcs   []*CoreFuncType
	tables  []CoreEntity
	mems    []CoreEntity
	globals []CoreEntity
	tags    []CoreFuncType
	// segments is what the segments of data and elements weigh: an instance may
	// have 8 bytes for each element, which is a byte in the binary at least.
	segments int
}

func (d *coreDecoder) section(id byte, r *reader) {
	switch id {
	case coreTypes:
		for range r.count("core types") {
			r.expect(0x60, "a function type")
			d.types = append(d.types, coreFuncType(r))
		}
	case coreImports:
		for range r.count("core imports") {
			d.imported(r)
		}
	case coreFuncs:
		for range r.count("core functions") {
			d.funcs = append(d.funcs, d.typeAt(r))
		}
	case coreTables:
		for range r.count("core tables") {
			if r.left() > 0 && r.b[r.pos] == 0x40 {
				r.pos++
				r.expect(0, "a table with an initial value")
				d.table(coreTable(r))
				constExpr(r)
				continue
			}
			d.table(coreTable(r))
		}
	case coreMems:
		for range r.count("core memories") {
			d.mems = append(d.mems, coreMemory(r))
		}
	case coreGlobals:
		for range r.count("core globals") {
			d.globals = append(d.globals, coreGlobal(r))
			constExpr(r)
		}
	case coreElems:
		d.segments += r.left() / 8
		return
	case coreData:
		d.segments += r.count("data segments")
		return
	case coreTags:
		for range r.count("core tags") {
			d.tags = append(d.tags, coreTag(r, d.types).Func)
		}
	case coreExports:
		for range r.count("core exports") {
			d.exported(r)
		}
	default:
		return
	}
	r.end("a section of a core module")
}

func (d *coreDecoder) table(t CoreEntity) {
	d.tables = append(d.tables, t)
	d.m.Elements += max(t.Limits.Min, t.Limits.Max)
}

func (d *coreDecoder) typeAt(r *reader) *CoreFuncType {
	at := r.at()
	i := r.u32("a core type")
	pick(at, d.types, i, "core type")
	return &d.types[i]
}

func (d *coreDecoder) imported(r *reader) {
	at := r.at()
	e := CoreExtern{Module: r.name("the module of a core import"), Name: r.name("the name of a core import")}
	e.CoreEntity = coreExternType(r, d.types)
	switch e.Sort {
	case CoreFunc:
		d.funcs = append(d.funcs, &e.Func)
	case CoreTable:
		d.tables = append(d.tables, e.CoreEntity)
	case CoreMemory:
		d.mems = append(d.mems, e.CoreEntity)
	case CoreGlobal:
		d.globals = append(d.globals, e.CoreEntity)
	case CoreTag:
		d.tags = append(d.tags, e.Func)
	}
	d.m.addImport(at, e)
}

func (d *coreDecoder) exported(r *reader) {
	at := r.at()
	e := CoreExtern{Name: r.name("the name of a core export")}
	sort := r.byte("the sort of a core export")
	i := r.u32("the index of a core export")
	switch sort {
	case 0:
		e.CoreEntity = CoreEntity{Sort: CoreFunc, Func: *pick(at, d.funcs, i, "core function")}
	case 1:
		e.CoreEntity = pick(at, d.tables, i, "core table")
	case 2:
		e.CoreEntity = pick(at, d.mems, i, "core memory")
	case 3:
		e.CoreEntity = pick(at, d.globals, i, "core global")
	case 4:
		e.CoreEntity = CoreEntity{Sort: CoreTag, Func: pick(at, d.tags, i, "core tag")}
	default:
		failAt(at, "expected the sort of a core export, found %#02x", sort)
	}
	d.m.addExport(at, e)
}

// pick returns element i of an index space.
func pick[T any](at int64, space []T, i uint32, what string) T {
	if int64(i) >= int64(len(space)) {
		failAt(at, "there is no %s %d: there are %d", what, i, len(space))
	}
	return space[i]
}

func coreFuncType(r *reader) CoreFuncType {
	return CoreFuncType{Params: coreValTypes(r), Results: coreValTypes(r)}
}

func coreValTypes(r *reader) []CoreType {
	var l []CoreType
	for range r.countTo(maxParams, "core value types") {
		l = append(l, coreValType(r))
	}
	return l
}

func coreValType(r *reader) CoreType {
	at := r.at()
	switch b := r.byte("a core value type"); b {
	case 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f, 0x69:
		return CoreType(b)
	default:
		failAt(at, "expected a core value type, found %#02x", b)
	}
	return 0
}

func limits(r *reader) Limits {
	at := r.at()
	flags := r.byte("limits")
	switch {
	case flags&4 != 0 && flags < 8:
		failAt(at, "memories and tables of 64 bits are not supported")
	case flags&2 != 0 && flags < 8:
		failAt(at, "shared memories are not supported")
	case flags > 1:
		failAt(at, "expected limits, found %#02x", flags)
	}
	l := Limits{Min: r.varint(32, "the minimum of limits"), HasMax: flags == 1}
	if l.HasMax {
		l.Max = r.varint(32, "the maximum of limits")
		if l.Max < l.Min {
			failAt(at, "limits from %d to %d", l.Min, l.Max)
		}
	}
	return l
}

func coreTable(r *reader) CoreEntity {
	return CoreEntity{Sort: CoreTable, Elem: coreValType(r), Limits: limits(r)}
}

func coreMemory(r *reader) CoreEntity {
	at := r.at()
	e := CoreEntity{Sort: CoreMemory, Limits: limits(r)}
	if max(e.Limits.Min, e.Limits.Max) > maxPages {
		failAt(at, "a memory has more than %d pages", maxPages)
	}
	return e
}

func coreGlobal(r *reader) CoreEntity {
	e := CoreEntity{Sort: CoreGlobal, Elem: coreValType(r)}
	at := r.at()
	switch b := r.byte("the mutability of a global"); b {
	case 0:
	case 1:
		e.Mutable = true
	default:
		failAt(at, "expected the mutability of a global, found %#02x", b)
	}
	return e
}

// coreExternType reads the type of an import of a core module.
func coreExternType(r *reader, types []CoreFuncType) CoreEntity {
	at := r.at()
	switch b := r.byte("the sort of a core import"); b {
	case 0:
		return CoreEntity{Sort: CoreFunc, Func: pick(at, types, r.u32("a core type"), "core type")}
	case 1:
		return coreTable(r)
	case 2:
		return coreMemory(r)
	case 3:
		return coreGlobal(r)
	case 4:
		return coreTag(r, types)
	default:
		failAt(at, "expected the sort of a core import, found %#02x", b)
	}
	return CoreEntity{}
}

func coreTag(r *reader, types []CoreFuncType) CoreEntity {
	r.expect(0, "a tag")
	at := r.at()
	e := CoreEntity{Sort: CoreTag, Func: pick(at, types, r.u32("a core type"), "core type")}
	if len(e.Func.Results) > 0 {
		failAt(at, "the type of a tag has results: %s", e.Func)
	}
	return e
}

// constExpr passes over a constant expression.
func constExpr(r *reader) {
	for {
		at := r.at()
		switch op := r.byte("a constant expression"); op {
		case 0x0b:
			return
		case 0x41, 0x42: // i32.const, i64.const
			for r.byte("a constant")&0x80 != 0 {
			}
		case 0x43:
			r.bytes(4, "a constant")
		case 0x44:
			r.bytes(8, "a constant")
		case 0x23, 0xd2: // global.get, ref.func
			r.u32("an index")
		case 0xd0: // ref.null
			r.byte("a reference type")
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // extended constant expressions
		case 0xfd:
			if v := r.u32("an instruction"); v != 12 {
				failAt(at, "expected a constant expression, found instruction 0xfd %d", v)
			}
			r.bytes(16, "a constant")
		default:
			failAt(at, "expected a constant expression, found instruction %#02x", op)
		}
	}
}

// RenameImports returns a core module that imports from a module named to what
// the given one imports from a module with an empty name. The module must be one
// that Decode has answered.
func RenameImports(module []byte, to string) []byte {
	r := &reader{b: module, pos: 8}
	out := append([]byte{}, module[:8]...)
	for r.left() > 0 {
		start := r.pos
		id := r.byte("a section")
		s := r.sub(r.u32("the size of a section"), "a section")
		if id != coreImports {
			out = append(out, module[start:r.pos]...)
			continue
		}
		body := leb(nil, uint64(s.count("core imports")))
		for s.left() > 0 {
			from := s.name("the module of a core import")
			if from == "" {
				from = to
			}
			rest := s.pos
			s.name("the name of a core import")
			skipExternType(s)
			body = append(leb(body, uint64(len(from))), from...)
			body = append(body, s.b[rest:s.pos]...)
		}
		out = append(leb(append(out, id), uint64(len(body))), body...)
	}
	return out
}

func leb(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// skipExternType passes over the type of a core import.
func skipExternType(r *reader) {
	switch r.byte("the sort of a core import") {
	case 0:
		r.u32("a core type")
	case 1:
		coreTable(r)
	case 2:
		limits(r)
	case 3:
		coreGlobal(r)
	case 4:
		r.byte("a tag")
		r.u32("a core type")
	}
}
