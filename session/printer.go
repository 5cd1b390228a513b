package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/astridfs/astridfs/session/wire"
)

// outputGrace is how long what a capsule wrote waits for its reader after the run
// was stopped.
const outputGrace = time.Second

// printer writes the output of a capsule, in its order, while its client goes on
// reading frames: what nobody reads holds up the capsule, by the window, and
// not the news of how it ended.
type printer struct {
	out    [2]io.Writer // stdout, stderr; nil for what is thrown away
	pieces chan piece
	done   chan struct{} // closed when all is written
	err    error         // why something was not; done orders it
}

// piece is the output of one frame.
type piece struct {
	w    *wire.Conn // which it came by
	to   int        // of out
	data []byte
}

func newPrinter(stdout, stderr io.Writer) *printer {
	p := &printer{out: [2]io.Writer{stdout, stderr}, done: make(chan struct{})}
	// No more frames than this are in the window.
	p.pieces = make(chan piece, wire.OutputWindow/wire.Cost(0))
	go p.run()
	return p
}

func (p *printer) run() {
	defer close(p.done)
	for q := range p.pieces {
		if w := p.out[q.to]; w != nil && p.err == nil {
			if _, p.err = w.Write(q.data); p.err != nil {
				q.w.Write(wire.Cancel) // should it fail, the call has ended
			}
		}
		q.w.WriteWrote(wire.Cost(len(q.data)))
	}
}

// put has the output of a frame written after all that came before.
func (p *printer) put(w *wire.Conn, k wire.Kind, data []byte) error {
	q := piece{w: w, data: bytes.Clone(data)}
	if k == wire.Stderr {
		q.to = 1
	}
	select {
	case p.pieces <- q:
		return nil
	default:
		return errors.New("the session's owner sends more than there is room for")
	}
}

// finish waits until everything is written. When the run was stopped, or as soon
// as ctx ends, a reader that does not read is not waited for; a Write may then be
// under way for ever.
func (p *printer) finish(ctx context.Context, stopped bool) error {
	close(p.pieces)
	if !stopped {
		select {
		case <-p.done:
			return p.err
		case <-ctx.Done():
		}
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(outputGrace):
		return nil
	}
}
