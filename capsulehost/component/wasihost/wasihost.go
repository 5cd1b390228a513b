// Package wasihost is the edge at which components call WASI 0.2: io, cli,
// clocks, random and filesystem. It converts values; what the calls do is
// package wasip1's, as for core modules: the same descriptors on the same view,
// behind the same gate and quota.
//
// # Resources
//
// A descriptor is represented by the number of a descriptor of the guest's
// [wasip1.Instance]; everything else (streams, pollables, errors) by an entry of
// a table here. A stream of a file holds a descriptor of its own, so that it
// outlives the one that it was made from. What a guest leaves open is closed
// with its wasip1.Instance.
//
// # Differences that a guest may see
//
// Reading moves at most [MaxChunk] bytes a call. check-write always permits
// that much, and the write waits; one without a permit traps. The metadata hash
// is the number of the file and of its tree, so it says whether two are the same
// and not whether one has changed. EMFILE, for which 0.2 has no name, is quota.
package wasihost

import (
	"context"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// MaxChunk is the most that a call of a stream or of descriptor.read moves, in
// bytes.
const MaxChunk = 1 << 20

// maxResources bounds what a guest may have in the table.
const maxResources = 1 << 16

// Instance is WASI as one component has it. It is for one goroutine. The caller
// closes the wasip1.Instance when the component is gone.
type Instance struct {
	wasi    *wasip1.Instance
	entries []any // by representation less one; nil: free
	free    []uint32
	buf     []byte // what was read last, until the next call
}

// New makes the state for one component.
func New(wasi *wasip1.Instance) *Instance { return &Instance{wasi: wasi} }

// With returns a context with which a component finds its instance. It is for
// component.Program.Instantiate and component.Instance.Call.
func With(ctx context.Context, in *Instance) context.Context {
	return guest.With(ctx, in)
}

// From returns the instance that a context carries; it traps if there is none.
func From(ctx context.Context) *Instance {
	return guest.MustFrom[Instance](ctx, "WASI")
}

// add gives an entry a representation.
func (in *Instance) add(v any) uint32 {
	if n := len(in.free); n > 0 {
		rep := in.free[n-1]
		in.free = in.free[:n-1]
		in.entries[rep-1] = v
		return rep
	}
	if len(in.entries) == maxResources {
		guest.Trap("there are more than %d streams, pollables and the like", maxResources)
	}
	in.entries = append(in.entries, v)
	return uint32(len(in.entries))
}

// entry returns what a representation stands for. A handle of the component
// model is one of the right type. An interface that is denied may have answered
// one of nothing, which traps.
func entry[T any](in *Instance, rep uint64) T {
	if rep == 0 {
		guest.Trap("a handle of nothing")
	}
	return in.entries[rep-1].(T)
}

// drop forgets an entry and lets go of its descriptor.
func (in *Instance) drop(ctx context.Context, rep uint32) {
	if rep == 0 {
		return
	}
	v := in.entries[rep-1]
	in.entries[rep-1] = nil
	in.free = append(in.free, rep)
	fd := uint32(0)
	switch v := v.(type) {
	case *input:
		fd = v.fd
	case *output:
		fd = v.fd
	case *listing:
		fd = v.fd
	}
	if fd >= wasip1.FirstPreopen {
		in.closeFD(ctx, fd)
	}
}

// closeFD closes a descriptor that the guest let go of. The error of a delayed
// write was the guest's to ask for by a sync.
func (in *Instance) closeFD(ctx context.Context, fd uint32) { _ = in.wasi.Ops(ctx).Release(fd) }

// buffer returns n bytes for what a call reads, which are good until the next
// call.
func (in *Instance) buffer(n uint64) []byte {
	n = min(n, MaxChunk)
	if n > uint64(len(in.buf)) {
		in.buf = make([]byte, max(n, 4096))
	}
	return in.buf[:n]
}

// call is a call under way.
type call struct {
	*component.Call
	in *Instance
	wasip1.Ops
}

func (c *call) num(i int) uint64 { return c.Args[i].Num }

func (c *call) bytes(i int) []byte { return c.Args[i].Bytes() }

func (c *call) text(i int) string { return c.Args[i].Text() }

// function makes a function of this type.
func function(params, result string, do func(c *call) abi.Value) component.HostFunc {
	typ := "func(" + params + ")"
	if result != "" {
		typ += " -> " + result
	}
	return component.HostFunc{Type: typ, Call: func(cc *component.Call) abi.Value {
		in := From(cc.Ctx)
		return do(&call{cc, in, in.wasi.Ops(cc.Ctx)})
	}}
}

// Interfaces returns the interfaces for a component.Set. Their names end in
// @0.2, which stands for every version of it.
func Interfaces() []*component.Interface {
	var out []*component.Interface
	for name, funcs := range map[string]map[string]component.HostFunc{
		"io/error":               errorFuncs(),
		"io/poll":                pollFuncs(),
		"io/streams":             streamFuncs(),
		"cli/environment":        environmentFuncs(),
		"cli/exit":               exitFuncs(),
		"cli/stdin":              {"get-stdin": function("", "input-stream", getStdin)},
		"cli/stdout":             {"get-stdout": function("", "output-stream", getOutput(1))},
		"cli/stderr":             {"get-stderr": function("", "output-stream", getOutput(2))},
		"cli/terminal-input":     {},
		"cli/terminal-output":    {},
		"cli/terminal-stdin":     {"get-terminal-stdin": function("", "option<terminal-input>", getTerminal(0))},
		"cli/terminal-stdout":    {"get-terminal-stdout": function("", "option<terminal-output>", getTerminal(1))},
		"cli/terminal-stderr":    {"get-terminal-stderr": function("", "option<terminal-output>", getTerminal(2))},
		"clocks/monotonic-clock": monotonicFuncs(),
		"clocks/wall-clock":      wallFuncs(),
		"clocks/timezone":        timezoneFuncs(),
		"random/random":          randomFuncs("get-random-"),
		"random/insecure":        randomFuncs("get-insecure-random-"),
		"random/insecure-seed":   {"insecure-seed": function("", "tuple<u64, u64>", insecureSeed)},
		"filesystem/preopens":    {"get-directories": function("", "list<tuple<descriptor, string>>", getDirectories)},
		"filesystem/types":       filesystemFuncs(),
	} {
		out = append(out, &component.Interface{Name: "wasi:" + name + "@0.2", Funcs: funcs, Drops: drops()})
	}
	return out
}

// drops are all resources of WASI: interfaces name those of others too.
func drops() map[string]func(context.Context, uint32) {
	entry := func(ctx context.Context, rep uint32) { From(ctx).drop(ctx, rep) }
	return map[string]func(context.Context, uint32){
		"error": entry, "pollable": entry, "input-stream": entry, "output-stream": entry,
		"directory-entry-stream": entry, "terminal-input": entry, "terminal-output": entry,
		"descriptor": func(ctx context.Context, rep uint32) {
			if !isStd(rep) {
				From(ctx).closeFD(ctx, rep)
			}
		},
	}
}
