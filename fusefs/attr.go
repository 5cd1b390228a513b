package fusefs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// fillAttr translates attributes. The device number needs no recoding: the
// kernel's 32 bit form is the low half of unix.Mkdev's.
func fillAttr(out *fuse.Attr, a *vfs.Attr) {
	out.Ino = a.Ino
	out.Size = uint64(a.Size)
	out.Blocks = uint64(a.Blocks)
	out.Atime, out.Atimensec = uint64(a.Atime.Sec), a.Atime.Nsec
	out.Mtime, out.Mtimensec = uint64(a.Mtime.Sec), a.Mtime.Nsec
	out.Ctime, out.Ctimensec = uint64(a.Ctime.Sec), a.Ctime.Nsec
	out.Mode = a.Mode
	out.Nlink = a.Nlink
	out.Uid, out.Gid = a.UID, a.GID
	out.Rdev = uint32(a.Rdev)
	out.Blksize = a.Blksize
}

func fillStatx(out *fuse.Statx, a *vfs.Attr) {
	out.Mask = unix.STATX_BASIC_STATS
	out.Blksize = a.Blksize
	out.Nlink = a.Nlink
	out.Uid, out.Gid = a.UID, a.GID
	out.Mode = uint16(a.Mode)
	out.Ino = a.Ino
	out.Size = uint64(a.Size)
	out.Blocks = uint64(a.Blocks)
	out.Atime = sxTime(a.Atime)
	out.Mtime = sxTime(a.Mtime)
	out.Ctime = sxTime(a.Ctime)
	if !a.Btime.IsZero() {
		out.Mask |= unix.STATX_BTIME
		out.Btime = sxTime(a.Btime)
	}
	out.RdevMajor, out.RdevMinor = unix.Major(a.Rdev), unix.Minor(a.Rdev)
}

func sxTime(t vfs.Timespec) fuse.SxTime { return fuse.SxTime{Sec: uint64(t.Sec), Nsec: t.Nsec} }

// timeout is how long the kernel may keep an answer.
func (r *rawFS) timeout(volatile bool) time.Duration {
	if volatile {
		return r.opt.VolatileTimeout
	}
	return longTimeout
}

// entry hands e and its reference to the kernel, in the answer to q.
func (r *rawFS) entry(q *request, e *vfs.Entry, out *fuse.EntryOut) {
	r.nodes.ref(e.Node, e.Attr.Volatile)
	if r.nodes.count.Load() > int64(r.opt.MaxNodes) {
		r.notify.tooMany()
	}
	out.NodeId = uint64(e.Node)
	out.Generation = r.opt.Generation
	if r.fresh(q) {
		out.SetEntryTimeout(r.timeout(e.Volatile))
		out.SetAttrTimeout(r.timeout(e.Attr.Volatile))
	}
	fillAttr(&out.Attr, &e.Attr)
}

// outdated sees to a volatile file whose attributes show that others changed it
// since its pages were read. With a volatile root the kernel does so itself.
func (r *rawFS) outdated(id vfs.NodeID, a *vfs.Attr) {
	if !a.Volatile || r.rootVolatile {
		return
	}
	n, open := r.nodes.find(id)
	if n == nil || !open {
		return // the next open compares
	}
	n.mu.Lock()
	p := printOf(a)
	old := n.cached && n.print != p
	n.print = p
	n.mu.Unlock()
	if old {
		// Later: the kernel may hold the pages locked for a request that waits.
		r.notify.enqueueLater(change{node: id}, changeData)
	}
}

// attrOut answers q with attributes.
func (r *rawFS) attrOut(q *request, node uint64, a *vfs.Attr, out *fuse.AttrOut) {
	r.nodes.setVolatile(vfs.NodeID(node), a.Volatile)
	r.outdated(vfs.NodeID(node), a)
	if r.fresh(q) {
		out.SetTimeout(r.timeout(a.Volatile))
	}
	fillAttr(&out.Attr, a)
}

// privileged tells whether a file of that mode has bits that a write by someone
// without CAP_FSETID takes away, and the mode without them.
func privileged(mode uint32) (without uint32, yes bool) {
	if mode&unix.S_IFMT != unix.S_IFREG {
		return mode, false
	}
	without = mode &^ unix.S_ISUID
	// Setgid without group execution once meant mandatory locking.
	if mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP {
		without &^= unix.S_ISGID
	}
	return without, without != mode
}
