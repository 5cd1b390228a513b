package vfs

import "context"

// FS is a filesystem. The package comment gives the rules for names, node
// references, handles, concurrency and errors that hold for every method; the
// comments here add what is a method's own.
//
// Errnos that any method may answer and that are not repeated: ESTALE (the
// node is not known, or what the host held for it was replaced), EIO, ENOMEM,
// EINTR (the context was cancelled), EACCES (a layer refuses, or the host
// does). Methods with a name: EINVAL, ENAMETOOLONG ([CheckName]), ENOTDIR (the
// parent is no directory). Methods that change something: EROFS, ENOSPC,
// EDQUOT.
type FS interface {
	// Lookup finds name in the directory parent.
	//
	// Errnos: ENOENT; then only Volatile of the Entry has a meaning, and no
	// reference is held.
	Lookup(ctx context.Context, parent NodeID, name string) (Entry, error)

	// Forget gives back n references to node. It does no blocking I/O. Giving
	// back more than are held is a fault of the caller and is ignored.
	Forget(node NodeID, n uint64)

	// GetAttr returns the attributes of node; h is an open handle to it or nil.
	// For a node without a name Nlink is 0.
	GetAttr(ctx context.Context, node NodeID, h Handle) (Attr, error)

	// SetAttr changes attributes and returns them all afterwards. With a
	// handle, the change goes to the open file. Changing Size needs write
	// access of the handle, if there is one.
	//
	// Errnos: EISDIR (Size of a directory), EINVAL (Size of anything else that
	// is no regular file, a negative Size), EFBIG, EPERM (the host refuses the
	// owner), EOPNOTSUPP (mode of a symbolic link).
	SetAttr(ctx context.Context, node NodeID, h Handle, in SetAttr) (Attr, error)

	// Readlink returns the target of a symbolic link, as it is stored.
	//
	// Errnos: EINVAL (no symbolic link).
	Readlink(ctx context.Context, node NodeID) (string, error)

	// Open opens a regular file. flags are those of open(2); the access mode
	// and O_APPEND, O_TRUNC, O_SYNC, O_DSYNC, O_DIRECT, O_NOATIME count, others
	// (O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK …) are ignored. O_NOATIME counts
	// as far as the host lets this process have it. O_TRUNC truncates also with
	// O_RDONLY, so it needs write access in every layer. Opening alone changes
	// nothing in the layers.
	//
	// Errnos: EISDIR, ELOOP (a symbolic link), ENXIO (a fifo, socket or
	// device: the front end serves those itself), EMFILE, ENFILE, ETXTBSY.
	Open(ctx context.Context, node NodeID, flags int) (Handle, error)

	// Create makes and opens a regular file, as open(2) with O_CREAT|O_EXCL:
	// an existing name is EEXIST whatever it stands for. mode holds permission
	// bits, the umask already applied.
	//
	// Errnos: EEXIST, ENOENT (the parent was removed), EMFILE, ENFILE.
	Create(ctx context.Context, parent NodeID, name string, flags int, mode uint32) (Entry, Handle, error)

	// Tmpfile makes and opens a regular file without a name (O_TMPFILE), which
	// Link can give one and Replace can consume. parent is the directory it
	// belongs to (its filesystem, its setgid bit).
	//
	// Errnos: ENOENT (the parent was removed), EOPNOTSUPP, EMFILE, ENFILE.
	Tmpfile(ctx context.Context, parent NodeID, flags int, mode uint32) (Entry, Handle, error)

	// Replace gives the regular file node the contents of tmp, a handle from
	// Tmpfile of the same filesystem opened for writing, in one step that a
	// crash leaves undone or done. The node keeps its id, inode number, names,
	// owner, permission bits and extended attributes; open handles to it read
	// the new contents. Setuid and setgid bits are cleared as by a write. tmp
	// is still the caller's to close; its contents are undefined after, unless
	// the answer is EOPNOTSUPP.
	//
	// A filesystem of which no node can get other contents in one step may put
	// tmp's file in the place of one that nobody has open and that has one name:
	// that name is tmp's node's then, with the old owner, permission bits and
	// extended attributes, and node has none.
	//
	// Errnos: EISDIR, EINVAL (not regular, or tmp is no such handle),
	// EOPNOTSUPP (cannot be done in one step now; truncate and write instead).
	Replace(ctx context.Context, node NodeID, tmp Handle) error

	// Mkdir makes a directory. mode holds permission bits, umask applied; a
	// setgid parent hands its group and setgid bit on.
	//
	// Errnos: EEXIST, ENOENT (the parent was removed), EMLINK.
	Mkdir(ctx context.Context, parent NodeID, name string, mode uint32) (Entry, error)

	// Mknod makes a node of any type but directory and symbolic link. mode
	// holds type and permission bits, umask applied.
	//
	// Errnos: EEXIST, ENOENT (the parent was removed), EPERM (devices, without
	// the privilege; a character device 0:0, which is a whiteout), EINVAL.
	Mknod(ctx context.Context, parent NodeID, name string, mode uint32, rdev uint64) (Entry, error)

	// Symlink makes a symbolic link that holds target, which is not looked at.
	//
	// Errnos: EEXIST, ENOENT (the parent was removed, or target is empty),
	// ENAMETOOLONG (target longer than PathMax).
	Symlink(ctx context.Context, parent NodeID, name, target string) (Entry, error)

	// Link makes a further name for node and returns the node's entry.
	//
	// Errnos: EEXIST, EPERM (a directory), ENOENT (the parent was removed, or
	// node has no name left and is not from Tmpfile), EMLINK, EXDEV.
	Link(ctx context.Context, node, parent NodeID, name string) (Entry, error)

	// Unlink removes a name that is no directory.
	//
	// Errnos: ENOENT, EISDIR.
	Unlink(ctx context.Context, parent NodeID, name string) error

	// Rmdir removes an empty directory.
	//
	// Errnos: ENOENT, ENOTDIR, ENOTEMPTY, EBUSY.
	Rmdir(ctx context.Context, parent NodeID, name string) error

	// Rename moves oldName of oldParent to newName of newParent, replacing what
	// is there as rename(2) does. If both are names of one node, nothing
	// happens. With NoReplace an existing target is EEXIST; with Exchange both
	// must exist and are swapped.
	//
	// Errnos: ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EBUSY, EXDEV, EMLINK,
	// EINVAL (a directory into itself, unknown flags).
	Rename(ctx context.Context, oldParent NodeID, oldName string, newParent NodeID, newName string, flags RenameFlags) error

	// OpenDir opens a directory for listing.
	//
	// Errnos: ENOTDIR, EMFILE, ENFILE.
	OpenDir(ctx context.Context, node NodeID) (DirHandle, error)

	// GetXattr copies the value of an extended attribute to dest and returns
	// its length; with an empty dest it returns the length alone.
	//
	// Errnos: ENODATA, ERANGE (dest is too small), EOPNOTSUPP, EPERM.
	GetXattr(ctx context.Context, node NodeID, name string, dest []byte) (int, error)

	// SetXattr sets an extended attribute. flags are 0, unix.XATTR_CREATE or
	// unix.XATTR_REPLACE.
	//
	// Errnos: EEXIST, ENODATA, EOPNOTSUPP, EPERM, ERANGE, E2BIG, EINVAL.
	SetXattr(ctx context.Context, node NodeID, name string, value []byte, flags int) error

	// ListXattr copies the names of the extended attributes to dest, each
	// followed by NUL, and returns their length; with an empty dest it returns
	// the length alone.
	//
	// Errnos: ERANGE, EOPNOTSUPP.
	ListXattr(ctx context.Context, node NodeID, dest []byte) (int, error)

	// RemoveXattr removes an extended attribute.
	//
	// Errnos: ENODATA, EOPNOTSUPP, EPERM.
	RemoveXattr(ctx context.Context, node NodeID, name string) error

	// StatFS describes the filesystem that new data of node would go to.
	StatFS(ctx context.Context, node NodeID) (StatFS, error)

	// Path returns the path of node from the root: names joined by '/', "" for
	// the root itself. For a file with several names it is one of them.
	//
	// Errnos: ENOENT (no name left).
	Path(ctx context.Context, node NodeID) (string, error)

	// Watch has inv told of every change from now on, until stop is called.
	Watch(inv Invalidator) (stop func())
}

