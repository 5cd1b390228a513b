package vfs

import (
	"context"
	"sync"
	"sync/atomic"
)

// Invalidator is a cache in front of a filesystem. Its methods are called
// after a change took effect, with no lock of the filesystem held, on the
// goroutine that made the change; that operation returns to its caller only
// after them. ctx is the operation's: a cache for which waiting on another
// front end could deadlock tells by [CallerFrom] whose change it is.
type Invalidator interface {
	// EntryChanged says that name in the directory parent stands for something
	// else now, or for nothing.
	EntryChanged(ctx context.Context, parent NodeID, name string)
	// NodeChanged says that the node's attributes changed and, if data is set,
	// its contents (for a directory: its listing) too.
	NodeChanged(ctx context.Context, node NodeID, data bool)
}

// Watchers is the set of Invalidators of a filesystem, ready to use as its zero
// value. A bottom filesystem embeds one and calls its Entry and Node methods
// outside its locks. Telling costs one atomic load when nobody watches.
type Watchers struct {
	mu   sync.Mutex
	list atomic.Pointer[[]Invalidator] // copied on change
}

// Watch adds inv until the returned function is called. inv must be comparable.
func (w *Watchers) Watch(inv Invalidator) (stop func()) {
	w.update(func(l []Invalidator) []Invalidator { return append(l, inv) })
	var once sync.Once
	return func() {
		once.Do(func() {
			w.update(func(l []Invalidator) []Invalidator {
				for i := range l {
					if l[i] == inv {
						return append(l[:i], l[i+1:]...)
					}
				}
				return l
			})
		})
	}
}

func (w *Watchers) update(f func([]Invalidator) []Invalidator) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var old []Invalidator
	if p := w.list.Load(); p != nil {
		old = *p
	}
	l := f(append(make([]Invalidator, 0, len(old)+1), old...))
	w.list.Store(&l)
}

func (w *Watchers) each(ctx context.Context, f func(Invalidator)) {
	p := w.list.Load()
	if p == nil || len(*p) == 0 {
		return
	}
	origin := CallerFrom(ctx).Origin
	for _, inv := range *p {
		if inv != origin {
			f(inv)
		}
	}
}

// EntryChanged tells all but the caller's own Invalidator.
func (w *Watchers) EntryChanged(ctx context.Context, parent NodeID, name string) {
	w.each(ctx, func(inv Invalidator) { inv.EntryChanged(ctx, parent, name) })
}

// NodeChanged tells all but the caller's own Invalidator.
func (w *Watchers) NodeChanged(ctx context.Context, node NodeID, data bool) {
	w.each(ctx, func(inv Invalidator) { inv.NodeChanged(ctx, node, data) })
}
