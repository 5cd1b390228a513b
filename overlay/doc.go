// Package overlay is a copy-on-write filesystem: it shows one or more lower
// directories of the host, which it never changes, merged below an upper one,
// which takes every change. What differs from the lower layers is found by a
// walk of the upper alone ([FS.Changes]), and can be written to the bottom layer
// ([FS.Commit]) or thrown away ([FS.Discard]).
//
// # On disk
//
// The upper layer is what kernel overlayfs writes, so that a kernel mount of
// the same directories (redirect_dir=on, index=on for hard links) shows the
// same tree, and the other way round:
//
//   - A lower entry that was removed is covered by a whiteout, a character
//     device 0:0. Whiteouts are links of one inode as long as the host allows.
//   - overlay.opaque "y" on a directory hides lower ones of its name. Every
//     directory that is made over lower directories gets it, so that one which
//     appears below later does not shine through.
//   - overlay.redirect on a directory says where its lower part is: always a
//     path from the root, "/a/b", as only that stays true when a directory
//     above is renamed as well. A bare name, for a rename within the directory,
//     is understood.
//   - overlay.impure on a directory says that an entry may carry a redirect or
//     an inode number. Without it, a lookup needs one system call alone. The
//     kernel takes it away where it sees nothing that it would show another
//     number of; overlay.astrid.impure stays.
//   - overlay.astrid.ino holds the inode number that an object shows, that of
//     the lower object it is a copy of.
//   - overlay.origin, overlay.nlink and Work/index keep hard links one file; see
//     [hardLinks].
//
// On lower layers all of these are understood, and xattr whiteouts too, so that
// an upper layer can be the lower one of another overlay. The names stand in
// the namespace "trusted." if the process may write it, else in "user.". The
// view shows no attribute of either namespace that begins with "overlay.", and
// does not let one be set; nor lets it make a device 0:0.
//
// # Copy-up
//
// An object is copied to the upper layer at its first change: not when it is
// opened, whatever for, except with O_TRUNC. The copy is made without a name
// (or in Work/work), gets contents, owner, extended attributes, permissions and
// times, is synced, and then linked to its name, so that a crash leaves the old
// or the new, also one of the machine. Other changes of the namespace are
// ordered by the host's filesystem and made durable by Sync, as on the host
// itself. What is found in Work/work at Open is removed.
//
// A handle that was opened before goes on with the copy: each use compares its
// generation with the node's. A handle never has a lower file open for writing.
// After a commit or discard it goes on with the lower file, which the node keeps
// open for it until then.
//
// # Inode numbers
//
// Where all layers are on one device, an object shows the number of its own
// inode, or of the lower one that it is a copy of. Otherwise the lower device's
// place in the list of layers is mixed into the topmost bits. Either way the
// number stays the same through copy-up and in the next session; but the host
// may give the number of a lower file that it removed to another one while a
// copy of the first still shows it.
//
// # Host edits
//
// The lower layers may change underneath. Lower objects are looked at again
// whenever they are used, by directory, name and inode: an object that is not
// where it was is looked up anew, and a node that stood for it answers ESTALE.
// A directory that is merged keeps its node, and gets the lower part that is
// there now; that is why its lookup costs a system call for each layer, where
// any other known entry costs one.
// Attributes and entries that may change so are marked volatile, unless
// Options.LowerStatic rules it out, or the kernel tells of the changes: as long
// as somebody watches the overlay, the lower directories that were looked into
// are watched in turn (inotify), and the host's changes are passed on
// (hostwatch.go). Nobody else may change upper and Work.
//
// # Locks
//
// In the order in which they are taken; whoever holds one takes none above it:
//
//  0. FS.changing: held by a commit or discard for its whole duration. Nothing
//     is held by who waits for FS.moves, which such a commit holds while a lower
//     directory moves.
//  1. gate: shared by each change for its whole duration, exclusively by
//     freeze. An operation takes it once.
//  2. FS.copies: a copy-up under way. Only its leader works; others wait for it
//     with no lock but the gate held. A copy-up of a node first makes those of
//     the directories above it, one after the other.
//  3. FS.renames: one rename of a directory at a time, which keeps the shape of
//     the tree above.
//  4. dirState.mu of directories, ascending by node id: shared by lookups,
//     listings and the end of a copy-up, exclusively by changes of entries.
//  5. dirHandle.mu is taken before 4 and held while a listing calls back.
//  6. node.mu, ascending by node id: shared by every use of the real object,
//     reads and writes included, exclusively by whatever puts another one
//     behind the node, or moves it.
//  7. handle.mu: shared while its descriptor is used.
//  8. FS.modes: while permission bits are set by an ordinary user's process.
//  9. Leaves, under which nothing is taken: dirState.kmu, the shards of table,
//     devices.mu, whiteouts.mu, reservedInos.mu, baseLog.mu, and the cache of
//     package at.
//
// No lock is held while an Invalidator is told.
//
// node.mu is under dirState.mu because the name of a file is changed under both:
// one that reads or writes a file holds only node.mu, and cannot lose the place
// that it works at.
package overlay
