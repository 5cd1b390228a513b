// Package wasip1 is WASI preview1 (module wasi_snapshot_preview1) for guests of
// wazero, on a capsule's [view.View] instead of a directory of the host. It is
// written on node ids and handles, so that "..", symbolic links, renamed
// directories and removed open files mean what they mean to POSIX, and so that
// the gate, the quota and every layer below see what a guest does.
//
// # Use
//
// [Export] adds the calls to a host module, [Instantiate] is that and the
// module in one. They hold no state: the calls find the [Instance] of the guest
// that makes them in the context ([With]), so one host module serves any number
// of guests at once. An Instance is one guest's arguments, clocks and
// descriptors; whoever made it closes it when the guest is gone, however it
// went, and with that everything the guest left open.
//
// # Descriptors
//
// 0, 1 and 2 are the streams of the [Config]. From 3 on stand the preopened
// directories, in this order, those without a tree left out:
//
//	/workspace  first, because Zig, AssemblyScript and Go without PWD take the
//	            first one for the working directory
//	/home
//	/tmp
//	/           a directory of those three names that cannot be changed: a path
//	            outside of them is ENOENT, where it would be EBADF without it
//	.           /workspace again: relative paths of wasi-libc, and so of C and
//	            Rust. The last one of those whose name comes to nothing wins
//	            there, and "/" is such a name too
//
// A program of wasi-libc takes the relative path tmp/x for /tmp/x, and home/x
// for /home/x, as it knows preopened directories by names without the slash;
// ./tmp/x and /workspace/tmp/x are what they say. Go looks at PWD; [Environ] sets
// it to /workspace where it is missing.
//
// # Other editions
//
// [Ops] are the same calls without preview1's memory layouts and with Go's
// types, for an edge of another edition of WASI.
//
// # Paths
//
// A path is resolved by [vfs.Walk] and confined to the directory descriptor it
// is relative to. An absolute path, a ".." above the descriptor's directory and
// a symbolic link that leads out are EPERM, as wasmtime has it; text that is
// not UTF-8 is EILSEQ, more than 4,096 bytes ENAMETOOLONG. A symbolic link that
// would be absolute or lead out of its tree can't be made (EPERM); one that is
// there can be read, as a file's contents can.
//
// # What is refused, and how
//
//	EACCES       the gate does not grant the access to the resolved path, or a
//	             deny rule hides it. Opening asks for read access, and for write
//	             access with O_CREAT, O_TRUNC or the right to write. EACCES and
//	             not ENOTCAPABLE, because programs know it
//	ENOTCAPABLE  the descriptor lacks the right to the call, or a right that it
//	             should hand on
//	EBADF        reading or writing a descriptor that is not open for it
//	EDQUOT       the quota is used up
//	EMFILE       the table of descriptors is full
//	EFAULT       a pointer or length does not lie within the guest's memory
//
// Rights are held as preview1 has them: a call needs its right on the
// descriptor, path_open can ask for what the directory's inheriting rights
// hold, fd_fdstat_set_rights only takes away. Rights that make no sense for
// what was opened are dropped from what was asked for.
//
// New files have mode 0644, new directories 0755: preview1 knows no modes.
// Fifos, sockets and devices can be listed, renamed and removed, not opened
// (ENXIO).
//
// # Concurrency
//
// An Instance may be used by several threads of a guest, and closed while a
// call is under way: the call ends, then what it used is closed. A wait in
// poll_oneoff or for standard input ends when the context does, and the guest
// with it.
package wasip1
