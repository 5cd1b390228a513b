// Package corefs is the edge at which core modules call astrid:fs@1.0.0: its
// functions as wazero host functions, with the types that the canonical ABI
// lowers them to. It converts values; what the calls do is package fsapi's.
package corefs

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/view"
)

// ModuleName is the name that guests import the functions from.
const ModuleName = "astrid:fs/host@1.0.0"

// Instance is the interface as one guest has it. The caller closes it when the
// guest is gone.
type Instance struct {
	FS    *fsapi.FS
	Slots *view.Slots  // taken for each call
	Batch *guest.Batch // for lists of strings; may be nil

	mem   *guest.Memory
	depth int  // calls under way: more than one where an allocator calls the host
	outer call // the first of them
}

// Close closes the files that the guest left open.
func (in *Instance) Close(ctx context.Context) error {
	var err error
	if in.mem != nil {
		err = in.mem.Close(ctx)
	}
	return errors.Join(err, in.FS.Close())
}

// With returns a context with which a guest finds its instance. It is for the
// calls into the guest, its instantiation included.
func With(ctx context.Context, in *Instance) context.Context {
	return guest.With(ctx, in)
}

// Function is one function of the interface as guests import it.
type Function struct {
	Name    string
	Params  string // one letter each: i is i32, I is i64
	Results string
	call    func(*call)
}

// Instantiate adds the host module to a runtime, whose closing closes it.
func Instantiate(ctx context.Context, rt wazero.Runtime) (api.Closer, error) {
	b := rt.NewHostModuleBuilder(ModuleName)
	for _, f := range Functions() {
		b = b.NewFunctionBuilder().WithName(f.Name).
			WithGoModuleFunction(hostFunc(f), guest.Types(f.Params), guest.Types(f.Results)).
			Export(f.Name)
	}
	return b.Instantiate(ctx)
}

func hostFunc(f Function) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) { Call(ctx, f, mod, stack) }
}

// Call makes one call of a guest: mod is the guest, stack holds the parameters.
// It panics with a *guest.Fault where the guest is to be trapped.
func Call(ctx context.Context, f Function, mod api.Module, stack []uint64) {
	in := guest.MustFrom[Instance](ctx, ModuleName)
	if in.mem == nil {
		in.mem = guest.Bind(mod, in.Batch)
	}
	c := &in.outer
	if in.depth > 0 {
		c = new(call)
	}
	*c = call{ctx: ctx, in: in, fs: in.FS, mem: in.mem, args: stack}
	defer c.leave()
	guest.Nest(&in.depth)
	f.call(c)
}

// leave ends a call, also one that traps.
func (c *call) leave() {
	if c.entered {
		c.in.Slots.Leave()
	}
	c.in.depth--
}
