package wasihost

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
	"github.com/astridfs/astridfs/vfs"
)

// Types of filesystem/types as component.HostFunc writes them.
const (
	self            = "borrow<descriptor>"
	pathFlags       = "flags { symlink-follow }"
	openFlags       = "flags { create, directory, exclusive, truncate }"
	descriptorFlags = "flags { read, write, file-integrity-sync, data-integrity-sync, requested-write-sync, mutate-directory }"
	descriptorType  = "enum { unknown, block-device, character-device, directory, fifo, symbolic-link, regular-file, socket }"
	descriptorStat  = "record { type: " + descriptorType + ", link-count: u64, size: u64, data-access-timestamp: option<" +
		datetime + ">, data-modification-timestamp: option<" + datetime + ">, status-change-timestamp: option<" + datetime + "> }"
	newTimestamp   = "variant { no-change, now, timestamp(" + datetime + ") }"
	advice         = "enum { normal, sequential, random, will-need, dont-need, no-reuse }"
	directoryEntry = "record { type: " + descriptorType + ", name: string }"
	metadataHash   = "record { lower: u64, upper: u64 }"
)

// Bits of descriptor-flags and open-flags.
const (
	descRead = 1 << iota
	descWrite
	descFileSync
	descDataSync
	descWriteSync
	descMutate

	openCreate    = 1
	openDirectory = 2
	openExclusive = 4
	openTruncate  = 8
)

// maxPath is the longest path that a guest can give, in bytes.
const maxPath = 4096

func (c *call) fd() uint32 { return uint32(c.num(0)) }

// path returns the path that is argument i.
func (c *call) path(i int) (string, wasip1.Errno) {
	p := c.text(i)
	if len(p) > maxPath {
		return "", wasip1.ENAMETOOLONG
	}
	return p, wasip1.Success
}

func (c *call) follow(i int) vfs.WalkFlags {
	if c.num(i)&1 != 0 {
		return vfs.Follow
	}
	return 0
}

func failedCode(errno wasip1.Errno) abi.Value { return abi.Err(abi.Value{Num: codeOf(errno)}) }

// method makes a method of descriptor whose result is a result of this type or
// error-code, and which takes a slot.
func method(params, ok string, do func(c *call) (abi.Value, wasip1.Errno)) component.HostFunc {
	if params != "" {
		params = ", " + params
	}
	return function(self+params, "result<"+ok+", "+errorCode+">", func(c *call) abi.Value {
		if errno := c.Enter(); errno != wasip1.Success {
			return failedCode(errno)
		}
		defer c.Leave()
		v, errno := do(c)
		if errno != wasip1.Success {
			return failedCode(errno)
		}
		return c.Case(0, v)
	})
}

// onPath makes a method that does something to a path, its first argument.
func onPath(do func(c wasip1.Ops, fd uint32, path string) wasip1.Errno) component.HostFunc {
	return method("string", "_", func(c *call) (abi.Value, wasip1.Errno) {
		path, errno := c.path(1)
		if errno != wasip1.Success {
			return abi.Value{}, errno
		}
		return abi.Value{}, do(c.Ops, c.fd(), path)
	})
}

