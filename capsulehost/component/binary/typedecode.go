package binary

// primitives are the primitive value types by their code.
var primitives = map[byte]Kind{
	0x7f: Bool, 0x7e: S8, 0x7d: U8, 0x7c: S16, 0x7b: U16, 0x7a: S32, 0x79: U32,
	0x78: S64, 0x77: U64, 0x76: Float32, 0x75: Float64, 0x74: Char, 0x73: String,
}

// gated are the codes of types that are not supported.
var gated = map[byte]string{
	0x66: "streams", 0x65: "futures", 0x64: "error contexts", 0x63: "maps", 0x43: "async functions",
}

func (d *decoder) prim(k Kind) *ValType {
	t := d.prims[k]
	if t == nil {
		t, _ = newVal(&ValType{Kind: k})
		d.prims[k] = t
	}
	return t
}

// valType reads a value type: a primitive one or the index of another.
func (s *scope) valType(r *reader) *ValType {
	at := r.at()
	v := r.s33("a value type")
	if v >= 0 {
		t, ok := pick(at, s.types, uint32(v), "type").(*ValType)
		if !ok {
			failAt(at, "expected a value type, but type %d is another", v)
		}
		return t
	}
	if v >= -64 {
		code := byte(v & 0x7f)
		if k, ok := primitives[code]; ok {
			return s.d.prim(k)
		}
		if name, ok := gated[code]; ok {
			failAt(at, "%s are not supported", name)
		}
	}
	failAt(at, "expected a value type, found code %d", v)
	return nil
}

func (s *scope) optionalVal(r *reader, what string) *ValType {
	at := r.at()
	switch b := r.byte(what); b {
	case 0:
		return nil
	case 1:
		return s.valType(r)
	default:
		failAt(at, "expected %s (0 or 1), found %#02x", what, b)
	}
	return nil
}

// defType reads a definition of a type.
func (s *scope) defType(r *reader) Type {
	at := r.at()
	code := r.byte("a type")
	if k, ok := primitives[code]; ok {
		return s.d.prim(k)
	}
	if name, ok := gated[code]; ok {
		failAt(at, "%s are not supported", name)
	}
	switch code {
	case 0x40:
		return s.funcType(r)
	case 0x41:
		return s.componentType(r)
	case 0x42:
		return s.instanceType(r)
	case 0x3f:
		return s.resource(at, r)
	}
	t := &ValType{}
	var problem string
	s.compound(at, code, r, t)
	if t, problem = newVal(t); problem != "" {
		failAt(at, "%s", problem)
	}
	return t
}

func (s *scope) compound(at int64, code byte, r *reader, t *ValType) {
	switch code {
	case 0x72:
		t.Kind = Record
		t.Fields = s.labelled(r, maxParts, "fields of a record")
		needOne(at, len(t.Fields), "a record needs a field")
	case 0x71:
		t.Kind = Variant
		seen := labels{}
		for range r.countTo(maxParts, "cases of a variant") {
			f := Field{Name: seen.read(r)}
			f.Type = s.optionalVal(r, "the type of a case")
			r.expect(0, "the end of a case")
			t.Fields = append(t.Fields, f)
		}
		needOne(at, len(t.Fields), "a variant needs a case")
	case 0x70:
		t.Kind, t.Elem = List, s.valType(r)
	case 0x67:
		t.Kind, t.Elem, t.Len = FixedList, s.valType(r), r.u32("the length of a list")
		needOne(at, int(t.Len), "a list of fixed length needs an element")
	case 0x6f:
		t.Kind = Tuple
		for range r.countTo(maxParts, "elements of a tuple") {
			t.Fields = append(t.Fields, Field{Type: s.valType(r)})
		}
		needOne(at, len(t.Fields), "a tuple needs an element")
	case 0x6e, 0x6d:
		t.Kind = Enum
		if code == 0x6e {
			t.Kind = Flags
		}
		seen := labels{}
		for range r.countTo(maxParts, "labels") {
			t.Labels = append(t.Labels, seen.read(r))
		}
		needOne(at, len(t.Labels), "flags and enums need a label")
		if t.Kind == Flags && len(t.Labels) > maxFlags {
			failAt(at, "%d flags are more than %d", len(t.Labels), maxFlags)
		}
	case 0x6b:
		t.Kind, t.Elem = Option, s.valType(r)
	case 0x6a:
		t.Kind = Result
		t.Elem = s.optionalVal(r, "the type of ok")
		t.Err = s.optionalVal(r, "the type of error")
	case 0x69:
		s.handle(r, t, Own)
	case 0x68:
		s.handle(r, t, Borrow)
	default:
		failAt(at, "expected a type, found %#02x", code)
	}
}

