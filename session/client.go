package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/session/wire"
)

// answerTime is how long an owner that does nothing may take to greet, which it
// does at once unless the machine has too much else to do, and cancelTime how long
// to stop after it was told to.
const (
	answerTime = 10 * time.Second
	cancelTime = 10 * time.Second
)

// errNoAnswer is what a request answers that no owner took.
var errNoAnswer = errors.New("the session's owner does not answer")

// client is a live session of another process. Each call is a connection of
// its own, so that any number may run at once.
type client struct {
	disk    *store.Session
	version string
	answer  time.Duration // in place of answerTime; 0: that
}

// Recorded implements Conn.
func (c *client) Recorded(ctx context.Context) error {
	return c.call(ctx, opRecorded, struct{}{}, exchange{}, &struct{}{})
}

// Live implements Conn.
func (c *client) Live() bool { return true }

// Close implements Conn.
func (c *client) Close(context.Context) error { return nil }

// exchange is what a caller does with the frames of an answer.
type exchange struct {
	stdout, stderr io.Writer
	printer        *printer // of a capsule's output, in place of these
	item           func([]byte) error
	progress       func([]byte) error
	streams        [2]func() (io.Reader, error) // by wire.Stream; called at the first Want
}

// ping tells whether the owner answers; errNoAnswer if it does not.
func (c *client) ping(ctx context.Context) error {
	return c.call(ctx, opInfo, struct{}{}, exchange{}, &Info{})
}

// call makes one request and stores its result in result. The error is
// errNoAnswer if no owner has taken it.
func (c *client) call(ctx context.Context, op string, args any, x exchange, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	conn, err := wire.Dial(ctx, c.disk.Dir, store.SocketName)
	if err != nil {
		return fmt.Errorf("%w (%w)", errNoAnswer, err)
	}
	defer conn.Close()
	w := wire.NewConn(conn)
	release := cutOff(ctx, conn, cmp.Or(c.answer, answerTime))
	err = c.greet(w, request{Op: op, Args: raw})
	if rerr := release(); err == nil {
		err = rerr
	}
	if err != nil && ctx.Err() != nil {
		return cancelled(ctx, err)
	}
	if err != nil {
		return err
	}
	x.defaults()
	settled := context.AfterFunc(ctx, func() {
		// Best effort: closing the connection, at the latest, says the same.
		conn.SetDeadline(time.Now().Add(cancelTime))
		w.Write(wire.Cancel)
	})
	defer settled()
	err = x.run(w, result)
	if err != nil && ctx.Err() != nil {
		return cancelled(ctx, err)
	}
	return err
}

func (c *client) greet(w *wire.Conn, req request) error {
	err := w.WriteJSON(wire.Hello, wire.HelloMessage{Protocol: wire.Version, Program: c.version, PID: os.Getpid()})
	if err == nil {
		err = w.WriteJSON(wire.Request, req)
	}
	if errors.Is(err, wire.ErrTooLarge) {
		return fault.New(fault.Usage, "give less of it, a payload in a file of the workspace say", "the request is too large: %w", err)
	}
	// An owner that speaks another version closes, and its hello is still there
	// to be read.
	k, p, rerr := w.Read()
	if rerr != nil {
		return fmt.Errorf("%w (%w)", errNoAnswer, errors.Join(err, rerr))
	}
	var hello wire.HelloMessage
	if k != wire.Hello || json.Unmarshal(p, &hello) != nil {
		return fmt.Errorf("%w (it says no hello)", errNoAnswer)
	}
	if hello.Protocol != wire.Version {
		return fault.New(fault.Busy, "use that astridfs, or end its mount and try again",
			"session %s is in use by process %d of another version (astridfs %s, protocol %d; this is %s, protocol %d)",
			c.disk.File.Name, hello.PID, hello.Program, hello.Protocol, c.version, wire.Version)
	}
	return nil
}

// defaults makes frames that the call does not expect count for nothing.
func (x *exchange) defaults() {
	ignore := func([]byte) error { return nil }
	if x.stdout == nil {
		x.stdout = io.Discard
	}
	if x.stderr == nil {
		x.stderr = io.Discard
	}
	if x.item == nil {
		x.item = ignore
	}
	if x.progress == nil {
		x.progress = ignore
	}
}

