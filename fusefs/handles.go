package fusefs

import (
	"sync"
	"sync/atomic"

	"github.com/astridfs/astridfs/vfs"
)

// handle is an open file of the kernel. It does not change.
type handle struct {
	node   *node
	file   vfs.Handle
	append bool   // opened with O_APPEND
	mode   ioMode // how the kernel reads and writes the file
	owns   bool   // its file is the one that is registered for passthrough
}

const handlePage = 256

// handleTable turns the kernel's file handles, small numbers from 1, into ours.
// Finding one takes no lock.
type handleTable struct {
	pages atomic.Pointer[[]*[handlePage]atomic.Pointer[handle]]

	mu   sync.Mutex // for the following, and for adding pages
	free []uint64   // ids given back
	next uint64     // the last id that was handed out fresh
}

// add stores h and returns its id.
func (t *handleTable) add(h *handle) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var id uint64
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
	} else {
		t.next++
		id = t.next
	}
	var pages []*[handlePage]atomic.Pointer[handle]
	if p := t.pages.Load(); p != nil {
		pages = *p
	}
	if id/handlePage >= uint64(len(pages)) {
		grown := append(pages[:len(pages):len(pages)], new([handlePage]atomic.Pointer[handle]))
		t.pages.Store(&grown)
		pages = grown
	}
	pages[id/handlePage][id%handlePage].Store(h)
	return id
}

func (t *handleTable) slot(id uint64) *atomic.Pointer[handle] {
	p := t.pages.Load()
	if p == nil || id/handlePage >= uint64(len(*p)) {
		return nil
	}
	return &(*p)[id/handlePage][id%handlePage]
}

// get returns the handle, nil if there is none.
func (t *handleTable) get(id uint64) *handle {
	if s := t.slot(id); s != nil {
		return s.Load()
	}
	return nil
}

// remove takes the handle out, nil if there is none.
func (t *handleTable) remove(id uint64) *handle {
	s := t.slot(id)
	if s == nil {
		return nil
	}
	h := s.Swap(nil)
	if h != nil {
		t.mu.Lock()
		t.free = append(t.free, id)
		t.mu.Unlock()
	}
	return h
}

// drain takes every handle out.
func (t *handleTable) drain(f func(*handle)) {
	t.mu.Lock()
	last := t.next
	t.mu.Unlock()
	for id := uint64(1); id <= last; id++ {
		if h := t.remove(id); h != nil {
			f(h)
		}
	}
}

// len counts the handles that are open.
func (t *handleTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.next) - len(t.free)
}
