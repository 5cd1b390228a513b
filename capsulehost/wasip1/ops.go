package wasip1

import (
	"context"
	"math"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// Ops are what a guest can do with its descriptors, each by its number: the
// calls without preview1's way of passing what they take and answer, for which
// other editions of WASI have ways of their own. Paths are relative to the
// directory descriptor that they come with. It is passed by value.
type Ops struct {
	ctx context.Context
	*Instance
}

// Ops returns the calls of the guest with the context of one of them.
func (in *Instance) Ops(ctx context.Context) Ops { return Ops{ctx: ctx, Instance: in} }

// Enter waits for one of the slots that bound the calls under way in the host;
// EAGAIN if there was none in time. The caller gives it back with Leave if there
// was no error. Each call on files needs one.
func (c Ops) Enter() Errno { return errnoOf(c.slots.Enter(c.ctx)) }

// Leave gives a slot back.
func (c Ops) Leave() { c.slots.Leave() }

// Opening says how Open opens a file or directory.
type Opening struct {
	Follow                                 vfs.WalkFlags // vfs.Follow or 0
	Create, Directory, Exclusive, Truncate bool
	Read, Write                            bool
	Sync, DataSync                         bool // every write
}

// Open opens what is at a path and returns its descriptor.
func (c Ops) Open(fd uint32, path string, how Opening) (uint32, Errno) {
	o := opening{c: c, follow: how.Follow, base: allRights &^ (rightFdRead | rightFdWrite), inherit: allRights}
	for _, f := range []struct {
		on     bool
		oflags oflags
		base   rights
		flags  fdflags
	}{
		{how.Create, openCreat, 0, 0}, {how.Directory, openDirectory, 0, 0},
		{how.Exclusive, openExcl, 0, 0}, {how.Truncate, openTrunc, 0, 0},
		{how.Read, 0, rightFdRead, 0}, {how.Write, 0, rightFdWrite, 0},
		{how.Sync, 0, 0, flagSync}, {how.DataSync, 0, 0, flagDsync},
	} {
		if f.on {
			o.oflags |= f.oflags
			o.base |= f.base
			o.flags |= f.flags
		}
	}
	return o.at(fd, path)
}

// Dup returns another descriptor of what fd stands for, which has the position
// and flags in common with it.
func (c Ops) Dup(fd uint32) (uint32, Errno) {
	d, errno := c.table.get(fd)
	if errno != Success {
		return 0, errno
	}
	defer c.done(d)
	return c.table.add(d)
}

// Appender returns a descriptor that appends to the file that fd is open for
// writing.
func (c Ops) Appender(fd uint32) (uint32, Errno) {
	d, errno := c.lockFile(fd, rightFdWrite, EBADF)
	if errno != Success {
		return 0, errno
	}
	defer c.unlock(d)
	h, err := d.node.fs.Open(c.ctx, d.node.id, unix.O_WRONLY|unix.O_APPEND)
	if err != nil {
		return 0, errnoOf(err)
	}
	out := &desc{kind: kindFile, scheme: d.scheme, node: d.node.share(), mode: unix.O_WRONLY, granted: d.granted,
		base: d.base, inherit: d.inherit, flags: d.flags | flagAppend, file: h}
	n, errno := c.table.add(out)
	if errno != Success {
		_ = out.close() // nothing was written through it
	}
	return n, errno
}

// Release closes a descriptor. Whatever uses it goes on to its end.
func (c Ops) Release(fd uint32) Errno { return c.table.remove(fd) }

// Preopened returns the names of the directories that a guest finds open. They
// are its descriptors from FirstPreopen on.
func (c Ops) Preopened() []string { return c.preopened }

// Access tells what a descriptor is open for, and whether every write is to be
// kept before it answers, or the data of it.
func (c Ops) Access(fd uint32) (read, write, sync, dataSync bool, errno Errno) {
	d, errno := c.lock(fd, 0, Success)
	if errno != Success {
		return false, false, false, false, errno
	}
	defer c.unlock(d)
	read, write = d.base&rightFdRead != 0, d.base&rightFdWrite != 0
	if d.kind == kindDir || d.kind == kindRoot {
		read, write = true, d.kind == kindDir
	}
	return read, write, d.flags&(flagSync|flagRsync) != 0, d.flags&flagDsync != 0, Success
}

// IsDir tells whether a descriptor is a directory, else it is a file. It asks
// nobody: it says nothing that who has the descriptor does not know. A stream is
// EBADF.
func (c Ops) IsDir(fd uint32) (bool, Errno) {
	d, errno := c.table.get(fd)
	if errno != Success {
		return false, errno
	}
	defer c.done(d)
	if d.kind == kindStream {
		return false, EBADF
	}
	return d.kind != kindFile, Success
}

// Terminal tells whether a stream is a terminal.
func (c Ops) Terminal(fd uint32) bool {
	d, errno := c.lock(fd, 0, Success)
	if errno != Success {
		return false
	}
	defer c.unlock(d)
	return d.kind == kindStream && d.stream.ftype == typeCharacterDevice
}

// lockAt locks a file for data at off, which may has to allow.
func (c Ops) lockAt(fd uint32, off uint64, may func(*desc) Errno) (*desc, Errno) {
	d, errno := c.lockFile(fd, 0, Success)
	if errno != Success {
		return nil, errno
	}
	if errno = may(d); errno == Success && off > math.MaxInt64 {
		errno = EINVAL
	}
	if errno != Success {
		c.unlock(d)
		return nil, errno
	}
	return d, Success
}

// ReadAt reads from a file. At its end it answers 0.
func (c Ops) ReadAt(fd uint32, p []byte, off uint64) (int, Errno) {
	d, errno := c.lockAt(fd, off, readable)
	if errno != Success {
		return 0, errno
	}
	defer c.unlock(d)
	return c.readOne(d.file, p, int64(off))
}

// WriteAt writes to a file: at its end, if it was opened to append.
func (c Ops) WriteAt(fd uint32, p []byte, off uint64) (int, Errno) {
	d, errno := c.lockAt(fd, off, writable)
	if errno != Success {
		return 0, errno
	}
	defer c.unlock(d)
	return c.writeAt(d, &iovecs{list: [][]byte{p}, total: uint64(len(p))}, int64(off))
}

// ReadStream takes what has come in at a stream, waiting for something if wait
// is set; else it answers EAGAIN. At the end of the input it answers 0.
func (c Ops) ReadStream(fd uint32, p []byte, wait bool) (int, Errno) {
	d, errno := c.lockStream(fd, rightFdRead)
	if errno != Success {
		return 0, errno
	}
	defer c.unlock(d)
	return d.stream.read(c.ctx, p, !wait)
}

// Arrival has an input read ahead and returns what is closed when something has
// come in, or the end; nil if that is so already.
func (c Ops) Arrival(fd uint32) <-chan struct{} {
	d, errno := c.lockStream(fd, rightFdRead)
	if errno != Success {
		return nil
	}
	defer c.unlock(d)
	return d.stream.request(inputChunk)
}

// WriteStream writes to a stream.
func (c Ops) WriteStream(fd uint32, p []byte) (int, Errno) {
	d, errno := c.lockStream(fd, rightFdWrite)
	if errno != Success {
		return 0, errno
	}
	defer c.unlock(d)
	return d.stream.write(p)
}

func (c Ops) lockStream(fd uint32, need rights) (*desc, Errno) {
	d, errno := c.lock(fd, need, EBADF)
	if errno == Success && d.kind != kindStream {
		c.unlock(d)
		return nil, EBADF
	}
	return d, errno
}

// List gives the entries of a directory that come after cookie to each, "." and
// ".." included, until it answers false.
func (c Ops) List(fd uint32, cookie uint64, each func(e vfs.DirEntry) bool) Errno {
	d, errno := c.lock(fd, 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	if d.kind != kindDir && d.kind != kindRoot {
		return ENOTDIR
	}
	return c.list(d, false, cookie, each)
}

// Arguments returns the arguments.
func (c Ops) Arguments() []string { return plain(c.Instance.args) }

// Environment returns the environment, each "NAME=value".
func (c Ops) Environment() []string { return plain(c.env) }

func plain(l [][]byte) []string {
	out := make([]string, len(l))
	for i, s := range l {
		out[i] = string(s[:len(s)-1])
	}
	return out
}

// Realtime is the time since 1970, in ns.
func (c Ops) Realtime() uint64 {
	now, _ := c.now(clockRealtime)
	return now
}

// Monotonic is the time since the guest started, in ns.
func (c Ops) Monotonic() uint64 {
	now, _ := c.now(clockMonotonic)
	return now
}
