package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/mountopt"
)

// LayerMount is a mount of an overlay without a session: nothing is recorded
// beside the layers, and no command reaches it. It is what `mount -t
// fuse.astridfs` makes.
type LayerMount struct {
	ov      *overlay.FS
	srv     *fusefs.Server
	scratch string // where the layers that a read-only mount lacks are, or empty
}

// MountLayers mounts the layers that opt names at mountpoint, over whatever is
// there. It returns when the mount answers; the caller then calls Wait. Layers
// that are in use it waits for a little: they are, just after an unmount. With
// check it does all but mount, and returns nil.
func MountLayers(ctx context.Context, opt mountopt.Options, mountpoint string, check bool, log fusefs.Logger) (_ *LayerMount, err error) {
	point, err := MountpointPath(mountpoint)
	if err != nil {
		return nil, err
	}
	remountable := opt.Upper != ""
	if err := layersApart(point, &opt); err != nil {
		return nil, err
	}
	m := new(LayerMount)
	defer func() {
		if err != nil || check {
			err = errors.Join(err, m.close())
		}
	}()
	if opt.Upper == "" {
		if err := m.makeScratch(&opt); err != nil {
			return nil, err
		}
	}
	if m.ov, err = openLayers(ctx, overlay.Options{
		Lower: opt.Lower, Upper: opt.Upper, Work: opt.Work, UserXattr: opt.UserXattr,
	}); err != nil || check {
		return nil, err
	}
	m.srv, err = fusefs.Mount(m.ov, point, fusefs.Options{
		FSName: opt.Source, AllowOther: opt.AllowOther, ReadOnly: opt.ReadOnly, Remountable: remountable, Over: true,
		NoSuid: opt.NoSuid, NoDev: opt.NoDev, NoExec: opt.NoExec, NoAtime: opt.NoAtime, Log: log,
	})
	if err != nil {
		return nil, mountFault(err)
	}
	return m, nil
}

// RemountLayers changes the flags of what MountLayers mounted.
func RemountLayers(opt mountopt.Options, mountpoint string) error {
	err := fusefs.Remount(mountpoint, fusefs.Options{
		ReadOnly: opt.ReadOnly, NoSuid: opt.NoSuid, NoDev: opt.NoDev, NoExec: opt.NoExec, NoAtime: opt.NoAtime,
	})
	if err != nil {
		return mountFault(err)
	}
	return nil
}

// layersApart refuses a mountpoint inside a layer: the server, looking into that
// directory, would wait for itself. A layer's own directory may be the
// mountpoint, since the server holds what lies under it.
func layersApart(point string, opt *mountopt.Options) error {
	layers := append([]string(nil), opt.Lower...)
	if opt.Upper != "" {
		layers = append(layers, opt.Upper, opt.Work)
	}
	for _, dir := range layers {
		real, err := realDir("layer", dir, "make it, or name another")
		if err != nil {
			return err
		}
		if real != point && within(point, real) {
			return fault.New(fault.Failed, "mount it elsewhere", "mountpoint %s lies in the layer %s", point, real)
		}
	}
	return nil
}

// makeScratch makes the upper layer that a mount without one has nevertheless,
// and to which nothing is ever written.
func (m *LayerMount) makeScratch(opt *mountopt.Options) (err error) {
	if m.scratch, err = os.MkdirTemp("", "astridfs-mount-"); err != nil {
		return err
	}
	opt.Upper, opt.Work = filepath.Join(m.scratch, "upper"), filepath.Join(m.scratch, "work")
	return errors.Join(os.Mkdir(opt.Upper, 0o700), os.Mkdir(opt.Work, 0o700))
}

func openLayers(ctx context.Context, opt overlay.Options) (*overlay.FS, error) {
	ov, err := openUnused(ctx, opt)
	if err == nil {
		return ov, nil
	}
	next := ""
	switch {
	case errors.Is(err, overlay.ErrNoXattr), errors.Is(err, overlay.ErrNoWhiteout), errors.Is(err, overlay.ErrNoRename):
		next = "use an upper directory on another filesystem (ext4, xfs, btrfs)"
	case errors.Is(err, overlay.ErrOtherDevice), errors.Is(err, overlay.ErrForeignWork):
		next = "name an empty directory of the same filesystem as the upper one"
	case errors.Is(err, overlay.ErrInUse):
		return nil, fault.New(fault.Busy, "end what mounts them", "cannot open the layers: %w", err)
	case ctx.Err() != nil:
		return nil, cancelled(ctx, ctx.Err())
	}
	return nil, fault.New(fault.Failed, next, "cannot open the layers: %w", err)
}

// stillInUse is how long the server of a mount that is gone may take to let go
// of its layers: the kernel does not wait for it when it unmounts, and a process
// that ends gives up what it holds one by one.
const stillInUse = 10 * time.Second

// openUnused opens an overlay; one that is in use, as soon as it is not any
// more, or else its error is [overlay.ErrInUse].
func openUnused(ctx context.Context, opt overlay.Options) (*overlay.FS, error) {
	deadline := time.Now().Add(stillInUse)
	for {
		ov, err := overlay.Open(ctx, opt)
		if !errors.Is(err, overlay.ErrInUse) || time.Now().After(deadline) {
			return ov, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Wait returns when the mount has ended: someone unmounted it, or ctx was
// cancelled. It leaves no mount behind, and the layers closed.
func (m *LayerMount) Wait(ctx context.Context) error {
	if m.srv.Wait(ctx) == nil {
		return errors.Join(m.srv.Unmount(), m.close()) // after an abort it is in the tree still
	}
	unmounted := make(chan error, 1) // takes one
	go func() { unmounted <- m.unmount(time.Now().Add(grace)) }()
	var err error
	select {
	case err = <-unmounted:
	case <-time.After(grace + leaving):
		// Out of the tree; another mount namespace has a copy.
	}
	for _, last := range []func() error{nil, m.srv.Abort} {
		if last != nil {
			err = errors.Join(err, last())
		}
		soon, cancel := context.WithTimeout(context.Background(), leaving)
		gone := m.srv.Wait(soon) == nil
		cancel()
		if gone {
			return errors.Join(err, m.close())
		}
	}
	return err // what hangs in the layers ends with the process
}

// unmount takes the mount away, from the deadline on also if it is in use.
func (m *LayerMount) unmount(deadline time.Time) error {
	for {
		err := m.srv.Unmount()
		switch {
		case err == nil, errors.Is(err, fusefs.ErrNotMounted):
			return nil
		case !errors.Is(err, fusefs.ErrBusy):
			return mountFault(err)
		case time.Now().After(deadline):
			return m.srv.UnmountLazy()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (m *LayerMount) close() error {
	var err error
	if m.ov != nil {
		err = m.ov.Close()
	}
	if m.scratch != "" {
		err = errors.Join(err, os.RemoveAll(m.scratch))
	}
	return err
}
