// Package hostfs is a [vfs.FS] on one directory of the host.
//
// # Reaching files
//
// Nothing is done by a path. A directory is an O_PATH descriptor that its
// parent's descriptor and one name lead to ([at.Dir]), and whatever else has to
// be touched is a name in such a directory. Symbolic links are never followed
// by the host, so no call can leave the root, whatever other processes put in
// the place of a name. A directory that another process moves out of the root
// while its descriptor is open stays that directory, as it would for a process
// that works in it.
//
// Where the wrong file could be touched (open, chmod, truncate, xattrs), the
// name is opened with O_PATH first and the descriptor's device and inode
// compared with the node's; the operation then works on that descriptor.
// Otherwise a name that other processes gave to another file is ESTALE, and a
// new Lookup tells what is there.
//
// # Nodes
//
// Nodes are found by device and inode number, so all hard links of a file are
// one node. A directory node has one name, any other node a few of those it was
// seen under (aliases). A node holds the directories of its names, so a node's
// way to the root is always known. A node that nobody refers to any more stays
// in a bounded list of idle ones, which makes repeated lookups cheap.
//
// A node that loses its last name while it is referred to gets an O_PATH
// descriptor (a pin). The number of pins is bounded; beyond it, a nameless node
// that nobody has open answers GetAttr from the last attributes seen, and
// ESTALE to the rest.
//
// Hosts reuse inode numbers. On filesystems whose birth times are known to be
// good, a node is told by its birth time too, so that a file that took the
// inode of one removed behind our back is a new node.
//
// # Replace
//
// No call that all of Linux's filesystems know replaces the contents of an inode
// in one step and keeps the inode. [FS.Replace] gives the new file the old one's
// owner, permission bits and extended attributes, and exchanges their names: the
// name then stands for another node, with an inode number and a birth time of
// its own, and processes of the host that have the old file open keep that, as
// after an editor's save. A file that has other names, or that is open by this
// filesystem, it leaves alone (EOPNOTSUPP), so that those names, and whoever has
// it open, see what is written.
//
// Another process may put a file of its own there at the same moment. It is found
// in the old one's place once the names are exchanged, and gets its name back.
// Which file is the old one and which the new is written down beforehand, and
// nothing else is ever removed, neither at once nor by an Open after a kill: it is
// kept, and [Options.Kept] told of it.
//
// # Lock order
//
//	directory.names   of two directories: the lower node id first
//	FS.tree
//	shard.mu          one at a time
//	idShard.mu, the at.Cache's mutex
//
// directory.names is what the kernel's own lock of a directory is: exclusive
// for whoever changes an entry, shared for lookups, and held over the system
// call so that the table of nodes changes in the same order as the host.
// FS.tree is held over a rename of a directory, as the kernel's lock for those
// is. No other lock is held during a system call, but for closing descriptors.
package hostfs
