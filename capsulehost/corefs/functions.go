package corefs

import (
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// Functions lists the interface: 17 functions, the 6 methods of file-handle and
// the drop of it. The last parameter of each but the drop points to its result.
func Functions() []Function {
	return []Function{
		{"fs-open", "iiii", "", fsOpen},
		{"fs-exists", "iii", "", fsExists},
		{"fs-mkdir", "iii", "", fsMkdir},
		{"fs-mkdir-all", "iii", "", fsMkdirAll},
		{"fs-readdir", "iii", "", fsReaddir},
		{"fs-stat", "iii", "", fsStat},
		{"fs-stat-symlink", "iii", "", fsStatSymlink},
		{"fs-unlink", "iii", "", fsUnlink},
		{"read-file", "iii", "", readFile},
		{"write-file", "iiiii", "", writeFile},
		{"fs-append", "iiiii", "", fsAppend},
		{"fs-copy", "iiiii", "", fsCopy},
		{"fs-rename", "iiiii", "", fsRename},
		{"fs-remove-dir-all", "iii", "", fsRemoveDirAll},
		{"fs-canonicalize", "iii", "", fsCanonicalize},
		{"fs-read-link", "iii", "", fsReadLink},
		{"fs-hard-link", "iiiii", "", fsHardLink},
		{"[method]file-handle.read-at", "iIii", "", readAt},
		{"[method]file-handle.write-at", "iIiii", "", writeAt},
		{"[method]file-handle.sync-data", "ii", "", syncData},
		{"[method]file-handle.sync-all", "ii", "", syncAll},
		{"[method]file-handle.stat", "ii", "", handleStat},
		{"[method]file-handle.set-len", "iIi", "", setLen},
		{"[resource-drop]file-handle", "i", "", drop},
	}
}

func fsOpen(c *call) {
	c.small(3)
	path, mode := c.path(0), c.u32(2)
	if mode > uint32(fsapi.ModeReadWrite) {
		guest.Trap("%d is no open-mode", mode)
	}
	var id uint32
	err := c.do(func() (err error) {
		id, err = c.fs.Open(c.ctx, path, fsapi.OpenMode(mode))
		return err
	})
	c.u32Result(id, err)
}

func fsExists(c *call) {
	c.small(2)
	path := c.path(0)
	var there bool
	err := c.do(func() (err error) {
		there, err = c.fs.Exists(c.ctx, path)
		return err
	})
	c.bool(there, err)
}

func fsMkdir(c *call) {
	c.small(2)
	path := c.path(0)
	c.unit(c.do(func() error { return c.fs.Mkdir(c.ctx, path) }))
}

func fsMkdirAll(c *call) {
	c.small(2)
	path := c.path(0)
	c.unit(c.do(func() error { return c.fs.MkdirAll(c.ctx, path) }))
}

func fsReaddir(c *call) {
	c.small(2)
	path := c.path(0)
	var names []string
	err := c.do(func() (err error) {
		names, err = c.fs.ReadDir(c.ctx, path)
		return err
	})
	c.strings(names, err)
}

func fsStat(c *call)        { c.statPath(true) }
func fsStatSymlink(c *call) { c.statPath(false) }

func (c *call) statPath(follow bool) {
	c.wide(2, statResult)
	path := c.path(0)
	var s fsapi.Stat
	err := c.do(func() (err error) {
		s, err = c.fs.Stat(c.ctx, path, follow)
		return err
	})
	c.stat(s, err)
}

func fsUnlink(c *call) {
	c.small(2)
	path := c.path(0)
	c.unit(c.do(func() error { return c.fs.Unlink(c.ctx, path) }))
}

func readFile(c *call) {
	c.small(2)
	path, dst := c.path(0), c.mem.NewList(c.ctx)
	err := c.do(func() error { return c.fs.ReadFile(c.ctx, path, dst) })
	c.list(dst, err)
}

func writeFile(c *call) {
	c.small(4)
	path, data := c.path(0), c.data(2)
	c.unit(c.do(func() error { return c.fs.WriteFile(c.ctx, path, data) }))
}

func fsAppend(c *call) {
	c.small(4)
	path, data := c.path(0), c.data(2)
	c.unit(c.do(func() error { return c.fs.Append(c.ctx, path, data) }))
}

func fsCopy(c *call) {
	c.small(4)
	src, dst := c.path(0), c.path(2)
	c.unit(c.do(func() error { return c.fs.Copy(c.ctx, src, dst) }))
}

func fsRename(c *call) {
	c.small(4)
	src, dst := c.path(0), c.path(2)
	c.unit(c.do(func() error { return c.fs.Rename(c.ctx, src, dst) }))
}

func fsRemoveDirAll(c *call) {
	c.wide(2, u64Result)
	path := c.path(0)
	var n uint64
	err := c.do(func() (err error) {
		n, err = c.fs.RemoveDirAll(c.ctx, path)
		return err
	})
	c.u64Result(n, err)
}

func fsCanonicalize(c *call) {
	c.small(2)
	path := c.path(0)
	var s string
	err := c.do(func() (err error) {
		s, err = c.fs.Canonicalize(c.ctx, path)
		return err
	})
	c.string(s, err)
}

func fsReadLink(c *call) {
	c.small(2)
	path := c.path(0)
	var s string
	err := c.do(func() (err error) {
		s, err = c.fs.ReadLink(c.ctx, path)
		return err
	})
	c.string(s, err)
}

func fsHardLink(c *call) {
	c.small(4)
	src, link := c.path(0), c.path(2)
	c.unit(c.do(func() error { return c.fs.HardLink(c.ctx, src, link) }))
}

func readAt(c *call) {
	c.small(3)
	id, off, n, dst := c.u32(0), c.args[1], c.u32(2), c.mem.NewList(c.ctx)
	err := c.do(func() error { return c.fs.ReadAt(c.ctx, id, off, n, dst) })
	c.list(dst, err)
}

func writeAt(c *call) {
	c.small(4)
	id, off, data := c.u32(0), c.args[1], c.data(2)
	var n int
	err := c.do(func() (err error) {
		n, err = c.fs.WriteAt(c.ctx, id, off, data)
		return err
	})
	c.u32Result(uint32(n), err)
}

func syncData(c *call) {
	c.small(1)
	id := c.u32(0)
	c.unit(c.do(func() error { return c.fs.Sync(c.ctx, id, true) }))
}

func syncAll(c *call) {
	c.small(1)
	id := c.u32(0)
	c.unit(c.do(func() error { return c.fs.Sync(c.ctx, id, false) }))
}

func handleStat(c *call) {
	c.wide(1, statResult)
	id := c.u32(0)
	var s fsapi.Stat
	err := c.do(func() (err error) {
		s, err = c.fs.StatHandle(c.ctx, id)
		return err
	})
	c.stat(s, err)
}

func setLen(c *call) {
	c.small(2)
	id, size := c.u32(0), c.args[1]
	c.unit(c.do(func() error { return c.fs.SetLen(c.ctx, id, size) }))
}

// drop has no result to report in: an id that is not live is nothing to drop,
// and the error of a delayed write was the guest's to ask for by a sync.
func drop(c *call) { _ = c.fs.Drop(c.u32(0)) }
