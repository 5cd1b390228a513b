package session

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// Spec says which session is wanted.
type Spec struct {
	Name      string     // empty: the workspace's own
	Workspace string     // as Workspace returned it
	Mode      store.Mode // empty: overlay for a new session, whatever it is for an old one
	Branch    string     // mode worktree, a new session: its branch; empty: astridfs/NAME
	Deny      []string   // deny rules of a new session; none: of an old one, whatever it has
}

// Ensure returns the session that spec describes, and makes it if there is
// none; made tells which. A session of that name that is of another workspace
// or mode is a fault of kind Usage.
func Ensure(ctx context.Context, st *store.Store, spec Spec) (disk *store.Session, made bool, err error) {
	if err := checkDeny(spec.Deny); err != nil {
		return nil, false, err
	}
	if spec.Name == "" {
		spec.Name = store.DefaultName(spec.Workspace)
	}
	disk, err = st.Load(spec.Name)
	if err == nil {
		return disk, false, spec.matches(disk)
	}
	if !errors.Is(err, store.ErrUnknown) {
		return nil, false, err
	}
	userXattr, err := st.Probe()
	if err != nil {
		return nil, false, err
	}
	if spec.Mode == "" {
		spec.Mode = store.Overlay
	}
	if spec.Branch != "" && spec.Mode != store.Worktree {
		return nil, false, fault.New(fault.Usage, "leave --branch out, or add --mode worktree", "a branch is for mode worktree")
	}
	f := store.NewFile(spec.Name, spec.Workspace, spec.Mode)
	f.Deny, f.UserXattr = spec.Deny, userXattr
	disk, err = st.Create(f)
	if errors.Is(err, fs.ErrExist) {
		// Another command was faster.
		if disk, err = st.Load(spec.Name); err != nil {
			return nil, false, err
		}
		return disk, false, spec.matches(disk)
	}
	if err == nil && spec.Mode == store.Worktree {
		err = addWorktree(ctx, st, disk, spec)
	}
	return disk, err == nil, err
}

// matches tells whether an existing session is the one that spec means.
func (spec *Spec) matches(disk *store.Session) error {
	f := &disk.File
	switch {
	case string(f.Workspace) != spec.Workspace:
		return fault.New(fault.Usage, "give another name with --session", "session %s is of another workspace, %s", f.Name, f.Workspace)
	case spec.Mode != "" && f.Mode != spec.Mode:
		return fault.New(fault.Usage, "give another name with --session", "session %s has mode %s", f.Name, f.Mode)
	case spec.Branch != "" && f.Branch != spec.Branch:
		return fault.New(fault.Usage, "give another name with --session", "session %s is on branch %s", f.Name, f.Branch)
	}
	return CheckDeny(disk, spec.Deny)
}

// CheckDeny tells whether a session has the deny rules that a command line
// gives; none stand for those that it has.
func CheckDeny(disk *store.Session, deny []string) error {
	f := &disk.File
	switch {
	case len(deny) == 0 || slices.Equal(f.Deny, deny):
		return nil
	case len(f.Deny) == 0:
		return fault.New(fault.Usage, "give another name with --session, or put the rules into .astridignore, which is read again when it changes",
			"session %s was made without --deny", f.Name)
	}
	return fault.New(fault.Usage, "leave --deny out, or give another name with --session", "session %s has other deny rules: %q", f.Name, f.Deny)
}

// addWorktree gives a new session its worktree, or takes the session back.
func addWorktree(ctx context.Context, st *store.Store, disk *store.Session, spec Spec) error {
	lock, err := disk.Lock("create")
	if err != nil {
		return err
	}
	if spec.Branch == "" {
		spec.Branch = "astridfs/" + spec.Name
	}
	f := disk.File
	f.Branch = spec.Branch
	if err = checkRepository(ctx, spec.Workspace, spec.Branch); err == nil {
		err = disk.Update(f) // from here on the branch is the session's
	}
	var gitDir string
	if err == nil {
		gitDir, err = createWorktree(ctx, spec.Workspace, disk.Tree(), spec.Branch)
	}
	if err == nil {
		f.GitDir = store.Path(gitDir)
		err = disk.Update(f)
	}
	if err != nil {
		return errors.Join(err, st.Remove(disk, lock))
	}
	return lock.Unlock()
}

// RemoveOptions are the arguments of Remove. The zero value is good.
type RemoveOptions struct {
	// KeepAudit, if it is not empty, is a directory that is made and gets a copy
	// of the audit log first.
	KeepAudit string

	// Force removes also changes that are not committed, a worktree whose changes
	// cannot all be, and what others saved while a capsule wrote the same file.
	Force bool

	// Unchanged removes only a session without changes, whatever its mode, and,
	// without Force, only one in which capsules keep nothing. The error is
	// ErrHolds where there is something.
	Unchanged bool

	// Unused takes back a session that was only just made: nothing is saved of
	// it, and its branch goes too.
	Unused bool

	// Note, if it is not nil, is told what became of what was not committed.
	Note func(text string)
}

// Remove deletes a session that nobody uses, with all its changes and its audit
// log. Of a session in mode worktree the branch stays, and what was not
// committed yet is committed there first.
func Remove(ctx context.Context, st *store.Store, disk *store.Session, opt RemoveOptions) error {
	lock, err := disk.Lock("remove")
	if errors.Is(err, store.ErrLocked) {
		return InUse(disk, "end it first with: astridfs unmount "+disk.File.Name, "")
	}
	if err != nil {
		return err
	}
	if !opt.Force {
		err = checkKept(disk)
	}
	if err == nil {
		err = checkHolds(ctx, disk, opt)
	}
	if err != nil {
		return errors.Join(err, lock.Unlock())
	}
	if opt.KeepAudit != "" {
		if err := keepAudit(ctx, disk, opt.KeepAudit); err != nil {
			return errors.Join(err, lock.Unlock())
		}
	}
	if disk.File.Mode == store.Worktree {
		if !opt.Unused {
			err = saveWorktree(ctx, disk, opt)
		}
		if err == nil {
			err = giveUpWorktree(ctx, disk)
		}
		if err == nil && opt.Unused {
			err = removeBranch(ctx, string(disk.File.Workspace), disk.File.Branch)
		}
		if err != nil {
			return errors.Join(err, lock.Unlock())
		}
	}
	return st.Remove(disk, lock)
}

// InUse says that another process owns a session. mounted is what to do where it
// has that mounted; elsewhere what to know besides, which may be nothing.
func InUse(disk *store.Session, mounted, elsewhere string) error {
	h, next := disk.Holder(), mounted
	if h.Mountpoint == "" {
		next = "wait until that is done, or end it: its changes stay in the session" + elsewhere
	}
	return fault.New(fault.Busy, next, "session %s is in use by %s", disk.File.Name, h)
}

// RemoveDamaged deletes a session that cannot be loaded.
func RemoveDamaged(st *store.Store, name string) error {
	err := st.RemoveDamaged(name)
	if errors.Is(err, store.ErrLocked) {
		return fault.New(fault.Busy, "end the process that uses it first", "session %s is in use", name)
	}
	return err
}
