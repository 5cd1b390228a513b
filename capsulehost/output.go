package capsulehost

import (
	"bytes"
	"context"
	"io"
	"os"
	"time"
)

const (
	// outputChunk bounds what one Write of a stream is handed, in bytes.
	outputChunk = 64 << 10

	// outputGrace is how long a Write may go on when the run's time is up: long
	// enough for one that waits for nobody.
	outputGrace = 200 * time.Millisecond
)

// output is a stream that a guest writes to. Whoever reads the other end may
// never do so; the guest waits for that no longer than ctx lasts. A Write may then
// still be under way, which is the last.
type output struct {
	ctx context.Context
	w   io.Writer
}

func newOutput(ctx context.Context, w io.Writer) io.Writer {
	if w == nil || ctx.Done() == nil {
		return w
	}
	return output{ctx, w}
}

// Stat tells what the stream is, which guests ask.
func (o output) Stat() (os.FileInfo, error) {
	if f, ok := o.w.(interface{ Stat() (os.FileInfo, error) }); ok {
		return f.Stat()
	}
	return nil, os.ErrInvalid
}

func (o output) Write(p []byte) (n int, err error) {
	for {
		k, err := o.write(p[n:min(len(p), n+outputChunk)])
		n += max(k, 0)
		if err != nil || k <= 0 || n >= len(p) {
			return n, err
		}
	}
}

func (o output) write(p []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	p = bytes.Clone(p) // the guest's memory is not for one that is given up
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := o.w.Write(p)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-o.ctx.Done():
	}
	select {
	case r := <-done:
		return r.n, r.err
	case <-time.After(outputGrace):
		return 0, o.ctx.Err()
	}
}