func filesystemFuncs() map[string]component.HostFunc {
	funcs := map[string]component.HostFunc{
		"read-via-stream":     method("u64", "input-stream", readVia),
		"write-via-stream":    method("u64", "output-stream", writeVia),
		"append-via-stream":   method("", "output-stream", appendVia),
		"advise":              method("u64, u64, "+advice, "_", advise),
		"sync-data":           method("", "_", func(c *call) (abi.Value, wasip1.Errno) { return abi.Value{}, c.Sync(c.fd(), true) }),
		"sync":                method("", "_", func(c *call) (abi.Value, wasip1.Errno) { return abi.Value{}, c.Sync(c.fd(), false) }),
		"get-flags":           method("", descriptorFlags, getFlags),
		"get-type":            method("", descriptorType, getType),
		"set-size":            method("u64", "_", func(c *call) (abi.Value, wasip1.Errno) { return abi.Value{}, c.SetSize(c.fd(), c.num(1)) }),
		"set-times":           method(newTimestamp+", "+newTimestamp, "_", setTimes),
		"set-times-at":        method(pathFlags+", string, "+newTimestamp+", "+newTimestamp, "_", setTimesAt),
		"read":                method("u64, u64", "tuple<list<u8>, bool>", readFile),
		"write":               method("list<u8>, u64", "u64", writeFile),
		"read-directory":      method("", "directory-entry-stream", readDirectory),
		"create-directory-at": onPath(wasip1.Ops.Mkdir),
		"remove-directory-at": onPath(wasip1.Ops.Rmdir),
		"unlink-file-at":      onPath(wasip1.Ops.Unlink),
		"stat":                method("", descriptorStat, func(c *call) (abi.Value, wasip1.Errno) { return statValue(c.Stat(c.fd())) }),
		"stat-at":             method(pathFlags+", string", descriptorStat, func(c *call) (abi.Value, wasip1.Errno) { return statValue(c.statAt()) }),
		"link-at":             method(pathFlags+", string, "+self+", string", "_", linkAt),
		"open-at":             method(pathFlags+", string, "+openFlags+", "+descriptorFlags, "descriptor", openAt),
		"readlink-at":         method("string", "string", readlinkAt),
		"rename-at":           method("string, "+self+", string", "_", renameAt),
		"symlink-at":          method("string, string", "_", symlinkAt),
		"metadata-hash":       method("", metadataHash, func(c *call) (abi.Value, wasip1.Errno) { return hashValue(c.Stat(c.fd())) }),
		"metadata-hash-at":    method(pathFlags+", string", metadataHash, func(c *call) (abi.Value, wasip1.Errno) { return hashValue(c.statAt()) }),
		"is-same-object":      function(self+", "+self, "bool", isSame),
	}
	out := map[string]component.HostFunc{
		"[method]directory-entry-stream.read-directory-entry": function("borrow<directory-entry-stream>",
			"result<option<"+directoryEntry+">, "+errorCode+">", nextEntry),
		"filesystem-error-code": function("borrow<error>", "option<"+errorCode+">", func(c *call) abi.Value {
			return abi.Some(abi.Value{Num: codeOf(entry[*failure](c.in, c.num(0)).errno)})
		}),
	}
	for name, f := range funcs {
		out["[method]descriptor."+name] = f
	}
	return out
}

func getDirectories(c *call) abi.Value {
	var l []abi.Value
	for i, name := range c.Preopened() {
		// A descriptor of its own for each time that it is asked for: the guest
		// may drop it.
		if fd, errno := c.Dup(uint32(wasip1.FirstPreopen + i)); errno == wasip1.Success {
			l = append(l, abi.Tuple(abi.Value{Num: uint64(fd)}, abi.String(name)))
		}
	}
	return abi.Tuple(l...)
}

func openAt(c *call) (abi.Value, wasip1.Errno) {
	path, errno := c.path(2)
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	open, flags := c.num(3), c.num(4)
	fd, errno := c.Open(c.fd(), path, wasip1.Opening{
		Follow: c.follow(1),
		Create: open&openCreate != 0, Directory: open&openDirectory != 0,
		Exclusive: open&openExclusive != 0, Truncate: open&openTruncate != 0,
		Read: flags&descRead != 0, Write: flags&descWrite != 0,
		Sync: flags&(descFileSync|descWriteSync) != 0, DataSync: flags&descDataSync != 0,
	})
	return abi.Value{Num: uint64(fd)}, errno
}

func getFlags(c *call) (abi.Value, wasip1.Errno) {
	read, write, sync, dataSync, errno := c.Access(c.fd())
	dir, _ := c.IsDir(c.fd()) // Access has found it
	var flags uint64
	for _, f := range []struct {
		on  bool
		bit uint64
	}{{read, descRead}, {write && !dir, descWrite}, {write && dir, descMutate}, {sync, descFileSync}, {dataSync, descDataSync}} {
		if f.on {
			flags |= f.bit
		}
	}
	return abi.Value{Num: flags}, errno
}

func getType(c *call) (abi.Value, wasip1.Errno) {
	dir, errno := c.IsDir(c.fd())
	if dir {
		return abi.Value{Num: typeOf(unix.S_IFDIR)}, errno
	}
	return abi.Value{Num: typeOf(unix.S_IFREG)}, errno
}

// typeOf is the number of descriptor-type for the type bits of a mode.
func typeOf(mode uint32) uint64 {
	switch mode {
	case unix.S_IFBLK:
		return 1
	case unix.S_IFCHR:
		return 2
	case unix.S_IFDIR:
		return 3
	case unix.S_IFIFO:
		return 4
	case unix.S_IFLNK:
		return 5
	case unix.S_IFREG:
		return 6
	case unix.S_IFSOCK:
		return 7
	}
	return 0
}

