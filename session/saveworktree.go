package session

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// saveWorktree commits to the session's branch what is not committed yet, before
// its worktree goes. What deny rules hide is in no commit: unless that is
// forced, a worktree with such changes is not given up. The caller owns the
// session.
func saveWorktree(ctx context.Context, disk *store.Session, opt RemoveOptions) error {
	if disk.File.GitDir == "" {
		return nil // it was not made to its end, and nobody has worked there
	}
	var r StepResult
	_, err := os.Stat(string(disk.File.Workspace))
	gone := errors.Is(err, os.ErrNotExist)
	if !gone {
		r, err = commitAll(ctx, disk)
	}
	switch {
	case gone:
		err = fault.New(fault.Failed, "bring it back, or give up what is not committed with --force",
			"the repository of session %s is gone: %s", disk.File.Name, disk.File.Workspace)
	case err != nil:
		err = fault.New(fault.Failed, "look at "+disk.Tree()+", or give it up with --force",
			"what session %s has not committed cannot be kept: %w", disk.File.Name, err)
	case len(r.Left) > 0:
		err = fault.New(fault.Failed, "take them away, or repeat it with --force",
			"session %s holds what deny rules keep out of a commit: %s in %s", disk.File.Name, r.Left[0].Path, disk.Tree())
	}
	switch {
	case ctx.Err() != nil:
		return cancelled(ctx, err)
	case err != nil && !opt.Force:
		return err
	case opt.Note == nil:
	case err != nil:
		opt.Note(err.Error())
	case r.Steps > 0:
		opt.Note(fmt.Sprintf("session %s: what was not committed is in git commit %.12s now", disk.File.Name, r.Commit))
	}
	return nil
}

// commitAll commits every change of a session in mode worktree.
func commitAll(ctx context.Context, disk *store.Session) (r StepResult, err error) {
	t, err := openWorktree(ctx, disk, nil) // what others saved was looked for before
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	b, err := openBounds(t, disk, nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return t.commit(ctx, CommitRequest{Message: "Unsaved changes of the astridfs session " + disk.File.Name}, b.sieve(ctx),
		StepSink{Step: func(Step) error { return nil }})
}

// giveUpWorktree takes the worktree of a session away. Its branch stays, if it was
// ever in use.
func giveUpWorktree(ctx context.Context, disk *store.Session) error {
	f := &disk.File
	if f.GitDir == "" {
		return forgetWorktree(ctx, string(f.Workspace), disk.Tree(), f.Branch)
	}
	return removeWorktree(ctx, string(f.Workspace), disk.Tree(), string(f.GitDir))
}