// Handle is an open regular file. Offsets and lengths are in bytes.
//
// Errnos of every method: EBADF (the access mode of the handle does not allow
// it), EINVAL (a negative offset or length), EIO.
type Handle interface {
	// Node returns the node that is open.
	Node() NodeID

	// ReadAt reads up to len(p) bytes at off. Fewer than len(p) means that the
	// file ended there; 0 and no error, that off is at or behind the end.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)

	// WriteAt writes all of p at off; of a handle opened with O_APPEND at the
	// end of the file, atomically, and off is ignored. An error may come with
	// a count of what was written.
	//
	// Errnos: ENOSPC, EDQUOT, EFBIG.
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)

	// Sync writes the contents, and the metadata unless dataOnly is set, to
	// stable storage (fsync, fdatasync).
	Sync(ctx context.Context, dataOnly bool) error

	// Allocate is fallocate(2) with its mode bits.
	//
	// Errnos: EOPNOTSUPP, ENOSPC, EFBIG.
	Allocate(ctx context.Context, mode uint32, off, size int64) error

	// Seek finds data (unix.SEEK_DATA) or a hole (unix.SEEK_HOLE) from off.
	//
	// Errnos: ENXIO (off is behind the end, or no data follows).
	Seek(ctx context.Context, off int64, whence int) (int64, error)

	// CopyRange copies up to n bytes at off to dst, a handle of the same
	// filesystem, at dstOff, in the host and by sharing blocks where it can. It
	// returns how many were copied; 0 and no error at the end of the file.
	//
	// Errnos: EXDEV, EOPNOTSUPP (the caller copies by hand), EINVAL
	// (overlapping ranges of one file), ENOSPC, EFBIG.
	CopyRange(ctx context.Context, off int64, dst Handle, dstOff, n int64) (int64, error)

	// Close releases the handle. Its error is that of a delayed write.
	Close() error
}

