package binary

import "errors"

// CoreType is a value type of core WebAssembly, by its byte in the binary.
type CoreType byte

// The core types that values are passed in.
const (
	I32 CoreType = 0x7f
	I64 CoreType = 0x7e
	F32 CoreType = 0x7d
	F64 CoreType = 0x7c
)

// Kind is what a value type is.
type Kind uint8

// The kinds of value types.
const (
	Bool Kind = iota
	S8
	U8
	S16
	U16
	S32
	U32
	S64
	U64
	Float32
	Float64
	Char
	String
	List
	FixedList
	Record
	Tuple
	Variant
	Enum
	Flags
	Option
	Result
	Own
	Borrow
)

// Limits of the canonical ABI.
const (
	// MaxFlat is how many core values pass the parameters of a function; more
	// go through memory.
	MaxFlat = 16
	// MaxSize bounds the size in memory of a value, in bytes.
	MaxSize = 1<<28 - 1

	maxDepth = 100 // of a value type
	maxFlags = 32
)

// Type is what an index of a type stands for: a *ValType, *FuncType,
// *InstanceType, *ComponentType or *Resource.
type Type interface{ isType() }

func (*ValType) isType()       {}
func (*FuncType) isType()      {}
func (*InstanceType) isType()  {}
func (*ComponentType) isType() {}
func (*Resource) isType()      {}

// ValType is a type of values. It is immutable.
type ValType struct {
	Kind Kind
	// Name is what the type is exported or imported as; Of is then the type that
	// got the name. Names are for people: types are equal by their structure.
	Name string
	Of   *ValType

	Fields   []Field  // of Record and Tuple, where the names are empty; cases of Variant
	Labels   []string // of Enum and Flags
	Elem     *ValType // of List, FixedList and Option; of Result for ok, or nil
	Err      *ValType // of Result, or nil
	Len      uint32   // of FixedList
	Resource *Resource

	// Size and Align are those of the value in a memory of 32 bits, in bytes.
	Size, Align uint32
	// Flat are the core values that pass it. If they are more than MaxFlat, there
	// are MaxFlat+1 and the rest is cut off.
	Flat []CoreType
	// Borrows and Dynamic tell whether there is a borrow, or a string or list, in
	// it.
	Borrows, Dynamic bool

	resources bool   // there is a handle in it
	wide      uint64 // at least its size in a memory of 64 bits, which MaxSize bounds too
	depth     int
}

// Field is a field of a record or tuple, or a case of a variant, whose Type may
// be nil.
type Field struct {
	Name string
	Type *ValType
}

// FuncType is the type of a function of a component. Result is nil if there is
// none.
type FuncType struct {
	Params []Field
	Result *ValType

	resources bool
}

// Resource is a resource type. Two are equal if they are the same pointer.
type Resource struct {
	// Name is what it is exported or imported as; empty if it is neither.
	Name string
	// Slot is its number among the resources of the component that it is in, or
	// -1 for one of a type that nothing has been imported or made by.
	Slot int
	// Local tells whether the component itself defines it.
	Local bool
}

// Sort is what an import, an export or an alias is of.
type Sort uint8

// The sorts, those of core WebAssembly first.
const (
	CoreFunc Sort = iota
	CoreTable
	CoreMemory
	CoreGlobal
	CoreTag
	CoreModule
	CoreInstance
	CoreTypeSort
	Func
	Value
	TypeSort
	ComponentSort
	Instance
)

var sortNames = [...]string{"core func", "core table", "core memory", "core global", "core tag",
	"core module", "core instance", "core type", "func", "value", "type", "component", "instance"}

// String returns the sort's name in the text format.
func (s Sort) String() string {
	if int(s) < len(sortNames) {
		return sortNames[s]
	}
	return "unknown"
}

// Entity is the type of an import or export: Module for a CoreModule, Type for
// everything else. For TypeSort, Type is the type that is imported or exported.
type Entity struct {
	Sort   Sort
	Type   Type
	Module *ModuleType
}

// Func returns the type of a function; nil for another sort.
func (e Entity) Func() *FuncType {
	t, _ := e.Type.(*FuncType)
	if e.Sort != Func {
		return nil
	}
	return t
}