func (c *call) statAt() (wasip1.Stat, wasip1.Errno) {
	path, errno := c.path(2)
	if errno != wasip1.Success {
		return wasip1.Stat{}, errno
	}
	return c.StatAt(c.fd(), path, c.follow(1))
}

func statValue(s wasip1.Stat, errno wasip1.Errno) (abi.Value, wasip1.Errno) {
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	return abi.Tuple(abi.Value{Num: typeOf(s.Type())}, abi.Value{Num: uint64(s.Nlink)}, abi.Value{Num: uint64(max(s.Size, 0))},
		timeValue(s.Atime), timeValue(s.Mtime), timeValue(s.Ctime)), errno
}

// timeValue is an option<datetime>, which has no time before 1970.
func timeValue(t vfs.Timespec) abi.Value {
	if t.Sec < 0 {
		return abi.Value{}
	}
	return abi.Some(abi.Tuple(abi.Value{Num: uint64(t.Sec)}, abi.Value{Num: uint64(t.Nsec)}))
}

// hashValue is the same for two that are the same file, and for no others.
func hashValue(s wasip1.Stat, errno wasip1.Errno) (abi.Value, wasip1.Errno) {
	return abi.Tuple(abi.Value{Num: s.Ino}, abi.Value{Num: uint64(s.Scheme)}), errno
}

func isSame(c *call) abi.Value {
	a, errno := c.Stat(c.fd())
	if errno != wasip1.Success {
		return abi.Bool(c.num(0) == c.num(1))
	}
	b, errno := c.Stat(uint32(c.num(1)))
	return abi.Bool(errno == wasip1.Success && a.Scheme == b.Scheme && a.Ino == b.Ino)
}

// times makes the change that two arguments of new-timestamp from i on ask for.
func (c *call) times(i int) (vfs.SetAttr, wasip1.Errno) {
	var in vfs.SetAttr
	for k, to := range []struct {
		at       *vfs.Timespec
		set, now vfs.SetAttr
	}{
		{&in.Atime, vfs.SetAttr{Valid: vfs.SetAtime}, vfs.SetAttr{Valid: vfs.SetAtimeNow}},
		{&in.Mtime, vfs.SetAttr{Valid: vfs.SetMtime}, vfs.SetAttr{Valid: vfs.SetMtimeNow}},
	} {
		switch v := c.Args[i+k]; v.Num {
		case 1:
			in.Valid |= to.now.Valid
		case 2:
			t := v.Payload().Fields()
			if t[0].Num > 1<<62 || t[1].Num >= 1e9 {
				return in, wasip1.EINVAL
			}
			in.Valid |= to.set.Valid
			*to.at = vfs.Timespec{Sec: int64(t[0].Num), Nsec: uint32(t[1].Num)}
		}
	}
	return in, wasip1.Success
}

func setTimes(c *call) (abi.Value, wasip1.Errno) {
	in, errno := c.times(1)
	if errno == wasip1.Success {
		errno = c.SetTimes(c.fd(), in)
	}
	return abi.Value{}, errno
}

func setTimesAt(c *call) (abi.Value, wasip1.Errno) {
	path, errno := c.path(2)
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	in, errno := c.times(3)
	if errno == wasip1.Success {
		errno = c.SetTimesAt(c.fd(), path, c.follow(1), in)
	}
	return abi.Value{}, errno
}

func advise(c *call) (abi.Value, wasip1.Errno) {
	dir, errno := c.IsDir(c.fd())
	if dir {
		errno = wasip1.EBADF
	}
	return abi.Value{}, errno
}

// via makes a stream of a file that is open for what the stream does.
func (c *call) via(write bool) (uint32, wasip1.Errno) {
	dir, errno := c.IsDir(c.fd())
	if errno != wasip1.Success {
		return 0, errno
	}
	if dir {
		return 0, wasip1.EISDIR
	}
	canRead, canWrite, _, _, errno := c.Access(c.fd())
	switch {
	case errno != wasip1.Success:
		return 0, errno
	case write && !canWrite, !write && !canRead:
		return 0, wasip1.EBADF
	}
	return c.Dup(c.fd())
}

func readVia(c *call) (abi.Value, wasip1.Errno) {
	fd, errno := c.via(false)
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	return abi.Value{Num: uint64(c.in.add(&input{fd: fd, off: c.num(1)}))}, errno
}

func writeVia(c *call) (abi.Value, wasip1.Errno) {
	fd, errno := c.via(true)
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	return abi.Value{Num: uint64(c.in.add(&output{fd: fd, off: c.num(1)}))}, errno
}

