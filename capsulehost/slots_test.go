package capsulehost_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/vfs"
)

// blocker holds every lookup of the name "block" until it is told to go on.
type blocker struct {
	vfs.FS
	entered, release chan struct{}
}

func (b *blocker) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if name == "block" {
		b.entered <- struct{}{}
		<-b.release
	}
	return b.FS.Lookup(ctx, parent, name)
}

// With every slot taken, one more call is answered would-block after its wait,
// and the guest goes on.
func TestHostCallLimit(t *testing.T) {
	for _, wait := range []time.Duration{-1, 20 * time.Millisecond} {
		g := newMisbehave(t, capsulehost.Options{HostCalls: 2, HostCallWait: wait})
		b := &blocker{FS: g.view.Workspace, entered: make(chan struct{}), release: make(chan struct{})}
		g.view.Workspace = b
		exists := func(path string) string {
			res, err := g.run(context.Background(), "exists", []byte(path), capsulehost.Limits{})
			if err != nil || res.Hook == nil {
				t.Error(res, err)
				return ""
			}
			return *res.Hook.Data
		}
		done := make(chan string)
		for range 2 {
			go func() { done <- exists("block") }()
			<-b.entered
		}
		if got := exists("file"); got != strconv.Itoa(int(fsapi.WouldBlock)) {
			t.Errorf("with every slot taken: %s", got)
		}
		b.release <- struct{}{}
		<-done
		if got := exists("file"); got != "100" {
			t.Errorf("with a slot free: %s", got)
		}
		b.release <- struct{}{}
		if got := <-done; got != "100" {
			t.Errorf("the call that held it: %s", got)
		}
	}
}

// A call that waits for a slot gets the one that comes free.
func TestHostCallWaits(t *testing.T) {
	g := newMisbehave(t, capsulehost.Options{HostCalls: 1, HostCallWait: time.Minute})
	b := &blocker{FS: g.view.Workspace, entered: make(chan struct{}), release: make(chan struct{})}
	g.view.Workspace = b
	done := make(chan error, 2)
	run := func(path string) {
		_, err := g.run(context.Background(), "exists", []byte(path), capsulehost.Limits{})
		done <- err
	}
	go run("block")
	<-b.entered
	go run("file")
	select {
	case <-done:
		t.Error("the second call did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	b.release <- struct{}{}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
