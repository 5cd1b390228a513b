package wasihost

import (
	"encoding/binary"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

func environmentFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"get-environment": function("", "list<tuple<string, string>>", func(c *call) abi.Value {
			var l []abi.Value
			for _, kv := range c.Environment() {
				name, value, _ := strings.Cut(kv, "=")
				l = append(l, abi.Tuple(abi.String(name), abi.String(value)))
			}
			return abi.Tuple(l...)
		}),
		"get-arguments": function("", "list<string>", func(c *call) abi.Value {
			var l []abi.Value
			for _, a := range c.Arguments() {
				l = append(l, abi.String(a))
			}
			return abi.Tuple(l...)
		}),
		"initial-cwd": function("", "option<string>", func(*call) abi.Value { return abi.Value{} }),
	}
}

// exit ends the guest: the panic is how its stack is unwound to its caller, who
// gets a *sys.ExitError.
func exit(code uint64) { panic(sys.NewExitError(uint32(code))) }

func exitFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"exit": function("result", "", func(c *call) abi.Value {
			exit(c.num(0)) // ok is 0 and error 1
			return abi.Value{}
		}),
		"exit-with-code": function("u8", "", func(c *call) abi.Value {
			exit(c.num(0))
			return abi.Value{}
		}),
	}
}

func getStdin(c *call) abi.Value { return abi.Value{Num: uint64(c.in.add(&input{fd: 0}))} }

func getOutput(fd uint32) func(*call) abi.Value {
	return func(c *call) abi.Value { return abi.Value{Num: uint64(c.in.add(&output{fd: fd}))} }
}

// terminal is a terminal-input or terminal-output, which can do nothing.
type terminal struct{}

func getTerminal(fd uint32) func(*call) abi.Value {
	return func(c *call) abi.Value {
		if !c.Terminal(fd) {
			return abi.Value{}
		}
		return abi.Some(abi.Value{Num: uint64(c.in.add(&terminal{}))})
	}
}

const datetime = "record { seconds: u64, nanoseconds: u32 }"

func datetimeOf(ns uint64) abi.Value {
	return abi.Tuple(abi.Value{Num: ns / 1e9}, abi.Value{Num: ns % 1e9})
}

func wallFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"now":        function("", datetime, func(c *call) abi.Value { return datetimeOf(c.Realtime()) }),
		"resolution": function("", datetime, func(*call) abi.Value { return datetimeOf(1) }),
	}
}

// timezoneFuncs are those of a guest that is told of no place: UTC.
func timezoneFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"display": function(datetime, "record { utc-offset: s32, name: string, in-daylight-saving-time: bool }",
			func(*call) abi.Value { return abi.Tuple(abi.Value{}, abi.String("UTC"), abi.Bool(false)) }),
		"utc-offset": function(datetime, "s32", func(*call) abi.Value { return abi.Value{} }),
	}
}

// maxRandom is the most random bytes a call may ask for. The interface has no
// error for more.
const maxRandom = 16 << 20

func (c *call) random(n uint64) []byte {
	if n > maxRandom {
		guest.Trap("%d random bytes at a time are more than %d", n, maxRandom)
	}
	b := make([]byte, n)
	if c.Random(b) != wasip1.Success && c.Ctx.Err() == nil {
		guest.Trap("the host has no random bytes")
	}
	return b
}

func (c *call) random64() abi.Value {
	return abi.Value{Num: binary.LittleEndian.Uint64(c.random(8))}
}

func randomFuncs(prefix string) map[string]component.HostFunc {
	return map[string]component.HostFunc{
		prefix + "bytes": function("u64", "list<u8>", func(c *call) abi.Value { return abi.Value{Ref: c.random(c.num(0))} }),
		prefix + "u64":   function("", "u64", (*call).random64),
	}
}

func insecureSeed(c *call) abi.Value { return abi.Tuple(c.random64(), c.random64()) }
