package session

import (
	"context"
	"io"
	"time"

	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session/store"
)

// Conn is a session that a command works on: one that this process owns, or a
// live one of another process. Both answer the same.
//
// Paths are relative to the workspace's root, without "." and "..". Errors that
// a person is to see are faults. A cancelled context ends a call with a fault of
// kind Cancelled; what was done by then stays done, entry by entry.
type Conn interface {
	// Info describes the session and its owner.
	Info(ctx context.Context) (Info, error)

	// Status calls fn for every change at or below one of the paths, in the
	// order of their paths.
	Status(ctx context.Context, req StatusRequest, fn func(Change) error) error

	// Diff writes the patch of every change at or below one of the paths.
	Diff(ctx context.Context, req DiffRequest, sink DiffSink) error

	// Commit writes changes to the workspace and calls fn for each that was
	// written. A conflict is a fault of that kind, and then nothing was
	// written. The result is valid with an error too.
	Commit(ctx context.Context, req CommitRequest, sink StepSink) (StepResult, error)

	// Discard throws changes away. The result is valid with an error too.
	Discard(ctx context.Context, req DiscardRequest, sink StepSink) (StepResult, error)

	// Run runs a capsule to its end. That the capsule failed is no error.
	Run(ctx context.Context, req RunRequest, io RunIO) (RunResult, error)

	// Recorded returns when what was done so far is in the files of the audit
	// log.
	Recorded(ctx context.Context) error

	// Unmount ends a live session's mount and with it its owner.
	Unmount(ctx context.Context, req UnmountRequest) error

	// Live tells whether another process owns the session.
	Live() bool

	// Close gives the session up. An owner waits for what others are doing in
	// it, until ctx ends.
	Close(ctx context.Context) error
}

// Info describes a session.
type Info struct {
	Name      string     `json:"name"`
	ID        string     `json:"id"`
	Workspace store.Path `json:"workspace"`
	Mode      store.Mode `json:"mode"`
	Branch    string     `json:"branch,omitempty"`
	Deny      []string   `json:"deny,omitempty"` // rules besides those of ignore files
	Created   time.Time  `json:"created"`
	Audit     string     `json:"audit"` // off, mutations, opens or full
	Dir       store.Path `json:"dir"`   // the session's directory

	// What owns the session now; PID is 0 where nothing does.
	PID        int        `json:"pid,omitempty"`
	Command    string     `json:"command,omitempty"`
	Since      *time.Time `json:"since,omitempty"`
	Mountpoint store.Path `json:"mountpoint,omitempty"`
	Runs       int        `json:"runs,omitempty"` // capsules that run now
}

// Change is one changed path.
type Change struct {
	Path   store.Path `json:"path"`
	From   store.Path `json:"from,omitempty"` // of a rename: what it was called
	Status string     `json:"status"`         // A, M, D, R or T
	Type   string     `json:"type"`           // file, directory, symlink, fifo, socket, device
	Size   int64      `json:"size"`           // bytes; of what is there now

	// Changed names what differs, of a changed path: content, mode, owner,
	// times, xattrs.
	Changed []string `json:"changed,omitempty"`

	// Conflict says what happened to the same path on the host since the
	// session first changed it; empty where nothing did.
	Conflict string `json:"conflict,omitempty"`
}

// StatusRequest are the arguments of Status.
type StatusRequest struct {
	Paths []store.Path `json:"paths,omitempty"` // none: all

	// Hidden lists also the changes that deny rules hide: a session that holds
	// them is not empty.
	Hidden bool `json:"hidden,omitempty"`
}

// DiffRequest are the arguments of Diff.
type DiffRequest struct {
	Paths    []store.Path `json:"paths,omitempty"`
	StatOnly bool         `json:"stat_only,omitempty"` // count lines, write no patch
}

// DiffSink takes what Diff finds: the text of a patch, and then what it was of.
type DiffSink interface {
	io.Writer
	File(f DiffFile) error
}

// DiffFile counts what one file's patch holds.
type DiffFile struct {
	Change
	Added    int   `json:"added"` // lines
	Deleted  int   `json:"deleted"`
	OldSize  int64 `json:"old_size"`
	NewSize  int64 `json:"new_size"`
	Binary   bool  `json:"binary,omitempty"`
	TooLarge bool  `json:"too_large,omitempty"` // not compared
}

// Stat returns f as overlay/diff writes it.
func (f *DiffFile) Stat() diff.Stat {
	return diff.Stat{
		Path: string(f.Path), From: string(f.From), Status: f.Status[0],
		Added: f.Added, Deleted: f.Deleted, OldSize: f.OldSize, NewSize: f.NewSize,
		Binary: f.Binary, TooLarge: f.TooLarge,
	}
}

// CommitRequest are the arguments of Commit.
type CommitRequest struct {
	Paths   []store.Path `json:"paths,omitempty"`
	DryRun  bool         `json:"dry_run,omitempty"` // only tell
	Force   bool         `json:"force,omitempty"`   // write over conflicts
	Message string       `json:"message,omitempty"` // mode worktree: of the git commit
}

// Step is one change that a commit or discard made, or would make.
type Step struct {
	Path   store.Path `json:"path"`
	From   store.Path `json:"from,omitempty"`
	Status string     `json:"status"` // as of Change
	Type   string     `json:"type,omitempty"`
}

