package wasip1

import (
	"strings"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// lockDir is the directory descriptor fd for a call on a path below it, which
// is done with it later; it is not locked, for a call may name one twice.
// inherit is what it hands on.
func (c Ops) lockDir(fd uint32, need rights) (d *desc, inherit rights, errno Errno) {
	d, errno = c.lock(fd, 0, Success)
	if errno != Success {
		return nil, 0, errno
	}
	switch {
	case d.kind != kindDir && d.kind != kindRoot:
		errno = ENOTDIR
	case d.base&need != need:
		errno = ENOTCAPABLE
	}
	inherit = d.inherit
	d.mu.Unlock()
	if errno != Success {
		c.done(d)
		return nil, 0, errno
	}
	return d, inherit, Success
}

// dir is lockDir for a call that hands no rights on.
func (c Ops) dir(fd uint32, need rights) (*desc, Errno) {
	d, _, errno := c.lockDir(fd, need)
	return d, errno
}

// place is where a path led. One in the directory of the preopens itself has
// isRoot set and is nothing else.
type place struct {
	view.Target
	isRoot bool

	// last is the last component as the path had it, and slash tells that one
	// followed it.
	last  string
	slash bool
}

// resolve finds what path, relative to d, leads to. The caller releases it.
func (c Ops) resolve(d *desc, path string, flags vfs.WalkFlags, want vfs.Access) (place, Errno) {
	scheme, node, errno := d.scheme, vfs.RootID, Success
	switch {
	case path == "":
		return place{}, ENOENT
	case path[0] == '/':
		return place{}, EPERM
	case d.kind == kindRoot:
		if scheme, path, errno = c.enter(path, want); errno != Success {
			return place{}, errno
		}
		if scheme == 0 {
			return place{isRoot: true}, Success
		}
	default:
		node = d.node.id
	}
	t, err := c.view.ResolveAt(c.ctx, scheme, node, path, flags, want)
	if err != nil {
		return place{}, errnoOf(err)
	}
	return place{Target: t}, Success
}

// enter resolves the part of a path that lies in the directory of the preopens.
// It returns the tree that the path goes on in, and the rest; no tree if the
// path ends in the directory itself.
func (c Ops) enter(path string, want vfs.Access) (view.Scheme, string, Errno) {
	for path != "" {
		name, rest, _ := strings.Cut(path, "/")
		switch name {
		case "", ".":
			path = rest
			continue
		case "..":
			return 0, "", errnoOf(c.view.Refuse(c.ctx, view.Workspace, path, want, vfs.ErrEscape))
		}
		for _, p := range c.root {
			if p.Name == name {
				return p.Scheme, rest, Success
			}
		}
		if want&vfs.Write != 0 && strings.Trim(rest, "/") == "" {
			return 0, "", EROFS
		}
		return 0, "", ENOENT
	}
	return 0, "", Success
}

// resolveName is resolve for calls that make, move or remove a name, which is
// the last component and is never followed, not even with a slash behind it.
func (c Ops) resolveName(d *desc, path string, want vfs.Access) (place, Errno) {
	name := strings.TrimRight(path, "/")
	if name == "" {
		name = path
	}
	t, errno := c.resolve(d, name, 0, want)
	if errno != Success {
		return t, errno
	}
	t.last, t.slash = name[strings.LastIndexByte(name, '/')+1:], len(name) < len(path)
	return t, Success
}

// there tells whether something is at the place.
func (p *place) there() bool { return p.isRoot || p.Exists() }

// nameless tells whether the path ended in no name: in ".", ".." or the root of
// a tree.
func (p *place) nameless() bool { return p.isRoot || p.Parent == 0 }

// isDir tells whether a directory is there.
func (p *place) isDir() bool { return p.isRoot || p.Exists() && p.Entry.Attr.IsDir() }

// named resolves a path for a call that needs a right of the directory
// descriptor fd and changes the name.
func (c Ops) named(fd uint32, need rights, path string) (place, Errno) {
	d, errno := c.dir(fd, need)
	if errno != Success {
		return place{}, errno
	}
	defer c.done(d)
	return c.resolveName(d, path, vfs.Write)
}

// looked resolves a path, relative to the directory descriptor fd, to what is
// there.
func (c Ops) looked(fd uint32, need rights, path string, follow vfs.WalkFlags, want vfs.Access) (place, Errno) {
	d, errno := c.dir(fd, need)
	if errno != Success {
		return place{}, errno
	}
	defer c.done(d)
	t, errno := c.resolve(d, path, follow, want)
	if errno == Success && !t.there() {
		t.Release()
		return place{}, ENOENT
	}
	return t, errno
}

// path returns the path at parameters i and i+1.
func (c call) path(i int) (string, Errno) { return c.mem.path(c.u32(i), c.u32(i+1)) }

// lookup returns the lookup flags at parameter flags and the path at parameters
// i and i+1.
func (c call) lookup(flags, i int) (vfs.WalkFlags, string, Errno) {
	follow, errno := walkFlags(c.u32(flags))
	if errno != Success {
		return 0, "", errno
	}
	path, errno := c.path(i)
	return follow, path, errno
}

func walkFlags(lookup uint32) (vfs.WalkFlags, Errno) {
	switch lookup {
	case 0:
		return 0, Success
	case lookupFollow:
		return vfs.Follow, Success
	}
	return 0, EINVAL
}
