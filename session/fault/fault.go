// Package fault is how an error reaches a person: what was wrong and where, and
// what to do next. A fault keeps its kind on its way through the control
// socket, so that a command ends the same way whether it asked a live session
// or opened one itself.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
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

	// Retry says that nothing was done and the same may work in a moment.
	Retry bool `json:"retry,omitempty"`

	cause error // not sent through the socket
}

func (e *Error) Error() string { return e.What }

// Unwrap returns what the fault was made from.
func (e *Error) Unwrap() error { return e.cause }

// New makes a fault. format and args are those of fmt.Errorf. Where next is
// empty, it is taken from the errno that the fault was made from, if there is one,
// and so is that an error of kind Failed is one of permissions.
func New(kind Kind, next, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Kind: kind, What: err.Error(), Next: next, cause: err}
	e.complete()
	return e
}

// By has e wrap cause, whose text it does not repeat.
func (e *Error) By(cause error) *Error {
	e.cause = cause
	return e
}

// Again says that nothing was done and the same may work in a moment.
func (e *Error) Again() *Error {
	e.Retry = true
	return e
}

// complete takes from an errno what was not said.
func (e *Error) complete() {
	var errno syscall.Errno
	if !errors.As(e.cause, &errno) {
		return
	}
	if e.Kind == Failed && e.Next == "" && (errno == syscall.EACCES || errno == syscall.EPERM || errno == syscall.EROFS) {
		e.Kind = Denied
	}
	if e.Next == "" {
		e.Next = nexts[errno]
	}
}

// nexts is what to do about errors that can come from anywhere.
var nexts = map[syscall.Errno]string{
	syscall.ENOSPC:       "make room on its filesystem, then repeat the command",
	syscall.EDQUOT:       "make room within the disk quota, or have it raised, then repeat the command",
	syscall.EACCES:       "see whose it is and what its mode is (ls -ld), and use it as that user or change the mode",
	syscall.EPERM:        "see whose it is (ls -ld, lsattr -d), and use it as that user",
	syscall.EROFS:        "mount its filesystem read-write, or use a directory of another",
	syscall.EMFILE:       "raise the limit on open files: ulimit -n",
	syscall.ENFILE:       "raise the system's limit on open files: sysctl fs.file-max",
	syscall.ENOMEM:       "free memory, then repeat the command",
	syscall.EIO:          "see whether the kernel reports a failing disk: dmesg",
	syscall.ENAMETOOLONG: "use a shorter name",
	syscall.ESTALE:       "repeat the command; what it names was replaced meanwhile",
}

// Arg returns a path as it is typed in a shell, on one line and in UTF-8: bare
// where nothing in it is special, and quoted otherwise.
func Arg(path string) string {
	plain := path != ""
	control := !utf8.ValidString(path) || strings.ContainsFunc(path, Unseen)
	for i := range len(path) {
		c := path[i]
		plain = plain && (c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/._-+,:@%=", c) >= 0)
	}
	switch {
	case plain && !control:
		return path
	case !control:
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for len(path) > 0 {
		r, n := utf8.DecodeRuneInString(path)
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == utf8.RuneError && n == 1, Unseen(r):
			for i := range n {
				fmt.Fprintf(&b, `\x%02x`, path[i])
			}
		default:
			b.WriteRune(r)
		}
		path = path[n:]
	}
	b.WriteByte('\'')
	return b.String()
}

// Unseen tells whether a terminal shows nothing of r, and may do something for it.
func Unseen(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

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
		f.Kind, f.Next, f.Retry = e.Kind, e.Next, e.Retry
	}
	f.complete()
	return f
}

// Is tells whether err is or wraps a fault of this kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
