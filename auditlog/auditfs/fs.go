package auditfs

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/vfs"
)

// FS is a filesystem whose calls are recorded. See the package comment. It keeps
// nothing of its own, so that one filesystem may have several such layers.
type FS struct {
	vfs.FS // below
	rec    *Recorder
	level  Level
	prefix string // "workspace://"
}

var _ vfs.FS = (*FS)(nil)

// New wraps fs, the root of scheme ("workspace", "home", "tmp"). It closes
// nothing of it.
func New(fs vfs.FS, scheme string, rec *Recorder) *FS {
	return &FS{FS: fs, rec: rec, level: rec.level, prefix: scheme + "://"}
}

// ready tells whether a call that a level records may be carried out.
func (f *FS) ready(level Level) error {
	if f.level < level {
		return nil
	}
	return f.rec.Ready()
}

// passes tells whether a call ended so that the level does not record it.
func (f *FS) passes(level Level, err error) bool {
	return f.level < level && (err == nil || !f.rec.isRefusal(err))
}

// place returns the scheme path of name in parent, as far as it is known.
func (f *FS) place(ctx context.Context, parent vfs.NodeID, name string) string {
	dir, err := f.FS.Path(detached(ctx), parent)
	if err != nil {
		return f.prefix + "?/" + name // the directory was removed
	}
	if dir == "" {
		return f.prefix + name
	}
	return f.prefix + dir + "/" + name
}

// nodePath returns the scheme path of node; that of h where it has none.
func (f *FS) nodePath(ctx context.Context, node vfs.NodeID, h vfs.Handle) string {
	path, err := f.FS.Path(detached(ctx), node)
	if err == nil {
		return f.prefix + path
	}
	if own, ok := h.(interface{ openedAt() string }); ok {
		return own.openedAt()
	}
	return f.prefix + "?" // without a name
}

// detached is ctx without its cancellation: what was done is recorded also when
// its caller has given up.
func detached(ctx context.Context) context.Context {
	if ctx.Err() == nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

// onNode records a call about a node.
func (f *FS) onNode(ctx context.Context, level Level, op string, node vfs.NodeID, h vfs.Handle, flags string, err error) error {
	if f.passes(level, err) {
		return err
	}
	return f.rec.finish(ctx, &auditlog.Record{Op: op, Path: f.nodePath(ctx, node, h), Flags: flags}, err)
}

// onName records a call about a name.
func (f *FS) onName(ctx context.Context, level Level, op string, parent vfs.NodeID, name, flags string, err error) error {
	if f.passes(level, err) {
		return err
	}
	return f.rec.finish(ctx, &auditlog.Record{Op: op, Path: f.place(ctx, parent, name), Flags: flags}, err)
}

// made records that an entry was made, and gives its reference back if that
// could not be recorded.
func (f *FS) made(ctx context.Context, level Level, op string, parent vfs.NodeID, name, flags string, e vfs.Entry, err error) (vfs.Entry, error) {
	rerr := f.onName(ctx, level, op, parent, name, flags, err)
	if err == nil && rerr != nil {
		f.FS.Forget(e.Node, 1)
		e = vfs.Entry{}
	}
	return e, rerr
}

// Lookup implements vfs.FS.
func (f *FS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := f.ready(Full); err != nil {
		return vfs.Entry{}, err
	}
	e, err := f.FS.Lookup(ctx, parent, name)
	if f.passes(Full, err) {
		return e, err
	}
	return f.made(ctx, Full, "lookup", parent, name, "", e, err)
}

// GetAttr implements vfs.FS.
func (f *FS) GetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	if err := f.ready(Full); err != nil {
		return vfs.Attr{}, err
	}
	a, err := f.FS.GetAttr(ctx, node, inner(h))
	return a, f.onNode(ctx, Full, "getattr", node, h, "", err)
}

// SetAttr implements vfs.FS.
func (f *FS) SetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	if err := f.ready(Mutations); err != nil {
		return vfs.Attr{}, err
	}
	a, err := f.FS.SetAttr(ctx, node, inner(h), in)
	return a, f.onNode(ctx, Mutations, "setattr", node, h, setFlags(&in), err)
}

