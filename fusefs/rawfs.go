package fusefs

import (
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// rawFS is the filesystem as go-fuse calls it, one method for each request of
// the kernel. Its methods run concurrently.
type rawFS struct {
	fs     vfs.FS
	opt    Options
	server *conn // set by connect

	nodes   nodeTable
	handles handleTable
	streams dirStreams
	notify  *notifier
	stats   counters

	passthrough atomic.Bool // the kernel takes backing files from us
	ended       chan struct{}

	rootVolatile bool // set before the mount

	// generation is every inode's, by chance: a number that stood for one file in
	// an earlier mount stands for another in this.
	generation uint64
}

type counters struct {
	requests    atomic.Uint64
	notified    atomic.Uint64
	dropped     atomic.Uint64
	passthrough atomic.Uint64
	panics      atomic.Uint64
}

func newRawFS(fs vfs.FS, opt Options) *rawFS {
	r := &rawFS{fs: fs, opt: opt, ended: make(chan struct{}), generation: uint64(rand.Uint32())}
	r.nodes.init()
	r.notify = newNotifier(r)
	return r
}

// String names the filesystem for go-fuse.
func (r *rawFS) String() string { return subtype }

// connect takes over the descriptor of the connection and learns what the kernel
// agreed to.
func (r *rawFS) connect(fd int) (err error) {
	if r.server, err = newConn(r, fd, mountOptions(r), r.opt.Log); err != nil {
		return err
	}
	r.passthrough.Store(r.server.agreed&fuse.CAP_PASSTHROUGH != 0 && !r.opt.NoPassthrough)
	r.notify.prunes.Store(r.server.offer.SupportsNotify(fuse.NOTIFY_PRUNE))
	return nil
}

// run serves the kernel until the mount is gone.
func (r *rawFS) run() {
	r.server.run()
	r.OnUnmount()
}

// Init is never called: it is for a server of go-fuse, of which this is none.
func (r *rawFS) Init(*fuse.Server) {}

// OnUnmount gives back all that the kernel held: after an abort or a lazy
// unmount it does not do so itself.
func (r *rawFS) OnUnmount() {
	r.notify.stop()
	r.handles.drain(r.release)
	r.closeDirs(r.streams.drop(0))
	r.nodes.drain(r.fs.Forget)
	close(r.ended)
}

// panicked turns a panic in a call into EIO for that call. go-fuse recovers it.
func (r *rawFS) panicked(v any) fuse.Status {
	r.stats.panics.Add(1)
	r.opt.Log.Printf("fusefs: panic in a call: %v\n%s", v, debug.Stack())
	return fuse.EIO
}

// file returns the open file with that id.
func (r *rawFS) file(id uint64) *handle {
	return r.handles.get(id)
}

// fileOf returns the open file with that id if valid says that id is one.
func (r *rawFS) fileOf(id uint64, valid bool) vfs.Handle {
	if !valid {
		return nil
	}
	if h := r.file(id); h != nil {
		return h.file
	}
	return nil
}

// readOnly tells whether changes are refused. The kernel does so first, unless
// root remounted.
func (r *rawFS) readOnly() bool { return r.opt.ReadOnly && !r.opt.Remountable }

const erofs = fuse.Status(syscall.EROFS)

// answers counts requests whose reply the kernel will remember. A change that
// someone else makes while one is under way may be overtaken by its reply.
type answers struct {
	pending atomic.Int64
	last    atomic.Int64 // when the last one ended, Unix nanoseconds
}

func (a *answers) begin() { a.pending.Add(1) }

func (a *answers) end() {
	a.last.Store(time.Now().UnixNano())
	a.pending.Add(-1)
}

// recent tells whether a reply may still be on its way into the kernel.
func (a *answers) recent() bool {
	return a.pending.Load() != 0 || time.Now().UnixNano()-a.last.Load() < int64(replyWindow)
}

// replyWindow is far longer than the kernel takes from reading a reply to
// having taken it in.
const replyWindow = 5 * time.Millisecond
