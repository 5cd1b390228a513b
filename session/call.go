package session

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/astridfs/astridfs/session/wire"
)

// call is the server's side of one request that is being answered.
type call struct {
	ctx     context.Context
	w       *wire.Conn
	streams [2]*inbox // by wire.Stream

	mu    sync.Mutex
	room  int           // of the window for output
	freed chan struct{} // closed, and made anew, when there is more
}

func newCall(ctx context.Context, w *wire.Conn) *call {
	c := &call{ctx: ctx, w: w, room: wire.OutputWindow, freed: make(chan struct{})}
	for i := range c.streams {
		c.streams[i] = &inbox{c: c, stream: wire.Stream(i), arrived: make(chan struct{}, 1)}
	}
	return c
}

func (c *call) stream(s wire.Stream) io.Reader { return c.streams[s] }

// receive reads what the client sends until it ends or breaks the rules, and
// then cancels the request.
func (c *call) receive(cancel context.CancelFunc) {
	defer cancel()
	for {
		k, p, err := c.w.Read()
		if err != nil {
			return
		}
		if k == wire.Wrote {
			if n, err := wire.ParseWrote(p); err != nil || !c.free(n) {
				return
			}
			continue
		}
		if k != wire.Data && k != wire.End {
			return // Cancel, or nothing that belongs here
		}
		s, data, err := wire.ParseData(p)
		if err != nil || int(s) >= len(c.streams) || !c.streams[s].deliver(data, k == wire.End) {
			return
		}
	}
}

// free gives n of the window back; false if it was not taken.
func (c *call) free(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > wire.OutputWindow-c.room {
		return false
	}
	c.room += n
	close(c.freed)
	c.freed = make(chan struct{})
	return true
}

// take takes n of the window, waiting until that much is free or the call ends.
func (c *call) take(n int) error {
	for {
		c.mu.Lock()
		if c.room >= n {
			c.room -= n
			c.mu.Unlock()
			return nil
		}
		freed := c.freed
		c.mu.Unlock()
		select {
		case <-freed:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// outlet sends a capsule's output as frames of a kind, as far as the client has
// room for it.
type outlet struct {
	c *call
	k wire.Kind
}

func (o outlet) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, wire.MaxOutput)
		if err := o.c.take(wire.Cost(n)); err != nil {
			return done, err
		}
		if err := o.c.w.Write(o.k, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// inbox is one stream of the client's: a reader that asks for more when it has
// nothing left. One goroutine reads at a time.
type inbox struct {
	c       *call
	stream  wire.Stream
	arrived chan struct{} // holds one after each delivery

	mu     sync.Mutex
	buf    []byte
	wanted int // bytes asked for and not yet answered
	ended  bool
}

// deliver takes what a Data or End frame holds; false if nobody asked for it.
func (b *inbox) deliver(data []byte, end bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted == 0 || len(data) > b.wanted || (!end && len(data) == 0) {
		return false
	}
	b.wanted = 0
	b.buf = append(b.buf[:0], data...)
	b.ended = end
	select {
	case b.arrived <- struct{}{}:
	default:
	}
	return true
}

// take copies what is there to p. ask says that the caller is to ask for more
// and then to wait.
func (b *inbox) take(p []byte) (n int, ask bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.buf) > 0:
		n = copy(p, b.buf)
		b.buf = b.buf[n:]
		return n, false, nil
	case b.ended:
		return 0, false, io.EOF
	case b.wanted == 0:
		b.wanted = wire.MaxWant
		return 0, true, nil
	}
	return 0, false, nil
}

func (b *inbox) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, ask, err := b.take(p)
		if n > 0 || err != nil {
			return n, err
		}
		if ask {
			if err := b.c.w.WriteWant(b.stream, wire.MaxWant); err != nil {
				return 0, err
			}
		}
		select {
		case <-b.arrived:
		case <-b.c.ctx.Done():
			return 0, errors.Join(io.ErrUnexpectedEOF, b.c.ctx.Err())
		}
	}
}