// Readlink implements vfs.FS.
func (f *FS) Readlink(ctx context.Context, node vfs.NodeID) (string, error) {
	if err := f.ready(Opens); err != nil {
		return "", err
	}
	target, err := f.FS.Readlink(ctx, node)
	return target, f.onNode(ctx, Opens, "readlink", node, nil, "", err)
}

// opening is the level that records an open with these flags.
func opening(flags int) Level {
	if flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0 {
		return Mutations
	}
	return Opens
}

// Open implements vfs.FS.
func (f *FS) Open(ctx context.Context, node vfs.NodeID, flags int) (vfs.Handle, error) {
	level := opening(flags)
	if err := f.ready(level); err != nil {
		return nil, err
	}
	h, err := f.FS.Open(ctx, node, flags)
	if f.passes(level, err) {
		return f.bare(h, err)
	}
	rec := auditlog.Record{Op: "open", Path: f.nodePath(ctx, node, nil), Flags: openFlags(flags)}
	return f.opened(ctx, &rec, h, err)
}

// Create implements vfs.FS.
func (f *FS) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	if err := f.ready(Mutations); err != nil {
		return vfs.Entry{}, nil, err
	}
	e, h, err := f.FS.Create(ctx, parent, name, flags, mode)
	return f.madeFile(ctx, &auditlog.Record{Op: "create", Path: f.place(ctx, parent, name), Flags: openFlags(flags)}, e, h, err)
}

// Tmpfile implements vfs.FS.
func (f *FS) Tmpfile(ctx context.Context, parent vfs.NodeID, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	if err := f.ready(Mutations); err != nil {
		return vfs.Entry{}, nil, err
	}
	e, h, err := f.FS.Tmpfile(ctx, parent, flags, mode)
	return f.madeFile(ctx, &auditlog.Record{Op: "tmpfile", Path: f.nodePath(ctx, parent, nil), Flags: openFlags(flags)}, e, h, err)
}

// madeFile records that a file was made and opened.
func (f *FS) madeFile(ctx context.Context, rec *auditlog.Record, e vfs.Entry, h vfs.Handle, err error) (vfs.Entry, vfs.Handle, error) {
	out, rerr := f.opened(ctx, rec, h, err)
	if rerr == nil {
		return e, out, nil
	}
	if err == nil {
		f.FS.Forget(e.Node, 1)
	}
	return vfs.Entry{}, nil, rerr
}

// Replace implements vfs.FS. That it cannot be done in one step is no failure:
// the caller truncates and writes instead.
func (f *FS) Replace(ctx context.Context, node vfs.NodeID, tmp vfs.Handle) error {
	if err := f.ready(Mutations); err != nil {
		return err
	}
	// Before it, since the node may have no name afterwards.
	rec := auditlog.Record{Op: "replace", Path: f.nodePath(ctx, node, nil)}
	err := f.FS.Replace(ctx, node, inner(tmp))
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return err
	}
	if a, ok := tmp.(interface{ audited() *handle }); ok && err == nil {
		a.audited().path.Store(&rec.Path) // what was written is there now
	}
	return f.rec.finish(ctx, &rec, err)
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	if err := f.ready(Mutations); err != nil {
		return vfs.Entry{}, err
	}
	e, err := f.FS.Mkdir(ctx, parent, name, mode)
	return f.made(ctx, Mutations, "mkdir", parent, name, "", e, err)
}

// Mknod implements vfs.FS.
func (f *FS) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	if err := f.ready(Mutations); err != nil {
		return vfs.Entry{}, err
	}
	e, err := f.FS.Mknod(ctx, parent, name, mode, rdev)
	return f.made(ctx, Mutations, "mknod", parent, name, typeFlag(mode), e, err)
}

// Symlink implements vfs.FS. The record's second path is the link's target, as
// it stands.
func (f *FS) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	if err := f.ready(Mutations); err != nil {
		return vfs.Entry{}, err
	}
	e, err := f.FS.Symlink(ctx, parent, name, target)
	rerr := f.rec.finish(ctx, &auditlog.Record{Op: "symlink", Path: f.place(ctx, parent, name), To: target}, err)
	if err == nil && rerr != nil {
		f.FS.Forget(e.Node, 1)
		e = vfs.Entry{}
	}
	return e, rerr
}

