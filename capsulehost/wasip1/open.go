package wasip1

import (
	"encoding/binary"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// The permission bits of what a guest makes: preview1 has none.
const (
	fileMode = 0o644
	dirMode  = 0o755
)

// opening is what path_open was asked for.
type opening struct {
	c       Ops
	oflags  oflags
	flags   fdflags
	base    rights
	inherit rights
	follow  vfs.WalkFlags
	want    vfs.Access
}

// pathOpen is (fd, lookupflags, path, path_len, oflags, base, inheriting,
// fdflags, opened).
func (c call) pathOpen() Errno {
	follow, errno := walkFlags(c.u32(1))
	if errno != Success {
		return errno
	}
	path, errno := c.mem.path(c.u32(2), c.u32(3))
	if errno != Success {
		return errno
	}
	result, errno := c.mem.bytes(c.u32(8), 4)
	if errno != Success {
		return errno
	}
	if c.u32(4)&^uint32(allOflags) != 0 || c.u32(7)&^uint32(allFlags) != 0 {
		return EINVAL
	}
	o := opening{
		c:       c.Ops,
		oflags:  oflags(c.u32(4)),
		flags:   fdflags(c.u32(7)),
		base:    rights(c.u64(5)) & allRights,
		inherit: rights(c.u64(6)) & allRights,
		follow:  follow,
	}
	fd, errno := o.at(c.u32(0), path)
	if errno == Success {
		binary.LittleEndian.PutUint32(result, fd)
	}
	return errno
}

// at opens what is at a path, relative to the directory descriptor fd.
func (o *opening) at(fd uint32, path string) (uint32, Errno) {
	c := o.c
	need := rightPathOpen
	if o.oflags&openCreat != 0 {
		need |= rightPathCreateFile
	}
	if o.oflags&openTrunc != 0 {
		need |= rightPathFilestatSetSize
	}
	if o.oflags&(openCreat|openDirectory) == openCreat|openDirectory {
		return 0, EINVAL // as open(2); it would have to make a directory
	}
	d, inherit, errno := c.lockDir(fd, need)
	if errno != Success {
		return 0, errno
	}
	defer c.done(d)
	handed := o.base | o.inherit
	if o.flags&(flagSync|flagRsync) != 0 {
		handed |= rightFdSync
	}
	if o.flags&flagDsync != 0 && inherit&rightFdSync == 0 {
		handed |= rightFdDatasync
	}
	if handed&^inherit != 0 {
		return 0, ENOTCAPABLE
	}
	if c.table.full() {
		return 0, EMFILE // before anything is made or truncated
	}
	opened, errno := o.open(d, path)
	if errno != Success {
		return 0, errno
	}
	opn, errno := c.table.add(opened)
	if errno != Success {
		_ = opened.close() // nothing was written through it
	}
	return opn, errno
}

// openTries bounds how often open starts again because a name that was missing
// is there when it is to be made, or one that was there is another file's.
const openTries = 16

func (o *opening) open(d *desc, path string) (*desc, Errno) {
	if o.base&rightFdRead != 0 || o.base&rightFdWrite == 0 {
		o.want |= vfs.Read
	}
	if o.base&rightFdWrite != 0 || o.oflags&(openCreat|openTrunc) != 0 {
		o.want |= vfs.Write
	}
	if o.oflags&(openCreat|openExcl) == openCreat|openExcl {
		o.follow = 0
	}
	for try := 1; ; try++ {
		t, errno := o.c.resolve(d, path, o.follow, o.want)
		if errno != Success {
			return nil, errno
		}
		if t.there() {
			opened, errno := o.existing(d, &t)
			t.Release()
			if errno != ESTALE || try == openTries { // the host has replaced it
				return opened, errno
			}
			continue
		}
		opened, errno := o.create(&t)
		t.Release()
		if errno != EEXIST || o.oflags&openExcl != 0 || try == openTries {
			return opened, errno
		}
	}
}

// existing opens what is there.
func (o *opening) existing(d *desc, t *place) (*desc, Errno) {
	switch {
	case o.oflags&(openCreat|openExcl) == openCreat|openExcl:
		return nil, EEXIST
	case t.isDir():
		if o.oflags&(openCreat|openTrunc) != 0 || o.base&rightFdWrite != 0 {
			return nil, EISDIR
		}
		return o.directory(d, t), Success
	case t.Entry.Attr.IsSymlink():
		return nil, ELOOP
	case o.oflags&openDirectory != 0:
		return nil, ENOTDIR
	}
	mode := accessMode(o.base)
	flags := mode | o.flags.open()
	if o.oflags&openTrunc != 0 {
		flags |= unix.O_TRUNC
	}
	h, err := t.FS.Open(o.c.ctx, t.Entry.Node, flags)
	if err != nil {
		return nil, errnoOf(err)
	}
	return o.file(t, newRef(t.FS, keep(t)), h), Success
}

// keep takes the reference to the node over from the place.
func keep(t *place) vfs.NodeID {
	n := t.Entry.Node
	t.Entry.Node = 0
	return n
}

// directory makes the descriptor of a directory. Opening reads nothing: that is
// left to the first listing.
func (o *opening) directory(d *desc, t *place) *desc {
	opened := &desc{
		kind:    kindDir,
		scheme:  t.Scheme,
		granted: o.want,
		base:    o.base & dirRights,
		inherit: o.inherit,
		flags:   o.flags,
	}
	switch {
	case t.isRoot:
		opened.kind = kindRoot
	case d.kind == kindDir && t.Entry.Node == d.node.id:
		opened.node = d.node.share() // the walk made no reference of its own
	default:
		opened.node = newRef(t.FS, keep(t))
	}
	return opened
}

func (o *opening) file(t *place, node *nodeRef, h vfs.Handle) *desc {
	return &desc{
		kind:    kindFile,
		scheme:  t.Scheme,
		node:    node,
		mode:    accessMode(o.base),
		granted: o.want,
		base:    o.base & fileRights,
		inherit: o.inherit & fileRights,
		flags:   o.flags,
		file:    h,
	}
}

// create makes the file that is missing.
func (o *opening) create(t *place) (*desc, Errno) {
	switch {
	case o.oflags&openCreat == 0:
		return nil, ENOENT
	case t.MustBeDir:
		return nil, EISDIR
	}
	quota := o.c.view.Quota
	if err := quota.TakeFile(); err != nil {
		return nil, errnoOf(err)
	}
	e, h, err := t.FS.Create(o.c.ctx, t.Parent, t.Name, accessMode(o.base)|o.flags.open(), fileMode)
	if err != nil {
		quota.GiveFile()
		if errors.Is(err, syscall.EEXIST) {
			return nil, EEXIST
		}
		return nil, errnoOf(err)
	}
	return o.file(t, newRef(t.FS, e.Node), h), Success
}
