package wasmbin

// Ids of sections.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	secTag
)

// decoder collects what the sections say.
type decoder struct {
	m     *Module
	types []FuncType
	funcs []uint32 // type of each function, imported ones first
}

// Decode reads a core module. Its time and memory are bounded by the size of b,
// of which it keeps nothing. Errors are of type *FormatError.
func Decode(b []byte) (*Module, error) {
	d, err := decode(b)
	if err != nil {
		return nil, err
	}
	return d.m, nil
}

func decode(b []byte) (*decoder, error) {
	switch LayerOf(b) {
	case NotWasm:
		return nil, &FormatError{What: `it does not begin with "\0asm"`}
	case OtherVersion:
		return nil, &FormatError{Offset: 4, What: "its version is not 1"}
	case Component:
		return nil, &FormatError{Offset: 4, What: "it is a component, not a core module"}
	}
	d := &decoder{m: &Module{}}
	r := &reader{b: b, pos: 8}
	var seen uint16
	for r.left() > 0 && r.fail == nil {
		start := r.pos
		id := r.byte()
		size := r.u32()
		if int64(size) > int64(r.left()) {
			r.errorf("section %d announces %d bytes and %d are there", id, size, r.left())
			break
		}
		s := r.sub(int(size))
		if id > secTag {
			r.pos = start
			r.errorf("there is no section %d", id)
			break
		}
		if id != secCustom && seen&(1<<id) != 0 {
			r.pos = start
			r.errorf("section %d is there twice", id)
			break
		}
		seen |= 1 << id
		d.section(id, s)
		if r.fail = s.fail; r.fail == nil && id != secCustom && s.left() > 0 && decoded(id) {
			s.errorf("section %d is longer than what it holds", id)
			r.fail = s.fail
		}
	}
	if r.fail != nil {
		return nil, r.fail
	}
	return d, nil
}

// decoded tells whether a section's contents are looked at.
func decoded(id byte) bool {
	switch id {
	case secType, secImport, secFunction, secMemory, secExport, secStart:
		return true
	}
	return false
}

func (d *decoder) section(id byte, r *reader) {
	switch id {
	case secCustom:
		d.custom(r)
	case secType:
		for range r.count() {
			d.types = append(d.types, funcType(r))
		}
	case secImport:
		for range r.count() {
			if r.fail != nil {
				return
			}
			d.imports(r)
		}
	case secFunction:
		for range r.count() {
			t := r.u32()
			if d.funcType(r, t); r.fail != nil {
				return
			}
			d.funcs = append(d.funcs, t)
		}
	case secMemory:
		for range r.count() {
			d.m.Memories = append(d.m.Memories, limits(r))
		}
	case secExport:
		for range r.count() {
			if r.fail != nil {
				return
			}
			d.exports(r)
		}
	case secStart:
		r.u32()
		d.m.HasStart = true
	}
}

func funcType(r *reader) FuncType {
	if r.fail == nil && r.byte() != 0x60 && r.fail == nil {
		r.pos--
		r.errorf("a type is no function type")
	}
	return FuncType{Params: valueTypes(r), Results: valueTypes(r)}
}

func valueTypes(r *reader) []ValueType {
	n := r.count()
	if n == 0 {
		return nil
	}
	types := make([]ValueType, 0, n)
	for range n {
		types = append(types, r.valueType())
	}
	return types
}

func limits(r *reader) Limits {
	flags := r.byte()
	l := Limits{HasMax: flags&1 != 0, Shared: flags&2 != 0}
	if flags > 7 {
		r.pos--
		r.errorf("limits with unknown flags %#x", flags)
	}
	l.Min = r.varint(64)
	if l.HasMax {
		l.Max = r.varint(64)
	}
	return l
}

func (d *decoder) funcType(r *reader, index uint32) FuncType {
	if int64(index) >= int64(len(d.types)) {
		r.errorf("there is no type %d", index)
		return FuncType{}
	}
	return d.types[index]
}

func (d *decoder) imports(r *reader) {
	im := Import{Module: r.name(), Name: r.name(), Kind: Kind(r.byte())}
	switch im.Kind {
	case Func:
		t := r.u32()
		im.Type = d.funcType(r, t)
		d.funcs = append(d.funcs, t)
	case Table:
		r.valueType()
		limits(r)
	case Memory:
		im.Memory = limits(r)
	case Global:
		r.valueType()
		r.byte() // mutability
	case Tag:
		r.byte()
		r.u32()
	default:
		r.errorf("an import of unknown kind %d", im.Kind)
	}
	d.m.Imports = append(d.m.Imports, im)
}

func (d *decoder) exports(r *reader) {
	e := Export{Name: r.name(), Kind: Kind(r.byte())}
	index := r.u32()
	switch {
	case e.Kind > Tag:
		r.errorf("an export of unknown kind %d", e.Kind)
	case e.Kind == Func && int64(index) >= int64(len(d.funcs)):
		r.errorf("there is no function %d", index)
	case e.Kind == Func:
		e.Type = d.funcType(r, d.funcs[index])
	}
	d.m.Exports = append(d.m.Exports, e)
}

// custom reads the sections that tell the module's name and producers. They are
// for people: what is wrong in them is passed over.
func (d *decoder) custom(r *reader) {
	name := r.name()
	if r.fail != nil {
		return
	}
	in := r.sub(r.left())
	switch name {
	case "name":
		if in.byte() == 0 {
			in.u32()
			d.m.Name = in.name()
		}
	case "producers":
		for range in.count() {
			field := in.name()
			for range in.count() {
				text := field + ": " + in.name()
				if v := in.name(); v != "" {
					text += " " + v
				}
				if in.fail == nil {
					d.m.Producers = append(d.m.Producers, text)
				}
			}
		}
	}
}