// Instance returns the type of an instance; nil for another sort.
func (e Entity) Instance() *InstanceType {
	t, _ := e.Type.(*InstanceType)
	if e.Sort != Instance {
		return nil
	}
	return t
}

// Extern is a named import or export.
type Extern struct {
	Name string
	Entity
}

// InstanceType is the type of an instance.
type InstanceType struct {
	Exports []Extern // in the order of the binary

	index     map[string]int
	bound     []*Resource // that the type itself introduces
	resources bool
	weight    int // how much there is in it
}

// Export returns the export with this name.
func (t *InstanceType) Export(name string) (Entity, bool) {
	i, ok := t.index[name]
	if !ok {
		return Entity{}, false
	}
	return t.Exports[i].Entity, true
}

// ComponentType is the type of a component.
type ComponentType struct {
	Imports, Exports []Extern

	imported  []*Resource // that the imports introduce
	made      []*Resource // that the exports introduce
	resources bool
	weight    int
}

// newVal computes what follows from a type's structure. problem is empty if the
// type is good.
func newVal(t *ValType) (_ *ValType, problem string) {
	t.Align = 1
	var flat []CoreType
	one := func(size uint32, c CoreType) {
		t.Size, t.Align, flat = size, size, []CoreType{c}
	}
	switch t.Kind {
	case Bool, S8, U8:
		one(1, I32)
	case S16, U16:
		one(2, I32)
	case S32, U32, Char, Own, Borrow:
		one(4, I32)
	case S64, U64:
		one(8, I64)
	case Float32:
		one(4, F32)
	case Float64:
		one(8, F64)
	case String, List:
		t.Size, t.Align, flat = 8, 4, []CoreType{I32, I32}
	case Flags:
		one(discriminant(t.Kind, len(t.Labels)), I32)
	case Enum:
		one(discriminant(t.Kind, len(t.Labels)), I32)
	case FixedList, Record, Tuple:
		problem = t.product(&flat)
	case Variant, Option, Result:
		problem = t.sum(&flat)
	}
	t.Flat = flat
	t.inherit()
	switch {
	case problem != "":
	case t.depth > maxDepth:
		problem = "a value type is nested too deep"
	case t.Size > MaxSize || t.wide > MaxSize:
		problem = "a value type has a size of 2^28 bytes or more"
	}
	return t, problem
}

// discriminant returns the size of the number of a case, or of a set of flags.
func discriminant(k Kind, n int) uint32 {
	switch {
	case k == Flags && n <= 8, k != Flags && n <= 1<<8:
		return 1
	case k == Flags && n <= 16, k != Flags && n <= 1<<16:
		return 2
	}
	return 4
}

// Discriminant returns the size in memory of the number of t's case, in bytes.
func (t *ValType) Discriminant() uint32 {
	switch t.Kind {
	case Variant:
		return discriminant(t.Kind, len(t.Fields))
	case Enum, Flags:
		return discriminant(t.Kind, len(t.Labels))
	}
	return 1
}

// CaseTypes returns the payloads of the cases of a variant, option or result;
// nil for a case without one.
func (t *ValType) CaseTypes() []*ValType {
	switch t.Kind {
	case Option:
		return []*ValType{nil, t.Elem}
	case Result:
		return []*ValType{t.Elem, t.Err}
	case Variant:
		cases := make([]*ValType, len(t.Fields))
		for i, f := range t.Fields {
			cases[i] = f.Type
		}
		return cases
	}
	return nil
}

// AlignTo rounds n up to a multiple of align.
func AlignTo(n, align uint32) uint32 { return (n + align - 1) &^ (align - 1) }

func (t *ValType) product(flat *[]CoreType) string {
	if t.Kind == FixedList {
		if uint64(t.Len)*uint64(t.Elem.Size) > MaxSize {
			return "a value type has a size of 2^28 bytes or more"
		}
		t.Size, t.Align = t.Len*t.Elem.Size, t.Elem.Align
		for range min(t.Len, MaxFlat+1) {
			*flat = appendFlat(*flat, t.Elem.Flat)
		}
		return ""
	}
	var size uint32
	for _, f := range t.Fields {
		size = AlignTo(size, f.Type.Align) + f.Type.Size
		if size > MaxSize {
			return "a value type has a size of 2^28 bytes or more"
		}
		t.Align = max(t.Align, f.Type.Align)
		*flat = appendFlat(*flat, f.Type.Flat)
	}
	t.Size = AlignTo(size, t.Align)
	return ""
}

