package binary

import "github.com/astridfs/astridfs/capsulehost/wasmbin"

// FormatError says what is wrong with a binary and at which byte.
type FormatError = wasmbin.FormatError

// Bounds of a binary.
const (
	maxNesting = 64      // of components and of types of instances and components
	maxWork    = 500_000 // steps that types may cost beyond the reading of them

	// What a binary has of everything that is listed in it, all together: each is
	// some 200 bytes of memory at most. Of the things that take more there are
	// less; tools make some 60, and 200 canonical definitions.
	maxItems      = 2_000_000
	maxComponents = 1000
	maxModules    = 1000
	maxCanons     = 10_000
	maxExterns    = 200_000 // imports and exports

	// What a type has of them; the numbers are Wasmtime's.
	maxParams = 1000   // of a function, a core one too
	maxParts  = 10_000 // fields, cases, elements or labels of a value type
)

// Ids of the sections of a component.
const (
	secCustom = iota
	secCoreModule
	secCoreInstance
	secCoreType
	secComponent
	secInstance
	secAlias
	secType
	secCanon
	secStart
	secImport
	secExport
	secValue
)

// decoder is what the scopes of a binary share.
type decoder struct {
	work       int // that is left
	components int
	modules    int
	canons     int
	externs    int
	people     int // bytes that texts for people may still have
	prims      map[Kind]*ValType
	aliases    map[alias]*Resource
	names      int // of resources, that they have besides the first
}

// spend counts work that the binary's size does not bound.
func (d *decoder) spend(at int64, n int) {
	if d.work -= n; d.work < 0 {
		failAt(at, "the types of the component are too large")
	}
}

// scope is a component, or the type of a component or instance, that is being
// decoded: its index spaces as far as they are there.
type scope struct {
	d     *decoder
	outer *scope
	depth int
	// c is nil in the type of an instance or component.
	c *Component

	coreTypes     []any // CoreFuncType or *ModuleType
	coreModules   []*ModuleType
	coreInstances []*coreInstance
	coreFuncs     []CoreFuncType
	coreTables    []CoreEntity
	coreMems      []CoreEntity
	coreGlobals   []CoreEntity
	coreTags      []CoreFuncType

	types      []Type
	components []*ComponentType
	instances  []*InstanceType
	funcs      []*FuncType

	imports, exports externs
	imported, made   []*Resource
	visible          *visible // nil in the type of an instance
	builtins         int
}

// coreInstance is the type of a core instance.
type coreInstance struct {
	items map[string]CoreEntity
}

// Decode reads and validates a component. The answer refers to b, which must
// not be changed while it is in use. Time and memory are bounded by the size of
// b and a constant.
//
// Errors: *FormatError.
func Decode(b []byte) (c *Component, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		out, ok := p.(bail)
		if !ok {
			panic(p)
		}
		c, err = nil, out.err
	}()
	switch wasmbin.LayerOf(b) {
	case wasmbin.NotWasm:
		failAt(0, `expected a WebAssembly binary, which begins with "\0asm"`)
	case wasmbin.CoreModule:
		failAt(4, "expected a component (version 13, layer 1), found a core module")
	case wasmbin.OtherVersion:
		failAt(4, "expected a component (version 13, layer 1), found version %d, layer %d",
			uint16(b[4])|uint16(b[5])<<8, uint16(b[6])|uint16(b[7])<<8)
	}
	d := &decoder{work: maxWork, people: maxForPeople, prims: map[Kind]*ValType{}, aliases: map[alias]*Resource{}}
	items := maxItems
	s := d.component(&reader{b: b, pos: 8, items: &items}, nil)
	return s.c, nil
}

// component decodes the sections of a component, its header being read.
func (d *decoder) component(r *reader, outer *scope) *scope {
	s := &scope{d: d, outer: outer, c: &Component{Order: d.components}, visible: d.visible(nil)}
	if d.components++; d.components > maxComponents {
		r.failf("there are more than %d components", maxComponents)
	}
	if outer != nil {
		s.depth = outer.depth + 1
	}
	if s.depth > maxNesting {
		r.failf("components and types are nested more than %d deep", maxNesting)
	}
	for r.left() > 0 {
		at := r.at()
		id := r.byte("the id of a section")
		if id > secValue {
			failAt(at, "expected the id of a section (0 to %d), found %d", secValue, id)
		}
		in := r.sub(r.u32("the size of a section"), "a section")
		s.section(at, id, in)
		if id != secCustom {
			in.end("the section")
		}
	}
	s.c.Type = s.asType(r.at())
	return s
}

