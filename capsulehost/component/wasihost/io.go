package wasihost

import (
	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// input is an input-stream, output an output-stream: of standard input or output
// where fd is one of those, else of a file, whose descriptor it owns.
type input struct {
	fd     uint32
	off    uint64
	closed bool
}

type output struct {
	fd     uint32
	off    uint64
	permit uint64 // bytes that check-write has permitted and that were not written yet
	closed bool
}

// maxFlushed is the most that a call may write that needs no permit, in bytes.
const maxFlushed = 4096

func isStd(fd uint32) bool { return fd < wasip1.FirstPreopen }

// failure is an error of io/error.
type failure struct{ errno wasip1.Errno }

const streamError = "variant { last-operation-failed(error), closed }"

// closed is the stream-error of that name.
var closed = abi.Err(abi.Value{Num: 1})

// failed is the stream-error last-operation-failed.
func (c *call) failed(errno wasip1.Errno) abi.Value {
	return abi.Err(abi.Case(0, abi.Value{Num: uint64(c.in.add(&failure{errno}))}))
}

func errorFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"[method]error.to-debug-string": function("borrow<error>", "string", func(c *call) abi.Value {
			return abi.String("error-code " + codeNames[codeOf(entry[*failure](c.in, c.num(0)).errno)])
		}),
	}
}

func streamFuncs() map[string]component.HostFunc {
	in := func(params, ok string, do func(c *call, s *input) abi.Value) component.HostFunc {
		return function("borrow<input-stream>"+params, "result<"+ok+", "+streamError+">", func(c *call) abi.Value {
			return do(c, entry[*input](c.in, c.num(0)))
		})
	}
	out := func(params, ok string, do func(c *call, s *output) abi.Value) component.HostFunc {
		return function("borrow<output-stream>"+params, "result<"+ok+", "+streamError+">", func(c *call) abi.Value {
			return do(c, entry[*output](c.in, c.num(0)))
		})
	}
	return map[string]component.HostFunc{
		"[method]input-stream.read":          in(", u64", "list<u8>", read(false)),
		"[method]input-stream.blocking-read": in(", u64", "list<u8>", read(true)),
		"[method]input-stream.skip":          in(", u64", "u64", skip(false)),
		"[method]input-stream.blocking-skip": in(", u64", "u64", skip(true)),
		"[method]input-stream.subscribe": function("borrow<input-stream>", "pollable", func(c *call) abi.Value {
			s := entry[*input](c.in, c.num(0))
			if !isStd(s.fd) || s.closed {
				return c.pollable(nil)
			}
			ops := c.Ops
			return c.pollable(func() <-chan struct{} { return ops.Arrival(s.fd) })
		}),

		"[method]output-stream.check-write": out("", "u64", func(_ *call, s *output) abi.Value {
			if s.closed {
				return closed
			}
			s.permit = MaxChunk
			return abi.Ok(abi.Value{Num: MaxChunk})
		}),
		"[method]output-stream.write":                    out(", list<u8>", "_", write((*output).spend)),
		"[method]output-stream.blocking-write-and-flush": out(", list<u8>", "_", write((*output).flushed)),
		"[method]output-stream.flush":                    out("", "_", flush),
		"[method]output-stream.blocking-flush":           out("", "_", flush),
		"[method]output-stream.subscribe": function("borrow<output-stream>", "pollable", func(c *call) abi.Value {
			return c.pollable(nil)
		}),
		"[method]output-stream.write-zeroes":                    out(", u64", "_", writeZeroes((*output).spend)),
		"[method]output-stream.blocking-write-zeroes-and-flush": out(", u64", "_", writeZeroes((*output).flushed)),
		"[method]output-stream.splice":                          out(", borrow<input-stream>, u64", "u64", splice(false)),
		"[method]output-stream.blocking-splice":                 out(", borrow<input-stream>, u64", "u64", splice(true)),
	}
}

