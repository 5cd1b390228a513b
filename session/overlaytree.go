package session

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs"
)

// overlayTree is a session in mode overlay: changes are held back from the
// workspace until they are committed.
type overlayTree struct {
	ov        *overlay.FS
	workspace string
}

func openOverlay(ctx context.Context, disk *store.Session) (tree, error) {
	if err := disk.CheckMarks(); err != nil {
		return nil, err
	}
	ov, err := openUnused(ctx, overlay.Options{
		Lower: []string{string(disk.File.Workspace)},
		Upper: disk.Upper(), Work: disk.Work(), State: disk.State(), UserXattr: disk.File.UserXattr,
	})
	if err == nil {
		return &overlayTree{ov, string(disk.File.Workspace)}, nil
	}
	next := ""
	switch {
	case errors.Is(err, overlay.ErrNoXattr), errors.Is(err, overlay.ErrNoWhiteout), errors.Is(err, overlay.ErrNoRename):
		next = "use a state directory on another filesystem (ext4, xfs, btrfs): --state-dir or ASTRIDFS_STATE_DIR"
	case errors.Is(err, overlay.ErrInUse):
		return nil, fault.New(fault.Busy, "end what mounts the session's layers", "session %s: %w", disk.File.Name, err)
	case ctx.Err() != nil:
		return nil, cancelled(ctx, ctx.Err())
	}
	return nil, fault.New(fault.Failed, next, "cannot open session %s of %s: %w", disk.File.Name, disk.File.Workspace, err)
}

func (t *overlayTree) fs() vfs.FS   { return t.ov }
func (t *overlayTree) close() error { return t.ov.Close() }

func (t *overlayTree) status(ctx context.Context, req StatusRequest, fn func(Change) error) error {
	for c, err := range t.ov.Changes(ctx, overlay.ChangesOptions{Paths: plainPaths(req.Paths)}) {
		if err != nil {
			return err
		}
		if err := fn(changeOf(&c)); err != nil {
			return err
		}
	}
	return nil
}

// diff tells deletions first where a patch is wanted: git apply would take one
// that follows for one of what another part of the patch moved to its path.
func (t *overlayTree) diff(ctx context.Context, req DiffRequest, s *sieve, sink DiffSink) error {
	opt := diff.Defaults()
	opt.Discard = req.StatOnly
	var later []overlay.Change
	for c, err := range t.ov.Changes(ctx, overlay.ChangesOptions{Paths: plainPaths(req.Paths), Expand: true}) {
		if err != nil {
			return err
		}
		if c.Kind != overlay.Deleted && !req.StatOnly {
			later = append(later, c)
			continue
		}
		if err := t.diffOf(ctx, &c, opt, s, sink); err != nil {
			return err
		}
	}
	for i := range later {
		if err := t.diffOf(ctx, &later[i], opt, s, sink); err != nil {
			return err
		}
	}
	return nil
}

// diffOf tells the difference that one change makes.
func (t *overlayTree) diffOf(ctx context.Context, c *overlay.Change, opt diff.Options, s *sieve, sink DiffSink) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ch := changeOf(c)
	if why, err := s.change(&ch); err != nil || why != "" {
		return err
	}
	st, err := t.ov.Diff(sink, c, opt)
	if errors.Is(err, diff.ErrChanged) || vfs.Errno(err) == unix.ESTALE {
		return nil // changed while we looked; what is there now is of the next diff
	}
	if err != nil || ch.Type == "directory" { // git knows none
		return err
	}
	return sink.File(DiffFile{
		Change: ch, Added: st.Added, Deleted: st.Deleted,
		OldSize: st.OldSize, NewSize: st.NewSize, Binary: st.Binary, TooLarge: st.TooLarge,
	})
}

// changeOf returns an overlay's change as a Conn tells it.
func changeOf(c *overlay.Change) Change {
	there := &c.New
	if c.Kind == overlay.Deleted {
		there = &c.Old
	}
	ch := Change{
		Path: store.Path(c.Path), From: store.Path(c.From), Status: c.Kind.String(),
		Type: typeName(there.Mode), Size: c.New.Size, Changed: c.Changed.Names(), Conflict: c.Conflict.String(),
	}
	if there.IsDir() {
		ch.Size = 0
	}
	if c.Kind != overlay.Renamed {
		ch.From = ""
	}
	return ch
}

func typeName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "device"
	}
	return "file"
}

func plainPaths(paths []store.Path) []string {
	var list []string
	for _, p := range paths {
		list = append(list, string(p))
	}
	return list
}

func (t *overlayTree) commit(ctx context.Context, req CommitRequest, s *sieve, sink StepSink) (StepResult, error) {
	rep, err := t.ov.Commit(ctx, overlay.CommitOptions{
		Paths: plainPaths(req.Paths), DryRun: req.DryRun, Force: req.Force, Withhold: s.why, Progress: progressTo(sink),
	})
	r, err := t.report(rep, sink, err)
	var conflict *overlay.ConflictError
	switch {
	case err == nil || ctx.Err() != nil:
		return r, err
	case !errors.As(err, &conflict):
		return r, fmt.Errorf("cannot commit to %s: %w", fault.Arg(t.workspace), err)
	}
	for i := range conflict.Conflicts[:min(len(conflict.Conflicts), maxNotes)] {
		r.Conflicts = append(r.Conflicts, changeOf(&conflict.Conflicts[i]))
	}
	return r, fault.New(fault.Conflict,
		"look at both sides, then commit the other paths, overwrite the workspace with --force, or take its side with: astridfs discard PATH",
		"nothing was committed: %w", err)
}

func progressTo(sink StepSink) func(overlay.Progress) {
	if sink.Progress == nil {
		return nil
	}
	return func(p overlay.Progress) { sink.Progress(Progress{Done: p.Done, Total: p.Total, Bytes: p.Bytes}) }
}

// maxNotes bounds the lists of a StepResult.
const maxNotes = 1000

// report tells what a commit or discard did, also where it ended with err.
func (t *overlayTree) report(rep overlay.Report, sink StepSink, err error) (StepResult, error) {
	r := StepResult{Steps: len(rep.Steps), Also: notesOf(rep.Also), Left: notesOf(rep.Left)}
	for _, s := range rep.Steps {
		if serr := sink.Step(Step{Path: store.Path(s.Path), From: store.Path(s.From), Status: s.Kind.String(), Type: typeName(s.Type)}); serr != nil {
			return r, errors.Join(err, serr)
		}
	}
	return r, err
}

func notesOf(notes []overlay.Note) []Note {
	var list []Note
	for _, n := range notes[:min(len(notes), maxNotes)] {
		list = append(list, Note{store.Path(n.Path), n.Reason})
	}
	return list
}

func (t *overlayTree) discard(ctx context.Context, req DiscardRequest, sink StepSink) (StepResult, error) {
	rep, err := t.ov.Discard(ctx, plainPaths(req.Paths))
	return t.report(rep, sink, err)
}
