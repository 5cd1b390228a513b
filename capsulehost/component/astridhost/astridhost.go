// Package astridhost is the edge at which components call Astrid's interfaces
// besides astrid:fs: sys, kv, ipc, and the readiness of io. Every other one is
// not provided, which its calls are answered.
//
// # A bus of one
//
// A run is alone: what it publishes goes to whoever ran it and to its own
// subscriptions, and what else a subscription has is what the run was given.
// So nothing can come in while it waits: a subscription that has nothing more
// answers closed, at which a capsule's loop ends.
package astridhost

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/wasihost"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/kv"
	"github.com/astridfs/astridfs/capsulehost/view"
)

// Message is one on the bus. Its payload is JSON.
type Message struct{ Topic, Payload string }

// Binding is an action that an event is handled by.
type Binding struct{ Action, Topic string }

// Event is a use of the bus.
type Event struct {
	Op     string // "publish" or "subscribe"
	Topic  string // or pattern
	Size   int    // of the payload, in bytes
	Denied bool
}

// Config is what one component is given. All of it stays the caller's.
type Config struct {
	Principal string
	// Log takes a line for each message of sys.log; nil: nobody does.
	Log io.Writer
	// Values are what get-config knows.
	Values map[string]string
	// Capabilities are the names that the component is told that it has.
	Capabilities []string
	// KV is its namespace; nil: it has none.
	KV *kv.Store
	// Messages are what its subscriptions find.
	Messages []Message
	Bindings []Binding
	// Publish and Subscribe tell whether it may use a topic or pattern; nil
	// allows every one.
	Publish, Subscribe func(topic string) bool
	// Record is told of what is published, before anybody has it, and of what is
	// refused for the topic's sake; its error fails the call. Nil: nobody is
	// told.
	Record func(ctx context.Context, e Event) error
	// Slots bounds the calls on KV that are under way in the host; nil sets no
	// bound.
	Slots *view.Slots
}

// Instance is the interfaces as one component has them. It is for one goroutine.
type Instance struct {
	Config
	id        string // the run's, as Astrid names capsules
	start     time.Time
	published []Message
	size      int // bytes of what was published
	subs      []*subscription
}

// New makes the state for one component.
func New(c Config) *Instance {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return &Instance{Config: c, start: time.Now(),
		id: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])}
}

// Published returns what the component has published.
func (in *Instance) Published() []Message { return in.published }

// With returns a context with which a component finds its instance. It is for
// component.Program.Instantiate and component.Instance.Call.
func With(ctx context.Context, in *Instance) context.Context {
	return guest.With(ctx, in)
}

func from(ctx context.Context) *Instance {
	return guest.MustFrom[Instance](ctx, "astrid:sys, kv or ipc")
}

// call is a call under way.
type call struct {
	*component.Call
	in *Instance
}

func (c *call) text(i int) string { return c.Args[i].Text() }

func function(params, result string, do func(c *call) abi.Value) component.HostFunc {
	typ := "func(" + params + ")"
	if result != "" {
		typ += " -> " + result
	}
	return component.HostFunc{Type: typ, Call: func(cc *component.Call) abi.Value {
		return do(&call{cc, from(cc.Ctx)})
	}}
}

// unknown is the error of that name, which is case i, as a result.
func unknown(i uint64, text string) abi.Value { return abi.Err(abi.Case(i, abi.String(text))) }

// failure is an error without a payload as a result.
func failure(i uint64) abi.Value { return abi.Err(abi.Value{Num: i}) }

// Interfaces returns the interfaces for a component.Set.
func Interfaces() []*component.Interface {
	drops := map[string]func(context.Context, uint32){
		"pollable": func(ctx context.Context, rep uint32) { wasihost.From(ctx).DropPollable(ctx, rep) },
		"subscription": func(ctx context.Context, rep uint32) {
			if rep > 0 {
				from(ctx).subs[rep-1] = nil
			}
		},
	}
	return []*component.Interface{
		{Name: "astrid:sys/host@1.0.0", Funcs: sysFuncs(), Drops: drops},
		{Name: "astrid:kv/host@1.0.0", Funcs: kvFuncs(), Drops: drops},
		{Name: "astrid:ipc/host@1.0.0", Funcs: ipcFuncs(), Drops: drops},
		{Name: "astrid:io/poll@1.0.0", Funcs: pollFuncs(), Drops: drops},
	}
}

// Cases of io's error-code.
const (
	ioInvalid = 0
	ioError   = "variant { invalid-input, closed, too-large, cancelled, unknown(string) }"
)

// maxPoll is how many pollables a poll may have.
const maxPoll = 1024

func pollFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"[method]pollable.ready": function("borrow<pollable>", "bool", func(c *call) abi.Value {
			return abi.Bool(wasihost.From(c.Ctx).Ready(c.Args[0].Num))
		}),
		"[method]pollable.block": function("borrow<pollable>", "result<_, "+ioError+">", func(c *call) abi.Value {
			wasihost.From(c.Ctx).Poll(c.Ctx, c.Args[:1])
			return abi.Value{}
		}),
		"poll": function("list<borrow<pollable>>", "result<list<u32>, "+ioError+">", func(c *call) abi.Value {
			l := c.Args[0].Fields()
			if len(l) == 0 || len(l) > maxPoll {
				return failure(ioInvalid)
			}
			return abi.Ok(wasihost.Indexes(wasihost.From(c.Ctx).Poll(c.Ctx, l)))
		}),
	}
}
