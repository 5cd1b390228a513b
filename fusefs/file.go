package fusefs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// openFlags are the flags of open(2) that the filesystem gets. O_DIRECT is not
// among them: it stands for going past the kernel's page cache, which the
// kernel does by itself; our own file would only add rules of alignment.
const openFlags = unix.O_ACCMODE | unix.O_APPEND | unix.O_TRUNC | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME

func (r *rawFS) openFlags(flags uint32) int {
	if r.opt.NoAtime || r.opt.ReadOnly {
		flags |= unix.O_NOATIME
	}
	return int(flags & openFlags)
}

func writes(flags uint32) bool {
	return flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0
}

// Open opens a file.
func (r *rawFS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if r.readOnly() && writes(in.Flags) {
		return erofs
	}
	ctx, id := r.request(cancel, &in.InHeader), vfs.NodeID(in.NodeId)
	f, err := r.fs.Open(ctx, id, r.openFlags(in.Flags))
	if err != nil {
		return status(err)
	}
	if in.Flags&unix.O_TRUNC != 0 && in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
		if _, err := r.killPrivileges(ctx, id, f); err != nil {
			return r.abandon(f, err)
		}
	}
	h, o := r.opened(ctx, id, f, in.Flags, nil)
	o.Fh = r.handles.add(h)
	*out = o
	return fuse.OK
}

// abandon closes a file whose open failed late.
func (r *rawFS) abandon(f vfs.Handle, err error) fuse.Status {
	return status(errors.Join(err, f.Close()))
}

// created hands a new, open file to the kernel.
func (r *rawFS) created(ctx *request, in *fuse.CreateIn, e *vfs.Entry, f vfs.Handle, out *fuse.CreateOut) {
	r.streams.changes.Add(1)
	r.entry(ctx, e, &out.EntryOut)
	h, o := r.opened(ctx, e.Node, f, in.Flags, &e.Attr)
	if h.node.loose.Load() {
		out.EntryOut.SetAttrTimeout(0)
	}
	o.Fh = r.handles.add(h)
	out.OpenOut = o
}

// Create makes and opens a file. The kernel has found that there is none of
// that name. If by now there is, and O_EXCL does not ask for the error, it is
// to be opened: see createdMeanwhile.
func (r *rawFS) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx := r.request(cancel, &in.InHeader)
	ctx.caller.Umask = in.Umask
	e, f, err := r.fs.Create(ctx, vfs.NodeID(in.NodeId), name, r.openFlags(in.Flags), in.Mode&07777)
	if err != nil {
		if in.Flags&unix.O_EXCL == 0 && vfs.Errno(err) == syscall.EEXIST {
			return r.createdMeanwhile(ctx, in, name, out)
		}
		return status(err)
	}
	r.created(ctx, in, &e, f, out)
	return fuse.OK
}

// createdMeanwhile opens what someone else put where the kernel wanted to
// create. The kernel does not check permissions after a create; so unless the
// caller is the owner or root, whose rights can be told here, the answer is
// ESTALE, upon which it walks the path once more and finds the file itself.
func (r *rawFS) createdMeanwhile(ctx *request, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	const stale = fuse.Status(syscall.ESTALE)
	e, err := r.fs.Lookup(ctx, vfs.NodeID(in.NodeId), name)
	if err != nil {
		return stale // gone again
	}
	f, err := r.openOwn(ctx, in, &e)
	if err != nil {
		r.fs.Forget(e.Node, 1)
		return status(err)
	}
	if in.Flags&unix.O_TRUNC != 0 {
		if in.OpenFlags&fuse.OPEN_KILL_SUIDGID != 0 {
			_, err = r.killPrivileges(ctx, e.Node, f)
		}
		if err != nil {
			r.fs.Forget(e.Node, 1)
			return r.abandon(f, err)
		}
		if e.Attr, err = r.fs.GetAttr(ctx, e.Node, f); err != nil {
			r.fs.Forget(e.Node, 1)
			return r.abandon(f, err)
		}
	}
	r.created(ctx, in, &e, f, out)
	return fuse.OK
}

func (r *rawFS) openOwn(ctx *request, in *fuse.CreateIn, e *vfs.Entry) (vfs.Handle, error) {
	need := [...]uint32{unix.O_RDONLY: 0o400, unix.O_WRONLY: 0o200, unix.O_RDWR: 0o600, unix.O_ACCMODE: 0o600}[in.Flags&unix.O_ACCMODE]
	owner := ctx.caller.UID == e.Attr.UID && e.Attr.Mode&need == need
	if !e.Attr.IsRegular() || !owner && ctx.caller.UID != 0 {
		return nil, syscall.ESTALE
	}
	return r.fs.Open(ctx, e.Node, r.openFlags(in.Flags))
}

// Tmpfile makes and opens a file without a name.
func (r *rawFS) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	ctx := r.request(cancel, &in.InHeader)
	ctx.caller.Umask = in.Umask
	e, f, err := r.fs.Tmpfile(ctx, vfs.NodeID(in.NodeId), r.openFlags(in.Flags), in.Mode&07777)
	if err != nil {
		return status(err)
	}
	r.created(ctx, in, &e, f, out)
	return fuse.OK
}