// take reads up to n bytes; an answer that is not nil says why there are none.
func (c *call) take(s *input, n uint64, wait bool) ([]byte, *abi.Value) {
	if s.closed {
		return nil, &closed
	}
	buf := c.in.buffer(n)
	if len(buf) == 0 {
		return buf, nil
	}
	var got int
	var errno wasip1.Errno
	if isStd(s.fd) {
		got, errno = c.ReadStream(s.fd, buf, wait)
		if errno == wasip1.EAGAIN {
			return buf[:0], nil
		}
	} else if errno = c.Enter(); errno == wasip1.Success {
		got, errno = c.ReadAt(s.fd, buf, s.off)
		c.Leave()
		s.off += uint64(got)
	}
	if errno != wasip1.Success {
		s.closed = true
		v := c.failed(errno)
		return nil, &v
	}
	if got == 0 {
		s.closed = true
		return nil, &closed
	}
	return buf[:got], nil
}

func read(wait bool) func(*call, *input) abi.Value {
	return func(c *call, s *input) abi.Value {
		b, fail := c.take(s, c.num(1), wait)
		if fail != nil {
			return *fail
		}
		return c.Case(0, abi.Value{Ref: b})
	}
}

func skip(wait bool) func(*call, *input) abi.Value {
	return func(c *call, s *input) abi.Value {
		b, fail := c.take(s, c.num(1), wait)
		if fail != nil {
			return *fail
		}
		return abi.Ok(abi.Value{Num: uint64(len(b))})
	}
}

// put writes all of b; an answer that is not nil says why it did not.
func (c *call) put(s *output, b []byte) *abi.Value {
	if s.closed {
		return &closed
	}
	for len(b) > 0 {
		var n int
		var errno wasip1.Errno
		if isStd(s.fd) {
			n, errno = c.WriteStream(s.fd, b)
		} else if errno = c.Enter(); errno == wasip1.Success {
			n, errno = c.WriteAt(s.fd, b, s.off)
			c.Leave()
			s.off += uint64(n)
		}
		if errno != wasip1.Success {
			s.closed = true
			v := c.failed(errno)
			return &v
		}
		b = b[n:]
	}
	return nil
}

func done(fail *abi.Value) abi.Value {
	if fail != nil {
		return *fail
	}
	return abi.Value{}
}

// spend traps unless n bytes have been permitted, and flushed unless so many need
// no permit. A stream that is closed says that instead.
func (s *output) spend(n uint64) {
	if n > s.permit && !s.closed {
		guest.Trap("%d bytes are written to a stream whose check-write has permitted %d", n, s.permit)
	}
	s.permit -= min(n, s.permit)
}

func (s *output) flushed(n uint64) {
	if n > maxFlushed && !s.closed {
		guest.Trap("%d bytes are written and flushed at a time, and %d may be", n, maxFlushed)
	}
}

func write(allow func(*output, uint64)) func(*call, *output) abi.Value {
	return func(c *call, s *output) abi.Value {
		b := c.bytes(1)
		allow(s, uint64(len(b)))
		return done(c.put(s, b))
	}
}

func flush(_ *call, s *output) abi.Value {
	if s.closed {
		return closed
	}
	return abi.Value{}
}

func writeZeroes(allow func(*output, uint64)) func(*call, *output) abi.Value {
	return func(c *call, s *output) abi.Value {
		allow(s, c.num(1))
		b := c.in.buffer(c.num(1)) // all of it, where the stream is open
		clear(b)
		return done(c.put(s, b))
	}
}

func splice(wait bool) func(*call, *output) abi.Value {
	return func(c *call, s *output) abi.Value {
		if s.closed {
			return closed
		}
		b, fail := c.take(entry[*input](c.in, c.num(1)), c.num(2), wait)
		if fail == nil {
			fail = c.put(s, b)
		}
		if fail != nil {
			return *fail
		}
		return abi.Ok(abi.Value{Num: uint64(len(b))})
	}
}
