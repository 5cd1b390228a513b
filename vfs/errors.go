package vfs

import (
	"context"
	"errors"
	"syscall"
)

// A kind is an error finer than the errno it stands for.
type kind struct {
	text  string
	errno syscall.Errno
}

func (k *kind) Error() string { return k.text }

// Unwrap lets errors.As and Errno find the errno.
func (k *kind) Unwrap() error { return k.errno }

// Kinds of refusal that an errno alone does not tell apart. Each is EACCES to
// whoever only looks at the errno.
var (
	// ErrCapability: the capsule was not granted this access.
	ErrCapability error = &kind{"capability denied", syscall.EACCES}
	// ErrEscape: the path leads out of its root.
	ErrEscape error = &kind{"path leads out of its root", syscall.EACCES}
	// ErrHidden: a deny rule hides the path.
	ErrHidden error = &kind{"hidden by a deny rule", syscall.EACCES}
)

// Errno returns the errno that err is or wraps: 0 for nil, EINTR for a
// cancelled or expired context, EIO for an error that carries none.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	var e syscall.Errno
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return syscall.EINTR
	}
	return syscall.EIO
}
