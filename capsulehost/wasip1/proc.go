package wasip1

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

func (c call) argsGet() Errno      { return c.strings(c.Instance.args) }
func (c call) argsSizesGet() Errno { return c.stringSizes(c.Instance.args) }

func (c call) environGet() Errno      { return c.strings(c.env) }
func (c call) environSizesGet() Errno { return c.stringSizes(c.env) }

// strings is (pointers, buf): the strings, one behind the other, and a pointer
// to each.
func (c call) strings(l [][]byte) Errno {
	ptrs, errno := c.mem.array(c.u32(0), uint32(len(l)), 4)
	if errno != Success {
		return errno
	}
	at := c.u32(1)
	buf, errno := c.mem.bytes(at, stringsLen(l))
	if errno != Success {
		return errno
	}
	for i, s := range l {
		binary.LittleEndian.PutUint32(ptrs[4*i:], at)
		n := copy(buf, s)
		buf, at = buf[n:], at+uint32(n)
	}
	return Success
}

// stringSizes is (count, size of the buffer).
func (c call) stringSizes(l [][]byte) Errno {
	if errno := c.mem.put32(c.u32(0), uint32(len(l))); errno != Success {
		return errno
	}
	return c.mem.put32(c.u32(1), stringsLen(l))
}

func stringsLen(l [][]byte) (n uint32) {
	for _, s := range l {
		n += uint32(len(s))
	}
	return n
}

// The clocks. Those of CPU time are not served (EINVAL): they would tell of the
// whole host.
const (
	clockRealtime  = 0
	clockMonotonic = 1
)

// clockResGet is (clock, resolution in ns).
func (c call) clockResGet() Errno {
	if id := c.u32(0); id != clockRealtime && id != clockMonotonic {
		return EINVAL
	}
	return c.mem.put64(c.u32(1), 1)
}

// clockTimeGet is (clock, precision, time in ns).
func (c call) clockTimeGet() Errno {
	now, ok := c.now(c.u32(0))
	if !ok {
		return EINVAL
	}
	return c.mem.put64(c.u32(2), now)
}

// now is the time of a clock in ns. The monotonic one starts with the instance,
// and at 1: programs take 0 for no time.
func (in *Instance) now(clock uint32) (uint64, bool) {
	switch clock {
	case clockRealtime:
		return uint64(max(time.Now().UnixNano(), 0)), true
	case clockMonotonic:
		return uint64(time.Since(in.start)) + 1, true
	}
	return 0, false
}

// randomChunk is how much of random_get is done between two looks at the
// context.
const randomChunk = 1 << 20

// randomGet is (buf, len).
func (c call) randomGet() Errno {
	b, errno := c.mem.bytes(c.u32(0), c.u32(1))
	if errno != Success {
		return errno
	}
	return c.Random(b)
}

// Random fills b with random bytes.
func (c Ops) Random(b []byte) Errno {
	for len(b) > 0 {
		if c.ctx.Err() != nil {
			return EINTR
		}
		n := min(len(b), randomChunk)
		if _, err := io.ReadFull(c.rand, b[:n]); err != nil {
			return EIO
		}
		b = b[n:]
	}
	return Success
}

func (c call) schedYield() Errno {
	runtime.Gosched()
	return Success
}

// procRaise is (signal). It was taken out of preview1 and is there for those
// who import it still.
func (c call) procRaise() Errno { return ENOSYS }

// sock serves the calls for sockets, whose first parameter is a descriptor.
// There are no sockets.
func (c call) sock() Errno {
	d, errno := c.table.get(c.u32(0))
	if errno != Success {
		return errno
	}
	c.done(d)
	return ENOTSOCK
}

// procExit is (code). It does not return to the guest: the module is closed,
// and the panic is how wazero unwinds the guest's stack to its caller, who gets
// a *sys.ExitError.
func procExit(ctx context.Context, mod api.Module, stack []uint64) {
	code := uint32(stack[0])
	_ = mod.CloseWithExitCode(ctx, code)
	panic(sys.NewExitError(code))
}
