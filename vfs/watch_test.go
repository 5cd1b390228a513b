package vfs_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

// ear is an Invalidator that notes what it hears.
type ear struct {
	mu    sync.Mutex
	heard []string
}

func (e *ear) EntryChanged(_ context.Context, parent vfs.NodeID, name string) {
	e.note(fmt.Sprintf("%d/%s", parent, name))
}

func (e *ear) NodeChanged(_ context.Context, node vfs.NodeID, data bool) {
	e.note(fmt.Sprintf("%d %v", node, data))
}

func (e *ear) note(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, s)
}

func (e *ear) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := fmt.Sprint(e.heard)
	e.heard = nil
	return s
}

func TestWatchers(t *testing.T) {
	var w vfs.Watchers
	ctx := context.Background()
	w.EntryChanged(ctx, 1, "nobody hears")
	a, b := &ear{}, &ear{}
	stopA, stopB := w.Watch(a), w.Watch(b)
	w.EntryChanged(ctx, 1, "x")
	w.NodeChanged(ctx, 2, true)
	if got, want := a.take(), "[1/x 2 true]"; got != want || b.take() != want {
		t.Errorf("heard %s, want %s", got, want)
	}
	own := vfs.WithCaller(ctx, &vfs.Caller{Origin: a})
	w.NodeChanged(own, 3, false)
	if a.take() != "[]" || b.take() != "[3 false]" {
		t.Error("the origin was told of its own change, or the other was not")
	}
	stopA()
	stopA()
	w.NodeChanged(ctx, 4, false)
	if a.take() != "[]" || b.take() != "[4 false]" {
		t.Error("told after stop, or the other was not told")
	}
	// Twice the same, and each stop ends one of them.
	again := w.Watch(b)
	w.NodeChanged(ctx, 5, false)
	if got := b.take(); got != "[5 false 5 false]" {
		t.Errorf("heard %s", got)
	}
	stopB()
	w.NodeChanged(ctx, 6, false)
	if got := b.take(); got != "[6 false]" {
		t.Errorf("heard %s", got)
	}
	again()
	w.NodeChanged(ctx, 7, false)
	if got := b.take(); got != "[]" {
		t.Errorf("heard %s", got)
	}
}

// TestWatchersConcurrently adds and removes while telling, also from within what
// is told.
func TestWatchersConcurrently(t *testing.T) {
	var w vfs.Watchers
	ctx := context.Background()
	always := &counting{}
	defer w.Watch(always)()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				w.Watch(&reentrant{w: &w})()
				w.NodeChanged(ctx, 1, false)
			}
		})
	}
	stop := w.Watch(&reentrant{w: &w})
	wg.Wait()
	stop()
	if n := always.n.Load(); n != 2000 {
		t.Errorf("told %d times, want 2000", n)
	}
}

type counting struct{ n atomic.Int64 }

func (c *counting) EntryChanged(context.Context, vfs.NodeID, string) {}
func (c *counting) NodeChanged(context.Context, vfs.NodeID, bool)    { c.n.Add(1) }

type reentrant struct{ w *vfs.Watchers }

func (r *reentrant) EntryChanged(context.Context, vfs.NodeID, string) {}
func (r *reentrant) NodeChanged(context.Context, vfs.NodeID, bool)    { r.w.Watch(&ear{})() }
