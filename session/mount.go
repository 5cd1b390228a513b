package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/auditlog/auditfs"
	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/join"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs"
)

// grace is how long an owner that was told to end waits for a mount that is in
// use before it takes it out of the tree nevertheless.
const grace = 5 * time.Second

// View is which of a session's trees a mount shows.
type View string

// The views. All is a directory of the three others.
const (
	ViewWorkspace View = "workspace"
	ViewHome      View = "home"
	ViewTmp       View = "tmp"
	ViewAll       View = "all"
)

// InWorkspace returns which path of the workspace a path in a mount is; ok tells
// whether it is one, as it is not in home and tmp.
func (v View) InWorkspace(path string) (p string, ok bool) {
	switch v {
	case ViewWorkspace, "":
		return path, true
	case ViewAll:
		if path == string(ViewWorkspace) {
			return "", true
		}
		return strings.CutPrefix(path, string(ViewWorkspace)+"/")
	}
	return "", false
}

// MountOptions are the arguments of Owner.Mount.
type MountOptions struct {
	Mountpoint string // as MountpointPath returned it
	View       View
	Principal  string       // whose home and tmp
	Grants     *gate.Grants // hold the mount to these capabilities; nil: to none
	ReadOnly   bool         // every change answers EROFS
	AllowOther bool         // let other users in
}

// mount is a session's mount. It is immutable.
type mount struct {
	point string
	srv   *fusefs.Server
	opt   MountOptions
}

// unmountCall is a request to end the mount.
type unmountCall struct {
	req   UnmountRequest
	by    peer
	reply chan error // takes one
}

// CheckMount tells whether a session of the workspace can be mounted there, and
// changes nothing. workspace and mountpoint are as Workspace and MountpointPath
// returned them.
func CheckMount(st *store.Store, workspace, mountpoint string) error {
	return checkMountpoint(mountpoint, workspace, st)
}

// Mount mounts the session. It returns when the mount answers. The caller then
// calls Wait.
func (o *Owner) Mount(opt MountOptions) error {
	fs, err := o.view(opt)
	if err != nil {
		return err
	}
	if err := o.lock.SetMountpoint(opt.Mountpoint, string(opt.View)); err != nil {
		return err
	}
	ctx := context.Background()
	if err := o.audit.event(ctx, mountRecord(opMount, opt), nil, false); err != nil {
		return err
	}
	if err = o.mount(fs, opt); err != nil {
		return errors.Join(err, o.audit.event(ctx, mountRecord(opUnmounted, opt), err, false))
	}
	return nil
}

func mountRecord(op string, opt MountOptions) auditlog.Record {
	flags := "view=" + string(opt.View)
	if opt.ReadOnly {
		flags += ",read-only"
	}
	if opt.Grants != nil {
		flags += ",capabilities"
	}
	return auditlog.Record{Op: op, To: opt.Mountpoint, Flags: flags}
}

