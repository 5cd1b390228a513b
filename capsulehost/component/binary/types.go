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

	maxDepth = 100 // of value types, and of those of instances and components, in each other
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
	handle   *Resource // Resource, or the other name of it that the type was written with

	// Size and Align are those of the value in a memory of 32 bits, in bytes.
	Size, Align uint32
	// Flat are the core values that pass it. If they are more than MaxFlat, there
	// are MaxFlat+1 and the rest is cut off.
	Flat []CoreType
	// Borrows and Dynamic tell whether there is a borrow, or a string or list, in
	// it.
	Borrows, Dynamic bool

	wideSize  uint64 // in a memory of 64 bits, which MaxSize bounds too
	wideAlign uint32
	resources bool // there is a handle in it
	names     bool // it is a type that needs a name, or there is one in it; see visible
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

	resources, names bool
}

// Resource is a resource type, or another name of one. Resource types are equal
// if they are the same pointer; other names of one have its slot.
type Resource struct {
	// Name is what it is exported or imported as; empty if it is neither.
	Name string
	// Slot is its number among the resources of the component that it is in, or
	// -1 for one of a type that nothing has been imported or made by.
	Slot int
	// Local tells whether the component itself defines it.
	Local bool

	of    *Resource // what this is another name of; nil: it is no other name
	alias int       // numbers the names
}

// root returns the resource type itself.
func (r *Resource) root() *Resource {
	if r.of != nil {
		return r.of
	}
	return r
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
	names     bool
	closed    bool // no component's type is in it
	weight    int  // how much there is in it
	depth     int  // of instances and components in it
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
	depth     int
}

func newFunc(params []Field, result *ValType) *FuncType {
	t := &FuncType{Params: params, Result: result}
	if result != nil {
		t.resources, t.names = result.resources, result.names
	}
	for _, p := range params {
		t.resources = t.resources || p.Type.resources
		t.names = t.names || p.Type.names
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
