package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// Lookup finds a name. That there is none is an answer, too, and cached.
func (r *rawFS) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx := r.request(cancel, in)
	e, err := r.fs.Lookup(ctx, vfs.NodeID(in.NodeId), name)
	switch {
	case err == nil:
		r.entry(ctx, &e, out)
		return fuse.OK
	case vfs.Errno(err) == syscall.ENOENT:
		if d := r.timeout(e.Volatile); d > 0 && r.fresh(ctx) {
			out.SetEntryTimeout(d) // node id 0: a negative entry
			return fuse.OK
		}
	}
	return status(err)
}

// Forget takes references back; n is what the kernel counted of our answers.
func (r *rawFS) Forget(nodeid, n uint64) {
	taken, last := r.nodes.unref(vfs.NodeID(nodeid), n)
	if last {
		r.closeDirs(r.streams.drop(vfs.NodeID(nodeid)))
	}
	if taken > 0 {
		r.fs.Forget(vfs.NodeID(nodeid), taken)
	}
}

// made answers for a new name.
func (r *rawFS) made(q *request, e *vfs.Entry, err error, out *fuse.EntryOut) fuse.Status {
	if err != nil {
		return status(err)
	}
	r.streams.changes.Add(1)
	r.entry(q, e, out)
	return fuse.OK
}

// Mknod makes a node that is neither directory nor symbolic link.
func (r *rawFS) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx := r.request(cancel, &in.InHeader)
	ctx.caller.Umask = in.Umask
	e, err := r.fs.Mknod(ctx, vfs.NodeID(in.NodeId), name, in.Mode, uint64(in.Rdev))
	return r.made(ctx, &e, err, out)
}

// Mkdir makes a directory.
func (r *rawFS) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx := r.request(cancel, &in.InHeader)
	ctx.caller.Umask = in.Umask
	e, err := r.fs.Mkdir(ctx, vfs.NodeID(in.NodeId), name, in.Mode&07777)
	return r.made(ctx, &e, err, out)
}

// Symlink makes a symbolic link.
func (r *rawFS) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx := r.request(cancel, in)
	e, err := r.fs.Symlink(ctx, vfs.NodeID(in.NodeId), name, target)
	return r.made(ctx, &e, err, out)
}

// Link makes a further name. The kernel takes the attributes of the answer
// unseen, whatever happened to the node meanwhile.
func (r *rawFS) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	r.notify.unseen.begin()
	defer r.notify.unseen.end()
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx := r.request(cancel, &in.InHeader)
	e, err := r.fs.Link(ctx, vfs.NodeID(in.Oldnodeid), vfs.NodeID(in.NodeId), name)
	return r.made(ctx, &e, err, out)
}

// Unlink removes a name that is no directory.
func (r *rawFS) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	defer r.streams.changes.Add(1)
	return status(r.fs.Unlink(r.request(cancel, in), vfs.NodeID(in.NodeId), name))
}

// Rmdir removes a directory.
func (r *rawFS) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	defer r.streams.changes.Add(1)
	return status(r.fs.Rmdir(r.request(cancel, in), vfs.NodeID(in.NodeId), name))
}

// Rename moves a name. RENAME_WHITEOUT is for a kernel overlay whose upper
// layer this would be; there is none of it here.
func (r *rawFS) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	flags := vfs.RenameFlags(in.Flags)
	if flags&^(vfs.NoReplace|vfs.Exchange) != 0 || flags == vfs.NoReplace|vfs.Exchange {
		return fuse.EINVAL
	}
	defer r.streams.changes.Add(1)
	return status(r.fs.Rename(r.request(cancel, &in.InHeader), vfs.NodeID(in.NodeId), oldName, vfs.NodeID(in.Newdir), newName, flags))
}

// Readlink returns a target, which the kernel keeps: it never changes.
func (r *rawFS) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	target, err := r.fs.Readlink(r.request(cancel, in), vfs.NodeID(in.NodeId))
	if err != nil {
		return nil, status(err)
	}
	return []byte(target), fuse.OK
}
