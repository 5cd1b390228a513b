package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// ioMode is how the kernel reads and writes an open file.
type ioMode uint8

const (
	ioCached  ioMode = iota // by requests, through its page cache of the node
	ioBacking               // directly on the filesystem's own file
)

// The rules of the kernel, by which an open that breaks them fails with EIO:
// while a node is open in one mode every other open of it has the same, and
// while it is open with passthrough all name one backing id. The counts here
// are at most behind the kernel's (a release is told when it is over), so that
// an answer which fits them fits the kernel, too.
//
// The registered descriptor stands for a file, not for an access mode: the
// kernel opens that file anew with the flags of each opener (without O_TRUNC
// and O_CREAT) and the credentials of this process, and appends where O_APPEND
// says so. It does not truncate, that was the filesystem's part of the open.
//
// Which open begins with passthrough is decided so:
//   - it is for writing, or of a file that may be mapped for writing (mapped.go).
//     Another reader gains little over the page cache, and would hold the node in
//     passthrough;
//   - nobody has the node open through the page cache;
//   - the handle offers its file, which then stays the node's until the close;
//   - it is not a large file that was read before: the kernel would drop its
//     pages first, one by one, which costs more than a few writes (dropMax).
//   - the mode has no setuid or setgid bit. The kernel would write with our
//     credentials, and nobody would clear them.

// dropMax is the size in bytes from which a file's pages are kept rather than
// dropped for passthrough. Appending a byte to a file of 256 MiB took 90 ms
// when they were dropped.
const dropMax = 8 << 20

// opened decides the mode of a file just opened, counts it and makes its handle.
// a is the file's attributes; nil if they need to be asked for.
func (r *rawFS) opened(ctx context.Context, id vfs.NodeID, f vfs.Handle, flags uint32, a *vfs.Attr) (*handle, fuse.OpenOut) {
	n := r.nodes.open(id)
	h := &handle{node: n, file: f, append: flags&syscall.O_APPEND != 0}
	writer := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	volatile := n.volatile.Load()
	if a == nil && (volatile || (writer || n.loose.Load()) && r.passthrough.Load()) {
		if got, err := r.fs.GetAttr(ctx, id, f); err == nil {
			a = &got
		}
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.backingOpens == 0 && n.cachedOpens == 0 && (writer || !r.settledLocked(n)) {
		h.owns = r.startBackingLocked(n, f, a)
	}
	if n.backingOpens > 0 || h.owns {
		n.backingOpens++
		h.mode = ioBacking
		if flags&syscall.O_ACCMODE == syscall.O_RDWR {
			r.loosenLocked(n)
		}
		return h, fuse.OpenOut{OpenFlags: fuse.FOPEN_PASSTHROUGH | fuse.FOPEN_NOFLUSH, BackingID: n.backing}
	}
	n.cachedOpens++
	out := fuse.OpenOut{}
	if r.keepLocked(n, volatile, a) {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	if !writer {
		// Nothing can be dirty. A writer's close must write back what was
		// stored through a mapping; that needs no request either, see Flush.
		out.OpenFlags |= fuse.FOPEN_NOFLUSH
	}
	return h, out
}

// keepLocked tells whether the kernel's pages of n are right, and notes that
// from now on they are. Called with n.mu held.
func (r *rawFS) keepLocked(n *node, volatile bool, a *vfs.Attr) bool {
	keep := n.cached
	if volatile {
		if a == nil {
			n.cached = false
			return false
		}
		p := printOf(a)
		if keep && n.print != p {
			keep = false
			// The kernel's size is old as well. This waits for nothing.
			r.server.InodeNotify(uint64(n.id), -1, 0)
		}
		n.print = p
	}
	n.cached = true
	return keep
}

// startBackingLocked registers f's file with the kernel, if it may and can be.
// Called with n.mu held.
func (r *rawFS) startBackingLocked(n *node, f vfs.Handle, a *vfs.Attr) bool {
	if a == nil || !r.passthrough.Load() {
		return false
	}
	if privileged(a.Mode) || n.cached && a.Size > dropMax {
		return false
	}
	p, ok := f.(vfs.Passthrough)
	if !ok {
		return false
	}
	fd, ok := p.PassthroughFD()
	if !ok {
		return false
	}
	id, errno := r.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
	switch {
	case errno == 0:
	case errno == syscall.EPERM || errno == syscall.ENOTTY || errno == syscall.ELOOP:
		// No privilege; an old kernel; layers on a filesystem that is itself
		// stacked. None of it changes.
		r.passthrough.Store(false)
		return false
	default:
		return false
	}
	n.backing = id
	// What is in the page cache will be overtaken by what is written directly.
	n.cached = false
	r.stats.passthrough.Add(1)
	return true
}

// release ends an open.
func (r *rawFS) release(h *handle) {
	n := h.node
	defer r.nodes.close(n)
	if h.mode == ioBacking {
		r.makeRoom()
	}
	for _, f := range r.releaseIO(h) {
		if err := f.Close(); err != nil {
			r.opt.Log.Printf("fusefs: closing a file: %v", err)
		}
	}
	if h.mode == ioBacking {
		r.settle(n)
	}
}

// releaseIO takes h from the counts and returns the files to close. The file
// that was registered holds the node's file in place, so it stays open until
// the last one that uses it is released.
func (r *rawFS) releaseIO(h *handle) []vfs.Handle {
	n := h.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.mode == ioCached {
		n.cachedOpens--
		return []vfs.Handle{h.file}
	}
	n.backingOpens--
	if n.backingOpens > 0 {
		if h.owns {
			n.left = h.file
			return nil
		}
		return []vfs.Handle{h.file}
	}
	if errno := r.server.UnregisterBackingFd(n.backing); errno != 0 && errno != syscall.EBADF {
		r.opt.Log.Printf("fusefs: releasing a backing file: %v", errno)
	}
	left := n.left
	if n.loose.Load() {
		r.nodes.probeLocked(n, h.file)
	}
	n.backing, n.left = 0, nil
	if left == nil {
		return []vfs.Handle{h.file}
	}
	return []vfs.Handle{h.file, left}
}