func appendVia(c *call) (abi.Value, wasip1.Errno) {
	fd, errno := c.Appender(c.fd())
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	return abi.Value{Num: uint64(c.in.add(&output{fd: fd}))}, errno
}

func readFile(c *call) (abi.Value, wasip1.Errno) {
	buf := c.in.buffer(c.num(1))
	n, errno := c.ReadAt(c.fd(), buf, c.num(2))
	return abi.Tuple(abi.Value{Ref: buf[:n]}, abi.Bool(n == 0 && len(buf) > 0)), errno
}

func writeFile(c *call) (abi.Value, wasip1.Errno) {
	n, errno := c.WriteAt(c.fd(), c.bytes(1), c.num(2))
	return abi.Value{Num: uint64(n)}, errno
}

// twoPaths returns the paths that the arguments i and j are.
func (c *call) twoPaths(i, j int) (first, second string, errno wasip1.Errno) {
	if first, errno = c.path(i); errno == wasip1.Success {
		second, errno = c.path(j)
	}
	return first, second, errno
}

func linkAt(c *call) (abi.Value, wasip1.Errno) {
	old, path, errno := c.twoPaths(2, 4)
	if errno == wasip1.Success {
		errno = c.Link(c.fd(), old, c.follow(1), uint32(c.num(3)), path)
	}
	return abi.Value{}, errno
}

func renameAt(c *call) (abi.Value, wasip1.Errno) {
	old, path, errno := c.twoPaths(1, 3)
	if errno == wasip1.Success {
		errno = c.Rename(c.fd(), old, uint32(c.num(2)), path)
	}
	return abi.Value{}, errno
}

func symlinkAt(c *call) (abi.Value, wasip1.Errno) {
	target, errno := c.path(1)
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	path, errno := c.path(2)
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	return abi.Value{}, c.Symlink(target, c.fd(), path)
}

func readlinkAt(c *call) (abi.Value, wasip1.Errno) {
	path, errno := c.path(1)
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	target, errno := c.Readlink(c.fd(), path)
	switch {
	case errno != wasip1.Success:
	case !utf8.ValidString(target):
		errno = wasip1.EILSEQ
	case strings.HasPrefix(target, "/"): // as wasmtime has it: it leads out of every directory
		errno = wasip1.EPERM
	}
	return abi.String(target), errno
}

// listing is a directory-entry-stream. It owns its descriptor.
type listing struct {
	fd     uint32
	cookie uint64
	batch  []vfs.DirEntry
	end    bool
}

// listBatch is how many entries are taken from the directory at a time.
const listBatch = 256

func readDirectory(c *call) (abi.Value, wasip1.Errno) {
	dir, errno := c.IsDir(c.fd())
	switch {
	case errno != wasip1.Success:
		return abi.Value{}, errno
	case !dir:
		return abi.Value{}, wasip1.ENOTDIR
	}
	// What may not be listed is told now and not by the first entry.
	if errno = c.Ops.List(c.fd(), 0, func(vfs.DirEntry) bool { return false }); errno != wasip1.Success {
		return abi.Value{}, errno
	}
	fd, errno := c.Dup(c.fd())
	if errno != wasip1.Success {
		return abi.Value{}, errno
	}
	return abi.Value{Num: uint64(c.in.add(&listing{fd: fd}))}, errno
}

func nextEntry(c *call) abi.Value {
	l := entry[*listing](c.in, c.num(0))
	for len(l.batch) == 0 && !l.end {
		if errno := c.fill(l); errno != wasip1.Success {
			return failedCode(errno)
		}
	}
	if len(l.batch) == 0 {
		return abi.Ok(abi.Value{})
	}
	e := l.batch[0]
	l.batch = l.batch[1:]
	return abi.Ok(abi.Some(abi.Tuple(abi.Value{Num: typeOf(e.Type)}, abi.String(e.Name))))
}

// fill takes the next entries. "." and ".." are none here, and a name that is
// not UTF-8 cannot be said.
func (c *call) fill(l *listing) wasip1.Errno {
	if errno := c.Enter(); errno != wasip1.Success {
		return errno
	}
	defer c.Leave()
	l.batch = l.batch[:0]
	seen := 0
	errno := c.Ops.List(l.fd, l.cookie, func(e vfs.DirEntry) bool {
		l.cookie = e.Off
		seen++
		if e.Name != "." && e.Name != ".." && utf8.ValidString(e.Name) {
			l.batch = append(l.batch, e)
		}
		return seen < listBatch
	})
	l.end = seen < listBatch
	return errno
}
