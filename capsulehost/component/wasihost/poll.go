package wasihost

import (
	"context"
	"math"
	"reflect"
	"time"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// Arrivals returns what is closed, or sends, when something has come; nil when
// it has already. It is asked again after each wait.
type Arrivals = func() <-chan struct{}

// pollable is something to wait for: a time, if due is set, else an arrival,
// which a pollable without one has had.
type pollable struct {
	due      time.Time
	arrivals Arrivals
}

// NewPollable makes a pollable for another interface's resource.
func (in *Instance) NewPollable(arrivals Arrivals) uint32 {
	return in.add(&pollable{arrivals: arrivals})
}

// DropPollable takes a pollable back.
func (in *Instance) DropPollable(ctx context.Context, rep uint32) { in.drop(ctx, rep) }

func (c *call) pollable(arrivals Arrivals) abi.Value {
	return abi.Value{Num: uint64(c.in.NewPollable(arrivals))}
}

// pending returns what to wait on besides the time; ready tells that there is
// nothing to wait for.
func (p *pollable) pending(now time.Time) (wait <-chan struct{}, ready bool) {
	if !p.due.IsZero() {
		return nil, !now.Before(p.due)
	}
	if p.arrivals != nil {
		wait = p.arrivals()
	}
	return wait, wait == nil
}

// Ready tells whether a pollable has nothing to wait for.
func (in *Instance) Ready(rep uint64) bool {
	_, ready := entry[*pollable](in, rep).pending(time.Now())
	return ready
}

// maxPoll is how many pollables a poll may have: what is waited on at once has to
// be less than reflect.Select can take.
const maxPoll = 1 << 14

// Poll waits until one of the pollables is ready, or the context is done, and
// returns which ones are, by their place in the list.
func (in *Instance) Poll(ctx context.Context, reps []abi.Value) []uint32 {
	for {
		var ready []uint32
		var next time.Time
		cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())}}
		now := time.Now()
		for i, rep := range reps {
			p := entry[*pollable](in, rep.Num)
			wait, ok := p.pending(now)
			switch {
			case ok:
				ready = append(ready, uint32(i))
			case wait != nil:
				cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(wait)})
			case next.IsZero() || p.due.Before(next):
				next = p.due
			}
		}
		if len(ready) > 0 || ctx.Err() != nil {
			return ready
		}
		stop := func() bool { return true }
		if !next.IsZero() {
			t := time.NewTimer(time.Until(next))
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(t.C)})
			stop = t.Stop
		}
		reflect.Select(cases)
		stop()
	}
}

func pollFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"[method]pollable.ready": function("borrow<pollable>", "bool", func(c *call) abi.Value {
			return abi.Bool(c.in.Ready(c.num(0)))
		}),
		"[method]pollable.block": function("borrow<pollable>", "", func(c *call) abi.Value {
			c.in.Poll(c.Ctx, c.Args[:1])
			return abi.Value{}
		}),
		"poll": function("list<borrow<pollable>>", "list<u32>", func(c *call) abi.Value {
			l := c.Args[0].Fields()
			if len(l) == 0 {
				guest.Trap("a poll of nothing")
			}
			if len(l) > maxPoll {
				guest.Trap("a poll of %d pollables, more than %d", len(l), maxPoll)
			}
			return Indexes(c.in.Poll(c.Ctx, l))
		}),
	}
}

// Indexes makes a list<u32>.
func Indexes(l []uint32) abi.Value {
	b := make([]byte, 0, 4*len(l))
	for _, n := range l {
		b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return abi.Value{Ref: b}
}

func monotonicFuncs() map[string]component.HostFunc {
	after := func(c *call, d uint64) abi.Value {
		p := &pollable{due: time.Now().Add(time.Duration(min(d, math.MaxInt64/2)))}
		return abi.Value{Num: uint64(c.in.add(p))}
	}
	return map[string]component.HostFunc{
		"now":        function("", "u64", func(c *call) abi.Value { return abi.Value{Num: c.Monotonic()} }),
		"resolution": function("", "u64", func(*call) abi.Value { return abi.Value{Num: 1} }),
		"subscribe-instant": function("u64", "pollable", func(c *call) abi.Value {
			return after(c, c.num(0)-min(c.num(0), c.Monotonic()))
		}),
		"subscribe-duration": function("u64", "pollable", func(c *call) abi.Value { return after(c, c.num(0)) }),
	}
}
