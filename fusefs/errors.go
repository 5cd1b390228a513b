package fusefs

import (
	"errors"
	"fmt"
)

// Why a mount or an unmount was refused; found with [errors.Is] in what [Mount]
// and the other functions return.
var (
	// ErrNoDevice: /dev/fuse is missing, or nothing is behind it.
	ErrNoDevice = errors.New("no /dev/fuse")
	// ErrDevicePermission: /dev/fuse may not be opened.
	ErrDevicePermission = errors.New("/dev/fuse may not be opened")
	// ErrNoFusermount: fusermount3, which mounts for ordinary users, is missing.
	ErrNoFusermount = errors.New("fusermount3 not found")
	// ErrAllowOther: an ordinary user may not let other users in.
	ErrAllowOther = errors.New("allow_other is not permitted")
	// ErrMountpointMissing: the mountpoint does not exist.
	ErrMountpointMissing = errors.New("mountpoint does not exist")
	// ErrNotDirectory: the mountpoint is no directory.
	ErrNotDirectory = errors.New("mountpoint is not a directory")
	// ErrNotEmpty: the mountpoint has entries, which the mount would hide.
	ErrNotEmpty = errors.New("mountpoint is not empty")
	// ErrAlreadyMounted: something is mounted there.
	ErrAlreadyMounted = errors.New("already a mountpoint")
	// ErrStale: a FUSE mount is there whose process is gone.
	ErrStale = errors.New("stale FUSE mount (transport endpoint is not connected)")
	// ErrPermission: the kernel or fusermount3 refused.
	ErrPermission = errors.New("not permitted to mount")
	// ErrBusy: files below the mountpoint are in use.
	ErrBusy = errors.New("mount is in use")
	// ErrNotMounted: there is no such mount (any more).
	ErrNotMounted = errors.New("not mounted")
)

// MountError is a failure to mount, unmount or abort.
type MountError struct {
	Path string // the mountpoint
	Kind error  // one of the Err… of this package; nil if none fits
	Err  error  // the cause, nil if Kind says it all
	Hint string // what to do next, a sentence without a full stop; may be empty
}

// Error tells path, kind and cause; the hint is left to the caller to show.
func (e *MountError) Error() string {
	switch {
	case e.Kind == nil:
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	case e.Err == nil:
		return fmt.Sprintf("%s: %v", e.Path, e.Kind)
	}
	return fmt.Sprintf("%s: %v: %v", e.Path, e.Kind, e.Err)
}

// Unwrap returns kind and cause.
func (e *MountError) Unwrap() []error {
	var l []error
	for _, err := range [...]error{e.Kind, e.Err} {
		if err != nil {
			l = append(l, err)
		}
	}
	return l
}
