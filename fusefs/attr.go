package fusefs

import (
	"bytes"
	"os"
	"strconv"
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
	n := r.nodes.ref(e.Node, e.Attr.Volatile)
	if r.nodes.count.Load() > int64(r.opt.MaxNodes) {
		r.notify.tooMany()
	}
	out.NodeId = uint64(e.Node)
	out.Generation = r.generation
	if r.fresh(q) {
		out.SetEntryTimeout(r.timeout(e.Volatile))
		if r.settled(n) {
			out.SetAttrTimeout(r.timeout(e.Attr.Volatile))
		}
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
	n := r.nodes.attributes(vfs.NodeID(node), a.Volatile)
	r.outdated(vfs.NodeID(node), a)
	if r.fresh(q) && (n == nil || r.settled(n)) {
		out.SetTimeout(r.timeout(a.Volatile))
	}
	fillAttr(&out.Attr, a)
}

// privileged tells whether a file of that mode has bits that a write by someone
// without CAP_FSETID may take away.
func privileged(mode uint32) bool {
	return mode&unix.S_IFMT == unix.S_IFREG && mode&(unix.S_ISUID|unix.S_ISGID) != 0
}

// withoutPrivileges is the mode of a file after such a write, or after a change of
// owner by anybody: c. Setgid without group execution, which once meant mandatory
// locking, stays for who may set it.
func withoutPrivileges(a *vfs.Attr, c *vfs.Caller) uint32 {
	mode := a.Mode
	if !privileged(mode) {
		return mode
	}
	mode &^= unix.S_ISUID
	if mode&unix.S_ISGID != 0 && (mode&unix.S_IXGRP != 0 || !setsGroup(c, a.GID)) {
		mode &^= unix.S_ISGID
	}
	return mode
}

// setsGroup tells whether c may set the setgid bit of a file of that group: by
// being of it, or by CAP_FSETID. A request names one group; the thread, which
// waits for the answer, may have more. Whom we cannot see is taken to be.
func setsGroup(c *vfs.Caller, gid uint32) bool {
	if c.GID == gid || c.PID == 0 {
		return true
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(c.PID), 10) + "/status")
	if err != nil {
		return true
	}
	field := func(name string) []byte {
		_, value, _ := bytes.Cut(status, []byte("\n"+name+":"))
		value, _, _ = bytes.Cut(value, []byte("\n"))
		return bytes.TrimSpace(value)
	}
	if caps, err := strconv.ParseUint(string(field("CapEff")), 16, 64); err == nil && caps&(1<<unix.CAP_FSETID) != 0 {
		return true
	}
	for g := range bytes.FieldsSeq(field("Groups")) {
		if n, err := strconv.ParseUint(string(g), 10, 32); err == nil && uint32(n) == gid {
			return true
		}
	}
	return false
}
