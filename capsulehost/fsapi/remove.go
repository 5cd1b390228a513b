package fsapi

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// removeBatch is how many names of a directory are held at a time.
const removeBatch = 256

// RemoveDirAll removes a directory and everything below it, and returns how
// many entries that were, the directory included. Symbolic links are removed
// and never followed. It works on nodes, not on paths, so that a directory that
// is replaced by a link meanwhile leads nowhere; one that is moved out of the
// tree meanwhile is left alone. Entries that a deny rule hides keep their
// directory: ENOTEMPTY.
//
// Errnos: ENOTDIR (no directory, a symbolic link too), EBUSY (the root of a
// scheme), EINVAL (a path that ends in "." or "..").
func (f *FS) RemoveDirAll(ctx context.Context, path string) (uint64, error) {
	t, err := f.name(ctx, path)
	if err != nil {
		return 0, err
	}
	defer t.Release()
	switch {
	case !t.Exists():
		return 0, syscall.ENOENT
	case !t.Entry.Attr.IsDir():
		return 0, syscall.ENOTDIR
	case t.Entry.Node == vfs.RootID:
		return 0, syscall.EBUSY
	case t.Parent == 0:
		return 0, syscall.EINVAL
	}
	r := remover{f: f, fs: t.FS, scheme: t.Scheme, base: t.Full}
	defer r.release()
	r.push(t.Entry.Node, t.Parent, t.Name, false)
	for len(r.stack) > 0 {
		if err := ctx.Err(); err != nil {
			return r.count, err
		}
		err := r.step(ctx)
		if errors.Is(err, syscall.ESTALE) {
			r.pop() // the host has put another in its place: the parent's listing has it
		} else if err != nil {
			return r.count, err
		}
	}
	return r.count, nil
}

// remover is a removal under way. Its depth is that of its stack, on the heap.
type remover struct {
	f      *FS
	fs     vfs.FS
	scheme view.Scheme
	base   string // the resolved path of the directory that is removed
	count  uint64
	stack  []removal
	names  []vfs.DirEntry // scratch
}

// removal is a directory on the way down.
type removal struct {
	node, parent vfs.NodeID
	name         string
	owned        bool           // the remover holds a reference to node
	todo         []vfs.DirEntry // names that were listed and are not yet removed
	kept         bool           // the last listing showed nothing
	count        uint64         // of the remover, at the last listing
	idle         int            // listings since one entry went
}

func (r *remover) push(node, parent vfs.NodeID, name string, owned bool) {
	r.stack = append(r.stack, removal{node: node, parent: parent, name: name, owned: owned})
}

func (r *remover) pop() {
	top := len(r.stack) - 1
	if r.stack[top].owned {
		r.fs.Forget(r.stack[top].node, 1)
	}
	r.stack[top] = removal{}
	r.stack = r.stack[:top]
}

func (r *remover) release() {
	for len(r.stack) > 0 {
		r.pop()
	}
}

// step removes one entry of the innermost directory, goes into it, or removes
// the directory itself once it is empty.
func (r *remover) step(ctx context.Context) error {
	d := &r.stack[len(r.stack)-1]
	if len(d.todo) == 0 {
		inside, err := r.list(ctx, d)
		if err != nil {
			return err
		}
		if !inside {
			r.pop()
			return nil
		}
		if len(d.todo) == 0 {
			return r.rmdir(ctx, d)
		}
		d.kept = false
		if d.idle++; r.count != d.count {
			d.count, d.idle = r.count, 0
		}
		if d.idle > races {
			return syscall.ENOTEMPTY // what is listed is not there to be removed
		}
	}
	e := d.todo[len(d.todo)-1]
	d.todo = d.todo[:len(d.todo)-1]
	if e.Type != unix.S_IFDIR && e.Type != 0 {
		err := r.fs.Unlink(ctx, d.node, e.Name)
		if !errors.Is(err, syscall.EISDIR) {
			return r.removed(err)
		}
	}
	found, err := r.fs.Lookup(ctx, d.node, e.Name)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil
	case err != nil:
		return err
	case found.Attr.IsDir():
		r.push(found.Node, d.node, e.Name, true)
		return nil
	}
	r.fs.Forget(found.Node, 1)
	return r.removed(r.fs.Unlink(ctx, d.node, e.Name))
}

// removed counts an entry. One that another caller removed first, or put a
// directory in place of, is no error and not counted; the next listing has it.
func (r *remover) removed(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EISDIR):
		return nil
	case err == nil:
		r.count++
		r.f.view.Quota.GiveFile()
	}
	return err
}

// list fills d.todo with names of the directory. It answers false if the
// directory is no longer below the one that is removed.
func (r *remover) list(ctx context.Context, d *removal) (inside bool, err error) {
	path, err := r.fs.Path(ctx, d.node)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return false, nil // removed by another
	case err != nil:
		return false, err
	case path != r.base && !strings.HasPrefix(path, r.base+"/"):
		return false, nil
	}
	if err := r.f.view.Demand(ctx, r.scheme, path, vfs.Write); err != nil {
		return false, err
	}
	h, err := r.fs.OpenDir(ctx, d.node)
	if err != nil {
		return false, err
	}
	r.names = r.names[:0]
	err = h.ReadDir(ctx, 0, func(e vfs.DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			r.names = append(r.names, e)
		}
		return len(r.names) < removeBatch
	})
	d.todo = append([]vfs.DirEntry(nil), r.names...)
	return true, errors.Join(err, h.Close())
}

// rmdir removes a directory whose listing was empty.
func (r *remover) rmdir(ctx context.Context, d *removal) error {
	err := r.fs.Rmdir(ctx, d.parent, d.name)
	if errors.Is(err, syscall.ENOTEMPTY) && !d.kept {
		d.kept = true // something came since the listing, or is hidden: look again
		return nil
	}
	if err == nil || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		r.pop() // ENOTDIR: the name has become something else, which was not asked for
		if errors.Is(err, syscall.ENOTDIR) {
			return nil
		}
		return r.removed(err)
	}
	return err
}
