package abi

import (
	"context"

	"github.com/astridfs/astridfs/capsulehost/guest"
)

// ResourceType is a resource type as it exists at run time. Two are the same if
// and only if they are the same pointer.
type ResourceType struct {
	Name string
	// Owner is the instance whose resource it is, which borrows it as its
	// representation and not by a handle; nil: the host.
	Owner any
	// Drop is called when the last handle is dropped; nil: nothing is.
	Drop func(ctx context.Context, rep uint32)
}

// Handle is an entry of a Table.
type Handle struct {
	typ   *ResourceType // nil: the entry is free
	rep   uint32
	own   bool
	lends int
	scope *Scope // of a borrow: the call that it is for
}

// Scope is a call, as far as it lends and borrows handles.
type Scope struct {
	lenders []uint32
	borrows int
}

// maxHandles bounds the tables that are counted together. The specification's
// bound of each is 2^28-1; this one keeps them under 64 MiB.
const maxHandles = 1 << 20

// Table is the handles of an instance, by the numbers that it knows them by; 0
// is none. It is for one goroutine.
type Table struct {
	// Owner is the instance.
	Owner any
	// Count is how many entries there are in all tables that are counted together.
	Count   *int
	entries []Handle // [0] stays free
	free    []uint32
	live    int
}

// Len returns how many handles there are.
func (t *Table) Len() int { return t.live }

func (t *Table) add(h Handle) uint32 {
	t.live++
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		t.entries[i] = h
		return i
	}
	if len(t.entries) == 0 {
		t.entries = append(t.entries, Handle{})
	}
	if t.Count == nil {
		t.Count = new(int)
	}
	if *t.Count == maxHandles {
		guest.Trap("there are more than %d handles", maxHandles)
	}
	*t.Count++
	t.entries = append(t.entries, h)
	return uint32(len(t.entries) - 1)
}

// get returns the handle with this number and type; it traps if there is none.
func (t *Table) get(i uint32, typ *ResourceType) *Handle {
	if uint64(i) >= uint64(len(t.entries)) || t.entries[i].typ == nil {
		guest.Trap("there is no handle %d", i)
	}
	h := &t.entries[i]
	if h.typ != typ {
		guest.Trap("handle %d is of the resource type %s, not %s", i, h.typ.Name, typ.Name)
	}
	return h
}

func (t *Table) remove(i uint32) {
	t.entries[i] = Handle{}
	t.free = append(t.free, i)
	t.live--
}

// New makes an owning handle and returns its number.
func (t *Table) New(typ *ResourceType, rep uint32) uint32 {
	return t.add(Handle{typ: typ, rep: rep, own: true})
}

// Rep returns what a handle stands for.
func (t *Table) Rep(typ *ResourceType, i uint32) uint32 { return t.get(i, typ).rep }

// Drop removes a handle. owned tells whether it was an owning one, whose
// resource, rep, is then to be dropped by the caller.
func (t *Table) Drop(typ *ResourceType, i uint32) (rep uint32, owned bool) {
	h := *t.get(i, typ)
	if h.lends > 0 {
		guest.Trap("handle %d is dropped while it is lent", i)
	}
	t.remove(i)
	if h.scope != nil {
		h.scope.borrows--
	}
	return h.rep, h.own
}

func (t *Table) liftOwn(i uint32, typ *ResourceType) uint32 {
	h := *t.get(i, typ)
	switch {
	case h.lends > 0:
		guest.Trap("handle %d is given away while it is lent", i)
	case !h.own:
		guest.Trap("handle %d is given away and is only borrowed", i)
	}
	t.remove(i)
	return h.rep
}

func (t *Table) liftBorrow(i uint32, typ *ResourceType, lend *Scope) uint32 {
	h := t.get(i, typ)
	if lend != nil {
		h.lends++
		lend.lenders = append(lend.lenders, i)
	}
	return h.rep
}

func (t *Table) lowerBorrow(typ *ResourceType, rep uint32, borrow *Scope) uint32 {
	if typ.Owner != nil && typ.Owner == t.Owner {
		return rep
	}
	if borrow != nil {
		borrow.borrows++
	}
	return t.add(Handle{typ: typ, rep: rep, scope: borrow})
}

// Return ends a call that lent handles of this table.
func (s *Scope) Return(t *Table) {
	for _, i := range s.lenders {
		t.entries[i].lends--
	}
	s.lenders = s.lenders[:0]
}

// Exit ends a call that borrowed handles; it traps if one was not dropped.
func (s *Scope) Exit() {
	if s.borrows > 0 {
		guest.Trap("%d borrowed handles are kept beyond the call", s.borrows)
	}
}