func (s *scope) handle(r *reader, t *ValType, k Kind) {
	t.Kind, t.handle = k, typeOf[*Resource](s, r, "a resource type")
	t.Resource = t.handle.root()
}

func needOne(at int64, n int, what string) {
	if n == 0 {
		failAt(at, "%s", what)
	}
}

func (s *scope) labelled(r *reader, most int, what string) []Field {
	seen := labels{}
	var l []Field
	for range r.countTo(most, what) {
		l = append(l, Field{Name: seen.read(r), Type: s.valType(r)})
	}
	return l
}

func (s *scope) funcType(r *reader) *FuncType {
	at := r.at()
	params := s.labelled(r, maxParams, "parameters")
	var result *ValType
	switch b := r.byte("a result"); b {
	case 0:
		result = s.valType(r)
		if result.Borrows {
			failAt(at, "a result has a borrow in it")
		}
	case 1:
		r.expect(0, "no result")
	default:
		failAt(at, "expected a result (0 or 1), found %#02x", b)
	}
	return newFunc(params, result)
}

func (s *scope) resource(at int64, r *reader) *Resource {
	if s.c == nil {
		failAt(at, "a resource type is defined in a type")
	}
	r.expect(0x7f, "the representation of a resource, i32")
	d := &DefResource{Resource: s.fresh(&Resource{Local: true}, false), Dtor: -1}
	switch b := r.byte("a destructor"); b {
	case 0:
	case 1:
		fat := r.at()
		i := r.u32("a core function")
		f := pick(fat, s.coreFuncs, i, "core function")
		if !f.Equal(ResourceDrop.Type()) {
			failAt(fat, "a destructor has the type (i32), found %s", f)
		}
		d.Dtor = int64(i)
	default:
		failAt(at, "expected a destructor (0 or 1), found %#02x", b)
	}
	s.def(d)
	return d.Resource
}

// typeScope opens the scope of the type of an instance or component.
func (s *scope) typeScope(r *reader) *scope {
	in := &scope{d: s.d, outer: s, depth: s.depth + 1}
	if in.depth > maxNesting {
		r.failf("components and types are nested more than %d deep", maxNesting)
	}
	return in
}

func (s *scope) instanceType(r *reader) *InstanceType {
	at := r.at()
	in := s.typeScope(r)
	for range r.count("declarations") {
		at := r.at()
		in.declaration(at, r.byte("a declaration"), r)
	}
	return newInstance(at, in.exports, in.made)
}

func (s *scope) componentType(r *reader) *ComponentType {
	at := r.at()
	in := s.typeScope(r)
	in.visible = s.d.visible(nil)
	for range r.count("declarations") {
		at := r.at()
		if b := r.byte("a declaration"); b != 3 {
			in.declaration(at, b, r)
			continue
		}
		in.imported1(r)
	}
	return in.asType(at)
}

// asType returns the type of a component whose scope this is.
func (s *scope) asType(at int64) *ComponentType {
	t := &ComponentType{
		Imports: s.imports.list, Exports: s.exports.list,
		imported: s.imported, made: s.made,
		resources: true,
		weight:    1 + weightOf(s.imports.list) + weightOf(s.exports.list),
		depth:     max(depthOf(s.imports.list), depthOf(s.exports.list)),
	}
	checkDepth(at, t.depth)
	return t
}

// depthOf returns how deep instances and components are in each other, in l.
func depthOf(l []Extern) (depth int) {
	for _, e := range l {
		switch t := e.Type.(type) {
		case *InstanceType:
			depth = max(depth, t.depth+1)
		case *ComponentType:
			depth = max(depth, t.depth+1)
		}
	}
	return depth
}

func checkDepth(at int64, depth int) {
	if depth > maxDepth {
		failAt(at, "types of instances and components are more than %d deep in each other", maxDepth)
	}
}

