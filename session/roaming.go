package session

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// roaming is the session of an owner that may end between two requests, or just
// before one: what no owner has taken is asked of the next, which may be this
// process itself. It is for one goroutine, as a command is.
type roaming struct {
	disk   *store.Session
	attach func(context.Context) (Conn, error)
	Conn   // the one that is asked now
}

// ask does f with the session's owner.
func (r *roaming) ask(ctx context.Context, f func(Conn) error) error {
	var give time.Time
	for {
		err := f(r.Conn)
		if give.IsZero() {
			give = time.Now().Add(patience)
		}
		switch {
		case err == nil || ctx.Err() != nil || !unasked(err):
			return err
		case errors.Is(err, os.ErrDeadlineExceeded), time.Now().After(give):
			if errors.Is(err, errNoAnswer) {
				return busy(r.disk)
			}
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return cancelled(ctx, ctx.Err())
		}
		c, err := r.attach(ctx)
		if err != nil {
			return err
		}
		r.Conn = c
	}
}

// unasked tells whether a request ended without anything being done for it.
func unasked(err error) bool {
	var f *fault.Error
	return errors.Is(err, errNoAnswer) || errors.As(err, &f) && f.Retry
}

// Info implements Conn.
func (r *roaming) Info(ctx context.Context) (info Info, err error) {
	err = r.ask(ctx, func(c Conn) error { info, err = c.Info(ctx); return err })
	return info, err
}

// Status implements Conn.
func (r *roaming) Status(ctx context.Context, req StatusRequest, fn func(Change) error) error {
	return r.ask(ctx, func(c Conn) error { return c.Status(ctx, req, fn) })
}

// Diff implements Conn.
func (r *roaming) Diff(ctx context.Context, req DiffRequest, sink DiffSink) error {
	return r.ask(ctx, func(c Conn) error { return c.Diff(ctx, req, sink) })
}

// Commit implements Conn.
func (r *roaming) Commit(ctx context.Context, req CommitRequest, sink StepSink) (res StepResult, err error) {
	err = r.ask(ctx, func(c Conn) error { res, err = c.Commit(ctx, req, sink); return err })
	return res, err
}

// Discard implements Conn.
func (r *roaming) Discard(ctx context.Context, req DiscardRequest, sink StepSink) (res StepResult, err error) {
	err = r.ask(ctx, func(c Conn) error { res, err = c.Discard(ctx, req, sink); return err })
	return res, err
}

// Run implements Conn.
func (r *roaming) Run(ctx context.Context, req RunRequest, io RunIO) (res RunResult, err error) {
	err = r.ask(ctx, func(c Conn) error { res, err = c.Run(ctx, req, io); return err })
	return res, err
}

// Recorded implements Conn.
func (r *roaming) Recorded(ctx context.Context) error {
	return r.ask(ctx, func(c Conn) error { return c.Recorded(ctx) })
}

// Unmount implements Conn.
func (r *roaming) Unmount(ctx context.Context, req UnmountRequest) error {
	return r.ask(ctx, func(c Conn) error { return c.Unmount(ctx, req) })
}
