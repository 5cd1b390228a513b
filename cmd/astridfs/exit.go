package main

import (
	"errors"

	"github.com/astridfs/astridfs/session/fault"
)

// The exit codes. They are a promise to scripts.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitConflict = 3 // the workspace changed underneath
	exitDenied   = 4
	exitVerify   = 5 // something is not what it claims to be
	exitBusy     = 6 // somebody else is using it

	// Of run, which otherwise ends as the capsule did.
	exitTimeout     = 124 // --timeout struck
	exitRunFailed   = 125 // astridfs itself failed
	exitNotRunnable = 126
	exitNotFound    = 127

	exitInterrupted = 130 // a signal ended the command
)

// codeOf returns the exit code of a kind of fault.
func codeOf(kind fault.Kind) int {
	switch kind {
	case fault.Usage:
		return exitUsage
	case fault.Conflict:
		return exitConflict
	case fault.Denied:
		return exitDenied
	case fault.Verify:
		return exitVerify
	case fault.Busy:
		return exitBusy
	case fault.Cancelled:
		return exitInterrupted
	case fault.NotRunnable:
		return exitNotRunnable
	case fault.NotFound:
		return exitNotFound
	}
	return exitFailed
}

// codeError is an exit code that is no failure of astridfs: a capsule's own.
// Nothing is printed for it.
type codeError struct{ code int }

func (e *codeError) Error() string { return "exit" }

// exitCode returns the exit code for what a command returned.
func exitCode(err error) int {
	var c *codeError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &c):
		return c.code
	}
	return codeOf(fault.Of(err).Kind)
}
