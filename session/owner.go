package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/kv"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/session/wire"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// tree is a session's workspace as its mode has it: the filesystem that both
// front ends serve, without what deny rules hide, and what can be done with the
// changes in it. Its methods are those of Conn; where they take a sieve, they
// leave out what it does not let through.
type tree interface {
	fs() vfs.FS
	status(ctx context.Context, req StatusRequest, fn func(Change) error) error
	diff(ctx context.Context, req DiffRequest, s *sieve, sink DiffSink) error
	commit(ctx context.Context, req CommitRequest, s *sieve, sink StepSink) (StepResult, error)
	discard(ctx context.Context, req DiscardRequest, sink StepSink) (StepResult, error)
	close() error
}

// Owner is a session that this process owns. Its methods may be called from any
// goroutine; Close is called once.
type Owner struct {
	store *store.Store
	disk  *store.Session
	opt   Options
	lock  *store.Lock
	tree  tree
	edge  *bounds // of tree
	audit *audit
	srv   *server
	runs  runner

	mu         sync.Mutex
	principals map[string]*principal // protected by mu
	mounted    *mount                // protected by mu; nil while not mounted
	ending     bool                  // protected by mu; no more runs
	running    int                   // protected by mu; capsules

	unmounts  chan unmountCall // to the goroutine in Wait
	abandoned bool             // set by Wait: the mount still uses the tree, which only the process's end can close
}

// principal is what belongs to one principal.
type principal struct {
	home, tmp *hostfs.FS
}

// Own makes this process the owner of a session and opens it. The error is
// store.ErrLocked while another process owns it. Dead mounts of a killed owner
// are taken away first and reported through opt.Log.
func Own(ctx context.Context, st *store.Store, disk *store.Session, opt Options) (_ *Owner, err error) {
	lock, err := disk.Lock(opt.Command)
	if err != nil {
		return nil, err
	}
	o := &Owner{
		store: st, disk: disk, opt: opt, lock: lock,
		principals: map[string]*principal{}, unmounts: make(chan unmountCall),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.release())
		}
	}()
	dead, err := detachAll(disk)
	for _, d := range dead {
		if opt.Recovered != nil {
			opt.Recovered(d)
			continue
		}
		opt.Log.Warn(d.String())
	}
	if err != nil {
		return nil, err
	}
	if o.audit, err = openAudit(ctx, disk, &opt); err != nil {
		return nil, err
	}
	if o.tree, err = openTree(ctx, disk, tellKept(disk, opt.Log)); err != nil {
		return nil, err
	}
	report := func(err error) { opt.Log.WithError(err).Warn("deny rules") }
	if o.edge, err = openBounds(o.tree, disk, report); err != nil {
		return nil, err
	}
	o.runs.cacheDir, o.runs.compiler = st.CacheDir(), opt.Compiler
	o.runs.stores = kv.NewStores(disk.KV())
	l, err := wire.Listen(disk.Dir, store.SocketName)
	if err != nil {
		return nil, err
	}
	o.srv = serve(l, o, opt.Version, opt.Log)
	return o, nil
}

// openTree opens the workspace of a session, which must still be there. kept is
// as in hostfs.Options.
func openTree(ctx context.Context, disk *store.Session, kept func(hostfs.Kept)) (tree, error) {
	dir, err := realDir("workspace", string(disk.File.Workspace),
		"bring it back, or remove the session with: astridfs sessions remove "+disk.File.Name)
	if err != nil {
		return nil, err
	}
	root, err := os.Open(dir)
	if err != nil {
		return nil, fault.New(fault.Failed, "", "cannot open session %s: workspace: %w", disk.File.Name, err)
	}
	if err := root.Close(); err != nil {
		return nil, err
	}
	switch disk.File.Mode {
	case store.Overlay:
		return openOverlay(ctx, disk)
	case store.Worktree:
		return openWorktree(ctx, disk, kept)
	case store.Host:
		return openHost(disk, kept)
	}
	return nil, fault.New(fault.Failed, "", "session %s has an unknown mode %q", disk.File.Name, disk.File.Mode)
}

