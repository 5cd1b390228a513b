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
// that a configuration names. Nothing called .git (or what git takes for it) can
// be made, renamed, linked or removed through the view, at any depth, and the
// worktree's own .git cannot be written; each is EACCES. It can be read.
//
// Git goes by paths, and looks whether a directory is a symbolic link before it
// uses a name in it. While the guard is held, nothing takes the place of what
// git has looked at: what could put a link or a pipe there waits.
type gitGuard struct {
	vfs.FS
	own vfs.NodeID // the worktree's .git, to which a reference is held; 0 for none

	slots   chan struct{} // one for each change of that kind that is going on
	holding chan struct{} // takes one: who is taking all slots
}

// guardSlots is how many such changes can go on at once.
const guardSlots = 32

func newGitGuard(ctx context.Context, fs vfs.FS) (*gitGuard, error) {
	g := &gitGuard{FS: fs, slots: make(chan struct{}, guardSlots), holding: make(chan struct{}, 1)}
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

// hold waits until no change is going on that git must not meet, and has further
// ones wait until release is called.
//
// Errors: EINTR.
func (g *gitGuard) hold(ctx context.Context) (release func(), err error) {
	select {
	case g.holding <- struct{}{}:
	case <-ctx.Done():
		return nil, syscall.EINTR
	}
	defer func() { <-g.holding }()
	taken := 0
	release = func() {
		for range taken {
			<-g.slots
		}
	}
	for ; taken < guardSlots; taken++ {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			release()
			return nil, syscall.EINTR
		}
	}
	return release, nil
}

// enter begins a change that waits for who holds the guard. The caller calls
// leave if there is no error.
//
// Errors: EINTR.
func (g *gitGuard) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return syscall.EINTR
	}
}

func (g *gitGuard) leave() { <-g.slots }

func guarded(names ...string) error {
	for _, n := range names {
		if isDotGit(n) {
			return vfs.ErrHidden
		}
	}
	return nil
}

// isDotGit tells whether git takes a name for .git: in any case, and as Windows
// has it, with dots, spaces or a stream's name behind, or by its short name. Such
// names git refuses to add, so that one of them would keep it from the others.
func isDotGit(name string) bool {
	for _, git := range []string{".git", "git~1"} {
		if len(name) < len(git) || !strings.EqualFold(name[:len(git)], git) {
			continue
		}
		rest := strings.TrimLeft(name[len(git):], ". ")
		return rest == "" || rest[0] == ':' || rest[0] == '\\'
	}
	return false
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
	if err := g.enter(ctx); err != nil {
		return vfs.Entry{}, err
	}
	defer g.leave()
	return g.FS.Mknod(ctx, parent, name, mode, rdev)
}

func (g *gitGuard) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	if err := guarded(name); err != nil {
		return vfs.Entry{}, err
	}
	if err := g.enter(ctx); err != nil {
		return vfs.Entry{}, err
	}
	defer g.leave()
	return g.FS.Symlink(ctx, parent, name, target)
}

func (g *gitGuard) Link(ctx context.Context, node, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := guarded(name); err != nil {
		return vfs.Entry{}, err
	}
	if err := g.writes(node); err != nil {
		return vfs.Entry{}, err
	}
	if err := g.enter(ctx); err != nil {
		return vfs.Entry{}, err
	}
	defer g.leave()
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
	if err := g.enter(ctx); err != nil {
		return err
	}
	defer g.leave()
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
