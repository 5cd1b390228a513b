package binary

// Component is a decoded and valid component. It is immutable but for what
// DefModule allows.
type Component struct {
	// Name is from the name section, for people.
	Name string
	// Type says what it imports and exports. Its exports' types may have in them
	// resources that the component makes itself.
	Type *ComponentType
	// Defs make an instance, in this order. Each that defines something of a sort
	// adds it to the end of that sort's index space; indices in the definitions
	// are into those spaces.
	Defs []Def
	// Resources are the resource types that occur in it, by slot.
	Resources []*Resource
	// Producers are from the producers section: "field: name version".
	Producers []string
	// Order numbers the components of a binary, the outermost being 0.
	Order int
}

// Def is a definition of a component: one of the types of this package whose
// comment says so.
type Def interface{ isDef() }

// DefModule defines a core module. Order numbers the core modules of a binary.
type DefModule struct {
	// Bytes are the module, within the binary. Whoever has no more use for them
	// may set them to nil.
	Bytes  []byte
	Offset int64 // of Bytes in the binary
	Type   *ModuleType
	Order  int
}

// DefCoreInstance defines the core instance that a core module makes.
type DefCoreInstance struct {
	Module uint32
	Args   []CoreArg
}

// CoreArg gives a core module what it imports from a module of this name.
type CoreArg struct {
	Name     string
	Instance uint32
}

// DefCoreInline defines a core instance that gathers things that are there.
type DefCoreInline struct{ Exports []CoreItem }

// CoreItem is an export of a DefCoreInline.
type CoreItem struct {
	Name  string
	Index uint32 // by Entity.Sort
	CoreEntity
}

// DefCoreAlias defines an export of a core instance.
type DefCoreAlias struct {
	Sort     Sort
	Instance uint32
	Name     string
}

// DefAlias defines an export of an instance.
type DefAlias struct {
	Sort     Sort
	Instance uint32
	Name     string
}

// DefOuter defines a core module or component of the Count-th component around
// this one.
type DefOuter struct {
	Sort  Sort
	Count uint32
	Index uint32
}

// DefComponent defines a nested component.
type DefComponent struct{ Component *Component }

// DefInstance defines the instance that a component makes.
type DefInstance struct {
	Component uint32
	Args      []Item
	Binds     []Bind // its resources that become this component's
}

// DefInline defines an instance that gathers things that are there.
type DefInline struct{ Exports []Item }

// Item is an argument of an instantiation, or an export of a DefInline. Type is
// set for TypeSort, which has no index space at run time.
type Item struct {
	Name  string
	Sort  Sort
	Index uint32
	Type  Type
}

// Bind says where a resource type is found in an instance: the names of exports
// from the outside in; none for the thing itself.
type Bind struct {
	Path []string
	Slot int
}

// Encoding is how strings are encoded in a memory.
type Encoding uint8

// The encodings of strings.
const (
	UTF8 Encoding = iota
	UTF16
	Latin1UTF16
)

// Options are those of canon lift and lower. Memory, Realloc and PostReturn are
// indices; -1 is none.
type Options struct {
	Encoding                    Encoding
	Memory, Realloc, PostReturn int64
}

// DefLift defines a function of the component by a core function.
type DefLift struct {
	Core uint32
	Type *FuncType
	Options
}

// DefLower defines a core function by a function of the component. Builtin
// numbers the core functions that a component's canonical definitions make.
type DefLower struct {
	Func    uint32
	Type    *FuncType
	Builtin int
	Options
}

// DefResourceOp defines a core function that works on handles.
type DefResourceOp struct {
	Op       ResourceOp
	Resource *Resource
	Builtin  int
}

// ResourceOp is what a DefResourceOp does.
type ResourceOp uint8

// The operations on resources.
const (
	ResourceNew ResourceOp = iota
	ResourceDrop
	ResourceRep
)

// Type returns the type of the operation's core function.
func (op ResourceOp) Type() CoreFuncType {
	t := CoreFuncType{Params: []CoreType{I32}}
	if op != ResourceDrop {
		t.Results = []CoreType{I32}
	}
	return t
}

// DefResource defines a resource type. Dtor is the index of its destructor, a
// core function; -1 is none.
type DefResource struct {
	Resource *Resource
	Dtor     int64
}

// DefImport defines what an import brings.
type DefImport struct {
	Extern
	Binds []Bind
}

// DefExport exports something, and defines it again in its index space.
type DefExport struct {
	Extern
	Index uint32 // not of TypeSort
	Of    Type   // what is exported; Entity.Type is what it is exported as
	Binds []Bind // the resources of Entity.Type that stand for some of Of's
}

func (*DefModule) isDef()       {}
func (*DefCoreInstance) isDef() {}
func (*DefCoreInline) isDef()   {}
func (*DefCoreAlias) isDef()    {}
func (*DefAlias) isDef()        {}
func (*DefOuter) isDef()        {}
func (*DefComponent) isDef()    {}
func (*DefInstance) isDef()     {}
func (*DefInline) isDef()       {}
func (*DefLift) isDef()         {}
func (*DefLower) isDef()        {}
func (*DefResourceOp) isDef()   {}
func (*DefResource) isDef()     {}
func (*DefImport) isDef()       {}
func (*DefExport) isDef()       {}