// DirHandle is an open directory.
type DirHandle interface {
	// ReadDir calls fn for each entry after the cookie off, 0 being the start,
	// until fn returns false; that entry counts as not read. "." and ".." are
	// among the entries. An entry that is there throughout is listed once;
	// one that comes or goes meanwhile may be or not. Reading again from 0
	// sees the present state. The cookie may be of another handle of the same
	// directory, also of one that was closed.
	ReadDir(ctx context.Context, off uint64, fn func(DirEntry) bool) error

	// ReadDirPlus is ReadDir with a lookup of each entry: for each one that fn
	// accepts, its caller holds a reference, as after Lookup. For "." and ".."
	// and an entry that vanished meanwhile the Entry is zero and no reference
	// is held.
	ReadDirPlus(ctx context.Context, off uint64, fn func(DirEntry, Entry) bool) error

	// Sync writes the directory to stable storage.
	Sync(ctx context.Context) error

	// Close releases the handle.
	Close() error
}

// Passthrough is implemented by a Handle whose file the kernel may read and
// write directly. PassthroughFD returns a descriptor of that file with the
// handle's access mode, owned by the handle; ok is false where the handle's
// file may be another one later (a lower file before its copy-up). After ok,
// the filesystem keeps this very file in place until the handle is closed.
type Passthrough interface {
	PassthroughFD() (fd int, ok bool)
}

// LookupPlus implements DirHandle.ReadDirPlus by ReadDir of d and a Lookup of
// each entry in dir.
func LookupPlus(ctx context.Context, fs FS, dir NodeID, d DirHandle, off uint64, fn func(DirEntry, Entry) bool) error {
	return d.ReadDir(ctx, off, func(de DirEntry) bool {
		if de.Name == "." || de.Name == ".." {
			return fn(de, Entry{})
		}
		e, err := fs.Lookup(ctx, dir, de.Name)
		if err != nil {
			return fn(de, Entry{})
		}
		if fn(de, e) {
			return true
		}
		fs.Forget(e.Node, 1)
		return false
	})
}
