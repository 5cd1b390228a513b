package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

// FormatError says what is wrong with a binary, and at which byte where that is
// known.
type FormatError = wasmbin.FormatError

// LimitError says that a binary asks for more than any guest may have.
type LimitError = wasmbin.LimitError

// ImportError names an import that the host does not provide.
type ImportError struct {
	Module, Name string
	// Want is the type of the import, Have what the host provides under that
	// name; Have is empty if it provides nothing.
	Want, Have string
}

func (e *ImportError) Error() string {
	if e.Have != "" {
		return fmt.Sprintf("the capsule imports %s %s as %s, and it is %s", e.Module, e.Name, e.Want, e.Have)
	}
	return fmt.Sprintf("the capsule imports %s %s (%s), which this host does not provide", e.Module, e.Name, e.Want)
}

// EntryError says that a capsule lacks what it was to be called by.
type EntryError struct {
	Entry   string   // the export that was asked for
	Reason  string   // why it cannot be called; empty where it is not there
	Entries []string // what the capsule has that can be called
}

func (e *EntryError) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("%s: %s", e.Entry, e.Reason)
	}
	if len(e.Entries) == 0 {
		return fmt.Sprintf("it does not export %s, nor anything else that can be called", e.Entry)
	}
	return fmt.Sprintf("it does not export %s; what can be called is %s", e.Entry, strings.Join(e.Entries, ", "))
}

// TrapKind says why a guest was ended.
type TrapKind uint8

// The kinds of trap.
const (
	// TrapCode: the guest's own code trapped, or gave the host a bad pointer.
	TrapCode TrapKind = iota
	// TrapTime: its wall time was up.
	TrapTime
	// TrapCancelled: whoever ran it cancelled it.
	TrapCancelled
	// TrapMemory: it needs more memory at its start than its limit.
	TrapMemory
	// TrapHost: the host failed. That is a fault of this program, and logged.
	TrapHost
)

// TrapError is the end of a guest that did not end by itself. It says nothing
// of the host.
type TrapError struct {
	Kind   TrapKind
	Reason string
	// Frames are the guest's functions that were running, the innermost first.
	Frames []string
	cause  error
}

func (e *TrapError) Error() string { return "the capsule was stopped: " + e.Reason }

// Unwrap returns context.DeadlineExceeded, context.Canceled or nil.
func (e *TrapError) Unwrap() error { return e.cause }

// trap makes the error of a call into a guest a *TrapError; an exit is no
// error, but a code.
func trap(ctx context.Context, err error, limits Limits) (code uint32, exited bool, _ error) {
	if err == nil {
		return 0, false, nil
	}
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		switch {
		case exit.ExitCode() != sys.ExitCodeContextCanceled && exit.ExitCode() != sys.ExitCodeDeadlineExceeded,
			ctx.Err() == nil: // the guest may choose any code for itself
			return exit.ExitCode(), true, nil
		case context.Cause(ctx) == errWallTime:
			return 0, false, &TrapError{Kind: TrapTime, Reason: fmt.Sprintf("its time of %v is up", limits.WallTime), cause: context.DeadlineExceeded}
		}
		return 0, false, &TrapError{Kind: TrapCancelled, Reason: "it was cancelled", cause: context.Canceled}
	}
	text := err.Error()
	e := &TrapError{Frames: frames(text)}
	e.Reason, _, _ = strings.Cut(text, "\n")
	_, wasm, isWasm := strings.Cut(e.Reason, "wasm error: ")
	var fault *guest.Fault
	var broke *hostError
	switch {
	case errors.As(err, &fault):
		e.Reason = fault.Reason
	case isWasm: // also one within the allocator, which comes out of a host call
		e.Reason = wasm
	case errors.As(err, &broke), strings.Contains(text, "(recovered by wazero)"):
		e.Kind, e.Reason = TrapHost, "an error of the host"
	}
	return 0, false, e
}

// hostError is a panic of the host outside of a guest's own call.
type hostError struct{ value any }

func (e *hostError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// errWallTime is the cause of a context whose run took too long.
var errWallTime = errors.New("wall time")

// frames finds the names of the guest's functions in the runtime's text.
func frames(text string) []string {
	_, stack, ok := strings.Cut(text, "\nwasm stack trace:\n")
	if !ok {
		return nil
	}
	stack, _, _ = strings.Cut(stack, "\n\n") // behind it is a trace of the host
	var names []string
	for line := range strings.SplitSeq(stack, "\n") {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, '('); i > 0 && strings.HasPrefix(line, ".") {
			names = append(names, line[1:i])
		}
	}
	return names
}
