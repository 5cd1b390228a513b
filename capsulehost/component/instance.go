package component

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// exports is an instance of a component as others see it: *function, *exports,
// *abi.ResourceType, *closure or *coreModule by name.
type exports struct{ items map[string]any }

// closure is a component with the instance around it, whose components and core
// modules it may refer to.
type closure struct {
	part *part
	env  *instance
}

// coreInstance is an instance of a core module, or a gathering of parts of some.
type coreInstance struct {
	mod   api.Module // nil for a gathering of nothing
	items map[string]coreRef
}

func (c *coreInstance) item(name string) coreRef {
	if c.items != nil {
		return c.items[name]
	}
	return coreRef{c.mod, name}
}

// instance is an instance of a component, with its index spaces. It is for one
// goroutine.
type instance struct {
	store *store
	part  *part
	env   *instance // the instance around it; nil: there is none

	coreModules   []*coreModule
	coreInstances []*coreInstance
	coreFuncs     []coreRef
	coreTables    []coreRef
	coreMems      []coreRef
	coreGlobals   []coreRef
	coreTags      []coreRef
	components    []*closure
	instances     []*exports
	funcs         []*function

	host      api.Module // the canonical definitions
	shared    map[binary.Options]*options
	lowers    []*lowered // by builtin
	dtors     map[*abi.ResourceType]coreRef
	resources []*abi.ResourceType // by slot
	handles   abi.Table

	entered  bool // a call into it is under way
	mayLeave bool // it may call out
}

// store is what one run of a program has.
type store struct {
	p         *Program
	instances [][]*instance // by the component's Order
	modules   []api.Module  // to close
	made      int           // instances of components
	nested    int           // calls of instances by others and destructors, each within the one before
	things    int           // that there are, see maxThings
	elements  uint64        // that tables can have
	handles   int           // entries of all instances' handle tables
	// kept are core functions that are ready to be called again, in turn. Each may
	// have the whole stack that a guest can have, so that they are few.
	kept   [guest.MaxNested]*coreFunc
	oldest int // of kept
}

type storeKey struct{}

func storeOf(ctx context.Context) *store {
	s, _ := ctx.Value(storeKey{}).(*store)
	if s == nil {
		guest.Trap("a component is called without what it belongs to")
	}
	return s
}

// maxInstances bounds how many core modules a run may instantiate, those that the
// host makes for it included, and how many components. Tools make some 60.
const maxInstances = 512

// maxThings bounds what all those instances have, all together: definitions,
// functions, exports and the like. One takes some 100 bytes of the host, a
// lifted function as much as weighsLifted others, and one that is made for core
// modules, lowered or on handles, as weighsLowered. A JavaScript engine has some
// 30,000.
const (
	maxThings     = 2_000_000
	weighsLifted  = 4
	weighsLowered = 8
)

// maxElements bounds what the tables of all those instances can have together;
// an element is 8 bytes.
const maxElements = 64 << 20

// spend counts things.
func (s *store) spend(n int) {
	if s.things += n; s.things > maxThings {
		guest.Trap("the component's instances have more than %d functions, exports and the like", maxThings)
	}
}

func (s *store) instance(c *binary.Component, k int) *instance { return s.instances[c.Order][k] }