func (t *ValType) sum(flat *[]CoreType) string {
	disc := t.Discriminant()
	var size uint32
	align := uint32(1)
	joined := []CoreType{I32}
	for _, c := range t.CaseTypes() {
		if c == nil {
			continue
		}
		size, align = max(size, c.Size), max(align, c.Align)
		for i, f := range c.Flat {
			if i+1 < len(joined) {
				joined[i+1] = join(joined[i+1], f)
			} else {
				joined = append(joined, f)
			}
		}
	}
	t.Align = max(disc, align)
	t.Size = AlignTo(AlignTo(disc, align)+size, t.Align)
	*flat = appendFlat(nil, joined)
	return ""
}

// Payload returns where in memory the payload of a variant, option or result
// begins.
func (t *ValType) Payload() uint32 {
	align := uint32(1)
	for _, c := range t.CaseTypes() {
		if c != nil {
			align = max(align, c.Align)
		}
	}
	return AlignTo(t.Discriminant(), align)
}

func appendFlat(flat, more []CoreType) []CoreType {
	return append(flat, more[:min(len(more), MaxFlat+1-len(flat))]...)
}

func join(a, b CoreType) CoreType {
	switch {
	case a == b:
		return a
	case a == I32 && b == F32, a == F32 && b == I32:
		return I32
	}
	return I64
}

// inherit computes what a type has from those in it.
func (t *ValType) inherit() {
	t.Borrows = t.Kind == Borrow
	t.resources = t.Kind == Borrow || t.Kind == Own
	t.Dynamic = t.Kind == String || t.Kind == List
	t.wide = uint64(t.Size)
	if t.Dynamic {
		t.wide = 16
	}
	if t.Kind == FixedList {
		t.wide = uint64(t.Len) * t.Elem.wide
	}
	from := func(u *ValType) {
		if u == nil {
			return
		}
		t.Borrows = t.Borrows || u.Borrows
		t.Dynamic = t.Dynamic || u.Dynamic
		t.resources = t.resources || u.resources
		t.depth = max(t.depth, u.depth+1)
	}
	from(t.Elem)
	from(t.Err)
	for _, f := range t.Fields {
		from(f.Type)
	}
}

func newFunc(params []Field, result *ValType) *FuncType {
	t := &FuncType{Params: params, Result: result}
	t.resources = result != nil && result.resources
	for _, p := range params {
		t.resources = t.resources || p.Type.resources
	}
	return t
}

// FlatParams returns the core values that pass the parameters, as
// ValType.Flat does.
func (t *FuncType) FlatParams() []CoreType {
	var flat []CoreType
	for _, p := range t.Params {
		flat = appendFlat(flat, p.Type.Flat)
	}
	return flat
}

// FlatResults returns the core values that pass the result, as ValType.Flat
// does.
func (t *FuncType) FlatResults() []CoreType {
	if t.Result == nil {
		return nil
	}
	return t.Result.Flat
}

// Lifted returns the type of the core function that canon lift makes a function
// of this type from; Lowered, of the one that canon lower makes.
func (t *FuncType) Lifted() CoreFuncType {
	params, results := t.FlatParams(), t.FlatResults()
	if len(params) > MaxFlat {
		params = []CoreType{I32}
	}
	if len(results) > 1 {
		results = []CoreType{I32}
	}
	return CoreFuncType{Params: params, Results: results}
}

// Lowered is explained at Lifted.
func (t *FuncType) Lowered() CoreFuncType {
	params, results := t.FlatParams(), t.FlatResults()
	if len(params) > MaxFlat {
		params = []CoreType{I32}
	}
	if len(results) > 1 {
		params = append(params[:len(params):len(params)], I32)
		results = nil
	}
	return CoreFuncType{Params: params, Results: results}
}

// NewValType makes a value type of its structure: what a ValType's comment says
// is computed is filled in. It changes t.
func NewValType(t *ValType) (*ValType, error) {
	t, problem := newVal(t)
	if problem != "" {
		return nil, errors.New(problem)
	}
	return t, nil
}

// NewFuncType makes the type of a function; result may be nil.
func NewFuncType(params []Field, result *ValType) *FuncType { return newFunc(params, result) }
