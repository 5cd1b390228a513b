package view

import (
	"context"
	"errors"

	"github.com/astridfs/astridfs/vfs"
)

// View is what a capsule sees. Its fields are set once, before it is used;
// after that it may be used by any number of goroutines.
type View struct {
	// Workspace, Home and Tmp are the trees. A scheme whose tree is nil is
	// answered with vfs.ErrCapability. The view owns none of them.
	Workspace, Home, Tmp vfs.FS

	// Gate decides about every resolved path; nil allows everything.
	Gate vfs.Gate

	// Refused is told of each refusal (vfs.ErrCapability, vfs.ErrEscape) before
	// it is answered: the path with its scheme, resolved as far as it was, and
	// what was wanted. What it returns is answered in place of err. Refusals of
	// the trees themselves are not told. Nil is told nothing.
	Refused func(ctx context.Context, path string, want vfs.Access, err error) error

	// Quota counts what the capsule writes and makes; nil sets no bound.
	Quota *Quota
}

// FS returns the tree of a scheme, or vfs.ErrCapability if the view lacks it.
func (v *View) FS(s Scheme) (vfs.FS, error) {
	var fs vfs.FS
	switch s {
	case Workspace:
		fs = v.Workspace
	case Home:
		fs = v.Home
	case Tmp:
		fs = v.Tmp
	}
	if fs == nil {
		return nil, vfs.ErrCapability
	}
	return fs, nil
}

// Check asks the gate about a resolved path. It answers nil or an error that
// is vfs.ErrCapability.
func (v *View) Check(s Scheme, path string, want vfs.Access) error {
	if v.Gate == nil {
		return nil
	}
	return v.Gate.Check(s.String(), path, want)
}

// Demand is Check that tells Refused of a refusal.
func (v *View) Demand(ctx context.Context, s Scheme, path string, want vfs.Access) error {
	if err := v.Check(s, path, want); err != nil {
		return v.Refuse(ctx, s, path, want, err)
	}
	return nil
}

// Refuse returns the refusal err, of which it tells Refused first.
func (v *View) Refuse(ctx context.Context, s Scheme, path string, want vfs.Access, err error) error {
	if v.Refused == nil {
		return err
	}
	return v.Refused(ctx, Format(s, path), want, err)
}

// Target is where a guest's path led: the tree, and the place in it.
type Target struct {
	// Target holds the references; its Path is relative to the node that the
	// walk began at, which for Resolve is the root of the tree.
	vfs.Target

	FS     vfs.FS
	Scheme Scheme

	// Full is the resolved path from the root of the tree.
	Full string
}

// String returns the canonical scheme path of the target.
func (t *Target) String() string { return Format(t.Scheme, t.Full) }

// Resolve turns a guest's path into a place in one of the trees and asks the
// gate for the access want to it. As with vfs.Walk, a path whose last component
// is missing resolves, to a Target that does not exist. The caller releases a
// successful result.
//
// Errors: EINVAL for what is no path (see Parse), vfs.ErrCapability for a
// scheme that the view lacks or a path that the gate refuses; then those of the
// walk, which are of type *vfs.WalkError: vfs.ErrEscape, vfs.ErrHidden and the
// errnos of vfs.Walk.
func (v *View) Resolve(ctx context.Context, path string, flags vfs.WalkFlags, want vfs.Access) (t Target, err error) {
	s, rest, err := Parse(path)
	if err != nil {
		return t, err
	}
	if t.FS, err = v.FS(s); err != nil {
		return Target{}, v.Refuse(ctx, s, rest, want, err)
	}
	t.Scheme = s
	if err = v.resolve(ctx, &t, vfs.RootID, "", rest, flags, want); err != nil {
		return Target{}, err
	}
	return t, nil
}