// Link implements vfs.FS. Of a file that had no name, the record has the new one
// alone.
func (f *FS) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := f.ready(Mutations); err != nil {
		return vfs.Entry{}, err
	}
	from, perr := f.FS.Path(detached(ctx), node)
	e, err := f.FS.Link(ctx, node, parent, name)
	rec := auditlog.Record{Op: "link", Path: f.place(ctx, parent, name)}
	if perr == nil {
		rec.Path, rec.To = f.prefix+from, rec.Path
	}
	rerr := f.rec.finish(ctx, &rec, err)
	if err == nil && rerr != nil {
		f.FS.Forget(e.Node, 1)
		e = vfs.Entry{}
	}
	return e, rerr
}

// Unlink implements vfs.FS.
func (f *FS) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := f.ready(Mutations); err != nil {
		return err
	}
	return f.onName(ctx, Mutations, "unlink", parent, name, "", f.FS.Unlink(ctx, parent, name))
}

// Rmdir implements vfs.FS.
func (f *FS) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := f.ready(Mutations); err != nil {
		return err
	}
	return f.onName(ctx, Mutations, "rmdir", parent, name, "", f.FS.Rmdir(ctx, parent, name))
}

// Rename implements vfs.FS. The old path is told as it was before.
func (f *FS) Rename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	if err := f.ready(Mutations); err != nil {
		return err
	}
	rec := auditlog.Record{Op: "rename", Path: f.place(ctx, oldParent, oldName), To: f.place(ctx, newParent, newName)}
	switch flags {
	case vfs.NoReplace:
		rec.Flags = "noreplace"
	case vfs.Exchange:
		rec.Flags = "exchange"
	}
	return f.rec.finish(ctx, &rec, f.FS.Rename(ctx, oldParent, oldName, newParent, newName, flags))
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(ctx context.Context, node vfs.NodeID) (vfs.DirHandle, error) {
	if err := f.ready(Opens); err != nil {
		return nil, err
	}
	d, err := f.FS.OpenDir(ctx, node)
	rerr := f.onNode(ctx, Opens, "list", node, nil, "", err)
	if rerr == nil {
		return &dirHandle{DirHandle: d, fs: f, node: node}, nil
	}
	if err == nil {
		rerr = errors.Join(rerr, d.Close())
	}
	return nil, rerr
}

// GetXattr implements vfs.FS.
func (f *FS) GetXattr(ctx context.Context, node vfs.NodeID, name string, dest []byte) (int, error) {
	if err := f.ready(Full); err != nil {
		return 0, err
	}
	n, err := f.FS.GetXattr(ctx, node, name, dest)
	return n, f.onNode(ctx, Full, "getxattr", node, nil, name, err)
}

// SetXattr implements vfs.FS.
func (f *FS) SetXattr(ctx context.Context, node vfs.NodeID, name string, value []byte, flags int) error {
	if err := f.ready(Mutations); err != nil {
		return err
	}
	return f.onNode(ctx, Mutations, "setxattr", node, nil, name, f.FS.SetXattr(ctx, node, name, value, flags))
}

// ListXattr implements vfs.FS.
func (f *FS) ListXattr(ctx context.Context, node vfs.NodeID, dest []byte) (int, error) {
	if err := f.ready(Full); err != nil {
		return 0, err
	}
	n, err := f.FS.ListXattr(ctx, node, dest)
	return n, f.onNode(ctx, Full, "listxattr", node, nil, "", err)
}

// RemoveXattr implements vfs.FS.
func (f *FS) RemoveXattr(ctx context.Context, node vfs.NodeID, name string) error {
	if err := f.ready(Mutations); err != nil {
		return err
	}
	return f.onNode(ctx, Mutations, "removexattr", node, nil, name, f.FS.RemoveXattr(ctx, node, name))
}

// StatFS implements vfs.FS.
func (f *FS) StatFS(ctx context.Context, node vfs.NodeID) (vfs.StatFS, error) {
	if err := f.ready(Full); err != nil {
		return vfs.StatFS{}, err
	}
	s, err := f.FS.StatFS(ctx, node)
	return s, f.onNode(ctx, Full, "statfs", node, nil, "", err)
}
