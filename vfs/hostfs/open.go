package hostfs

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// openFlags keeps of the flags of open(2) those that count.
//
// Errnos: EINVAL (both bits of the access mode).
func openFlags(flags int) (int, error) {
	if flags&unix.O_ACCMODE == unix.O_ACCMODE {
		return 0, syscall.EINVAL
	}
	const counts = unix.O_ACCMODE | unix.O_APPEND | unix.O_TRUNC | unix.O_SYNC | unix.O_DSYNC | unix.O_DIRECT | unix.O_NOATIME
	return flags & counts, nil
}

// Open implements vfs.FS.
func (fs *FS) Open(ctx context.Context, id vfs.NodeID, flags int) (vfs.Handle, error) {
	flags, err := openFlags(flags)
	if err != nil {
		return nil, err
	}
	n, err := fs.node(id)
	if err != nil {
		return nil, err
	}
	switch n.typ {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return nil, syscall.EISDIR
	case unix.S_IFLNK:
		return nil, syscall.ELOOP
	default:
		return nil, syscall.ENXIO
	}
	s, err := fs.reach(n)
	if err != nil {
		return nil, err
	}
	// By way of a descriptor known to be of this very file, so that nothing
	// else is opened, let alone truncated.
	fd, err := at.Reopen(s.fd, flags)
	if err == syscall.EPERM && flags&unix.O_NOATIME != 0 {
		flags &^= unix.O_NOATIME // another's file; whether it may be asked for is the front end's matter
		fd, err = at.Reopen(s.fd, flags)
	}
	s.leave()
	if err != nil {
		return nil, err
	}
	if flags&unix.O_TRUNC != 0 {
		err = fs.clearSetID(ctx, n, fd)
	}
	var h *handle
	if err == nil {
		h, err = fs.newHandle(n, fd, flags)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	if flags&unix.O_TRUNC != 0 {
		fs.NodeChanged(ctx, id, true)
	}
	return h, nil
}

// OpenDir implements vfs.FS.
func (fs *FS) OpenDir(ctx context.Context, id vfs.NodeID) (vfs.DirHandle, error) {
	n, err := fs.dirNode(id)
	if err != nil {
		return nil, err
	}
	s, err := fs.enter(n)
	if err != nil {
		return nil, err
	}
	fd, err := at.Open(s.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	s.leave()
	if err != nil {
		return nil, err
	}
	if !n.hold() {
		unix.Close(fd)
		return nil, syscall.ESTALE
	}
	return &dirHandle{fs: fs, n: n, fd: fd, reader: at.NewDirReader(fd)}, nil
}
