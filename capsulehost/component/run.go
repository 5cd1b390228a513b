package component

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/binary"
)

// Instance is a run of a program: the component and everything in it. It is for
// one goroutine. The caller closes it.
type Instance struct {
	store *store
	mem   memories
	out   *exports
	dead  bool
}

// HostError is a panic of the host outside of a guest's own call.
type HostError struct{ Value any }

func (e *HostError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ErrDead is the error of a call into an instance that has trapped.
var ErrDead = errors.New("the component has trapped before")

// Instantiate makes an instance, whose memories may have memory bytes together.
// It runs the start functions of its core modules. What the host's functions
// need they find in ctx, here and in Call. The instance is not nil and has to be
// closed with an error too.
//
// Errors: those of the runtime, as its functions answer them; a *guest.Fault; a
// *HostError.
func (p *Program) Instantiate(ctx context.Context, memory uint64) (*Instance, error) {
	i := &Instance{
		store: &store{p: p},
		mem:   memories{limit: memory},
	}
	err := i.guard(func() error {
		args := map[string]any{}
		for _, e := range p.c.c.Type.Imports {
			if e.Sort == binary.Instance {
				args[e.Name] = p.set.instance(e)
			}
		}
		var err error
		ctx = experimental.WithMemoryAllocator(i.context(ctx), &i.mem)
		i.out, err = i.store.make(ctx, &closure{part: p.parts[p.c.c]}, args)
		return err
	})
	return i, err
}

func (i *Instance) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, storeKey{}, i.store)
}

// guard runs code that may end by a panic of the guest or of the host.
func (i *Instance) guard(f func() error) (err error) {
	if i.dead {
		return ErrDead
	}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = &HostError{p}
		case error: // a fault, or the end of the guest within its allocator
			err = p
		default:
			err = &HostError{p}
		}
		i.dead = i.dead || err != nil
	}()
	return f()
}

// Call calls an exported function: of the component itself, or with an
// interface's name before its own, of an instance that it exports. The values
// must be of the function's type. What it answers stays valid. An instance that
// has trapped answers ErrDead from then on.
//
// Errors: as Instantiate.
func (i *Instance) Call(ctx context.Context, path []string, args ...abi.Value) (out abi.Value, err error) {
	f := i.find(path)
	if f == nil {
		return out, fmt.Errorf("the component exports no function %q", path)
	}
	err = i.guard(func() error {
		if f.host != nil {
			return errors.New("an import that is exported again cannot be called by the host")
		}
		f.call(i.context(ctx), args, func(v abi.Value) { out = v.Clone() })
		return nil
	})
	return out, err
}

func (i *Instance) find(path []string) *function {
	at := any(i.out)
	for _, name := range path {
		e, ok := at.(*exports)
		if !ok || e == nil {
			return nil
		}
		at = e.items[name]
	}
	f, _ := at.(*function)
	return f
}

// Memory returns how much memory the component has, in bytes.
func (i *Instance) Memory() uint64 { return i.mem.used }

// Close ends the instance and gives back everything that it has.
func (i *Instance) Close(ctx context.Context) error {
	i.dead = true
	var err error
	for k := len(i.store.modules) - 1; k >= 0; k-- {
		err = errors.Join(err, i.store.modules[k].Close(ctx))
	}
	i.store.modules = nil
	return errors.Join(err, i.mem.release())
}
