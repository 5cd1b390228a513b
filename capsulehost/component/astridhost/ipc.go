package astridhost

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/wasihost"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/manifest"
)

// Cases of ipc's error-code.
const (
	ipcDenied       = 0
	ipcInvalid      = 1
	ipcClosed       = 2
	ipcBackpressure = 4
	ipcQuota        = 5
	ipcUnknown      = 7
	ipcError        = "variant { capability-denied, invalid-input, closed, rate-limited, backpressure, quota, timeout, unknown(string) }"
)

const (
	principalType = "variant { verified(string), claimed(string), system }"
	messageType   = "record { topic: string, payload: string, source-id: string, principal: " + principalType + " }"
	envelopeType  = "record { messages: list<" + messageType + ">, dropped: u64, lagged: u64 }"
	bindingType   = "record { handle-id: u64, action: string, topic: string }"
)

// Bounds of the bus.
const (
	maxTopic         = 256     // bytes
	maxSegments      = 8       // of a topic
	maxPayload       = 1 << 20 // bytes
	maxSubscriptions = 128
	maxPublished     = 1024    // messages of a run
	maxPublishedSize = 4 << 20 // bytes of theirs
)

// subscription is the messages that a pattern has found and that were not taken
// yet.
type subscription struct {
	pattern string
	queue   []delivery
}

type delivery struct {
	Message
	source string
	own    bool // published by the component itself
}

func ipcFuncs() map[string]component.HostFunc {
	envelope := "result<" + envelopeType + ", " + ipcError + ">"
	return map[string]component.HostFunc{
		"publish": function("string, string", "result<_, "+ipcError+">", publish),
		"publish-as": function("string, string, string", "result<_, "+ipcError+">", func(c *call) abi.Value {
			if topic := c.text(0); ValidTopic(topic, false) {
				return c.denied("publish", topic) // for uplinks, which no run is
			}
			return failure(ipcInvalid)
		}),
		"subscribe": function("string", "result<subscription, "+ipcError+">", subscribe),
		"get-interceptor-bindings": function("", "result<list<"+bindingType+">, "+ipcError+">", func(c *call) abi.Value {
			var l []abi.Value
			for i, b := range c.in.Bindings {
				l = append(l, abi.Tuple(abi.Value{Num: uint64(i) + 1}, abi.String(b.Action), abi.String(b.Topic)))
			}
			return abi.Ok(abi.Tuple(l...))
		}),
		"[method]subscription.poll": function("borrow<subscription>", envelope, func(c *call) abi.Value { return c.take() }),
		"[method]subscription.recv": function("borrow<subscription>, u64", envelope, func(c *call) abi.Value {
			if len(c.subscription().queue) == 0 {
				return failure(ipcClosed)
			}
			return c.take()
		}),
		// Ready at once: with messages, or to be told that none will come.
		"[method]subscription.subscribe-readiness": function("borrow<subscription>", "pollable", func(c *call) abi.Value {
			return abi.Value{Num: uint64(wasihost.From(c.Ctx).NewPollable(nil))}
		}),
	}
}

func (c *call) subscription() *subscription {
	if c.Args[0].Num == 0 { // which an interface that is denied may have answered
		guest.Trap("a handle of nothing")
	}
	return c.in.subs[c.Args[0].Num-1]
}

// take answers everything that a subscription has, as an envelope.
func (c *call) take() abi.Value {
	s := c.subscription()
	var l []abi.Value
	for _, d := range s.queue {
		principal := abi.Value{Num: 2}
		if d.own {
			principal = abi.Case(0, abi.String(c.in.Principal))
		}
		l = append(l, abi.Tuple(abi.String(d.Topic), abi.String(d.Payload), abi.String(d.source), principal))
	}
	s.queue = nil
	return abi.Ok(abi.Tuple(abi.Tuple(l...), abi.Value{}, abi.Value{}))
}

// ValidTopic tells whether a text is a topic, or with wildcard set a pattern:
// up to eight words of small letters, digits, "_" and "-", with dots between
// them, the last of a pattern perhaps "*".
func ValidTopic(topic string, wildcard bool) bool {
	words := strings.Split(topic, ".")
	if len(topic) > maxTopic || len(words) > maxSegments {
		return false
	}
	for i, w := range words {
		if wildcard && i == len(words)-1 && w == "*" {
			continue
		}
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return false
		}
	}
	return true
}

// record has an event recorded; what it returns is the error to answer, if any.
func (c *call) record(e Event) (failed abi.Value, ok bool) {
	if c.in.Record == nil || c.in.Record(c.Ctx, e) == nil {
		return abi.Value{}, true
	}
	return unknown(ipcUnknown, "it cannot be recorded"), false // why is the host's matter
}

// denied is the answer to the use of a topic that is not granted.
func (c *call) denied(op, topic string) abi.Value {
	if v, ok := c.record(Event{Op: op, Topic: topic, Denied: true}); !ok {
		return v
	}
	return failure(ipcDenied)
}

func publish(c *call) abi.Value {
	m := Message{c.text(0), c.text(1)}
	switch {
	case !ValidTopic(m.Topic, false), len(m.Payload) > maxPayload, !json.Valid([]byte(m.Payload)):
		return failure(ipcInvalid)
	case c.in.Publish != nil && !c.in.Publish(m.Topic):
		return c.denied("publish", m.Topic)
	case len(c.in.published) == maxPublished, c.in.size+len(m.Payload) > maxPublishedSize:
		return failure(ipcBackpressure)
	}
	if v, ok := c.record(Event{Op: "publish", Topic: m.Topic, Size: len(m.Payload)}); !ok {
		return v
	}
	c.in.size += len(m.Payload)
	c.in.published = append(c.in.published, m)
	for _, s := range c.in.subs {
		if s != nil && manifest.MatchTopic(s.pattern, m.Topic) {
			s.queue = append(s.queue, delivery{m, c.in.id, true})
		}
	}
	return abi.Value{}
}

func subscribe(c *call) abi.Value {
	pattern := c.text(0)
	switch {
	case !ValidTopic(pattern, true):
		return failure(ipcInvalid)
	case c.in.Subscribe != nil && !c.in.Subscribe(pattern):
		return c.denied("subscribe", pattern)
	}
	s := &subscription{pattern: pattern}
	for _, m := range c.in.Messages {
		if manifest.MatchTopic(pattern, m.Topic) {
			s.queue = append(s.queue, delivery{Message: m})
		}
	}
	i := slices.Index(c.in.subs, nil)
	if i < 0 {
		if i = len(c.in.subs); i == maxSubscriptions {
			return failure(ipcQuota)
		}
		c.in.subs = append(c.in.subs, nil)
	}
	c.in.subs[i] = s
	return abi.Ok(abi.Value{Num: uint64(i) + 1})
}
