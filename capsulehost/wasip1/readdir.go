package wasip1

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// listing returns the open listing of a kindDir. The caller has locked d.
func (c Ops) listing(d *desc) (vfs.DirHandle, Errno) {
	if d.dir == nil {
		h, err := d.node.fs.OpenDir(c.ctx, d.node.id)
		if err != nil {
			return nil, errnoOf(err)
		}
		d.dir = h
	}
	return d.dir, Success
}

// fdReaddir is (fd, buf, buf_len, cookie, used). Less than the buffer is used
// only at the end of the listing: the last entry is cut where the buffer ends.
func (c call) fdReaddir() Errno {
	d, errno := c.lock(c.u32(0), 0, Success)
	if errno != Success {
		return errno
	}
	defer c.unlock(d)
	switch {
	case d.kind != kindDir && d.kind != kindRoot:
		return ENOTDIR
	case d.base&rightFdReaddir == 0:
		return ENOTCAPABLE
	}
	buf, errno := c.mem.bytes(c.u32(1), c.u32(2))
	if errno != Success {
		return errno
	}
	result, errno := c.mem.bytes(c.u32(4), 4)
	if errno != Success {
		return errno
	}
	out := entries{buf: buf}
	if errno = c.list(d, len(buf) == 0, c.u64(3), out.add); errno != Success {
		return errno
	}
	binary.LittleEndian.PutUint32(result, uint32(out.used))
	return Success
}

// list gives the entries of a directory that come after cookie to add, until it
// answers false; none if it is only asked whether it could be. The caller has
// locked d.
func (c Ops) list(d *desc, none bool, cookie uint64, add func(e vfs.DirEntry) bool) Errno {
	if d.kind == kindRoot {
		c.listRoot(cookie, add)
		return Success
	}
	if errno := c.permit(d, vfs.Read); errno != Success {
		return errno
	}
	dir, errno := c.listing(d)
	if errno != Success || none {
		return errno
	}
	return errnoOf(dir.ReadDir(c.ctx, cookie, func(e vfs.DirEntry) bool {
		switch {
		case e.Name == ".." && d.node.id == vfs.RootID:
			e.Ino = 0 // nothing is above the root, least of all the host's directory
			if a, err := d.node.fs.GetAttr(c.ctx, vfs.RootID, nil); err == nil {
				e.Ino = a.Ino
			}
		case e.Type == 0 && e.Name != "..":
			e.Type = c.typeOf(d, e.Name)
		}
		return add(e)
	}))
}

// typeOf finds the type of an entry whose listing did not tell; 0 if it is gone
// meanwhile.
func (c Ops) typeOf(d *desc, name string) uint32 {
	e, err := d.node.fs.Lookup(c.ctx, d.node.id, name)
	if err != nil {
		return 0
	}
	d.node.fs.Forget(e.Node, 1)
	return e.Attr.Type()
}

// listRoot is list of the directory of the preopens.
func (c Ops) listRoot(cookie uint64, add func(e vfs.DirEntry) bool) {
	list := []vfs.DirEntry{{Name: ".", Ino: rootIno}, {Name: "..", Ino: rootIno}}
	for _, p := range c.root {
		e := vfs.DirEntry{Name: p.Name}
		if fs, err := c.view.FS(p.Scheme); err == nil {
			// The number is for those who compare it with a stat's; one that
			// can't be had is left out.
			if a, err := fs.GetAttr(c.ctx, vfs.RootID, nil); err == nil {
				e.Ino = a.Ino
			}
		}
		list = append(list, e)
	}
	for i := cookie; i < uint64(len(list)); i++ {
		list[i].Type, list[i].Off = unix.S_IFDIR, i+1
		if !add(list[i]) {
			return
		}
	}
}

// entries is a buffer of directory entries of preview1.
type entries struct {
	buf  []byte
	used int
}

// add writes an entry, or as much of it as there is room for. It answers false
// when the buffer is full.
func (b *entries) add(e vfs.DirEntry) bool {
	var head [24]byte
	le := binary.LittleEndian
	le.PutUint64(head[:], e.Off)
	le.PutUint64(head[8:], e.Ino)
	le.PutUint32(head[16:], uint32(len(e.Name)))
	head[20] = byte(typeOfMode(e.Type))
	b.used += copy(b.buf[b.used:], head[:])
	b.used += copy(b.buf[b.used:], e.Name)
	return b.used < len(b.buf)
}
