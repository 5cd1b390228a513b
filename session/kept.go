package session

import (
	"context"
	"errors"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// tellKept returns what tells of a file that another process saved, in the
// workspace or a principal's directory, while a capsule's took its place, and
// that could not be left there.
func tellKept(disk *store.Session, log logrus.FieldLogger) func(hostfs.Kept) {
	return func(k hostfs.Kept) {
		of := "a file"
		if k.Of != "" {
			of = fault.Arg(k.Of)
		}
		log.Warnf("session %s: what another process saved as %s while a capsule wrote it is in %s: move it to where it belongs, or delete it",
			disk.File.Name, of, fault.Arg(k.Path))
	}
}

// checkKept fails if such a file is in the session's directory, with which it
// would be deleted. The caller owns the session, and has not opened it.
func checkKept(disk *store.Session) error {
	root := string(disk.File.Workspace)
	switch disk.File.Mode {
	case store.Overlay:
		return nil
	case store.Worktree:
		root = disk.Tree()
	}
	var held error
	fs, err := hostfs.Open(root, hostfs.Options{Stage: disk.Stage("workspace"), Kept: func(k hostfs.Kept) {
		held = fault.New(fault.Failed, "move it to where it belongs, or repeat the command with --force",
			"session %s holds what another process saved while a capsule wrote the same file: %s", disk.File.Name, fault.Arg(k.Path)).By(ErrHolds)
	}})
	if errors.Is(err, os.ErrNotExist) {
		return nil // the workspace is gone, of which others tell
	}
	if err != nil {
		return err
	}
	return errors.Join(held, fs.Close())
}

// ErrHolds says that a session has something that would be lost with it.
var ErrHolds = errors.New("something would be lost with it")

// checkHolds fails if changes would be lost with a session, or anything at all
// that opt does not mean. The caller owns the session, and has not opened it:
// what was true before it did may not be any more.
func checkHolds(ctx context.Context, disk *store.Session, opt RemoveOptions) error {
	if opt.Unchanged && !opt.Force {
		keeps, err := disk.KeepsData()
		if keeps {
			err = fault.New(fault.Failed, "repeat it with --force", "session %s: capsules keep files or values in it", disk.File.Name).By(ErrHolds)
		}
		if err != nil {
			return err
		}
	}
	// Without Force, changes of other modes are in the workspace or get committed.
	if !opt.Unchanged && (opt.Force || disk.File.Mode != store.Overlay) {
		return nil
	}
	t, err := openTree(ctx, disk, nil)
	if err != nil {
		return err
	}
	n := 0
	err = t.status(ctx, StatusRequest{Hidden: true}, func(Change) error { n++; return nil })
	if n > 0 {
		err = errors.Join(err, fault.New(fault.Failed, "commit or discard them, or repeat it with --force",
			"session %s holds changes (%d)", disk.File.Name, n).By(ErrHolds))
	}
	return errors.Join(err, t.close())
}
