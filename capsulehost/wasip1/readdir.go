package wasip1

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// listing returns the open listing of a kindDir. The caller has locked d.
func (c call) listing(d *desc) (vfs.DirHandle, Errno) {
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
	if d.kind == kindRoot {
		c.listRoot(&out, c.u64(3))
	} else if errno = c.list(d, &out, c.u64(3)); errno != Success {
		return errno
	}
	binary.LittleEndian.PutUint32(result, uint32(out.used))
	return Success
}

// list writes the entries of a directory of a tree that come after cookie.
func (c call) list(d *desc, out *entries, cookie uint64) Errno {
	if errno := c.permit(d, vfs.Read); errno != Success {
		return errno
	}
	dir, errno := c.listing(d)
	if errno != Success || len(out.buf) == 0 {
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
		return out.add(e.Name, e.Ino, typeOfMode(e.Type), e.Off)
	}))
}

// typeOf finds the type of an entry whose listing did not tell; 0 if it is gone
// meanwhile.
func (c call) typeOf(d *desc, name string) uint32 {
	e, err := d.node.fs.Lookup(c.ctx, d.node.id, name)
	if err != nil {
		return 0
	}
	d.node.fs.Forget(e.Node, 1)
	return e.Attr.Type()
}

// listRoot writes the directory of the preopens.
func (c call) listRoot(out *entries, cookie uint64) {
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
		if !out.add(list[i].Name, list[i].Ino, typeOfMode(unix.S_IFDIR), i+1) {
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
func (b *entries) add(name string, ino uint64, t filetype, next uint64) bool {
	var head [24]byte
	le := binary.LittleEndian
	le.PutUint64(head[:], next)
	le.PutUint64(head[8:], ino)
	le.PutUint32(head[16:], uint32(len(name)))
	head[20] = byte(t)
	b.used += copy(b.buf[b.used:], head[:])
	b.used += copy(b.buf[b.used:], name)
	return b.used < len(b.buf)
}
