package fusefs

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// A file that is open with passthrough is mapped directly as well, and of that
// the kernel tells us nothing: what is stored through the mapping changes times
// without a request, and the mapping stays when the file is closed, as it is then
// one of the filesystem's own file. Pages that the kernel cached of the node from
// then on would not see what is stored. So a node that was open for reading and
// writing with passthrough is loose until it is certain that nobody has the file
// open for writing any more: its attributes expire at once, and it is opened with
// passthrough, also for reading.
//
// That is certain if the kernel grants a read lease on the file. It is asked for
// when the last open is over, soon after, as the kernel may be about to let go,
// and whenever the attributes are asked for or the file is opened.

const (
	// probesMax bounds the descriptors that are kept for that. Of those that are,
	// probesLook are asked about where there is no room for another; a node that
	// finds none, as that many files are mapped, is loose until it was open once
	// more, or the kernel forgets it.
	probesMax  = 1024
	probesLook = 32
	// probeAgain is when it is asked once more.
	probeAgain = 50 * time.Millisecond
)

// probes has the nodes of which a descriptor is kept.
type probes struct {
	count atomic.Int32

	mu    sync.Mutex // a leaf
	nodes []*node    // protected by mu; at most probesMax, some of which have none any more
	hand  int        // protected by mu; of nodes, where some goes on
}

// enter has n among those that some returns.
func (p *probes) enter(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.slot > 0 && p.nodes[n.slot-1] == n {
		return
	}
	if len(p.nodes) < probesMax {
		p.nodes = append(p.nodes, n)
		n.slot = len(p.nodes)
		return
	}
	for i := range p.nodes {
		k := (p.hand + i) % len(p.nodes)
		if p.nodes[k].probe.Load() == 0 {
			p.nodes[k], n.slot = n, k+1
			return
		}
	}
}

// some returns a few of the nodes, others each time.
func (p *probes) some() []*node {
	p.mu.Lock()
	defer p.mu.Unlock()
	few := make([]*node, min(probesLook, len(p.nodes)))
	for i := range few {
		few[i] = p.nodes[(p.hand+i)%len(p.nodes)]
	}
	p.hand = (p.hand + len(few)) % max(len(p.nodes), 1)
	return few
}

// makeRoom looks whether descriptors can be given up, if there is no room for
// another: a file that nobody asks about keeps its own though its mapping is gone.
// No lock is held.
func (r *rawFS) makeRoom() {
	if r.nodes.probes.count.Load() < probesMax {
		return
	}
	for _, n := range r.nodes.probes.some() {
		r.settled(n)
	}
}

// loosenLocked marks n as open for reading and writing with passthrough. Called
// with n.mu held.
func (r *rawFS) loosenLocked(n *node) {
	if !n.loose.Swap(true) {
		r.server.InodeNotify(uint64(n.id), -1, 0) // the attributes that the kernel has
	}
}

// probeLocked keeps a descriptor for settledLocked of f's file, whose last
// passthrough open is over. Called with n.mu held.
func (t *nodeTable) probeLocked(n *node, f vfs.Handle) {
	p, ok := f.(vfs.Passthrough)
	if !ok || n.probe.Load() != 0 {
		return
	}
	fd, ok := p.PassthroughFD()
	if !ok || t.probes.count.Add(1) > probesMax {
		t.probes.count.Add(-1)
		return
	}
	fd, err := at.Reopen(fd, unix.O_RDONLY)
	if err != nil {
		t.probes.count.Add(-1)
		return
	}
	n.probe.Store(int32(fd) + 1)
	t.probes.enter(n)
}

// settle looks, after an open is over, whether n is still loose.
func (r *rawFS) settle(n *node) {
	if !r.settled(n) && n.probe.Load() != 0 {
		time.AfterFunc(probeAgain, func() { r.settled(n) })
	}
}

// settledLocked tells whether n is not loose, or not any more. Called with n.mu
// held.
func (r *rawFS) settledLocked(n *node) bool {
	if !n.loose.Load() {
		return true
	}
	fd := int(n.probe.Load()) - 1
	if n.backingOpens > 0 || fd < 0 {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return false
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	r.nodes.dropProbeLocked(n)
	n.loose.Store(false)
	return err == nil
}

// dropProbe closes what probeLocked opened. No lock is held.
func (t *nodeTable) dropProbe(n *node) {
	if n.probe.Load() == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t.dropProbeLocked(n)
}

// dropProbeLocked is dropProbe with n.mu held.
func (t *nodeTable) dropProbeLocked(n *node) {
	if fd := int(n.probe.Swap(0)) - 1; fd >= 0 {
		t.probes.count.Add(-1)
		unix.Close(fd)
	}
}

// settled is settledLocked for an answer with n's attributes.
func (r *rawFS) settled(n *node) bool {
	if !n.loose.Load() {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return r.settledLocked(n)
}
