// Package fsapi is the interface astrid:fs@1.0.0 in Go: its 17 functions, the 6
// methods of its resource file-handle and the drop of it, on a [view.View].
// The edges that guests call (core modules, components) only convert values;
// what a call does, and what it may not, is decided here.
//
// # Errors
//
// Methods return errors as the filesystem gives them: a syscall.Errno, one of
// vfs.ErrCapability, vfs.ErrEscape and vfs.ErrHidden, or what wraps one.
// [CodeOf] is the only place where they become the interface's error-code.
//
// # Order of the checks
//
// Every path of a call is parsed, walked and shown to the gate before anything
// else is answered and before any effect. The sizes of data come next, the
// quotas last.
//
// # Concurrency
//
// An [FS] belongs to one guest, which makes one call at a time; its methods
// must not run at the same time. Guests are independent of each other.
package fsapi
