package astridhost

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
)

// Cases of sys's error-code.
const (
	sysTooLarge  = 2
	sysCancelled = 4
	sysError     = "variant { capability-denied, config-key-reserved, too-large, registry-unavailable, cancelled, unknown(string) }"
)

// Bounds of the interface.
const (
	maxSleep  = 60 * time.Second
	maxRandom = 4096 // bytes
	maxLog    = 64 << 10
)

var logLevels = []string{"trace", "debug", "info", "warn", "error"}

func sysFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"get-config": function("string", "result<option<string>, "+sysError+">", func(c *call) abi.Value {
			v, ok := c.in.Values[c.text(0)]
			if !ok {
				return abi.Ok(abi.Value{})
			}
			return abi.Ok(abi.Some(abi.String(v)))
		}),
		"get-caller": function("", "result<record { principal: option<string>, source-id: string, timestamp: string }, "+sysError+">",
			func(c *call) abi.Value {
				principal := abi.Value{}
				if c.in.Principal != "" {
					principal = abi.Some(abi.String(c.in.Principal))
				}
				return abi.Ok(abi.Tuple(principal, abi.String(c.in.id), abi.String(c.in.start.UTC().Format(time.RFC3339Nano))))
			}),
		"log": function("enum { "+strings.Join(logLevels, ", ")+" }, string", "", log),
		"signal-ready": function("", "", func(*call) abi.Value {
			return abi.Value{} // nothing waits for it
		}),
		"clock-ms":           function("", "u64", func(*call) abi.Value { return abi.Value{Num: uint64(max(time.Now().UnixMilli(), 0))} }),
		"clock-monotonic-ns": function("", "u64", func(c *call) abi.Value { return abi.Value{Num: uint64(time.Since(c.in.start)) + 1} }),
		"sleep-ns":           function("u64", "result<_, "+sysError+">", sleep),
		"random-bytes": function("u64", "result<list<u8>, "+sysError+">", func(c *call) abi.Value {
			n := c.Args[0].Num
			if n > maxRandom {
				return failure(sysTooLarge)
			}
			b := make([]byte, n)
			rand.Read(b) // never fails
			return abi.Ok(abi.Value{Ref: b})
		}),
		"check-capsule-capability": function("record { source-uuid: string, capability: string }",
			"result<record { allowed: bool }, "+sysError+">", func(c *call) abi.Value {
				f := c.Args[0].Fields()
				self := f[0].Text() == c.in.id
				return abi.Ok(abi.Tuple(abi.Bool(self && slices.Contains(c.in.Capabilities, f[1].Text()))))
			}),
		"enumerate-capabilities": function("", "list<string>", func(c *call) abi.Value { return texts(c.in.Capabilities) }),
	}
}

func texts(l []string) abi.Value {
	out := make([]abi.Value, len(l))
	for i, s := range l {
		out[i] = abi.String(s)
	}
	return abi.Tuple(out...)
}

// log writes a line. A message stays on its line, and what would steer a
// terminal is shown and not done.
func log(c *call) abi.Value {
	if c.in.Log == nil {
		return abi.Value{}
	}
	text := c.text(1)
	if len(text) > maxLog {
		text = strings.ToValidUTF8(text[:maxLog], "") + "…"
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return ' '
		}
		return r
	}, text)
	// As with a program's own output, an error of the reader is not the
	// capsule's to be told by this call.
	_, _ = fmt.Fprintf(c.in.Log, "%s: %s\n", logLevels[c.Args[0].Num], text)
	return abi.Value{}
}

func sleep(c *call) abi.Value {
	ns := c.Args[0].Num
	if ns > uint64(maxSleep) {
		return failure(sysTooLarge)
	}
	t := time.NewTimer(time.Duration(ns))
	defer t.Stop()
	select {
	case <-t.C:
		return abi.Value{}
	case <-c.Ctx.Done():
		return failure(sysCancelled)
	}
}
