package fsapi

import (
	"errors"
	"strconv"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
)

// Code is a case of the interface's variant error-code, with its number.
type Code uint8

// The cases of error-code. Only Unknown has a payload: a text.
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

var codeNames = [...]string{
	NotFound:         "not-found",
	Access:           "access",
	CapabilityDenied: "capability-denied",
	BoundaryEscape:   "boundary-escape",
	InvalidPath:      "invalid-path",
	WouldBlock:       "would-block",
	IsDirectory:      "is-directory",
	NotDirectory:     "not-directory",
	NotEmpty:         "not-empty",
	TooLarge:         "too-large",
	Quota:            "quota",
	CrossVFS:         "cross-vfs",
	AlreadyExists:    "already-exists",
	Closed:           "closed",
	Unknown:          "unknown",
}

// String returns the case's name in the interface.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "code(" + strconv.Itoa(int(c)) + ")"
}

// CodeOf is the one table from errors to error-code. text is the payload of
// Unknown and empty for every other case; it is a fixed description of the
// errno, so nothing of the host can be in it. err must not be nil.
func CodeOf(err error) (code Code, text string) {
	switch {
	case errors.Is(err, vfs.ErrCapability):
		return CapabilityDenied, ""
	case errors.Is(err, vfs.ErrEscape):
		return BoundaryEscape, ""
	}
	errno := vfs.Errno(err)
	code = codeOfErrno(errno)
	if code == Unknown {
		text = errnoText(errno)
	}
	return code, text
}

func codeOfErrno(errno syscall.Errno) Code {
	switch errno {
	case syscall.ENOENT:
		return NotFound
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		return Access
	case syscall.EISDIR:
		return IsDirectory
	case syscall.ENOTDIR:
		return NotDirectory
	case syscall.ENOTEMPTY:
		return NotEmpty
	case syscall.EEXIST:
		return AlreadyExists
	case syscall.EXDEV:
		return CrossVFS
	case syscall.EFBIG:
		return TooLarge
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT:
		return Quota
	case syscall.EINVAL, syscall.ENAMETOOLONG, syscall.EILSEQ, syscall.ELOOP:
		return InvalidPath
	case syscall.EAGAIN:
		return WouldBlock
	case syscall.EBADF:
		return Closed
	}
	return Unknown
}

// errnoText is the system's own description of an errno that it knows.
func errnoText(errno syscall.Errno) string {
	if errno == 0 || errno > 0xfff {
		return "unknown error"
	}
	return errno.Error()
}