func (s *scope) section(at int64, id byte, r *reader) {
	switch id {
	case secCustom:
		s.custom(r)
	case secCoreModule:
		s.module(r)
	case secCoreInstance:
		for range r.count("core instances") {
			s.coreInstance(r)
		}
	case secCoreType:
		for range r.count("core types") {
			s.coreType(r)
		}
	case secComponent:
		if wasmbin.LayerOf(r.b) != wasmbin.Component {
			r.failf("expected a nested component (version 13, layer 1)")
		}
		r.pos = 8
		in := s.d.component(r, s)
		s.components = append(s.components, in.c.Type)
		s.def(&DefComponent{Component: in.c})
	case secInstance:
		for range r.count("instances") {
			s.instance(r)
		}
	case secAlias:
		for range r.count("aliases") {
			s.alias(r)
		}
	case secType:
		for range r.count("types") {
			s.types = append(s.types, s.defType(r))
		}
	case secCanon:
		for range r.count("canonical definitions") {
			s.canon(r)
		}
	case secStart:
		failAt(at, "start functions of components are not supported")
	case secImport:
		for range r.count("imports") {
			s.imported1(r)
		}
	case secExport:
		for range r.count("exports") {
			s.exported1(r)
		}
	case secValue:
		failAt(at, "values of components are not supported")
	}
}

func (s *scope) def(d Def) { s.c.Defs = append(s.c.Defs, d) }

func (s *scope) module(r *reader) {
	if s.d.modules == maxModules {
		r.failf("there are more than %d core modules", maxModules)
	}
	t := coreModule(r)
	s.coreModules = append(s.coreModules, t)
	s.def(&DefModule{Bytes: r.b, Offset: r.off, Type: t, Order: s.d.modules})
	s.d.modules++
}

// maxForPeople bounds the texts of a binary that are for people, in bytes, and
// the vectors of a section of them.
const maxForPeople = 64 << 10

// custom reads the sections that are for people. What is wrong in what they hold
// is passed over, and so is what is too much of it.
func (s *scope) custom(r *reader) {
	name := r.name("the name of a custom section")
	items := maxForPeople
	r.items = &items
	spend := func(text string) string {
		if s.d.people -= len(text); s.d.people < 0 {
			s.d.people = 0
			r.failf("there is too much text for people")
		}
		return text
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(bail); !ok {
				panic(p)
			}
		}
	}()
	switch name {
	case "component-name":
		if r.byte("a part of the names") == 0 {
			in := r.sub(r.u32("a size"), "a name")
			s.c.Name = spend(in.name("a name"))
		}
	case "producers":
		for range r.count("fields") {
			field := r.name("a field")
			for range r.count("values") {
				value, version := r.name("a value"), r.name("a version")
				spend(field)
				text := field + ": " + spend(value)
				if spend(version) != "" {
					text += " " + version
				}
				s.c.Producers = append(s.c.Producers, text)
			}
		}
	}
}

// fresh makes a resource that there was not before one of the component's, by an
// import or else made by itself. In a type it is bound to that.
func (s *scope) fresh(res *Resource, imported bool) *Resource {
	if imported {
		s.imported = append(s.imported, res)
	} else {
		s.made = append(s.made, res)
		if s.visible != nil {
			s.visible.made[res] = false
		}
	}
	if s.c == nil {
		res.Slot = -1
		return res
	}
	res.Slot = len(s.c.Resources)
	s.c.Resources = append(s.c.Resources, res)
	return res
}

func (s *scope) typeAt(r *reader, what string) Type {
	at := r.at()
	return pick(at, s.types, r.u32(what), "type")
}

// typeOf reads an index of a type that must be a T.
func typeOf[T Type](s *scope, r *reader, what string) T {
	at := r.at()
	t, ok := s.typeAt(r, what).(T)
	if !ok {
		failAt(at, "expected %s, found another type", what)
	}
	return t
}
