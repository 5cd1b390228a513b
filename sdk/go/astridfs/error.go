package astridfs

import "io/fs"

// Code is a case of the interface's error-code.
type Code uint8

// The cases of error-code.
const (
	NotFound Code = iota
	Access
	CapabilityDenied
	BoundaryEscape
	InvalidPath
	WouldBlock
	IsDirectory
	NotDirectory
	NotEmpty
	TooLarge
	Quota
	CrossVFS
	AlreadyExists
	Closed
	Unknown
)

// String returns the case's name in the interface.
func (c Code) String() string {
	names := [...]string{"not-found", "access", "capability-denied", "boundary-escape", "invalid-path",
		"would-block", "is-directory", "not-directory", "not-empty", "too-large", "quota", "cross-vfs",
		"already-exists", "closed", "unknown"}
	if int(c) < len(names) {
		return names[c]
	}
	return "invalid"
}

// Error is a failed call.
type Error struct {
	Op   string // the interface's name of the function
	Path string // the path it was about; empty for the methods of a file
	Code Code
	Text string // what Unknown says
}

func (e *Error) Error() string {
	s := e.Op
	if e.Path != "" {
		s += " " + e.Path
	}
	s += ": " + e.Code.String()
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Is lets errors.Is find the standard library's errors of the same meaning.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Code == NotFound
	case fs.ErrExist:
		return e.Code == AlreadyExists || e.Code == NotEmpty
	case fs.ErrPermission:
		return e.Code == Access || e.Code == CapabilityDenied || e.Code == BoundaryEscape
	case fs.ErrInvalid:
		return e.Code == InvalidPath
	case fs.ErrClosed:
		return e.Code == Closed
	}
	return false
}
