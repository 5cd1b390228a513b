package boundary

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// ErrIgnoreFile is the refusal to change an ignore file. It wraps EACCES.
var ErrIgnoreFile = fmt.Errorf("%s cannot be changed through the view: %w", ignore.FileName, syscall.EACCES)

// Options of [New]. The zero value is good.
type Options struct {
	// Deny is further rules, in the language of ignore files and as if at the
	// root. They only add to what files hide.
	Deny []string

	// Revalidate is how old the rules may be that an answer rests on; 0 is a
	// second. If it is negative, files are looked at again only after Reload,
	// Expire, or a change of which the filesystem below told its watchers. While
	// there are watchers, files in use are looked at that often without a use.
	Revalidate time.Duration

	// Report is told of each ignore file that cannot be used, and of each
	// directory that could not be searched for hard links. It may be called
	// from any goroutine; nil drops it. The errors name paths in the tree.
	Report func(error)
}

// FS is a filesystem without what rules hide. See the package comment. It keeps
// a bounded number of directories and nodes in memory, besides the rules.
type FS struct {
	vfs.FS // below

	opt     Options
	deny    *ignore.List
	closed  *ignore.List // hides everything, where a file can't be used
	base    time.Time    // of now
	fresh   int64        // ns for which a look at the files is good; 0: for good
	watch   vfs.Watchers
	unwatch func()

	renaming, renamed atomic.Int64 // how many renames began and ended

	watching atomic.Int64 // how many are in watch

	rules   atomic.Pointer[rules]
	expired atomic.Int64 // now of the last Expire: what was looked at before is old

	mu       sync.Mutex // of the fields below, and of replacing rules
	isClosed bool
	noticed  map[vfs.NodeID]bool // directories for poll to look at
	tellers  sync.WaitGroup      // goroutines that tell watchers, and poll
	telling  sync.Mutex          // one of them at a time
	ctx      context.Context
	cancel   context.CancelFunc

	kick chan struct{} // holds one when something was noticed
}

var _ vfs.FS = (*FS)(nil)

// New wraps below. It closes nothing of it; Close ends the layer's own work.
//
// Errors: *ignore.LimitError for deny rules; for the root's ignore file, that it
// can't be used (an unusable one that appears later hides everything, instead).
func New(below vfs.FS, opt Options) (*FS, error) {
	f := &FS{FS: below, opt: opt, base: time.Now(), noticed: make(map[vfs.NodeID]bool), kick: make(chan struct{}, 1)}
	switch {
	case opt.Revalidate == 0:
		f.fresh = int64(time.Second)
	case opt.Revalidate > 0:
		f.fresh = int64(opt.Revalidate)
	}
	var err error
	if f.deny, err = ignore.ParseDeny(ignore.DenySource, opt.Deny); err != nil {
		return nil, err
	}
	if f.closed, err = ignore.Parse(ignore.FileName, []byte("*\n")); err != nil {
		return nil, err
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.rules.Store(newRules(0, make(map[string]*ignore.List)))
	own, err := f.load(f.ctx, vfs.RootID, "", nil)
	if err == nil {
		err = own.err
	}
	if err != nil {
		f.cancel()
		return nil, err
	}
	f.rules.Load().found("", own.list)
	f.unwatch = below.Watch((*belowWatcher)(f))
	f.tellers.Add(1)
	go f.poll()
	return f, nil
}

// Close stops watching the filesystem below, and looking at its ignore files by
// itself, and waits until no watcher is being told of changes of the rules.
// Operations may go on.
func (f *FS) Close() error {
	f.mu.Lock()
	f.isClosed = true
	f.mu.Unlock()
	f.unwatch()
	f.cancel()
	f.tellers.Wait()
	return nil
}

// Watch implements vfs.FS.
func (f *FS) Watch(inv vfs.Invalidator) (stop func()) {
	below, own := f.FS.Watch(inv), f.watch.Watch(inv)
	f.watching.Add(1)
	var once sync.Once
	return func() {
		once.Do(func() {
			f.watching.Add(-1)
			below()
			own()
		})
	}
}

// belowWatcher is the layer as a watcher of what is below.
type belowWatcher FS

// EntryChanged implements vfs.Invalidator.
func (w *belowWatcher) EntryChanged(_ context.Context, parent vfs.NodeID, name string) {
	if name == ignore.FileName {
		(*FS)(w).Expire()
		(*FS)(w).news(parent)
	}
}

// NodeChanged implements vfs.Invalidator. Ignore files change by the hand of the
// host, of which nobody tells.
func (w *belowWatcher) NodeChanged(context.Context, vfs.NodeID, bool) {}

// now returns the time since f was made, in ns, by a clock that is never set.
func (f *FS) now() int64 { return int64(time.Since(f.base)) }

// isFresh tells whether what was looked at then need not be looked at now.
func (f *FS) isFresh(then, now int64) bool {
	return (f.fresh == 0 || now-then < f.fresh) && then >= f.expired.Load()
}

// Expire makes the next use of each directory look at the ignore files again. It
// costs nothing itself. Whoever changes what is below other than through f (a
// commit, a discard) calls it afterwards.
func (f *FS) Expire() { f.expired.Store(f.now() + 1) }

func (f *FS) report(err error) {
	if err != nil && f.opt.Report != nil {
		f.opt.Report(err)
	}
}
