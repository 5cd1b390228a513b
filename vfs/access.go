package vfs

// Access is what a caller wants of a path; capabilities grant it.
type Access uint8

// Read is looking at a path in any way: its existence, attributes, contents,
// listing. Write is changing it in any way.
const (
	Read Access = 1 << iota
	Write
)

// Gate decides whether a path may be accessed. Scheme is "workspace", "home" or
// "tmp", path the resolved path below that scheme's root ("" for the root).
// Check answers nil or an error that is [ErrCapability]. The methods do no I/O and
// may be called concurrently.
type Gate interface {
	Check(scheme, path string, want Access) error

	// Passes tells whether path is granted for anything or lies above a path
	// that is. A directory for which it is false cannot be known to be there.
	Passes(scheme, path string) bool
}
