// Package vfs defines the one filesystem interface of astridfs, its types and
// errors, and the walk that turns a path into a node.
//
// # Model
//
// A filesystem ([FS]) is a tree of nodes. A node is what POSIX calls an inode:
// a regular file, a directory, a symbolic link, a fifo, a socket or a device.
// It is named by a [NodeID]. A path is never a parameter of the interface: a
// path names a file only until something above it is renamed, and walking it
// costs its depth on every call. Operations take a directory's node and one
// name, as the kernel's own protocol does.
//
// # Names
//
// A name is one path component: not empty, not "." or "..", without '/' or
// NUL, at most [NameMax] bytes. It is a string of bytes and need not be UTF-8.
// An implementation answers EINVAL to a name that is none, and ENAMETOOLONG to
// one that is too long ([CheckName]).
//
// # Node ids and references
//
// A node id is minted once and never used again for another node while the
// filesystem is open. It stays the same through renames, copy-up and commit,
// and all hard links of a file share one. [RootID] is the root and is always
// valid.
//
// A successful call that returns an [Entry] gives the caller one reference to
// its node, which the caller gives back with [FS.Forget]. A node id is valid
// while a reference or a handle to it is held; after that, using it answers
// ESTALE. A node whose last name is removed lives on, nameless, until its last
// reference and handle are gone.
//
// # Handles
//
// A [Handle] is an open regular file, a [DirHandle] an open directory. Reads
// and writes are positional: a handle has no offset of its own. The one who
// opened it closes it, once; a handle holds its node, whatever happens to its
// names. What is written through one handle is read through every other of the
// same node, also when one of them was opened before the node's first change.
//
// # Concurrency
//
// Every method of every type may be called from any goroutine at any time,
// except that Close is called once and nothing on that handle after it.
// Operations on the namespace are atomic, as POSIX has them: another caller
// sees the state before or after and nothing between.
//
// # Cancellation
//
// The context carries who calls ([Caller]) and may be cancelled. An operation
// that can take long (a copy-up, a large copy, a lock) looks at it and answers
// EINTR, leaving the old state. A short operation need not look.
//
// # Errors
//
// Every error returned is a [syscall.Errno] or wraps one ([Errno] finds it).
// Three kinds are finer than an errno and are told apart with [errors.Is]:
// [ErrCapability], [ErrEscape] and [ErrHidden].
//
// # Caches
//
// A front end may cache what it was told, for as long as [Entry.Volatile] and
// [Attr.Volatile] are false, if it watches the filesystem ([FS.Watch]): after
// each change that takes effect, and before the operation that made it
// returns, every [Invalidator] but the caller's own is told, with no lock of
// the filesystem held.
//
// # Layers
//
// A layer is a decorator: it wraps an FS, embeds it and replaces what it
// changes. Node ids pass through. A layer that needs a path asks the
// filesystem below for it ([FS.Path]); only the bottom ones know the answer.
package vfs