// Live implements Conn.
func (o *Owner) Live() bool { return false }

// Close implements Conn: the session is closed, and the lock given up. Until
// the others have come to an end, who comes to the session is served, unless
// the owner was told to end.
func (o *Owner) Close(ctx context.Context) error {
	o.mu.Lock()
	told := o.ending
	o.mu.Unlock()
	if !told {
		o.srv.drain(ctx)
	}
	o.mu.Lock()
	o.ending = true
	o.mu.Unlock()
	err := o.srv.close(ctx)
	return errors.Join(err, o.release())
}

// release gives up what Own got, in the opposite order.
func (o *Owner) release() error {
	var errs []error
	if o.srv != nil {
		errs = append(errs, wire.Remove(o.disk.Dir, store.SocketName))
	}
	errs = append(errs, o.runs.close())
	for _, p := range o.principals {
		if o.abandoned {
			break
		}
		errs = append(errs, p.home.Close(), p.tmp.Close())
	}
	if o.edge != nil {
		errs = append(errs, o.edge.close())
	}
	if o.tree != nil && !o.abandoned {
		errs = append(errs, o.tree.close())
	}
	if o.audit != nil {
		errs = append(errs, o.audit.close())
	}
	if !o.abandoned { // else it goes with the process, as what the tree holds does
		errs = append(errs, o.lock.Unlock())
	}
	return errors.Join(errs...)
}

// principal opens the directories of a principal, once for the owner's life.
func (o *Owner) principal(name string) (*principal, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p, ok := o.principals[name]; ok {
		return p, nil
	}
	homeDir, tmpDir, err := o.disk.PrincipalDirs(name)
	if err != nil {
		return nil, err
	}
	kept := tellKept(o.disk, o.opt.Log)
	home, err := hostfs.Open(homeDir, hostfs.Options{Stage: o.disk.Stage("home-" + name), Kept: kept})
	if err != nil {
		return nil, fmt.Errorf("home of %s: %w", name, err)
	}
	tmp, err := hostfs.Open(tmpDir, hostfs.Options{Stage: o.disk.Stage("tmp-" + name), Kept: kept})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tmp of %s: %w", name, err), home.Close())
	}
	p := &principal{home: home, tmp: tmp}
	o.principals[name] = p
	return p, nil
}

// Info implements Conn.
func (o *Owner) Info(context.Context) (Info, error) {
	i := Describe(o.disk)
	h := o.lock.Holder()
	i.PID, i.Command, i.Since = h.PID, h.Command, &h.Since
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mounted != nil {
		i.Mountpoint = store.Path(o.mounted.point)
	}
	i.Runs = o.running
	return i, nil
}

// Describe returns what a session's file says of it.
func Describe(disk *store.Session) Info {
	f := &disk.File
	return Info{
		Name: f.Name, ID: f.ID, Workspace: f.Workspace, Mode: f.Mode, Branch: f.Branch, Deny: f.Deny,
		Created: f.Created, Audit: levelOf(f).String(), Dir: store.Path(disk.Dir),
	}
}

// Status implements Conn.
func (o *Owner) Status(ctx context.Context, req StatusRequest, fn func(Change) error) error {
	if err := o.known(ctx, req.Paths); err != nil {
		return err
	}
	if req.Hidden {
		return o.ended(ctx, o.tree.status(ctx, req, fn))
	}
	s := o.edge.sieve(ctx)
	return o.ended(ctx, o.tree.status(ctx, req, func(c Change) error {
		if why, err := s.change(&c); why != "" || err != nil {
			return err
		}
		return fn(c)
	}))
}

// Diff implements Conn.
func (o *Owner) Diff(ctx context.Context, req DiffRequest, sink DiffSink) error {
	if err := o.known(ctx, req.Paths); err != nil {
		return err
	}
	return o.ended(ctx, o.tree.diff(ctx, req, o.edge.sieve(ctx), sink))
}

