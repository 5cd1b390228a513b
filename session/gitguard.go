package session

import (
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// gitGuard keeps what lives in a worktree from leading git, which the owner and
// the user run there, to a configuration of its own making: git runs programs
// that a configuration names. Nothing called .git (in any case, as git has it)
// can be made, renamed, linked or removed through the view, at any depth, and
// the worktree's own .git cannot be written; each is EACCES. It can be read.
type gitGuard struct {
	vfs.FS
	own vfs.NodeID // the worktree's .git, to which a reference is held; 0 for none
}

func newGitGuard(ctx context.Context, fs vfs.FS) (*gitGuard, error) {
	g := &gitGuard{FS: fs}
	e, err := fs.Lookup(ctx, vfs.RootID, ".git")
	switch vfs.Errno(err) {
	case 0:
		g.own = e.Node
	case syscall.ENOENT:
	default:
		return nil, err
	}
	return g, nil
}

func guarded(names ...string) error {
	for _, n := range names {
		if strings.EqualFold(n, ".git") {
			return vfs.ErrHidden
		}
	}
	return nil
}

func (g *gitGuard) writes(node vfs.NodeID) error {
	if g.own != 0 && node == g.own {
		return vfs.ErrHidden
	}
	return nil
}

func (g *gitGuard) SetAttr(ctx context.Context, node vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	if err := g.writes(node); err != nil {
		return vfs.Attr{}, err
	}
	return g.FS.SetAttr(ctx, node, h, in)
}

func (g *gitGuard) Open(ctx context.Context, node vfs.NodeID, flags int) (vfs.Handle, error) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0 {
		if err := g.writes(node); err != nil {
			return nil, err
		}
	}
	return g.FS.Open(ctx, node, flags)
}

func (g *gitGuard) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	if err := guarded(name); err != nil {
		return vfs.Entry{}, nil, err
	}
	return g.FS.Create(ctx, parent, name, flags, mode)
}

func (g *gitGuard) Replace(ctx context.Context, node vfs.NodeID, tmp vfs.Handle) error {
	if err := g.writes(node); err != nil {
		return err
	}
	return g.FS.Replace(ctx, node, tmp)
}

func (g *gitGuard) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	if err := guarded(name); err != nil {
		return vfs.Entry{}, err
	}
	return g.FS.Mkdir(ctx, parent, name, mode)
}

func (g *gitGuard) Mknod(ctx context.Context, parent vfs.NodeID, name string, mode uint32, rdev uint64) (vfs.Entry, error) {
	if err := guarded(name); err != nil {
		return vfs.Entry{}, err
	}
	return g.FS.Mknod(ctx, parent, name, mode, rdev)
}

func (g *gitGuard) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	if err := guarded(name); err != nil {
		return vfs.Entry{}, err
	}
	return g.FS.Symlink(ctx, parent, name, target)
}

func (g *gitGuard) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := guarded(name); err != nil {
		return vfs.Entry{}, err
	}
	if err := g.writes(node); err != nil {
		return vfs.Entry{}, err
	}
	return g.FS.Link(ctx, node, parent, name)
}

func (g *gitGuard) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := guarded(name); err != nil {
		return err
	}
	return g.FS.Unlink(ctx, parent, name)
}

func (g *gitGuard) Rmdir(ctx context.Context, parent vfs.NodeID, name string) error {
	if err := guarded(name); err != nil {
		return err
	}
	return g.FS.Rmdir(ctx, parent, name)
}

func (g *gitGuard) Rename(ctx context.Context, oldParent vfs.NodeID, oldName string, newParent vfs.NodeID, newName string, flags vfs.RenameFlags) error {
	if err := guarded(oldName, newName); err != nil {
		return err
	}
	return g.FS.Rename(ctx, oldParent, oldName, newParent, newName, flags)
}

func (g *gitGuard) SetXattr(ctx context.Context, node vfs.NodeID, name string, value []byte, flags int) error {
	if err := g.writes(node); err != nil {
		return err
	}
	return g.FS.SetXattr(ctx, node, name, value, flags)
}

func (g *gitGuard) RemoveXattr(ctx context.Context, node vfs.NodeID, name string) error {
	if err := g.writes(node); err != nil {
		return err
	}
	return g.FS.RemoveXattr(ctx, node, name)
}
