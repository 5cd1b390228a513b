// Package fusefs serves a [vfs.FS] as a FUSE mount of this machine.
//
// A request of the kernel becomes one call of the filesystem: node ids of the
// filesystem are the kernel's, there is no second tree of inodes and no path.
// go-fuse decodes requests and encodes answers; reading and writing them, and by
// how many goroutines, is done here (conn.go).
// What the package adds is what a cache in front of a live filesystem needs:
// lifetimes, invalidation, and the choice between the kernel's page cache and
// its direct access to a file (passthrough).
//
// # Caches
//
// The kernel keeps what it was told for an hour where the filesystem says that
// nothing changes behind its back, and for [Options.VolatileTimeout] where it
// cannot say so ([vfs.Entry.Volatile], [vfs.Attr.Volatile]); names that do not
// exist too. Contents and listings stay in the page cache over a close and a
// later open. Changes that others make to the filesystem are told by it
// ([vfs.Invalidator]) and passed on to the kernel:
//
//   - of a caller that is no mount (a capsule, a command of a session): before
//     its operation returns, so that the next call on the mount sees it;
//   - of a caller on another mount: by a goroutine of its own, soon after. A
//     request of mount A that waited for a lock which the kernel holds for a
//     request of mount B, which waits for A, would never end;
//   - of a caller on this mount: not at all, the kernel knows.
//
// What the kernel does with an answer that was on its way while something
// changed: an attribute reply is older than the invalidation and is not kept; a
// page under read is locked, and the invalidation waits for it; a lookup or a
// listing holds the directory's lock, and an invalidated name waits for that.
// Two kinds are not covered and are seen to here: the reply that makes the
// kernel's inode (until it is processed there is nothing to invalidate), and
// the replies whose attributes are taken unseen (setattr, link). See notify.go.
//
// With a filesystem whose root is not volatile the kernel does not drop pages
// by itself when it sees another size or time (explicit data cache control), so
// that what was just written stays cached. With a volatile root (a directory
// that others write to directly) it does, at the price that a page which it drops
// while a write to it is on its way may come back as it was before, and stay so
// until attributes are asked for again. A volatile file below a root that is not
// is compared here, when it is opened and when its attributes are asked for.
//
// The writeback cache is off: a capsule must read at once what was written on
// the mount, so a write goes through. A shared writable mapping is the
// exception: its pages reach the filesystem at msync, munmap or close. With
// passthrough they are the filesystem's own pages, and there is no difference.
//
// # Passthrough
//
// With CAP_SYS_ADMIN on Linux 6.9 and later, a file opened for writing whose
// handle says that it may ([vfs.Passthrough]) is read and written by the kernel
// directly. The kernel binds one backing file to an inode and demands that all
// who have it open at a time do it one way; so the first one decides, and who
// comes later follows (passthrough.go). A handle that may come to stand for
// another file, as a lower file does at its copy-up, must not offer it.
//
// # Permissions
//
// The kernel checks permission bits (default_permissions). With
// [Options.AllowOther] it also checks POSIX ACLs, which the filesystem stores
// as extended attributes like any other; without, only one user has access and
// reading the ACLs would only cost. Umasks are handed to the filesystem
// ([vfs.Caller]): below a directory with a default ACL that decides instead.
//
// Writes clear setuid and setgid bits where the kernel asks for it
// (FUSE_HANDLE_KILLPRIV_V2): it knows the capabilities of the writer.
//
// # Locks
//
// flock and fcntl locks are the kernel's own: they hold between all processes
// that use one mount, which are all who can take one. A capsule has no locks,
// and so none are passed to the filesystem.
//
// # Deadlocks
//
// The process that serves a mount never looks at a path inside it, not even to
// wait for the mount: it is ready when [Mount] returns. The filesystem must not
// hold a lock while it tells of a change, as [vfs.Invalidator] demands. A call of
// the filesystem may wait for another one as long as it likes: within four
// milliseconds the requests behind it are served beside it.
package fusefs
