package overlay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/at"
)

// CommitOptions of [FS.Commit].
type CommitOptions struct {
	// Paths limits the commit to what is at or below these paths. None: all.
	Paths []string

	// DryRun finds out what would be done and does nothing.
	DryRun bool

	// Force takes the overlay's side in every conflict.
	Force bool

	// NoSync leaves it to the kernel when the workspace reaches the disk; a
	// crash of the machine can then lose what was committed.
	NoSync bool

	// Withhold tells why a path of the view must not be written in the
	// workspace; "" if it may. What is withheld stays in the overlay, with all
	// below it, with the other end of a rename and the other names of a file,
	// and so does the deletion of a directory of the workspace that holds such
	// a path. The report names it under Left. It is called while the commit is
	// planned, on the goroutine of Commit, mostly for one directory's entries
	// after the other; an error ends the commit with nothing done. May be nil.
	Withhold func(path string, isDir bool) (why string, err error)

	// Progress is told before each entry that is worked on; it is called on
	// the goroutine of Commit and must not call the overlay.
	Progress func(Progress)
}

// Progress is how far a commit has come. Total counts changes, Done those that
// are finished; Bytes counts what was copied.
type Progress struct {
	Path        string
	Done, Total int
	Bytes       int64
}

// Step is one change that a commit or discard made, or would make.
type Step struct {
	Kind       Kind
	Path, From string // as of Change
	Type       uint32 // bits of S_IFMT, of what is there now; of what was there where it was deleted
}

// step returns what a report says of a change.
func (c *Change) step() Step {
	there := c.New.Mode
	if c.Kind == Deleted {
		there = c.Old.Mode
	}
	return Step{c.Kind, c.Path, c.From, there & unix.S_IFMT}
}

// Note is a path and what is to be said of it.
type Note struct {
	Path, Reason string
}

// Report is what a commit or discard did.
type Report struct {
	// Steps are the changes that were made, in the order of the change set.
	Steps []Step

	// Also names what had to be done though it was not selected.
	Also []Note

	// Left names what was selected and is still in the overlay alone.
	Left []Note
}

// ConflictError says which changes a commit refused because the workspace's
// own entries are not what they were.
type ConflictError struct {
	Conflicts []Change
}

func (e *ConflictError) Error() string {
	const most = 5
	var b strings.Builder
	fmt.Fprintf(&b, "%d in conflict with the workspace", len(e.Conflicts))
	for i, c := range e.Conflicts {
		if i == most {
			b.WriteString(", …")
			break
		}
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%q %s", sep, c.Path, c.Conflict)
	}
	return b.String()
}

// Errors of [FS.Commit].
var (
	// ErrNoState: the overlay was opened without [Options.State], which a
	// commit needs to see conflicts and to survive a crash.
	ErrNoState = errors.New("the overlay keeps no state, so it cannot be committed")
	// ErrFrozenLayers: there are layers between the upper one and the
	// workspace.
	ErrFrozenLayers = errors.New("layers between the overlay and the workspace cannot be committed")

	errMeanwhile = errors.New("it changed meanwhile")
)

// Commit makes the workspace, the one lower layer, what the view shows at the
// selected paths, and takes the entries that are then the same out of the
// upper layer. The view does not change by it.
//
// If anything selected is in conflict, nothing at all is done and the error is
// a *[ConflictError], unless Force is set. Each entry of the workspace becomes
// what it is to be in one step, by a rename over it where its contents change.
// Renamed directories are renamed, files with several names stay linked where
// all are committed, and nothing else of the workspace is touched. No symbolic
// link of the workspace is followed.
//
// Killed at any moment, it leaves each entry committed or still in the overlay,
// and another Commit finishes the work. A cancelled one stops between entries
// and answers EINTR; the report then says what was done. The view may be used
// meanwhile: what changes while it is committed stays in the overlay.
//
// Committing something inside a new or renamed directory commits that
// directory, or its new name, as well; the report names it under Also.
//
// At most one Commit or Discard runs at a time; another one waits.
func (fs *FS) Commit(ctx context.Context, opt CommitOptions) (Report, error) {
	if fs.log == nil {
		return Report{}, ErrNoState
	}
	if len(fs.ly.lowers) > 1 {
		return Report{}, ErrFrozenLayers
	}
	fs.changing.Lock()
	defer fs.changing.Unlock()
	if err := fs.nameIndexed(ctx, false); err != nil {
		return Report{}, err
	}
	c := newCommit(ctx, fs, opt)
	if err := c.plan(); err != nil {
		return c.report, err
	}
	if opt.DryRun {
		return c.report, nil
	}
	err := c.run()
	return c.report, err
}

func newCommit(ctx context.Context, fs *FS, opt CommitOptions) *commit {
	return &commit{
		fs: fs, ctx: ctx, opt: opt, made: make(map[string]bool), done: make(map[string]bool),
		links: make(map[at.Ident]*linkGroup), announced: make(map[at.Ident]bool),
	}
}

// commit is one run of Commit. It is for one goroutine.
type commit struct {
	fs  *FS
	ctx context.Context
	opt CommitOptions

	walk   *walk
	survey *survey
	base   *baseTree
	choice choice
	moves  []*object // renames to be done
	report Report

	made  map[string]bool // directories made in the workspace, whose attributes are still to come
	done  map[string]bool // changes that were made
	links map[at.Ident]*linkGroup

	announced map[at.Ident]bool // files of the workspace that the log knows to be touched, though for no more than a name

	renamed uint64 // FS.renamed when the survey was made, or a little less

	frozen  bool   // the gate is, by a step that touches what others record
	recount bool   // link counts of lower files changed
	stage   string // directory at the workspace's root for directories between two places; "" without
	staged  []evacuated

	unfinished bool   // the next Open has to look for what is in the stage directory
	temps      uint64 // temporary names used
	prefix     string // what they begin with

	progress Progress
}

// tell reports progress.
func (c *commit) tell(path string) {
	if c.opt.Progress != nil {
		c.progress.Path = path
		c.opt.Progress(c.progress)
	}
}

// left notes that a selected entry stays in the overlay.
func (c *commit) left(path string, why error) {
	c.report.Left = append(c.report.Left, Note{path, why.Error()})
}

// pathError adds the path to an error, once.
func pathError(path string, err error) error {
	var e *commitError
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &commitError{path, err}
}

// commitError is a failure at a path of the view.
type commitError struct {
	path string
	err  error
}

func (e *commitError) Error() string {
	if e.path == "" {
		return "workspace: " + e.err.Error()
	}
	return fmt.Sprintf("%q: %s", e.path, e.err)
}

func (e *commitError) Unwrap() error { return e.err }

// step is a point between two states on disk; a test can stop here.
func (c *commit) step(name string) { c.fs.step("commit." + name) }

// stop answers EINTR once the commit is cancelled.
func (c *commit) stop() error {
	if c.ctx.Err() != nil {
		return syscall.EINTR
	}
	return nil
}