func (o *Owner) mount(fs vfs.FS, opt MountOptions) error {
	srv, err := fusefs.Mount(fs, opt.Mountpoint, fusefs.Options{
		FSName: mountSource(&o.disk.File),
		// What a session holds is not trusted to make anybody root.
		NoSuid: true, NoDev: true,
		AllowOther: opt.AllowOther, ReadOnly: opt.ReadOnly, Log: o.opt.Log,
	})
	if err != nil {
		return mountFault(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mounted = &mount{point: opt.Mountpoint, srv: srv, opt: opt}
	return nil
}

// mountFault says what is to be done about a failed mount or unmount.
func mountFault(err error) error {
	kind := fault.Failed
	switch {
	case errors.Is(err, fusefs.ErrAlreadyMounted), errors.Is(err, fusefs.ErrBusy):
		kind = fault.Busy
	case errors.Is(err, fusefs.ErrPermission), errors.Is(err, fusefs.ErrDevicePermission), errors.Is(err, fusefs.ErrAllowOther):
		kind = fault.Denied
	}
	next := "see what is missing with: astridfs doctor"
	var m *fusefs.MountError
	if errors.As(err, &m) && m.Hint != "" {
		next = m.Hint
	}
	if errors.Is(err, fusefs.ErrNoDevice) {
		next += "; run, status, diff and commit work without a mount"
	}
	return fault.New(kind, next, "cannot mount: %w", err)
}

// view builds what a mount shows.
func (o *Owner) view(opt MountOptions) (vfs.FS, error) {
	rec, err := o.audit.recorder()
	if err != nil {
		return nil, err
	}
	gated := func(fs vfs.FS, scheme string) vfs.FS {
		if opt.Grants != nil {
			fs = gate.New(fs, scheme, opt.Grants)
		}
		if rec != nil {
			fs = auditfs.New(fs, scheme, rec)
		}
		return fs
	}
	var ws vfs.FS = o.edge.mounts
	if opt.Grants != nil {
		ws = o.edge.capsules // what a capsule would see
	}
	if opt.View == ViewWorkspace {
		return gated(ws, gate.Workspace), nil
	}
	p, err := o.principal(opt.Principal)
	if err != nil {
		return nil, err
	}
	home, tmp := gated(p.home, gate.Home), gated(p.tmp, gate.Tmp)
	switch opt.View {
	case ViewHome:
		return home, nil
	case ViewTmp:
		return tmp, nil
	case ViewAll:
		return join.New(
			join.Part{Name: "workspace", FS: gated(ws, gate.Workspace)},
			join.Part{Name: "home", FS: home}, join.Part{Name: "tmp", FS: tmp},
		), nil
	}
	return nil, fault.New(fault.Usage, "use workspace, home, tmp or all", "view %q", opt.View)
}

// Wait returns when the mount has ended: on an Unmount, because someone
// unmounted it, or because ctx was cancelled. It leaves no mount behind.
func (o *Owner) Wait(ctx context.Context) error {
	by, err := o.wait(ctx)
	ctx = withPeer(context.WithoutCancel(ctx), by)
	return errors.Join(err, o.audit.event(ctx, mountRecord(opUnmounted, o.mounted.opt), err, false))
}

// wait is Wait; it returns who asked for the end, too.
func (o *Owner) wait(ctx context.Context) (by peer, err error) {
	m := o.mounted
	gone := make(chan struct{})
	go func() {
		m.srv.Wait(context.Background())
		close(gone)
	}()
	by, err = o.waitEnd(ctx, m, gone)
	select {
	case <-gone:
		err = errors.Join(err, m.srv.Unmount()) // after an abort it is in the tree still
		o.opt.Log.WithField("mountpoint", m.point).Info("unmounted")
		return by, err
	case <-time.After(leaving):
	}
	// Out of the tree, and still in use: those who have files open there get
	// errors from now on.
	o.opt.Log.WithField("mountpoint", m.point).Warn("unmounted, and cut off from what still uses it")
	if aerr := m.srv.Abort(); aerr != nil {
		err = errors.Join(err, aerr)
	} else {
		select {
		case <-gone:
			return by, err
		case <-time.After(grace):
		}
	}
	o.abandoned = true
	return by, err
}

// leaving is how long programs that use a mount which is taken out of the tree
// have to close what they have open there.
const leaving = time.Second

// waitEnd returns when the mount is gone or out of the tree, and who asked for
// that.
func (o *Owner) waitEnd(ctx context.Context, m *mount, gone <-chan struct{}) (by peer, err error) {
	self := peerOf(ctx)
	for {
		select {
		case <-gone:
			return self, nil
		case call := <-o.unmounts:
			err := o.end(m, call.req.Lazy)
			call.reply <- err
			if err != nil {
				continue
			}
			if call.req.Lazy {
				o.srv.stop() // capsules that run
			}
			return call.by, nil
		case <-ctx.Done():
			return self, o.endWithin(m, grace)
		}
	}
}

// end unmounts; a mount in use is Busy unless lazy.
func (o *Owner) end(m *mount, lazy bool) error {
	err := m.srv.Unmount()
	switch {
	case err == nil:
		return nil
	case lazy:
		o.opt.Log.WithField("mountpoint", m.point).Warn("in use, so taken out of the tree while it is")
		return m.srv.UnmountLazy()
	case errors.Is(err, fusefs.ErrBusy):
		return fault.New(fault.Busy, "end what works there (a shell whose current directory it is, say), or use: astridfs unmount --lazy",
			"the mount at %s is in use", m.point)
	}
	return mountFault(err)
}

// endWithin unmounts as soon as the mount is not in use, and after a while also
// if it is.
func (o *Owner) endWithin(m *mount, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := o.end(m, false)
		if err == nil || !fault.Is(err, fault.Busy) {
			return err
		}
		if time.Now().After(deadline) {
			return o.end(m, true)
		}
	}
}

// capsulesRun says how many run, as the beginning of a sentence.
func capsulesRun(n int) string {
	if n == 1 {
		return "1 capsule runs"
	}
	return fmt.Sprintf("%d capsules run", n)
}

// Unmount implements Conn.
func (o *Owner) Unmount(ctx context.Context, req UnmountRequest) error {
	o.mu.Lock()
	m, running := o.mounted, o.running
	if m != nil && (running == 0 || req.Lazy) {
		o.ending = true
	}
	o.mu.Unlock()
	switch {
	case m == nil:
		return fault.New(fault.Failed, "see what is mounted with: astridfs sessions list", "session %s is not mounted", o.disk.File.Name)
	case running > 0 && !req.Lazy:
		return fault.New(fault.Busy, "wait until they end, or stop them with: astridfs unmount --lazy",
			"%s in session %s", capsulesRun(running), o.disk.File.Name)
	}
	call := unmountCall{req, peerOf(ctx), make(chan error, 1)}
	var err error
	select {
	case o.unmounts <- call:
		err = <-call.reply
	case <-ctx.Done():
		err = cancelled(ctx, ctx.Err())
	}
	if err != nil {
		o.mu.Lock()
		o.ending = false
		o.mu.Unlock()
	}
	return err
}
