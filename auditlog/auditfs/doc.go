// Package auditfs writes what is done in a filesystem to an audit log. [FS] is
// the outermost layer below both front ends, so that it sees who asks and what
// the layers below refused; [Recorder] is what all such layers of a session
// share, and what records what does not pass a filesystem.
//
// # What is recorded
//
// The [Level] decides. Mutations: every call that changes something, done or
// failed, and every open for writing. Opens: every open, listing and symbolic
// link that is read, too. Full: everything that reaches the filesystem.
// Whatever the level, a refusal is recorded: [vfs.ErrCapability],
// [vfs.ErrEscape], [vfs.ErrHidden] and what the recorder was told is one.
//
// A record has the path under its scheme, as it is when the call ends. Reads and
// writes are summed: the record of a close says how many bytes the handle read
// and wrote. A handle that neither read nor wrote has none.
//
// Below Full a writer's file may be handed to the kernel ([vfs.Passthrough]),
// which then writes without asking; the record of such a close has the flag
// "direct" and counts only what passed through here. At Full nothing is handed
// out. What the kernel answers from its caches reaches no filesystem.
//
// # Order
//
// A refusal is on stable storage before the caller has its answer. Anything else
// is recorded when it is done, and becomes durable with its group (package
// auditlog). Once the log cannot be written, a call that would be recorded
// answers EIO, or ENOSPC or EDQUOT until there is room for it again, and is not
// carried out; one that was carried out when its record failed answers the same.
//
// # Bounds
//
// A recorder can be limited to a number of records ([Recorder.Limited]): a
// capsule that lists a directory for ever, or asks for ever for what it is
// refused, must not fill the disk with the account of it.
package auditfs