// Read reads into the answer, from where the kernel takes it. Splicing would save
// that copy for files that give their descriptor; those are read with
// passthrough.
func (r *rawFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := r.file(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	n, err := h.file.ReadAt(r.request(cancel, &in.InHeader), buf, int64(in.Offset))
	if err != nil && n == 0 {
		return nil, status(err)
	}
	return inPlace(n), fuse.OK
}

// inPlace is the result of a read whose data, that many bytes, are in the answer
// already.
type inPlace int

// Bytes returns what was read into the answer.
func (n inPlace) Bytes(answer []byte) ([]byte, fuse.Status) { return answer[:n], fuse.OK }

// Readv is asked to fill the answer.
func (n inPlace) Readv([][]byte) (int, fuse.Status) { return int(n), fuse.OK }

// Size is how many bytes were read.
func (n inPlace) Size() int { return int(n) }

// Done is called at the end.
func (inPlace) Done() {}

// Write writes one piece.
func (r *rawFS) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return r.Writev(cancel, in, [][]byte{data})
}

// Writev writes; from /dev/fuse there is always one piece. What was written
// before an error counts, the kernel sees the error at the next write.
func (r *rawFS) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	h := r.file(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	ctx := r.request(cancel, &in.InHeader)
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		if err := r.killWriter(ctx, h); err != nil {
			return 0, status(err)
		}
	}
	total := 0
	for _, p := range data {
		n, err := h.file.WriteAt(ctx, p, int64(in.Offset)+int64(total))
		total += n
		if err != nil {
			if total > 0 {
				break
			}
			return 0, status(err)
		}
	}
	r.wrote(ctx, h, int64(in.Offset)+int64(total))
	return uint32(total), fuse.OK
}

// wrote looks after the kernel's pages after a write through them that ended at
// end. They can be wrong in two cases, and are dropped soon after, by the
// notifier: this request's page is locked until it has its answer.
//   - An append that the kernel put where it believed the end of the file to
//     be, while someone else had made the file longer.
//   - Someone else writes the file too. Between the invalidation after their
//     write and ours, a reader may have fetched the page again.
func (r *rawFS) wrote(ctx context.Context, h *handle, end int64) {
	stale := h.node.foreign.Load()
	if h.append && !stale {
		a, err := r.fs.GetAttr(ctx, h.node.id, h.file)
		stale = err != nil || a.Size != end
	}
	if stale {
		r.notify.enqueue(change{node: h.node.id}, changeData)
	}
}

// killWriter clears setuid and setgid bits before a write of someone who may
// not leave them, and remembers that there were none.
func (r *rawFS) killWriter(ctx context.Context, h *handle) error {
	epoch := h.node.modeEpoch.Load()
	if h.node.plainEpoch.Load() == epoch+1 {
		return nil
	}
	mode, err := r.killPrivileges(ctx, h.node.id, h.file)
	if err == nil && !privileged(mode) {
		h.node.plainEpoch.Store(epoch + 1)
	}
	return err
}

// killPrivileges clears those bits, of which the answer does not tell: after a
// write the kernel believes the size and the times to be other ones, and the mode
// to be what it was. The notification waits for nothing. It returns the mode.
func (r *rawFS) killPrivileges(ctx context.Context, id vfs.NodeID, f vfs.Handle) (uint32, error) {
	a, err := r.fs.GetAttr(ctx, id, f)
	if err != nil {
		return 0, err
	}
	now, err := r.plain(ctx, id, f, a)
	if err == nil && now.Mode != a.Mode {
		r.server.InodeNotify(uint64(id), -1, 0)
	}
	return now.Mode, err
}

// killForOther is killWriter where the request does not tell whether the caller
// may leave the bits: root may.
func (r *rawFS) killForOther(ctx *request, h *handle) error {
	if ctx.caller.UID == 0 {
		return nil
	}
	return r.killWriter(ctx, h)
}

// Lseek finds data and holes; other origins are the kernel's own.
func (r *rawFS) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	h := r.file(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	off, err := h.file.Seek(r.request(cancel, &in.InHeader), int64(in.Offset), int(in.Whence))
	out.Offset = uint64(off)
	return status(err)
}

// Fallocate allocates, punches or zeroes.
func (r *rawFS) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	h := r.file(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	ctx := r.request(cancel, &in.InHeader)
	if err := r.killForOther(ctx, h); err != nil {
		return status(err)
	}
	return status(h.file.Allocate(ctx, in.Mode, int64(in.Offset), int64(in.Length)))
}

// copyMax fits the 32 bits of the reply; a caller goes on after a short copy.
const copyMax = 1 << 30

// CopyFileRange copies inside the filesystem.
func (r *rawFS) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	src, dst := r.file(in.FhIn), r.file(in.FhOut)
	if src == nil || dst == nil {
		return 0, fuse.EBADF
	}
	ctx := r.request(cancel, &in.InHeader)
	if err := r.killForOther(ctx, dst); err != nil {
		return 0, status(err)
	}
	n, err := src.file.CopyRange(ctx, int64(in.OffIn), dst.file, int64(in.OffOut), int64(min(in.Len, copyMax)))
	if err != nil && n == 0 {
		return 0, status(err)
	}
	return uint32(n), fuse.OK
}

// Fsync makes a file durable.
func (r *rawFS) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h := r.file(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	return status(h.file.Sync(r.request(cancel, &in.InHeader), in.FsyncFlags&1 != 0))
}

// Release is the end of an open file.
func (r *rawFS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	r.stats.requests.Add(1)
	if h := r.handles.remove(in.Fh); h != nil {
		r.release(h)
	}
}