// instantiate makes an instance of a core module, which is closed with the
// store. It imports from the modules that resolve answers. It runs the module's
// start function.
func (s *store) instantiate(ctx context.Context, mod wazero.CompiledModule, resolve func(name string) api.Module) (api.Module, error) {
	if len(s.modules) >= maxInstances {
		guest.Trap("the component instantiates more than %d core modules", maxInstances)
	}
	m, err := s.p.rt.InstantiateModule(experimental.WithImportResolver(ctx, resolve), mod,
		wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err == nil {
		s.modules = append(s.modules, m)
	}
	return m, err
}

// make makes an instance of a component, given what it imports.
func (s *store) make(ctx context.Context, c *closure, args map[string]any) (*exports, error) {
	t := c.part
	guest.Over(ctx)
	if s.made++; s.made > maxInstances {
		guest.Trap("the component instantiates more than %d components", maxInstances)
	}
	in := &instance{
		store: s, part: t, env: c.env, mayLeave: true, entered: true,
		dtors:     map[*abi.ResourceType]coreRef{},
		shared:    map[binary.Options]*options{},
		resources: make([]*abi.ResourceType, len(t.c.Resources)),
	}
	in.handles.Owner, in.handles.Count = in, &s.handles
	s.spend(len(t.c.Resources) + len(t.c.Defs))
	for len(s.instances) <= t.c.Order {
		s.instances = append(s.instances, nil)
	}
	k := len(s.instances[t.c.Order])
	s.instances[t.c.Order] = append(s.instances[t.c.Order], in)
	host, err := t.host(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("making the canonical definitions: %w", err)
	}
	if host != nil {
		if in.host, err = s.instantiate(ctx, host, nil); err != nil {
			return nil, err
		}
	}
	out := &exports{items: map[string]any{}}
	for _, d := range t.c.Defs {
		if err := in.define(ctx, d, args, out); err != nil {
			return nil, err
		}
	}
	in.entered = false
	return out, nil
}

func (in *instance) define(ctx context.Context, d binary.Def, args map[string]any, out *exports) error {
	switch d := d.(type) {
	case *binary.DefModule:
		in.coreModules = append(in.coreModules, in.part.p.modules[d.Order])
	case *binary.DefCoreInstance:
		return in.coreInstance(ctx, d)
	case *binary.DefCoreInline:
		return in.coreInline(ctx, d)
	case *binary.DefCoreAlias:
		in.addCore(d.Sort, in.coreInstances[d.Instance].item(d.Name))
	case *binary.DefAlias:
		in.add(d.Sort, in.instances[d.Instance].items[d.Name])
	case *binary.DefOuter:
		from := in
		for range d.Count {
			from = from.env
		}
		in.add(d.Sort, from.item(d.Sort, d.Index, nil))
	case *binary.DefComponent:
		in.components = append(in.components, &closure{in.part.p.parts[d.Component], in})
	case *binary.DefInstance:
		return in.instantiate(ctx, d)
	case *binary.DefInline:
		in.store.spend(len(d.Exports))
		in.instances = append(in.instances, &exports{items: in.items(d.Exports)})
	case *binary.DefLift:
		in.lift(d)
	case *binary.DefLower:
		in.store.spend(weighsLowered)
		for len(in.lowers) <= d.Builtin {
			in.lowers = append(in.lowers, nil)
		}
		l := &lowered{options: in.options(d.Options), plan: in.part.funcs[d.Type], target: in.funcs[d.Func]}
		l.frame.cx = l.context(ctx)
		l.frame.cx.Lend = &l.frame.lend
		in.lowers[d.Builtin] = l
		in.coreFuncs = append(in.coreFuncs, coreRef{in.host, builtinName(d.Builtin)})
	case *binary.DefResourceOp:
		in.store.spend(weighsLowered)
		in.coreFuncs = append(in.coreFuncs, coreRef{in.host, builtinName(d.Builtin)})
	case *binary.DefResource:
		in.resource(d)
	case *binary.DefImport:
		v := args[d.Name]
		in.bind(v, d.Binds)
		in.add(d.Sort, v)
	case *binary.DefExport:
		v := in.item(d.Sort, d.Index, d.Of)
		in.bind(v, d.Binds)
		in.add(d.Sort, v)
		if v != nil {
			out.items[d.Name] = v
		}
	}
	return nil
}

// item returns what stands at an index; of a type, the resource type that it
// is, or nil for another.
func (in *instance) item(sort binary.Sort, i uint32, t binary.Type) any {
	switch sort {
	case binary.CoreModule:
		return in.coreModules[i]
	case binary.Func:
		return in.funcs[i]
	case binary.ComponentSort:
		return in.components[i]
	case binary.Instance:
		return in.instances[i]
	case binary.TypeSort:
		if r, ok := t.(*binary.Resource); ok && r.Slot >= 0 {
			return in.resources[r.Slot]
		}
	}
	return nil
}

func (in *instance) items(l []binary.Item) map[string]any {
	out := make(map[string]any, len(l))
	for _, i := range l {
		if v := in.item(i.Sort, i.Index, i.Type); v != nil {
			out[i.Name] = v
		}
	}
	return out
}

func (in *instance) add(sort binary.Sort, v any) {
	switch sort {
	case binary.CoreModule:
		in.coreModules = append(in.coreModules, v.(*coreModule))
	case binary.Func:
		in.funcs = append(in.funcs, v.(*function))
	case binary.ComponentSort:
		in.components = append(in.components, v.(*closure))
	case binary.Instance:
		in.instances = append(in.instances, v.(*exports))
	}
}

func (in *instance) addCore(sort binary.Sort, ref coreRef) {
	switch sort {
	case binary.CoreFunc:
		in.coreFuncs = append(in.coreFuncs, ref)
	case binary.CoreTable:
		in.coreTables = append(in.coreTables, ref)
	case binary.CoreMemory:
		in.coreMems = append(in.coreMems, ref)
	case binary.CoreGlobal:
		in.coreGlobals = append(in.coreGlobals, ref)
	case binary.CoreTag:
		in.coreTags = append(in.coreTags, ref)
	}
}

func (in *instance) core(sort binary.Sort, i uint32) coreRef {
	switch sort {
	case binary.CoreTable:
		return in.coreTables[i]
	case binary.CoreMemory:
		return in.coreMems[i]
	case binary.CoreGlobal:
		return in.coreGlobals[i]
	case binary.CoreTag:
		return in.coreTags[i]
	}
	return in.coreFuncs[i]
}

// bind makes resources of an instance this one's.
func (in *instance) bind(v any, binds []binary.Bind) {
	for _, b := range binds {
		at := v
		for _, name := range b.Path {
			at = at.(*exports).items[name]
		}
		in.resources[b.Slot], _ = at.(*abi.ResourceType)
	}
}

func (in *instance) coreInstance(ctx context.Context, d *binary.DefCoreInstance) error {
	mods := make(map[string]api.Module, len(d.Args))
	for _, a := range d.Args {
		name := a.Name
		if name == "" {
			name = noName
		}
		mods[name] = in.coreInstances[a.Instance].mod
	}
	in.store.spend(in.coreModules[d.Module].typ.Weight)
	if in.store.elements += in.coreModules[d.Module].typ.Elements; in.store.elements > maxElements {
		guest.Trap("the tables of the component's instances can have more than %d elements", maxElements)
	}
	m, err := in.store.instantiate(ctx, in.coreModules[d.Module].compiled, func(name string) api.Module { return mods[name] })
	if err != nil {
		return err
	}
	in.coreInstances = append(in.coreInstances, &coreInstance{mod: m})
	return nil
}

func (in *instance) coreInline(ctx context.Context, d *binary.DefCoreInline) error {
	c := &coreInstance{items: make(map[string]coreRef, len(d.Exports))}
	in.coreInstances = append(in.coreInstances, c)
	if len(d.Exports) == 0 {
		return nil
	}
	in.store.spend(2 * len(d.Exports)) // they are imports and exports
	refs := make([]coreRef, len(d.Exports))
	from := make(map[string]api.Module, len(refs))
	for i, e := range d.Exports {
		refs[i] = in.core(e.Sort, e.Index)
		c.items[e.Name] = refs[i]
		from[fmt.Sprint(i)] = refs[i].mod
	}
	mod, err := in.part.gather(ctx, d, refs)
	if err != nil {
		return err
	}
	if c.mod, err = in.store.instantiate(ctx, mod, func(name string) api.Module { return from[name] }); err != nil {
		return fmt.Errorf("gathering a core instance: %w", err)
	}
	return nil
}

func (in *instance) instantiate(ctx context.Context, d *binary.DefInstance) error {
	in.store.spend(len(d.Args))
	out, err := in.store.make(ctx, in.components[d.Component], in.items(d.Args))
	if err != nil {
		return err
	}
	in.bind(out, d.Binds)
	in.instances = append(in.instances, out)
	return nil
}

func (in *instance) lift(d *binary.DefLift) {
	in.store.spend(weighsLifted)
	core := d.Type.Lifted()
	l := &lifted{
		options: in.options(d.Options), plan: in.part.funcs[d.Type], core: coreFunc{ref: in.coreFuncs[d.Core]},
		values: max(len(core.Params), len(core.Results)), result: len(core.Results),
	}
	if d.PostReturn >= 0 {
		l.post = &coreFunc{ref: in.coreFuncs[d.PostReturn]}
	}
	in.funcs = append(in.funcs, &function{call: l.call})
}

// resource makes a resource type of the instance's own.
func (in *instance) resource(d *binary.DefResource) {
	rt := &abi.ResourceType{Name: d.Resource.Name, Owner: in}
	if d.Dtor >= 0 {
		in.dtors[rt] = in.coreFuncs[d.Dtor]
		rt.Drop = func(ctx context.Context, rep uint32) {
			in.enter()
			in.destroy(ctx, rt, rep)
			in.entered = false
		}
	}
	in.resources[d.Resource.Slot] = rt
}
