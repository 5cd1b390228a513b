package fusefs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// notifier passes changes of others on to the kernel (see the package comment
// for who is told when).
//
// An invalidation meets answers that are on their way into the kernel:
//
//   - The reply that makes an inode. Until the kernel took it in, there is no
//     inode to invalidate (ENOENT), while we know of the reference we gave; so
//     it is tried again.
//   - Replies to setattr and link, whose attributes the kernel does not compare
//     with its invalidations. It holds the inode's lock meanwhile, and the
//     invalidation of a name takes the lock of the inode it is given, before it
//     finds that this is no directory or has no such name. So after such
//     replies that comes first.
//   - An answer that was put together before the change and is given after it.
//     It sees that the count of changes moved on, and is not to be kept.
//   - A lookup or a listing whose reply the kernel is taking in. Until Linux
//     6.18 the invalidation of a name waits for the directory's lock, which they
//     hold. From 6.19 on it does not if the kernel has no such name yet; there, a
//     change that met answers is told once more after a while.
type notifier struct {
	r *rawFS

	// answers are the requests whose replies the kernel remembers; unseen those
	// among them whose attributes it takes as they come.
	answers, unseen answers

	// changes counts what others changed. It goes up before the kernel is told,
	// so an answer that saw none was given before (request.fresh).
	changes atomic.Uint64

	mu    sync.Mutex
	now   map[change]changeKind // to be told; protected by mu
	later map[change]changeKind // to be told once more; protected by mu

	wake  chan struct{} // something is in now
	crowd chan struct{} // the kernel knows too many nodes
	quit  chan struct{}

	unwatch func()

	// waits says that the kernel lets the invalidation of a name wait for the
	// requests that have its directory locked.
	waits bool

	// prunes says that the kernel can be asked to forget nodes.
	prunes atomic.Bool
}

var _ vfs.Invalidator = (*notifier)(nil)

// change names what changed: a name in the directory node, or the node.
type change struct {
	node vfs.NodeID
	name string
}

// changeKind are bits.
type changeKind uint8

const (
	changeAttr  changeKind = 1 << iota // attributes; no more
	changeData                         // attributes and contents
	changeAgain                        // this is the second time
)

const (
	// queueMax bounds what waits to be told.
	queueMax = 1 << 16
	// queueWait is how long a change by another mount waits for room. Not for
	// ever: the kernel may be waiting for that mount.
	queueWait = time.Second
	// againAfter is when a change that met answers is told once more.
	againAfter = 2 * replyWindow
	// inodeTries and inodeWait bound the wait for an inode that the kernel is
	// about to make.
	inodeTries = 12
	inodeWait  = 20 * time.Microsecond
)

// lockName is a name that no directory has; see the comment of notifier.
const lockName = "."

func newNotifier(r *rawFS) *notifier {
	return &notifier{
		r: r, now: make(map[change]changeKind), later: make(map[change]changeKind),
		wake: make(chan struct{}, 1), crowd: make(chan struct{}, 1), quit: make(chan struct{}), waits: olderThan(6, 19),
	}
}

// olderThan tells whether the running kernel is.
func olderThan(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || a == major && b < minor
}

// start begins to listen to fs.
func (n *notifier) start(fs vfs.FS) {
	n.unwatch = fs.Watch(n)
	go n.run()
}

// stop ends what start began.
func (n *notifier) stop() {
	n.unwatch()
	close(n.quit)
}

// EntryChanged implements vfs.Invalidator.
func (n *notifier) EntryChanged(ctx context.Context, parent vfs.NodeID, name string) {
	n.changed(ctx, change{parent, name}, changeData)
}

// NodeChanged implements vfs.Invalidator.
func (n *notifier) NodeChanged(ctx context.Context, node vfs.NodeID, data bool) {
	kind := changeAttr
	if data {
		kind = changeData
	}
	n.changed(ctx, change{node: node}, kind)
}

func (n *notifier) changed(ctx context.Context, c change, kind changeKind) {
	n.changes.Add(1)
	if !n.r.nodes.known(c.node) {
		return // the kernel has never heard of it, and who is telling it sees changes
	}
	if vfs.CallerFrom(ctx).Origin != nil {
		n.enqueue(c, kind)
		return
	}
	n.tell(c, kind)
}

// tell invalidates what the kernel has of c. It may wait for locks that the
// kernel holds for requests of this mount.
func (n *notifier) tell(c change, kind changeKind) {
	n.r.stats.notified.Add(1)
	nd, open := n.r.nodes.find(c.node)
	if nd != nil {
		nd.modeEpoch.Add(1)
		if kind&changeData != 0 {
			nd.mu.Lock()
			nd.cached = false
			nd.mu.Unlock()
			if open && kind&changeAgain == 0 {
				nd.foreign.Store(true)
			}
		}
	}
	met := !n.waits && n.answers.recent()
	switch {
	case c.name != "":
		n.r.server.EntryNotify(uint64(c.node), c.name)
	case n.unseen.recent():
		n.r.server.EntryNotify(uint64(c.node), lockName)
	}
	gone := n.inode(c.node, kind&changeData != 0 && (nd == nil || nd.listingChanged()))
	if kind&changeAgain == 0 && (met || !gone) {
		n.enqueueLater(c, kind)
	}
}