// Progress is how far a commit or discard has come.
type Progress struct {
	Done  int   `json:"done"` // changes
	Total int   `json:"total"`
	Bytes int64 `json:"bytes"` // copied
}

// StepSink takes what a commit or discard tells: each step when all is done,
// and meanwhile, where Progress is not nil, how far it is.
type StepSink struct {
	Step     func(Step) error
	Progress func(Progress)
}

// StepResult is what a commit or discard did. Its lists are cut at a thousand
// entries each.
type StepResult struct {
	Steps     int      `json:"steps"`
	Conflicts []Change `json:"conflicts,omitempty"` // what a commit refused
	Also      []Note   `json:"also,omitempty"`      // done though it was not asked for
	Left      []Note   `json:"left,omitempty"`      // asked for and not done

	// Commit is the name of the git commit that was made, of mode worktree.
	Commit string `json:"commit,omitempty"`
}

// Note is a path and what is to be said of it.
type Note struct {
	Path   store.Path `json:"path"`
	Reason string     `json:"reason"`
}

// DiscardRequest are the arguments of Discard.
type DiscardRequest struct {
	Paths []store.Path `json:"paths,omitempty"`
}

// UnmountRequest are the arguments of Unmount.
type UnmountRequest struct {
	// Lazy takes the mount out of the tree also while it is in use, and stops
	// capsules that run.
	Lazy bool `json:"lazy,omitempty"`
}

// RunRequest are the arguments of Run, besides what RunIO gives.
type RunRequest struct {
	Name      string `json:"name"`                // the capsule's file, for messages
	Component string `json:"component,omitempty"` // which of its package's it is, by its file; empty: of that name
	Identity  string `json:"identity,omitempty"`  // names the file's exact contents; empty: not known

	Manifest     []byte `json:"manifest,omitempty"` // Capsule.toml
	ManifestName string `json:"manifest_name,omitempty"`
	Principal    string `json:"principal"`
	// FSRead and FSWrite are grants in place of the manifest's; with none of
	// the three the capsule gets the workspace and tmp.
	FSRead  []string `json:"fs_read,omitempty"`
	FSWrite []string `json:"fs_write,omitempty"`

	Entry    string    `json:"entry,omitempty"`  // install, upgrade, or empty
	Action   string    `json:"action,omitempty"` // astrid-hook-trigger with this
	Payload  []byte    `json:"payload,omitempty"`
	Messages []Message `json:"messages,omitempty"` // that its subscriptions find
	Args     []string  `json:"args,omitempty"`
	Env      []string  `json:"env,omitempty"` // K=V

	Timeout time.Duration `json:"timeout,omitempty"` // ns; 0: none
	Limits  RunLimits     `json:"limits"`
}

// RunLimits bound what a capsule may use; 0 stands for the default.
type RunLimits struct {
	Memory     uint64 `json:"memory,omitempty"`      // bytes
	WriteBytes uint64 `json:"write_bytes,omitempty"` // written in all
	Files      uint64 `json:"files,omitempty"`       // names made
}

// RunIO is what a capsule reads and writes, as the caller has it.
type RunIO struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Module opens the capsule's file. It is called at most once, and not at
	// all where the owner has the capsule compiled already. What it returns may
	// have Size() int64: about how many bytes are to be read, 0 if that is not
	// known.
	Module func() (io.ReadCloser, error)
	// Archive says that the file is an archive, of which the request's Component
	// is run.
	Archive bool

	// Compiling, where it is not nil, is called with the size of a capsule in
	// bytes before it is compiled or taken from the cache's directory, and what
	// it returns after that. Nothing is written to Stdout and Stderr between.
	Compiling func(size int64) (done func())
}

// compiling is what an owner says of the compiler.
type compiling struct {
	Size int64 `json:"size"` // of the capsule, in bytes
	Done bool  `json:"done,omitempty"`
}

// How a capsule ended.
const (
	OutcomeExited   = "exited"    // by itself, with a code
	OutcomeTrapped  = "trapped"   // its code did what it must not
	OutcomeTimedOut = "timed-out" // its time was up
)

// RunResult is how a capsule ended.
type RunResult struct {
	Outcome  string   `json:"outcome"`
	ExitCode int      `json:"exit_code"`         // of OutcomeExited
	Message  string   `json:"message,omitempty"` // of the other outcomes
	Frames   []string `json:"frames,omitempty"`  // the capsule's functions that were running, the innermost first
	Entry    string   `json:"entry,omitempty"`   // the export that was called

	// Result is what astrid-hook-trigger returned.
	Result *CapsuleResult `json:"result,omitempty"`
	// Published is what it published, with an outcome of another kind too.
	Published []Message `json:"published,omitempty"`

	Usage RunUsage `json:"usage"`
}

// Message is one of the bus.
type Message struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"` // JSON
}

// RunUsage is what a run used.
type RunUsage struct {
	WroteBytes  uint64        `json:"wrote_bytes"`
	MadeFiles   uint64        `json:"made_files"`
	MemoryBytes uint64        `json:"memory_bytes"`
	Duration    time.Duration `json:"duration_ns"`
}

// CapsuleResult is what astrid-hook-trigger returned.
type CapsuleResult struct {
	Action string  `json:"action"`
	Data   *string `json:"data"`
}
