package auditfs

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/vfs"
)

// handle is an open file. One that is not recorded is wrapped as well, so that
// any two can be copied between.
type handle struct {
	vfs.Handle     // below
	fs         *FS // nil: neither counted nor recorded
	actor      auditlog.Actor
	path       atomic.Pointer[string] // where it was opened, or what it replaced
	read       atomic.Uint64          // bytes
	written    atomic.Uint64
	direct     atomic.Bool // the kernel was given the file
}

// direct is a handle whose file the kernel may use.
type direct struct {
	*handle
	below vfs.Passthrough
}

// PassthroughFD implements vfs.Passthrough.
func (d *direct) PassthroughFD() (fd int, ok bool) {
	if fd, ok = d.below.PassthroughFD(); ok {
		d.direct.Store(true)
	}
	return fd, ok
}

func (f *FS) wrap(h *handle) vfs.Handle {
	if p, ok := h.Handle.(vfs.Passthrough); ok && f.level < Full {
		return &direct{h, p}
	}
	return h
}

// bare wraps a handle that is not recorded.
func (f *FS) bare(h vfs.Handle, err error) (vfs.Handle, error) {
	if err != nil {
		return nil, err
	}
	return f.wrap(&handle{Handle: h}), nil
}

// opened records an open; the handle is closed if that could not be recorded.
func (f *FS) opened(ctx context.Context, rec *auditlog.Record, h vfs.Handle, err error) (vfs.Handle, error) {
	if rerr := f.rec.finish(ctx, rec, err); rerr != nil {
		if err == nil {
			rerr = errors.Join(rerr, h.Close())
		}
		return nil, rerr
	}
	own := &handle{Handle: h, fs: f, actor: rec.Actor}
	own.path.Store(&rec.Path)
	return f.wrap(own), nil
}

func (h *handle) openedAt() string {
	if p := h.path.Load(); p != nil {
		return *p
	}
	return "?"
}

// audited returns the handle below.
func (h *handle) audited() *handle { return h }

// inner returns the handle below a layer of this package.
func inner(h vfs.Handle) vfs.Handle {
	if a, ok := h.(interface{ audited() *handle }); ok {
		return a.audited().Handle
	}
	return h
}

func (h *handle) count(n *atomic.Uint64, done int64) {
	if done > 0 && h.fs != nil {
		n.Add(uint64(done))
	}
}

// ready answers EIO where a change could not be recorded at the close.
func (h *handle) ready() error {
	if h.fs == nil {
		return nil
	}
	return h.fs.rec.Ready()
}

// ReadAt implements vfs.Handle.
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := h.Handle.ReadAt(ctx, p, off)
	h.count(&h.read, int64(n))
	return n, err
}

// WriteAt implements vfs.Handle.
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.ready(); err != nil {
		return 0, err
	}
	n, err := h.Handle.WriteAt(ctx, p, off)
	h.count(&h.written, int64(n))
	return n, err
}

// Allocate implements vfs.Handle.
func (h *handle) Allocate(ctx context.Context, mode uint32, off, size int64) error {
	if err := h.ready(); err != nil {
		return err
	}
	return h.Handle.Allocate(ctx, mode, off, size)
}

// CopyRange implements vfs.Handle.
func (h *handle) CopyRange(ctx context.Context, off int64, dst vfs.Handle, dstOff, n int64) (int64, error) {
	to, ok := dst.(interface{ audited() *handle })
	if !ok {
		return h.Handle.CopyRange(ctx, off, dst, dstOff, n)
	}
	d := to.audited()
	if err := d.ready(); err != nil {
		return 0, err
	}
	done, err := h.Handle.CopyRange(ctx, off, d.Handle, dstOff, n)
	h.count(&h.read, done)
	d.count(&d.written, done)
	return done, err
}

// Close implements vfs.Handle. The record is of whoever opened the file, and is
// written after the close, so that it tells how that went.
func (h *handle) Close() error {
	rec := auditlog.Record{Op: "close", Actor: h.actor, Read: h.read.Load(), Written: h.written.Load()}
	if h.direct.Load() {
		rec.Flags = "direct"
	}
	quiet := rec.Read == 0 && rec.Written == 0 && rec.Flags == ""
	if h.fs != nil && !quiet {
		rec.Path = h.fs.nodePath(context.Background(), h.Handle.Node(), h)
	}
	err := h.Handle.Close()
	if h.fs == nil || quiet && err == nil {
		return err
	}
	if quiet {
		rec.Path = h.openedAt()
	}
	return h.fs.rec.done(&rec, err)
}

// dirHandle is an open directory. Rules may come to hide it while it is open.
type dirHandle struct {
	vfs.DirHandle // below
	fs            *FS
	node          vfs.NodeID
}

// ReadDir implements vfs.DirHandle.
func (d *dirHandle) ReadDir(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
	return d.listed(ctx, d.DirHandle.ReadDir(ctx, off, fn))
}

// ReadDirPlus implements vfs.DirHandle.
func (d *dirHandle) ReadDirPlus(ctx context.Context, off uint64, fn func(vfs.DirEntry, vfs.Entry) bool) error {
	return d.listed(ctx, d.DirHandle.ReadDirPlus(ctx, off, fn))
}

func (d *dirHandle) listed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return d.fs.onNode(ctx, Opens, "list", d.node, nil, "", err)
}
