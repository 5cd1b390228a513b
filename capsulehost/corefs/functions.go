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
	if c.enter() {
		c.u32Result(c.fs.Open(c.ctx, path, fsapi.OpenMode(mode)))
	}
}

func fsExists(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		c.bool(c.fs.Exists(c.ctx, path))
	}
}

func fsMkdir(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		c.unit(c.fs.Mkdir(c.ctx, path))
	}
}

func fsMkdirAll(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		c.unit(c.fs.MkdirAll(c.ctx, path))
	}
}

func fsReaddir(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		c.strings(c.fs.ReadDir(c.ctx, path))
	}
}

func fsStat(c *call) {
	c.wide(2, statResult)
	if path := c.path(0); c.enter() {
		c.stat(c.fs.Stat(c.ctx, path, true))
	}
}

func fsStatSymlink(c *call) {
	c.wide(2, statResult)
	if path := c.path(0); c.enter() {
		c.stat(c.fs.Stat(c.ctx, path, false))
	}
}

func fsUnlink(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		c.unit(c.fs.Unlink(c.ctx, path))
	}
}

func readFile(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		dst := c.mem.NewList(c.ctx)
		c.list(dst, c.fs.ReadFile(c.ctx, path, dst))
	}
}

func writeFile(c *call) {
	c.small(4)
	if path, data := c.path(0), c.data(2); c.enter() {
		c.unit(c.fs.WriteFile(c.ctx, path, data))
	}
}

func fsAppend(c *call) {
	c.small(4)
	if path, data := c.path(0), c.data(2); c.enter() {
		c.unit(c.fs.Append(c.ctx, path, data))
	}
}

func fsCopy(c *call) {
	c.small(4)
	if src, dst := c.path(0), c.path(2); c.enter() {
		c.unit(c.fs.Copy(c.ctx, src, dst))
	}
}

func fsRename(c *call) {
	c.small(4)
	if src, dst := c.path(0), c.path(2); c.enter() {
		c.unit(c.fs.Rename(c.ctx, src, dst))
	}
}

func fsRemoveDirAll(c *call) {
	c.wide(2, u64Result)
	if path := c.path(0); c.enter() {
		c.u64Result(c.fs.RemoveDirAll(c.ctx, path))
	}
}

func fsCanonicalize(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		c.string(c.fs.Canonicalize(c.ctx, path))
	}
}

func fsReadLink(c *call) {
	c.small(2)
	if path := c.path(0); c.enter() {
		c.string(c.fs.ReadLink(c.ctx, path))
	}
}

func fsHardLink(c *call) {
	c.small(4)
	if src, link := c.path(0), c.path(2); c.enter() {
		c.unit(c.fs.HardLink(c.ctx, src, link))
	}
}

func readAt(c *call) {
	c.small(3)
	if c.enter() {
		dst := c.mem.NewList(c.ctx)
		c.list(dst, c.fs.ReadAt(c.ctx, c.u32(0), c.args[1], c.u32(2), dst))
	}
}

func writeAt(c *call) {
	c.small(4)
	if data := c.data(2); c.enter() {
		n, err := c.fs.WriteAt(c.ctx, c.u32(0), c.args[1], data)
		c.u32Result(uint32(n), err)
	}
}

func syncData(c *call) {
	c.small(1)
	if c.enter() {
		c.unit(c.fs.Sync(c.ctx, c.u32(0), true))
	}
}

func syncAll(c *call) {
	c.small(1)
	if c.enter() {
		c.unit(c.fs.Sync(c.ctx, c.u32(0), false))
	}
}

func handleStat(c *call) {
	c.wide(1, statResult)
	if c.enter() {
		c.stat(c.fs.StatHandle(c.ctx, c.u32(0)))
	}
}

func setLen(c *call) {
	c.small(2)
	if c.enter() {
		c.unit(c.fs.SetLen(c.ctx, c.u32(0), c.args[1]))
	}
}

// drop has no result to report in: an id that is not live is nothing to drop,
// and the error of a delayed write was the guest's to ask for by a sync.
func drop(c *call) { _ = c.fs.Drop(c.u32(0)) }