// Commit implements Conn.
func (o *Owner) Commit(ctx context.Context, req CommitRequest, sink StepSink) (StepResult, error) {
	if err := o.known(ctx, req.Paths); err != nil {
		return StepResult{}, err
	}
	defer o.edge.expire()
	commit := func(sink StepSink) (StepResult, error) { return o.tree.commit(ctx, req, o.edge.sieve(ctx), sink) }
	if req.DryRun {
		r, err := commit(sink)
		return r, o.ended(ctx, err)
	}
	r, err := o.audit.stepwise(ctx, opCommitBegin, opCommitPath, opCommitEnd, sink, commit)
	return r, o.ended(ctx, err)
}

// Discard implements Conn.
func (o *Owner) Discard(ctx context.Context, req DiscardRequest, sink StepSink) (StepResult, error) {
	if err := o.known(ctx, req.Paths); err != nil {
		return StepResult{}, err
	}
	defer o.edge.expire()
	r, err := o.audit.stepwise(ctx, opDiscardBegin, opDiscardPath, opDiscardEnd, sink, func(sink StepSink) (StepResult, error) {
		return o.tree.discard(ctx, req, sink)
	})
	return r, o.ended(ctx, err)
}

// Recorded implements Conn.
func (o *Owner) Recorded(ctx context.Context) error { return o.ended(ctx, o.audit.flush()) }

// ended makes a fault of what a call ended with.
func (o *Owner) ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return cancelled(ctx, err)
}

// known tells whether paths are as Conn has them, and mean something each: what
// is in the view, or was before a change. A path that is mistyped is not to be
// taken for one without changes. What a rule hides is as good as there.
func (o *Owner) known(ctx context.Context, paths []store.Path) error {
	if err := checkPaths(paths); err != nil {
		return err
	}
	for _, p := range paths {
		there, err := o.inView(ctx, string(p))
		if err == nil && !there {
			there, err = o.changed(ctx, p)
		}
		if err == nil && !there {
			there = o.onHost(string(p)) // below a directory that was renamed, say
		}
		if err != nil {
			return o.ended(ctx, err)
		}
		if !there {
			return fault.New(fault.Failed, "a path is relative to the current directory if that is in the workspace or the mount; one that begins with workspace:// is not; see what changed with: astridfs status "+o.disk.File.Name,
				"nothing is called %q in session %s, and nothing was", string(p), o.disk.File.Name)
		}
	}
	return nil
}

// inView tells whether something is at a path of the session's workspace.
func (o *Owner) inView(ctx context.Context, path string) (bool, error) {
	if path == "" {
		return true, nil
	}
	t, err := vfs.Walk(ctx, o.edge.mounts, vfs.RootID, path, 0)
	if err == nil {
		there := t.Entry.Node != 0
		t.Release()
		return there, nil
	}
	if e := vfs.Errno(err); e == unix.ENOENT || e == unix.ENOTDIR {
		return false, nil
	}
	return true, ctx.Err()
}

// onHost tells whether something is at a path of the workspace itself.
func (o *Owner) onHost(path string) bool {
	root, err := os.OpenRoot(string(o.disk.File.Workspace))
	if err != nil {
		return false
	}
	defer root.Close()
	_, err = root.Lstat(path)
	return err == nil
}

// changed tells whether there is a change at, from or below a path.
func (o *Owner) changed(ctx context.Context, path store.Path) (bool, error) {
	found := errors.New("found")
	err := o.tree.status(ctx, StatusRequest{Paths: []store.Path{path}}, func(Change) error { return found })
	if err == found {
		return true, nil
	}
	return false, err
}

// checkPaths tells whether paths are as Conn has them.
func checkPaths(paths []store.Path) error {
	for _, p := range paths {
		if p == "" {
			continue
		}
		for name := range strings.SplitSeq(string(p), "/") {
			if vfs.CheckName(name) != nil {
				return fault.New(fault.Usage, "paths are relative to the workspace's root", "%q is no path in a workspace", string(p))
			}
		}
	}
	return nil
}
