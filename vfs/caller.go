package vfs

import (
	"context"
	"os"
)

// Caller is who asks for an operation. New nodes belong to UID and GID (to the
// directory's group where it has the setgid bit). Permission bits are not
// checked by a filesystem: the kernel has done so for a FUSE request
// (default_permissions), and a capsule is held by its capabilities.
type Caller struct {
	UID, GID uint32
	PID      uint32 // the calling process; 0 for a capsule

	// Umask is taken from the permission bits that something new is asked to
	// have, except in a directory with a default ACL, which decides then.
	Umask uint32

	// Capsule and Principal name the guest and whom it acts for; both are
	// empty for a process that uses the mount.
	Capsule, Principal string

	// Own says that nobody asks: a front end looks by itself at what it is about
	// to show. That is on no record.
	Own bool

	// Origin is the caller's own Invalidator, which is not told of the changes
	// that the caller makes; nil if it has none.
	Origin Invalidator
}

type callerKey struct{}

// WithCaller returns a context that carries c. The caller must not change *c
// while the context is in use.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerKey is the key under which a context's Value holds a *Caller, for a
// front end that implements context.Context itself so as not to allocate.
func CallerKey() any { return callerKey{} }

// CallerFrom returns the caller that ctx carries; without one, a caller with
// the effective ids of this process.
func CallerFrom(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok {
		return c
	}
	return &Caller{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
}