func (s *scope) declaration(at int64, code byte, r *reader) {
	switch code {
	case 0:
		s.coreType(r)
	case 1:
		s.types = append(s.types, s.defType(r))
	case 2:
		s.alias(r)
	case 4:
		at := r.at()
		name := r.externName()
		e, _ := s.introduce(at, r, name.text, false)
		s.exports.add(s.d, at, name, e)
		s.introduced(at, Extern{name.text, e}, false)
	default:
		failAt(at, "expected a declaration (0 to 4), found %d", code)
	}
}

func newInstance(at int64, exports externs, bound []*Resource) *InstanceType {
	t := &InstanceType{Exports: exports.list, index: exports.index, bound: bound}
	t.weight, t.closed = 1+weightOf(t.Exports), true
	for _, e := range t.Exports {
		t.resources = t.resources || mentions(e.Type)
		t.names = t.names || needsNames(e.Type)
		t.closed = t.closed && closed(e.Type)
	}
	t.depth = depthOf(t.Exports)
	checkDepth(at, t.depth)
	return t
}

// mentions tells whether there may be a resource type in t.
func mentions(t Type) bool {
	switch t := t.(type) {
	case *ValType:
		return t.resources
	case *FuncType:
		return t.resources
	case *InstanceType:
		return t.resources
	case *ComponentType:
		return t.resources
	case *Resource:
		return true
	}
	return false
}

// needsNames tells whether there may be a type in t that needs a name.
func needsNames(t Type) bool {
	switch t := t.(type) {
	case *ValType:
		return t.names
	case *FuncType:
		return t.names
	case *InstanceType:
		return t.names
	}
	return t != nil
}

func weightOf(l []Extern) int {
	n := len(l)
	for _, e := range l {
		switch t := e.Type.(type) {
		case *InstanceType:
			n += t.weight
		case *ComponentType:
			n += t.weight
		}
	}
	return min(n, maxWork+1)
}

// coreType reads a type of the core type index space.
func (s *scope) coreType(r *reader) {
	at := r.at()
	switch b := r.byte("a core type"); b {
	case 0x60:
		s.coreTypes = append(s.coreTypes, coreFuncType(r))
	case 0x50:
		s.coreTypes = append(s.coreTypes, s.moduleType(r))
	case 0x00, 0x4e, 0x4f, 0x5e, 0x5f:
		failAt(at, "core types of garbage collection are not supported")
	default:
		failAt(at, "expected a core type, found %#02x", b)
	}
}

func (s *scope) moduleType(r *reader) *ModuleType {
	m := &ModuleType{}
	var types []CoreFuncType
	for range r.count("declarations of a module type") {
		at := r.at()
		switch b := r.byte("a declaration of a module type"); b {
		case 0:
			e := CoreExtern{Module: r.name("the module of a core import"), Name: r.name("the name of a core import")}
			e.CoreEntity = coreExternType(r, types)
			m.addImport(at, e)
		case 1:
			r.expect(0x60, "a function type")
			types = append(types, coreFuncType(r))
		case 2:
			r.expect(0x10, "the sort type")
			r.expect(0x01, "an outer alias")
			types = append(types, s.outerCoreType(r, types))
		case 3:
			e := CoreExtern{Name: r.name("the name of a core export")}
			e.CoreEntity = coreExternType(r, types)
			m.addExport(at, e)
		default:
			failAt(at, "expected a declaration of a module type (0 to 3), found %d", b)
		}
	}
	return m
}

// outerCoreType reads the rest of an alias in a module type, whose scope counts
// as one: types are those in it.
func (s *scope) outerCoreType(r *reader, types []CoreFuncType) CoreFuncType {
	at := r.at()
	count, index := r.u32("a number of scopes"), r.u32("a core type")
	if count == 0 {
		return pick(at, types, index, "core type")
	}
	t, ok := pick(at, s.around(at, count-1).coreTypes, index, "core type").(CoreFuncType)
	if !ok {
		failAt(at, "expected a core function type")
	}
	return t
}

// around returns the count-th scope around s; 0 is s.
func (s *scope) around(at int64, count uint32) *scope {
	in := s
	for left := count; left > 0 && in != nil; left-- {
		in = in.outer
	}
	if in == nil {
		failAt(at, "there are no %d scopes around this one", count)
	}
	return in
}
