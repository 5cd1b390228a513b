package fsapi

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// ReadDir returns the names in a directory, sorted by bytes, without "." and
// "..". Names that no path of a guest could say (view.CheckText) are left out.
// More than MaxNames is EFBIG.
func (f *FS) ReadDir(ctx context.Context, path string) ([]string, error) {
	t, err := f.locate(ctx, path, vfs.Follow, vfs.Read)
	if err != nil {
		return nil, err
	}
	defer t.Release()
	if !t.Entry.Attr.IsDir() {
		return nil, syscall.ENOTDIR
	}
	d, err := t.FS.OpenDir(ctx, t.Entry.Node)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	err = d.ReadDir(ctx, 0, func(e vfs.DirEntry) bool {
		if e.Name != "." && e.Name != ".." && view.CheckText(e.Name) == nil {
			names = append(names, e.Name)
		}
		return len(names) <= MaxNames
	})
	switch {
	case err != nil:
		return nil, err
	case len(names) > MaxNames:
		return nil, syscall.EFBIG
	}
	slices.Sort(names)
	return names, nil
}

// Mkdir makes one directory. A name that is there is EEXIST, a missing parent
// ENOENT.
func (f *FS) Mkdir(ctx context.Context, path string) error {
	t, err := f.name(ctx, path)
	if err != nil {
		return err
	}
	defer t.Release()
	if t.Exists() {
		return syscall.EEXIST
	}
	e, err := f.mkdir(ctx, t.FS, t.Parent, t.Name)
	if err != nil {
		return err
	}
	t.FS.Forget(e.Node, 1)
	return nil
}

// mkdir makes a directory, whose reference the caller gives back, and counts
// its name.
func (f *FS) mkdir(ctx context.Context, fs vfs.FS, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := f.view.Quota.TakeFile(); err != nil {
		return vfs.Entry{}, err
	}
	e, err := fs.Mkdir(ctx, parent, name, dirMode)
	if err != nil {
		f.view.Quota.GiveFile()
		return vfs.Entry{}, err
	}
	if err := setBits(ctx, fs, &e, nil, dirMode); err != nil {
		fs.Forget(e.Node, 1)
		return vfs.Entry{}, err
	}
	return e, nil
}

// MkdirAll makes a directory and the parents that it lacks. A directory that is
// there already is no error; anything else in the way is ENOTDIR.
func (f *FS) MkdirAll(ctx context.Context, path string) error {
	s, _, err := view.Parse(path)
	if err != nil {
		return err
	}
	for range races {
		t, err := f.view.Resolve(ctx, path, vfs.Follow, vfs.Write)
		rest := ""
		if errors.Is(err, syscall.ENOENT) {
			// A parent is missing: begin at the topmost one, which the gate has
			// to allow as well.
			var we *vfs.WalkError
			if !errors.As(err, &we) {
				return err
			}
			rest = we.Rest
			if err := f.allowed(ctx, s, we); err != nil {
				return err
			}
			first := strings.TrimSuffix(strings.TrimSuffix(we.Path, rest), "/")
			t, err = f.view.ResolveAt(ctx, s, vfs.RootID, first, 0, vfs.Write)
		}
		if err != nil {
			return err
		}
		done, err := f.mkdirs(ctx, &t, rest)
		t.Release()
		if done || err != nil {
			return err
		}
	}
	return syscall.EAGAIN
}

// allowed answers why MkdirAll may not go on, if what is missing is followed by
// ".." and so the path ends elsewhere than where its first directory is made. It
// has no effect, as a path that is refused must have none.
func (f *FS) allowed(ctx context.Context, s view.Scheme, we *vfs.WalkError) error {
	for range races {
		path, ok := behind(we.Path, we.Rest)
		if !ok {
			return nil
		}
		t, err := f.view.ResolveAt(ctx, s, vfs.RootID, path, vfs.Follow, vfs.Write)
		if err == nil {
			if t.Exists() && !t.Entry.Attr.IsDir() {
				err = syscall.ENOTDIR
			}
			t.Release()
			return err
		}
		if !errors.Is(err, syscall.ENOENT) || !errors.As(err, &we) {
			return err
		}
	}
	return syscall.EAGAIN
}

// behind returns a walk's path without the component that is missing, those
// below it and the ".." that lead out of it again; ok is false if none do.
func behind(path, rest string) (left string, ok bool) {
	missing := strings.TrimSuffix(strings.TrimSuffix(path, rest), "/")
	dir := missing[:strings.LastIndexByte(missing, '/')+1]
	depth := 1
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
		case "..":
			if depth--; depth == 0 {
				return dir + rest, true
			}
		default:
			depth++
		}
	}
	return "", false
}

// mkdirs makes the directory at t and those that rest names below it. It is not
// done where the place has changed or rest goes up, and the path must be walked
// again.
func (f *FS) mkdirs(ctx context.Context, t *view.Target, rest string) (done bool, err error) {
	switch {
	case t.Exists() && !t.Entry.Attr.IsDir():
		if t.Entry.Attr.IsSymlink() {
			return false, nil // the walk of the whole path follows it
		}
		return false, syscall.ENOTDIR
	case t.Exists():
		return rest == "", nil
	}
	e, err := f.mkdir(ctx, t.FS, t.Parent, t.Name)
	for err == nil {
		var name string
		name, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		if name == "" || name == ".." {
			break
		}
		if name == "." {
			continue
		}
		var below vfs.Entry
		below, err = f.mkdir(ctx, t.FS, e.Node, name)
		t.FS.Forget(e.Node, 1)
		if e = below; err == nil {
			err = ctx.Err()
		}
	}
	if e.Node != 0 {
		t.FS.Forget(e.Node, 1)
	}
	if errors.Is(err, syscall.EEXIST) {
		return false, nil
	}
	return false, err
}
