package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// An owner that drains serves who comes meanwhile, and ends when nobody is left.
func TestDrain(t *testing.T) {
	started, release := make(chan struct{}, 2), make(chan struct{})
	c, s := newServer(t, &fakeConn{run: func(context.Context, RunRequest, RunIO) (RunResult, error) {
		started <- struct{}{}
		<-release
		return RunResult{}, nil
	}})
	errs := make(chan error, 2)
	run := func() {
		_, err := c.Run(context.Background(), RunRequest{}, RunIO{})
		errs <- err
	}
	go run()
	<-started
	drained := make(chan struct{})
	go func() {
		s.drain(context.Background())
		close(drained)
	}()
	go run()
	<-started
	if err := c.ping(t.Context()); err != nil {
		t.Errorf("a request meanwhile: %v", err)
	}
	select {
	case <-drained:
		t.Error("drained while two run")
	default:
	}
	close(release)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	<-drained

	// It gives up with its context.
	release = make(chan struct{})
	defer close(release)
	go run()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.drain(ctx)
}

// What no owner has taken is asked of the next; what one has, is not.
func TestRoaming(t *testing.T) {
	gone := &fakeConn{run: func(context.Context, RunRequest, RunIO) (RunResult, error) {
		return RunResult{}, fmt.Errorf("%w (it left)", errNoAnswer)
	}}
	ending := &fakeConn{run: func(context.Context, RunRequest, RunIO) (RunResult, error) {
		return RunResult{}, fault.New(fault.Busy, "", "closing").Again()
	}}
	failing := errors.New("it failed")
	for name, c := range map[string]struct {
		conns []*fakeConn
		want  error
	}{
		"the first": {[]*fakeConn{}, nil},
		"the next":  {[]*fakeConn{gone, ending, gone}, nil},
		"its error": {[]*fakeConn{gone}, failing},
		"not asked": {[]*fakeConn{{run: func(context.Context, RunRequest, RunIO) (RunResult, error) { return RunResult{}, failing }}, gone}, failing},
		"it is slow": {[]*fakeConn{{run: func(context.Context, RunRequest, RunIO) (RunResult, error) {
			return RunResult{}, fmt.Errorf("%w (%w)", errNoAnswer, os.ErrDeadlineExceeded)
		}}}, nil},
	} {
		last := &fakeConn{run: func(context.Context, RunRequest, RunIO) (RunResult, error) {
			return RunResult{ExitCode: 7}, c.want
		}}
		conns := append(slices.Clone(c.conns), last)
		r := &roaming{disk: &store.Session{Dir: t.TempDir()}, Conn: conns[0], attach: func(context.Context) (Conn, error) {
			conns = conns[1:]
			return conns[0], nil
		}}
		res, err := r.Run(t.Context(), RunRequest{}, RunIO{})
		switch {
		case name == "it is slow":
			if !fault.Is(err, fault.Busy) {
				t.Errorf("%s: %v", name, err)
			}
		case err != c.want || err == nil && (res.ExitCode != 7 || r.Conn != last):
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
}
