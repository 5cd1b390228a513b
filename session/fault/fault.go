// Package fault is how an error reaches a person: what was wrong and where, and
// what to do next. A fault keeps its kind on its way through the control
// socket, so that a command ends the same way whether it asked a live session
// or opened one itself.
package fault

import (
	"errors"
	"fmt"
)

// Kind is why something failed. Each has one exit code.
type Kind string

// The kinds of fault. Their names are part of the control protocol and of the
// output of --json.
const (
	Failed      Kind = "failed"       // it did not work
	Usage       Kind = "usage"        // the request makes no sense as it stands
	Conflict    Kind = "conflict"     // the host's own files changed meanwhile
	Denied      Kind = "denied"       // the caller may not do that
	Verify      Kind = "verification" // something is not what it claims to be
	Busy        Kind = "busy"         // someone else is using it
	Cancelled   Kind = "cancelled"    // the caller gave up
	NotRunnable Kind = "not-runnable" // a capsule that cannot be run
	NotFound    Kind = "not-found"    // a capsule that is not there
)

// Error is a fault. What says what was wrong and where, without a capital or a
// full stop; Next, which may be empty, says what to do.
type Error struct {
	Kind Kind   `json:"kind"`
	What string `json:"what"`
	Next string `json:"next,omitempty"`

	cause error // not sent through the socket
}

func (e *Error) Error() string { return e.What }

// Unwrap returns what the fault was made from.
func (e *Error) Unwrap() error { return e.cause }

// New makes a fault. format and args are those of fmt.Errorf.
func New(kind Kind, next, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, What: err.Error(), Next: next, cause: errors.Unwrap(err)}
}

// Of returns the fault that err is or wraps, with the whole text of err. An
// error that is none becomes one of kind Failed; nil stays nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		return e
	}
	f := &Error{Kind: Failed, What: err.Error(), cause: err}
	var e *Error
	if errors.As(err, &e) {
		f.Kind, f.Next = e.Kind, e.Next
	}
	return f
}

// Is tells whether err is or wraps a fault of this kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
