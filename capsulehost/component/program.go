package component

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/binary"
)

// Program is a component that is ready to run. Any number of instances of it
// may run at once; the caller closes it when none does any more.
type Program struct {
	c   *Component
	set *Set
	rt  wazero.Runtime

	modules []*coreModule // by DefModule.Order
	parts   map[*binary.Component]*part

	mu    sync.Mutex
	extra []wazero.CompiledModule // protected by mu; made when the first instance needs them
	// batches are modules of extra, by the name of the realloc that they call.
	batches map[string]wazero.CompiledModule // protected by mu
}

// coreModule is a core module that is compiled.
type coreModule struct {
	compiled wazero.CompiledModule
	typ      *binary.ModuleType
}

// part is what instances of one component of a program share.
type part struct {
	p       *Program
	c       *binary.Component
	funcs   map[*binary.FuncType]*abi.Func
	gathers map[*binary.DefCoreInline]wazero.CompiledModule // protected by Program.mu
	hosts   []wazero.CompiledModule                         // protected by Program.mu
}

// Prepare returns a component in which each core module is what prepare makes of
// it. wasm must be one that Decode has accepted.
//
// Errors: those of prepare; an offset in a *FormatError is one in wasm.
func Prepare(wasm []byte, prepare func(core []byte) ([]byte, error)) ([]byte, error) {
	return binary.Prepare(wasm, func(order int, offset int64, core []byte) ([]byte, error) {
		out, err := prepare(core)
		if broken, ok := errors.AsType[*FormatError](err); ok && broken.Offset >= 0 {
			err = &FormatError{Offset: offset + broken.Offset, What: fmt.Sprintf("core module %d: %s", order, broken.What)}
		}
		return out, err
	})
}

// Compile makes a component ready to run on a runtime. Every import is checked
// against set. The component does not refer to its binary any more after, and
// cannot be compiled again.
//
// Errors: *ImportError, *FormatError.
func Compile(ctx context.Context, rt wazero.Runtime, c *Component, set *Set) (_ *Program, err error) {
	if err := set.Check(c); err != nil {
		return nil, err
	}
	p := &Program{c: c, set: set, rt: rt, parts: map[*binary.Component]*part{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close(ctx))
		}
	}()
	if err := p.add(ctx, c.c); err != nil {
		return nil, err
	}
	return p, nil
}

// add compiles the core modules and types of a component and those in it.
func (p *Program) add(ctx context.Context, c *binary.Component) error {
	t := &part{p: p, c: c,
		funcs:   map[*binary.FuncType]*abi.Func{},
		gathers: map[*binary.DefCoreInline]wazero.CompiledModule{},
	}
	p.parts[c] = t
	var types abi.Compiler
	compile := func(f *binary.FuncType) {
		if t.funcs[f] == nil {
			t.funcs[f] = types.Func(f)
		}
	}
	for _, d := range c.Defs {
		switch d := d.(type) {
		case *binary.DefModule:
			if d.Bytes == nil {
				return errors.New("the component was compiled before")
			}
			code, err := nameImports(d, d.Bytes)
			if err != nil {
				return err
			}
			mod, err := p.rt.CompileModule(ctx, code)
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				what, _, _ := strings.Cut(err.Error(), "\n")
				return &FormatError{Offset: -1, What: fmt.Sprintf("core module %d: %s", d.Order, what)}
			}
			d.Bytes = nil
			p.modules = append(p.modules, &coreModule{mod, d.Type}) // in the order of their numbers
		case *binary.DefComponent:
			if err := p.add(ctx, d.Component); err != nil {
				return err
			}
		case *binary.DefLift:
			compile(d.Type)
		case *binary.DefLower:
			compile(d.Type)
		}
	}
	return nil
}

// noName stands for the empty name of a module that core modules may import
// from, which the runtime does not take. A module that has both is refused.
const noName = "\x00"

// nameImports returns the code of a core module as the runtime takes it.
func nameImports(d *binary.DefModule, code []byte) ([]byte, error) {
	from := func(name string) bool {
		return slices.ContainsFunc(d.Type.Imports, func(i binary.CoreExtern) bool { return i.Module == name })
	}
	switch {
	case !from(""):
		return code, nil
	case from(noName):
		return nil, &FormatError{Offset: -1, What: fmt.Sprintf("core module %d imports from a module named by a NUL", d.Order)}
	}
	return binary.RenameImports(code, noName), nil
}

// Close gives the compiled code back.
func (p *Program) Close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, m := range p.modules {
		err = errors.Join(err, m.compiled.Close(ctx))
	}
	for _, m := range p.extra {
		err = errors.Join(err, m.Close(ctx))
	}
	p.modules, p.extra = nil, nil
	return err
}

// gather returns the module of a core instance that is made of parts of others.
func (t *part) gather(ctx context.Context, d *binary.DefCoreInline, refs []coreRef) (wazero.CompiledModule, error) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if m := t.gathers[d]; m != nil {
		return m, nil
	}
	m, err := t.p.rt.CompileModule(ctx, gatherModule(d.Exports, refs))
	if err != nil {
		return nil, fmt.Errorf("gathering a core instance: %w", err)
	}
	t.gathers[d] = m
	t.p.extra = append(t.p.extra, m)
	return m, nil
}

// host returns the host module whose functions are the canonical definitions of
// the component's instance number k in a store; nil if it has none. The functions
// find the instance by the context of the call.
func (t *part) host(ctx context.Context, k int) (wazero.CompiledModule, error) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	for len(t.hosts) <= k {
		m, err := t.buildHost(ctx, len(t.hosts))
		if err != nil {
			return nil, err
		}
		t.hosts = append(t.hosts, m)
		if m != nil {
			t.p.extra = append(t.p.extra, m)
		}
	}
	return t.hosts[k], nil
}

func (t *part) buildHost(ctx context.Context, k int) (wazero.CompiledModule, error) {
	b := t.p.rt.NewHostModuleBuilder(fmt.Sprintf("component %d", t.c.Order))
	export := func(builtin int, ct binary.CoreFuncType, f func(in *instance, ctx context.Context, stack []uint64)) {
		b = b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(
			func(ctx context.Context, _ api.Module, stack []uint64) {
				f(storeOf(ctx).instance(t.c, k), ctx, stack)
			}), apiTypes(ct.Params), apiTypes(ct.Results)).Export(builtinName(builtin))
	}
	n := 0
	for _, d := range t.c.Defs {
		switch d := d.(type) {
		case *binary.DefLower:
			export(d.Builtin, d.Type.Lowered(), func(in *instance, ctx context.Context, stack []uint64) {
				in.lowers[d.Builtin].call(ctx, stack)
			})
			n++
		case *binary.DefResourceOp:
			export(d.Builtin, d.Op.Type(), func(in *instance, ctx context.Context, stack []uint64) {
				in.resourceOp(ctx, d, stack)
			})
			n++
		}
	}
	if n == 0 {
		return nil, nil
	}
	return b.Compile(ctx)
}

func builtinName(i int) string { return fmt.Sprintf("f%d", i) }

func apiTypes(l []binary.CoreType) []api.ValueType {
	out := make([]api.ValueType, len(l))
	for i, t := range l {
		out[i] = api.ValueType(t)
	}
	return out
}