// run reads frames to the last.
func (x *exchange) run(w *wire.Conn, result any) error {
	feeds := [2]*feed{}
	defer func() {
		for _, f := range feeds {
			if f != nil {
				close(f.wants)
			}
		}
	}()
	for {
		k, p, err := w.Read()
		if err != nil {
			return fault.New(fault.Failed, "try again; the session's log may have the reason", "the session's owner went away: %w", err)
		}
		switch k {
		case wire.Stdout, wire.Stderr:
			if x.printer != nil {
				err = x.printer.put(w, k, p)
				break
			}
			out := x.stdout
			if k == wire.Stderr {
				out = x.stderr
			}
			_, err = out.Write(p)
		case wire.Item:
			err = x.item(p)
		case wire.Progress:
			err = x.progress(p)
		case wire.Want:
			var s wire.Stream
			var n uint32
			if s, n, err = wire.ParseWant(p); err != nil {
				break
			}
			if int(s) >= len(feeds) || x.streams[s] == nil || n == 0 || n > wire.MaxWant {
				err = fmt.Errorf("the session's owner asks for stream %d", s)
				break
			}
			if feeds[s] == nil {
				var r io.Reader
				if r, err = x.streams[s](); err != nil {
					break
				}
				feeds[s] = newFeed(w, s, r)
			}
			feeds[s].wants <- int(n)
		case wire.Result:
			return json.Unmarshal(p, result)
		case wire.Fault:
			for _, f := range feeds {
				if f != nil && f.failed.Load() != nil {
					return *f.failed.Load()
				}
			}
			var f fault.Error
			if err := json.Unmarshal(p, &f); err != nil {
				return err
			}
			return &f
		}
		if err != nil {
			return err
		}
	}
}

// feed sends a stream as far as the server asks for it. Its goroutine may
// outlive the call for as long as a read of a terminal blocks.
type feed struct {
	wants  chan int // one outstanding want at a time
	failed atomic.Pointer[error]
}

func newFeed(w *wire.Conn, s wire.Stream, r io.Reader) *feed {
	f := &feed{wants: make(chan int, 1)}
	go func() {
		buf := make([]byte, wire.MaxWant)
		for n := range f.wants {
			got, err := 0, error(nil)
			for got == 0 && err == nil {
				got, err = r.Read(buf[:n])
			}
			// A failure to write shows in the reader of frames.
			if got > 0 {
				w.Write(wire.Data, []byte{byte(s)}, buf[:got])
				continue
			}
			if err != io.EOF {
				// Half of a stream is not the whole of it.
				f.failed.Store(&err)
				w.Write(wire.Cancel)
				continue
			}
			w.Write(wire.End, []byte{byte(s)})
		}
	}()
	return f
}

func decode[T any](fn func(T) error) func([]byte) error {
	return func(p []byte) error {
		var v T
		if err := json.Unmarshal(p, &v); err != nil {
			return err
		}
		return fn(v)
	}
}

// Info implements Conn.
func (c *client) Info(ctx context.Context) (Info, error) {
	var r Info
	return r, c.call(ctx, opInfo, struct{}{}, exchange{}, &r)
}

// Status implements Conn.
func (c *client) Status(ctx context.Context, req StatusRequest, fn func(Change) error) error {
	return c.call(ctx, opStatus, req, exchange{item: decode(fn)}, &struct{}{})
}

// Diff implements Conn.
func (c *client) Diff(ctx context.Context, req DiffRequest, sink DiffSink) error {
	return c.call(ctx, opDiff, req, exchange{stdout: sink, item: decode(sink.File)}, &struct{}{})
}

// Commit implements Conn.
func (c *client) Commit(ctx context.Context, req CommitRequest, sink StepSink) (StepResult, error) {
	return c.steps(ctx, opCommit, req, sink)
}

// Discard implements Conn.
func (c *client) Discard(ctx context.Context, req DiscardRequest, sink StepSink) (StepResult, error) {
	return c.steps(ctx, opDiscard, req, sink)
}

func (c *client) steps(ctx context.Context, op string, req any, sink StepSink) (StepResult, error) {
	x := exchange{item: decode(sink.Step)}
	if sink.Progress != nil {
		x.progress = decode(func(p Progress) error { sink.Progress(p); return nil })
	}
	var r stepReply
	err := c.call(ctx, op, req, x, &r)
	if err == nil && r.Fault != nil {
		err = r.Fault
	}
	return r.Result, err
}

// Run implements Conn.
func (c *client) Run(ctx context.Context, req RunRequest, rio RunIO) (RunResult, error) {
	var r RunResult
	out := newPrinter(rio.Stdout, rio.Stderr)
	x := exchange{printer: out}
	x.streams[wire.Stdin] = func() (io.Reader, error) { return rio.Stdin, nil }
	var module io.ReadCloser
	open := unpacked(&req, rio)
	x.streams[wire.Module] = func() (_ io.Reader, err error) {
		module, err = open()
		return module, err
	}
	compiled := func() {}
	if rio.Compiling != nil {
		x.progress = decode(func(p compiling) error {
			compiled()
			compiled = func() {}
			if !p.Done {
				compiled = rio.Compiling(p.Size)
			}
			return nil
		})
	}
	err := c.call(ctx, opRun, req, x, &r)
	compiled()
	if oerr := out.finish(ctx, r.Outcome == OutcomeTimedOut); oerr != nil {
		err = oerr
	}
	if module != nil {
		err = errors.Join(err, module.Close())
	}
	return r, err
}

// Unmount implements Conn. It returns when the owner has gone.
func (c *client) Unmount(ctx context.Context, req UnmountRequest) error {
	owner := c.disk.Holder().PID
	if err := c.call(ctx, opUnmount, req, exchange{}, &struct{}{}); err != nil {
		return err
	}
	for {
		h, used, err := c.disk.InUse()
		if err != nil || !used || h.PID != owner {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return cancelled(ctx, ctx.Err())
		}
	}
}
