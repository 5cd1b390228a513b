package fusefs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// GetAttr returns attributes, of the open file where the kernel names one.
func (r *rawFS) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r.notify.answers.begin()
	defer r.notify.answers.end()
	h := r.fileOf(in.Fh(), in.Flags()&fuse.FUSE_GETATTR_FH != 0)
	ctx := r.request(cancel, &in.InHeader)
	a, err := r.fs.GetAttr(ctx, vfs.NodeID(in.NodeId), h)
	if err != nil {
		return status(err)
	}
	r.attrOut(ctx, in.NodeId, &a, out)
	return fuse.OK
}

// Statx is GetAttr with the time of birth; the kernel asks for it when that is
// wanted.
func (r *rawFS) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	r.notify.answers.begin()
	defer r.notify.answers.end()
	h := r.fileOf(in.Fh, in.GetattrFlags&fuse.FUSE_GETATTR_FH != 0)
	ctx := r.request(cancel, &in.InHeader)
	a, err := r.fs.GetAttr(ctx, vfs.NodeID(in.NodeId), h)
	if err != nil {
		return status(err)
	}
	n := r.nodes.attributes(vfs.NodeID(in.NodeId), a.Volatile)
	r.outdated(vfs.NodeID(in.NodeId), &a)
	if r.fresh(ctx) && (n == nil || r.settled(n)) {
		out.SetTimeout(r.timeout(a.Volatile))
	}
	fillStatx(&out.Statx, &a)
	return fuse.OK
}

// setAttrIn translates a change. The change time is nobody's to set: the kernel
// names it only where it keeps times itself, which it does not here.
func setAttrIn(in *fuse.SetAttrIn) vfs.SetAttr {
	s := vfs.SetAttr{
		Mode: in.Mode & 07777, UID: in.Uid, GID: in.Gid, Size: int64(in.Size),
		Atime: vfs.Timespec{Sec: int64(in.Atime), Nsec: in.Atimensec},
		Mtime: vfs.Timespec{Sec: int64(in.Mtime), Nsec: in.Mtimensec},
	}
	for _, f := range [...]struct {
		fattr uint32
		field vfs.SetMask
	}{
		{fuse.FATTR_MODE, vfs.SetMode}, {fuse.FATTR_UID, vfs.SetUID}, {fuse.FATTR_GID, vfs.SetGID}, {fuse.FATTR_SIZE, vfs.SetSize},
	} {
		if in.Valid&f.fattr != 0 {
			s.Valid |= f.field
		}
	}
	switch {
	case in.Valid&fuse.FATTR_ATIME_NOW != 0:
		s.Valid |= vfs.SetAtimeNow
	case in.Valid&fuse.FATTR_ATIME != 0:
		s.Valid |= vfs.SetAtime
	}
	switch {
	case in.Valid&fuse.FATTR_MTIME_NOW != 0:
		s.Valid |= vfs.SetMtimeNow
	case in.Valid&fuse.FATTR_MTIME != 0:
		s.Valid |= vfs.SetMtime
	}
	return s
}

// SetAttr changes attributes. The kernel takes those of the answer unseen,
// whatever happened to the node meanwhile.
func (r *rawFS) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	r.notify.unseen.begin()
	defer r.notify.unseen.end()
	r.notify.answers.begin()
	defer r.notify.answers.end()
	ctx := r.request(cancel, &in.InHeader)
	id := vfs.NodeID(in.NodeId)
	h := r.fileOf(in.Fh, in.Valid&fuse.FATTR_FH != 0)
	s := setAttrIn(in)
	a, err := r.fs.SetAttr(ctx, id, h, s)
	if err == nil && in.Valid&fuse.FATTR_KILL_SUIDGID != 0 {
		a, err = r.plain(ctx, id, h, a)
	}
	if err != nil {
		return status(err)
	}
	if s.Valid&(vfs.SetMode|vfs.SetUID|vfs.SetGID) != 0 {
		if n, _ := r.nodes.find(id); n != nil {
			n.modeEpoch.Add(1)
		}
	}
	r.attrOut(ctx, in.NodeId, &a, out)
	return fuse.OK
}

// plain takes setuid and setgid bits away, after a change of size by someone who
// may not leave them, or of owner by anybody.
func (r *rawFS) plain(ctx context.Context, id vfs.NodeID, h vfs.Handle, a vfs.Attr) (vfs.Attr, error) {
	mode := withoutPrivileges(&a, vfs.CallerFrom(ctx))
	if mode == a.Mode {
		return a, nil
	}
	return r.fs.SetAttr(ctx, id, h, vfs.SetAttr{Valid: vfs.SetMode, Mode: mode & 07777})
}

// GetXAttr reads an extended attribute.
func (r *rawFS) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	n, err := r.fs.GetXattr(r.request(cancel, in), vfs.NodeID(in.NodeId), name, dest)
	return uint32(n), status(err)
}

// ListXAttr lists the names of extended attributes.
func (r *rawFS) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n, err := r.fs.ListXattr(r.request(cancel, in), vfs.NodeID(in.NodeId), dest)
	return uint32(n), status(err)
}

// SetXAttr sets an extended attribute; an ACL among them changes the mode.
func (r *rawFS) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	ctx, id := r.request(cancel, &in.InHeader), vfs.NodeID(in.NodeId)
	err := r.fs.SetXattr(ctx, id, name, data, int(in.Flags))
	if err == nil && in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
		err = r.dropSetgid(ctx, id)
	}
	if err != nil {
		return status(err)
	}
	if n, _ := r.nodes.find(id); n != nil {
		n.modeEpoch.Add(1)
	}
	return fuse.OK
}

// dropSetgid takes the setgid bit away, as a change of the mode does by one who
// is not of the file's group.
func (r *rawFS) dropSetgid(ctx context.Context, id vfs.NodeID) error {
	a, err := r.fs.GetAttr(ctx, id, nil)
	if err == nil && a.Mode&unix.S_ISGID != 0 {
		_, err = r.fs.SetAttr(ctx, id, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: a.Mode & 07777 &^ unix.S_ISGID})
	}
	return err
}

// RemoveXAttr removes an extended attribute.
func (r *rawFS) RemoveXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if r.readOnly() {
		return erofs
	}
	return status(r.fs.RemoveXattr(r.request(cancel, in), vfs.NodeID(in.NodeId), name))
}

// StatFs describes the filesystem.
func (r *rawFS) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	id := vfs.NodeID(in.NodeId)
	if id == 0 {
		id = vfs.RootID
	}
	s, err := r.fs.StatFS(r.request(cancel, in), id)
	if err != nil {
		return status(err)
	}
	*out = fuse.StatfsOut{
		Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail, Files: s.Files, Ffree: s.Ffree,
		Bsize: s.Bsize, Frsize: s.Frsize, NameLen: s.NameLen,
	}
	return fuse.OK
}
