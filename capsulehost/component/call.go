package component

import (
	"context"

	"github.com/tetratelabs/wazero/api"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// function is a function of a component's type: the host's or a lifted one. ret
// takes the result, while what it may point to is valid.
type function struct {
	host func(*Call) abi.Value
	call func(ctx context.Context, args []abi.Value, ret func(abi.Value))
}

// coreFunc is a core function that the host calls. It is not entered again while
// it runs.
type coreFunc struct {
	ref coreRef
	fn  api.Function // nil: the store does not keep it
}

// call calls the function, whose parameters and results are on the stack. It
// panics with the guest's own trap, or its end.
func (f *coreFunc) call(ctx context.Context, s *store, stack []uint64) {
	fn := f.fn
	if fn == nil {
		fn = f.ref.mod.ExportedFunction(f.ref.name)
		s.keep(f, fn)
	}
	if err := fn.CallWithStack(ctx, stack); err != nil {
		panic(err)
	}
}

// keep keeps a function for the next call of it, in the place of the one that
// was kept first.
func (s *store) keep(f *coreFunc, fn api.Function) {
	if old := s.kept[s.oldest]; old != nil {
		old.fn = nil
	}
	f.fn, s.kept[s.oldest] = fn, f
	s.oldest = (s.oldest + 1) % len(s.kept)
}

// options are canonical options with what they refer to.
type options struct {
	in       *instance
	encoding binary.Encoding
	memory   abi.Memory
	realloc  *coreFunc // or nil; batch calls it too
	// allocator is the method allocate, made once.
	allocator func(ctx context.Context, old, oldSize, align, size uint32) uint32
	stack     [4]uint64 // of allocate, which realloc cannot enter again
	batch     *batch
	many      func(ctx context.Context, sizes []uint32) []uint32 // the method allocateMany
}

// options returns the options of a canonical definition but for post-return. The
// definitions of an instance that have the same share them.
func (in *instance) options(o binary.Options) *options {
	o.PostReturn = -1
	if out := in.shared[o]; out != nil {
		return out
	}
	out := &options{in: in, encoding: o.Encoding}
	in.shared[o] = out
	if o.Memory >= 0 {
		ref := in.coreMems[o.Memory]
		if m := ref.mod.ExportedMemory(ref.name); m != nil {
			out.memory = m
		}
	}
	if o.Realloc >= 0 {
		out.realloc = &coreFunc{ref: in.coreFuncs[o.Realloc]}
		out.allocator, out.many = out.allocate, out.allocateMany
	}
	return out
}

// context returns what the values of one call are converted with.
func (o *options) context(ctx context.Context) abi.Context {
	cx := abi.Context{
		Ctx: ctx, Encoding: o.encoding, Mem: o.memory,
		Handles: &o.in.handles, Resources: o.in.resources, Budget: abi.DefaultBudget,
	}
	if o.realloc != nil {
		cx.Realloc, cx.ReallocMany = o.allocator, o.many
	}
	return cx
}

// allocate calls realloc, from which the instance may not call out.
func (o *options) allocate(ctx context.Context, old, oldSize, align, size uint32) uint32 {
	o.stack = [4]uint64{uint64(old), uint64(oldSize), uint64(align), uint64(size)}
	may := o.in.mayLeave
	o.in.mayLeave = false
	o.realloc.call(ctx, o.in.store, o.stack[:])
	o.in.mayLeave = may
	return uint32(o.stack[0])
}

// lowered is a function of a component as core modules call it.
type lowered struct {
	*options
	plan   *abi.Func
	target *function
	frame  frame
}

// frame is what a call of a lowered function needs. No instance is entered again
// from such a call, so that one for each function does. cx is complete but for
// what is the call's own. Between calls it refers to no values.
type frame struct {
	cx   abi.Context
	lend abi.Scope
	call Call
	args []abi.Value
}

func (l *lowered) call(ctx context.Context, stack []uint64) {
	in := l.in
	if !in.mayLeave {
		guest.Trap("a call out of the component from where it may not make one")
	}
	f := &l.frame
	f.cx.Ctx, f.cx.Budget = ctx, abi.DefaultBudget
	f.args = l.plan.LiftParams(&f.cx, stack, f.args)
	place := l.plan.Place(stack)
	if l.target.host != nil {
		f.call = Call{Ctx: ctx, Args: f.args, cx: &f.cx}
		v := l.target.host(&f.call)
		guest.Over(ctx)
		l.plan.LowerResult(&f.cx, stack, place, v)
		f.call = Call{}
	} else {
		// A trap ends the store, so that the count need not be right after it.
		guest.Nest(&in.store.nested)
		l.target.call(ctx, f.args, func(v abi.Value) {
			l.plan.LowerResult(&f.cx, stack, place, v)
		})
		in.store.nested--
	}
	f.lend.Return(&in.handles)
	// Values can be large, and functions many.
	clear(f.args)
	f.cx.Release()
}

// lifted is a core function as a function of a component.
type lifted struct {
	*options
	plan   *abi.Func
	core   coreFunc
	post   *coreFunc // or nil
	values int       // how long the stack has to be
	result int       // core values of the result
}

func (l *lifted) call(ctx context.Context, args []abi.Value, ret func(abi.Value)) {
	in := l.in
	in.enter()
	lcx := l.context(ctx)
	cx := &lcx
	var task abi.Scope
	cx.Borrow = &task
	var buf [binary.MaxFlat + 1]uint64
	l.plan.LowerParams(cx, args, buf[:0])
	l.core.call(ctx, in.store, buf[:l.values])
	v := l.plan.LiftResult(cx, buf[:l.values])
	task.Exit()
	result := buf[0] // the stack is used again by post-return
	ret(v)
	if l.post != nil {
		in.mayLeave = false
		buf[0] = result
		l.post.call(ctx, in.store, buf[:max(l.result, 1)])
		in.mayLeave = true
	}
	in.entered = false
}

// enter begins a call into an instance. While one is under way another would be
// a re-entry, which traps.
func (in *instance) enter() {
	if in.entered {
		guest.Trap("a call into a component that is within a call already")
	}
	in.entered = true
}

// resourceOp does resource.new, resource.drop and resource.rep.
func (in *instance) resourceOp(ctx context.Context, d *binary.DefResourceOp, stack []uint64) {
	rt := in.resources[d.Resource.Slot]
	if rt == nil {
		guest.Trap("an operation on a resource type that there is not yet")
	}
	v := uint32(stack[0])
	switch d.Op {
	case binary.ResourceNew:
		in.leave()
		stack[0] = uint64(in.handles.New(rt, v))
	case binary.ResourceRep:
		stack[0] = uint64(in.handles.Rep(rt, v))
	case binary.ResourceDrop:
		in.leave()
		rep, owned := in.handles.Drop(rt, v)
		switch {
		case !owned:
		case rt.Owner == any(in):
			in.destroy(ctx, rt, rep)
		case rt.Drop != nil:
			rt.Drop(ctx, rep)
		}
	}
}

func (in *instance) leave() {
	if !in.mayLeave {
		guest.Trap("an operation on a handle from where it may not be done")
	}
}

// destroy calls the destructor of a resource of this instance.
func (in *instance) destroy(ctx context.Context, rt *abi.ResourceType, rep uint32) {
	ref, ok := in.dtors[rt]
	if !ok {
		return
	}
	stack := [1]uint64{uint64(rep)}
	defer func() { in.store.nested-- }() // a destructor may drop what has one
	guest.Nest(&in.store.nested)
	if err := ref.mod.ExportedFunction(ref.name).CallWithStack(ctx, stack[:]); err != nil {
		panic(err)
	}
}
