package session

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/astridfs/astridfs/session/fault"
)

// Capsules beyond the bound wait for their turn, and keep nobody else from asking.
func TestBound(t *testing.T) {
	const more = 20
	release := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	defer goOn()
	started := make(chan struct{}, maxRuns+more)
	c, s := newServer(t, &fakeConn{run: func(context.Context, RunRequest, RunIO) (RunResult, error) {
		started <- struct{}{}
		<-release
		return RunResult{}, nil
	}})
	var wg sync.WaitGroup
	for range maxRuns + more {
		wg.Go(func() {
			if _, err := c.Run(context.Background(), RunRequest{}, RunIO{}); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxRuns {
		<-started
	}
	clients := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); len(s.clients) < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d clients of %d have come", len(s.clients), n)
			}
		}
	}
	clients(maxRuns + more)
	if n := len(started); n > 0 {
		t.Errorf("%d too many run", n)
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Errorf("another request meanwhile: %v", err)
	}
	// One that gives up waiting takes no turn.
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := c.Run(ctx, RunRequest{}, RunIO{})
		gone <- err
	}()
	clients(maxRuns + more + 1)
	cancel()
	if err := <-gone; err == nil {
		t.Error("it was answered")
	}
	goOn()
	wg.Wait()
	if n := len(started); n != more {
		t.Errorf("%d of those that waited ran, and not %d", n, more)
	}
}

// More clients than there may be are refused.
func TestClientsBound(t *testing.T) {
	c, s := newServer(t, &fakeConn{})
	for range maxClients {
		s.clients <- struct{}{}
	}
	if _, err := c.Info(t.Context()); !fault.Is(err, fault.Busy) {
		t.Errorf("one too many: %v", err)
	}
}

// An owner that closes waits for others, and then no longer.
func TestClose(t *testing.T) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	fake := &fakeConn{run: func(ctx context.Context, _ RunRequest, _ RunIO) (RunResult, error) {
		started <- struct{}{}
		select {
		case <-release:
			return RunResult{ExitCode: 5}, nil
		case <-ctx.Done():
			return RunResult{}, ctx.Err()
		}
	}}
	c, s := newServer(t, fake)
	got := make(chan int, 1)
	go func() {
		r, _ := c.Run(context.Background(), RunRequest{}, RunIO{})
		got <- r.ExitCode
	}()
	<-started
	closed := make(chan struct{})
	go func() {
		s.close(context.Background())
		close(closed)
	}()
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	<-closed
	if code := <-got; code != 5 {
		t.Errorf("the one that ran got %d", code)
	}
	if err := c.ping(t.Context()); !errors.Is(err, errNoAnswer) {
		t.Errorf("after closing: %v", err)
	}

	c, s = newServer(t, &fakeConn{run: func(ctx context.Context, _ RunRequest, _ RunIO) (RunResult, error) {
		started <- struct{}{}
		<-ctx.Done()
		return RunResult{}, ctx.Err()
	}})
	errs := make(chan error, 1)
	go func() {
		_, err := c.Run(context.Background(), RunRequest{}, RunIO{})
		errs <- err
	}()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.close(ctx)
	if err := <-errs; !fault.Is(err, fault.Cancelled) {
		t.Errorf("the one that was cut off: %v", err)
	}
}
