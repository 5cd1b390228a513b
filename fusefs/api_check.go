package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// rawFS embeds no default: every request that go-fuse knows has a method here,
// and one that a later version adds fails to compile.
var (
	_ fuse.RawFileSystem = (*rawFS)(nil)
	_ vfs.Invalidator    = (*notifier)(nil)
	_ context.Context    = (*request)(nil)
)

// What a mount does not do:
//
//   - Locks are not passed on: the kernel keeps them (package comment), and
//     GETLK, SETLK and SETLKW are never asked for.
//   - ACCESS and FLUSH are answered ENOSYS, after which the kernel does not ask
//     again (default_permissions; nothing is held back).
//   - IOCTL is answered ENOTTY: file attributes (lsattr), encryption and cloning
//     by ioctl are not there; copy_file_range clones where the host can.
//   - Init and OnUnmount are for a server of go-fuse; conn is in its place.
//   - BMAP, POLL, SYNCFS, SETUPMAPPING and REMOVEMAPPING are answered by go-fuse:
//     none means anything to a filesystem of files.
//   - The name ".go-fuse-epoll-hack" in the root is go-fuse's own and shows a
//     file that is not there.

// GetLk is never called; locks are the kernel's.
func (r *rawFS) GetLk(<-chan struct{}, *fuse.LkIn, *fuse.LkOut) fuse.Status { return fuse.ENOSYS }

// SetLk is never called; locks are the kernel's.
func (r *rawFS) SetLk(<-chan struct{}, *fuse.LkIn) fuse.Status { return fuse.ENOSYS }

// SetLkw is never called; locks are the kernel's.
func (r *rawFS) SetLkw(<-chan struct{}, *fuse.LkIn) fuse.Status { return fuse.ENOSYS }

// Access is left to the kernel (default_permissions), which stops asking.
func (r *rawFS) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }

// Flush is not needed: nothing is held back here. Told so once, the kernel stops
// asking, and still writes back what a mapping made dirty.
func (r *rawFS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Ioctl knows none.
func (r *rawFS) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	r.stats.requests.Add(1)
	return fuse.Status(syscall.ENOTTY)
}

// SetDebug is done by [Options.Debug].
func (r *rawFS) SetDebug(bool) {}
