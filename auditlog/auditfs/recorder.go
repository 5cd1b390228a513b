package auditfs

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/vfs"
)

// Level is how much is recorded.
type Level uint8

// The levels, each recording what the one before it does.
const (
	Off Level = iota
	Mutations
	Opens
	Full
)

// ParseLevel reads a level's name.
func ParseLevel(s string) (Level, error) {
	for l := Off; l <= Full; l++ {
		if l.String() == s {
			return l, nil
		}
	}
	return Off, fmt.Errorf("unknown audit level %q: want off, mutations, opens or full", s)
}

// String returns the level's name.
func (l Level) String() string {
	switch l {
	case Mutations:
		return "mutations"
	case Opens:
		return "opens"
	case Full:
		return "full"
	}
	return "off"
}

// Recorder writes to a log. It may be used by any number of goroutines.
type Recorder struct {
	log      *auditlog.Log
	level    Level
	refusals []error
	programs *programs
	left     *atomic.Int64 // how many records are still taken; nil: all
}

// NewRecorder returns a recorder of a level above Off. refusals are errors that
// stand for a refusal besides those of package vfs. The log stays the caller's.
func NewRecorder(log *auditlog.Log, level Level, refusals ...error) *Recorder {
	refusals = append([]error{vfs.ErrCapability, vfs.ErrEscape, vfs.ErrHidden}, refusals...)
	return &Recorder{log: log, level: level, refusals: refusals, programs: new(programs)}
}

// ErrSpent is the answer to an operation that would need a record more than a
// limited recorder takes. It wraps EDQUOT.
var ErrSpent = fmt.Errorf("no more operations can be recorded: %w", syscall.EDQUOT)

// Limited returns a recorder to the same log that takes n records, so that who
// does the same thing for ever fills no disk. From then on what would be recorded
// is answered with ErrSpent and not done, and so is a refusal; but for the close
// of what is open, which is still recorded. A record says that the end was reached.
func (r *Recorder) Limited(n int64) *Recorder {
	own := *r
	own.left = new(atomic.Int64)
	own.left.Store(n)
	return &own
}

// spent tells whether a limited recorder has come to its end.
func (r *Recorder) spent() bool { return r.left != nil && r.left.Load() <= 0 }

// append appends a record and counts it.
func (r *Recorder) append(rec *auditlog.Record, durable bool) error {
	err := r.log.Append(*rec, durable)
	if r.left != nil && rec.Op != "close" && r.left.Add(-1) == 0 && err == nil {
		end := auditlog.Record{Op: "quota", Actor: rec.Actor, Outcome: auditlog.Denied, Error: errorName(ErrSpent)}
		err = r.log.Append(end, durable)
	}
	return unrecorded(err)
}

// Level returns the recorder's level.
func (r *Recorder) Level() Level { return r.level }

// Close lets go of what the recorder keeps open, which is not the log. It may be
// used after that, at the price of opening it again.
func (r *Recorder) Close() { r.programs.close() }

// Append records what is no call of a filesystem. Errors: ENOSPC or EDQUOT while
// there is no room for the log, EIO with the cause otherwise; ErrSpent.
func (r *Recorder) Append(rec auditlog.Record, durable bool) error {
	if r.spent() {
		return ErrSpent
	}
	return r.append(&rec, durable)
}

// Ready answers ENOSPC, EDQUOT or EIO if nothing can be recorded.
func (r *Recorder) Ready() error {
	if r.spent() {
		return ErrSpent
	}
	return unrecorded(r.log.Err())
}

// unrecorded makes EIO of the log's error, unless there is only no room for it.
func unrecorded(err error) error {
	if err == nil || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return fmt.Errorf("%w: %w", syscall.EIO, err)
}

// Refused records that a capsule was refused a path before any filesystem was
// asked, or by a rule that no filesystem knows. path is the guest's, with its
// scheme. It returns err, or why that could not be recorded.
func (r *Recorder) Refused(ctx context.Context, path string, want vfs.Access, err error) error {
	rec := auditlog.Record{Op: "access", Path: path, Flags: accessFlags(want)}
	return r.finish(ctx, &rec, err)
}

func accessFlags(want vfs.Access) string {
	switch want {
	case vfs.Read:
		return "read"
	case vfs.Write:
		return "write"
	case vfs.Read | vfs.Write:
		return "read,write"
	}
	return ""
}

// isRefusal tells whether err is a rule's, and not the filesystem's.
func (r *Recorder) isRefusal(err error) bool {
	if _, plain := err.(syscall.Errno); plain {
		return false // the usual case, told without looking further
	}
	for _, e := range r.refusals {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// finish completes rec with who asked and what came of it, and appends it. It
// returns err, or why that could not be recorded.
func (r *Recorder) finish(ctx context.Context, rec *auditlog.Record, err error) error {
	if vfs.CallerFrom(ctx).Own {
		return err
	}
	rec.Actor = r.actor(ctx)
	return r.done(rec, err)
}

// done is finish for a record that has its actor.
func (r *Recorder) done(rec *auditlog.Record, err error) error {
	rec.Outcome = auditlog.Allowed
	if err != nil {
		rec.Outcome, rec.Error = auditlog.Failed, errorName(err)
		if r.isRefusal(err) {
			rec.Outcome = auditlog.Denied
		}
	}
	// What was done is recorded, whatever is left: who did it has asked Ready.
	if rec.Outcome == auditlog.Denied && r.spent() {
		return ErrSpent
	}
	if aerr := r.append(rec, rec.Outcome == auditlog.Denied); aerr != nil {
		return aerr
	}
	return err
}

// actor returns who asks.
func (r *Recorder) actor(ctx context.Context) auditlog.Actor {
	c := vfs.CallerFrom(ctx)
	a := auditlog.Actor{Capsule: c.Capsule, Principal: c.Principal, UID: c.UID, PID: c.PID}
	if c.PID != 0 {
		a.Program = r.programs.name(c.PID)
	}
	return a
}

// errorName returns the kind of a refusal, or the errno's name.
func errorName(err error) string {
	switch {
	case errors.Is(err, vfs.ErrCapability):
		return "capability"
	case errors.Is(err, vfs.ErrEscape):
		return "escape"
	case errors.Is(err, vfs.ErrHidden):
		return "hidden"
	}
	e := vfs.Errno(err)
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", uint(e))
}