// enqueueLater has c told in a while. If there is no room it is not: this is a
// second line of defence.
func (n *notifier) enqueueLater(c change, kind changeKind) {
	n.mu.Lock()
	if len(n.later) < queueMax {
		n.later[c] |= kind | changeAgain
	}
	n.mu.Unlock()
	n.signal()
}

// inode invalidates the attributes of a node and, with data, its pages. It
// returns false if the kernel has no inode although it has a reference.
func (n *notifier) inode(id vfs.NodeID, data bool) bool {
	off := int64(-1) // attributes only
	if data {
		off = 0
	}
	wait := inodeWait
	for range inodeTries {
		st := n.r.server.InodeNotify(uint64(id), off, 0)
		if st != fuse.ENOENT || !n.r.nodes.known(id) {
			return true
		}
		time.Sleep(wait)
		wait += wait / 2
	}
	return false
}

// enqueue leaves c to the notifier's own goroutine. It does not wait for the
// kernel.
func (n *notifier) enqueue(c change, kind changeKind) {
	deadline := time.Now().Add(queueWait)
	for {
		n.mu.Lock()
		_, merges := n.now[c]
		if merges || len(n.now) < queueMax {
			n.now[c] |= kind
			n.mu.Unlock()
			n.signal()
			return
		}
		n.mu.Unlock()
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n.r.stats.dropped.Add(1) == 1 {
		n.r.opt.Log.Printf("fusefs: the kernel does not take invalidations; what the mount shows may be old for up to %v", longTimeout)
	}
}

func (n *notifier) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take empties the queue, the one of changes or the one of second times, and
// returns what was in it, which is the caller's alone.
func (n *notifier) take(again bool) map[change]changeKind {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := &n.now
	if again {
		from = &n.later
	}
	if len(*from) == 0 {
		return nil
	}
	m := *from
	*from = make(map[change]changeKind)
	return m
}

// run tells what is in the queues, and keeps the number of nodes down, until
// stop.
func (n *notifier) run() {
	var again, crowd alarm
	pause := pruneAfter
	for {
		select {
		case <-n.quit:
			return
		case <-n.wake:
			n.tellAll(false)
		case <-again.ring():
			again.rang()
			n.tellAll(true)
		case <-n.crowd:
			pause = pruneAfter
			n.prune()
			crowd.set(pause)
		case <-crowd.ring():
			crowd.rang()
			// What was asked to be forgotten takes its time, or is in use.
			if n.r.nodes.count.Load() > int64(n.r.opt.MaxNodes) {
				n.prune()
				pause = min(2*pause, pruneAtLeast)
				crowd.set(pause)
			}
		}
		if n.hasLater() {
			again.set(againAfter)
		}
	}
}

func (n *notifier) tellAll(again bool) {
	for c, kind := range n.take(again) {
		n.tell(c, kind)
	}
}

// alarm is a timer that is set once at a time.
type alarm struct{ timer *time.Timer }

// ring returns the channel to wait on, nil while the alarm is not set.
func (a *alarm) ring() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}

func (a *alarm) set(d time.Duration) {
	if a.timer == nil {
		a.timer = time.NewTimer(d)
	}
}

func (a *alarm) rang() { a.timer = nil }

func (n *notifier) hasLater() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.later) > 0
}

// tooMany has the kernel forget some nodes soon.
func (n *notifier) tooMany() {
	if !n.prunes.Load() {
		return
	}
	select {
	case n.crowd <- struct{}{}:
	default:
	}
}

const (
	// pruneBatch is how many nodes the kernel is asked to forget in one message.
	pruneBatch = 1024
	// pruneAfter is when it is looked after whether it did; twice as long each
	// time, up to pruneAtLeast.
	pruneAfter   = 50 * time.Millisecond
	pruneAtLeast = 10 * time.Second
)

// prune asks the kernel to forget what is too much, and an eighth more. It keeps
// those in use, and directories until what is below them is forgotten. What was
// used last we cannot tell, as that makes no request.
func (n *notifier) prune() {
	limit := n.r.opt.MaxNodes
	ids := n.r.nodes.idle(max(0, int(n.r.nodes.count.Load())-limit) + limit/8)
	for len(ids) > 0 {
		k := min(len(ids), pruneBatch)
		if st := n.r.server.PruneNotify(ids[:k]); st == fuse.ENOSYS {
			n.prunes.Store(false)
			return
		}
		ids = ids[k:]
	}
}