// ResolveAt is Resolve for a path without a scheme that begins at the directory
// dir of the tree s, and is confined to it: leading slashes count for nothing,
// and a ".." above dir is vfs.ErrEscape. The caller holds a reference to dir.
// It is what a WASI directory descriptor needs. The text of path is not
// checked; a front end whose paths must be clean calls CheckText.
//
// Errors: as Resolve; ENOENT also where dir itself was removed.
func (v *View) ResolveAt(ctx context.Context, s Scheme, dir vfs.NodeID, path string, flags vfs.WalkFlags, want vfs.Access) (t Target, err error) {
	if t.FS, err = v.FS(s); err != nil {
		return Target{}, v.Refuse(ctx, s, path, want, err)
	}
	t.Scheme = s
	// The gate knows paths from the root, and the directory may have been
	// renamed since it was opened.
	var base string
	if dir != vfs.RootID {
		if base, err = t.FS.Path(ctx, dir); err != nil {
			return Target{}, err
		}
	}
	if err = v.resolve(ctx, &t, dir, base, path, flags, want); err != nil {
		return Target{}, err
	}
	return t, nil
}

// resolve completes t, whose tree is set, unless it fails.
func (v *View) resolve(ctx context.Context, t *Target, root vfs.NodeID, base, path string, flags vfs.WalkFlags, want vfs.Access) (err error) {
	if t.Target, err = vfs.Walk(ctx, t.FS, root, path, flags); err != nil {
		return v.failed(ctx, t.Scheme, base, path, want, err)
	}
	t.Full = join(base, t.Path)
	if err = v.demandLeft(ctx, t.Scheme, base, t.Left, want); err == nil {
		err = v.Demand(ctx, t.Scheme, t.Full, want)
	}
	if err != nil {
		t.Release()
	}
	return err
}

// failed returns what a walk that failed with err is to be answered with.
func (v *View) failed(ctx context.Context, s Scheme, base, path string, want vfs.Access, err error) error {
	var we *vfs.WalkError
	if !errors.As(err, &we) {
		return err
	}
	// A path that leaves the tree is at no place that could be granted.
	escape := errors.Is(err, vfs.ErrEscape)
	if denied := v.demandLeft(ctx, s, base, we.Left, want); denied != nil {
		return denied
	}
	if we.Path == "" && escape {
		return v.Refuse(ctx, s, join(base, path), want, err)
	}
	full := join(base, we.Path)
	if denied := v.Demand(ctx, s, full, want); denied != nil {
		return denied
	}
	if escape {
		err = v.Refuse(ctx, s, full, want, err)
	}
	return err
}

// demandLeft asks the gate about the directories that a walk left by ".."; a
// path through one that nothing is granted of would tell whether it is there.
func (v *View) demandLeft(ctx context.Context, s Scheme, base string, left []string, want vfs.Access) error {
	for _, path := range left {
		if full := join(base, path); !v.passes(s, full) {
			return v.Refuse(ctx, s, full, want, vfs.ErrCapability)
		}
	}
	return nil
}

func (v *View) passes(s Scheme, path string) bool {
	return v.Gate == nil || v.Gate.Passes(s.String(), path)
}

// Shown returns a tree as far as the gate lets a guest know of it: names of which
// nothing is granted are vfs.ErrHidden to lookups.
func (v *View) Shown(s Scheme, fs vfs.FS) vfs.FS {
	if v.Gate == nil {
		return fs
	}
	return &shown{FS: fs, view: v, scheme: s}
}

type shown struct {
	vfs.FS
	view   *View
	scheme Scheme
}

func (f *shown) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	dir, err := f.Path(ctx, parent)
	if err != nil {
		return vfs.Entry{}, err
	}
	if !f.view.passes(f.scheme, join(dir, name)) {
		return vfs.Entry{}, vfs.ErrHidden
	}
	return f.FS.Lookup(ctx, parent, name)
}

// join puts a relative path behind a base; either may be empty.
func join(base, path string) string {
	switch {
	case base == "":
		return path
	case path == "":
		return base
	}
	return base + "/" + path
}
