package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

const (
	// maxWrite is the largest read or write request, in bytes; the kernel's own
	// limit unless an administrator raised it.
	maxWrite = 1 << 20
	// maxBackground bounds the requests nobody waits for: readahead, releases.
	maxBackground = 128
	// readAheadKB is how far the kernel reads ahead, where we may set it.
	readAheadKB = 1024
)

// Mount serves fs at mountpoint, an empty directory unless [Options.Over] says
// otherwise, until it is unmounted. When it returns without an error the mount
// answers. Root mounts directly, anyone else by fusermount3. The filesystem must
// outlive the mount.
//
// Errors are of type *[MountError] where one of its kinds fits.
func Mount(fs vfs.FS, mountpoint string, opt Options) (*Server, error) {
	opt.setDefaults()
	path, err := checkMountpoint(mountpoint, opt.Over)
	if err != nil {
		return nil, err
	}
	r := newRawFS(fs, opt)
	root, err := rootAttr(&request{caller: vfs.Caller{Own: true, Origin: r.notify}}, fs)
	if err != nil {
		return nil, fmt.Errorf("root of the filesystem: %w", err)
	}
	if !root.IsDir() {
		return nil, fmt.Errorf("root of the filesystem: %w", syscall.ENOTDIR)
	}

	r.rootVolatile = root.Volatile
	r.nodes.root.volatile.Store(root.Volatile)
	mount := mountHelper
	if os.Geteuid() == 0 {
		mount = mountDirect
	}
	fd, err := mount(path, &opt)
	if err != nil {
		return nil, err
	}
	if err := r.connect(fd); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the connection: %w", err), unmount(path, true))
	}
	s := &Server{raw: r, path: path}
	if m, ok, err := mountAt(path); err == nil && ok && m.Type == fsType {
		s.conn = m.ConnID
		setReadAhead(m.ConnID)
	}
	r.notify.start(fs)
	go r.run()
	return s, nil
}

// rootAttr returns the root's attributes as they are while somebody watches and
// has looked into it: a filesystem may then tell of changes that it would
// otherwise call volatile, and the kernel is told how to cache before it mounts.
func rootAttr(ctx context.Context, fs vfs.FS) (vfs.Attr, error) {
	defer fs.Watch(deaf{})()
	if d, err := fs.OpenDir(ctx, vfs.RootID); err == nil {
		_ = d.ReadDir(ctx, 0, func(vfs.DirEntry) bool { return false }) // who lists it later is told why it failed
		if err := d.Close(); err != nil {
			return vfs.Attr{}, err
		}
	}
	return fs.GetAttr(ctx, vfs.RootID, nil)
}

// deaf is told of changes and has no use for them: nothing is mounted yet.
type deaf struct{}

// EntryChanged implements [vfs.Invalidator].
func (deaf) EntryChanged(context.Context, vfs.NodeID, string) {}

// NodeChanged implements [vfs.Invalidator].
func (deaf) NodeChanged(context.Context, vfs.NodeID, bool) {}

func mountOptions(r *rawFS) *fuse.MountOptions {
	o := &fuse.MountOptions{
		MaxWrite:                 maxWrite,
		MaxBackground:            maxBackground,
		Debug:                    r.opt.Debug,
		Logger:                   log.New(logWriter{r.opt.Log}, "", 0),
		PanicHandler:             r.panicked,
		EnableSymlinkCaching:     true,
		EnableAcl:                r.opt.AllowOther,
		ExplicitDataCacheControl: !r.rootVolatile,
		// O_TRUNC comes with the open; setuid bits are cleared here, so that
		// the kernel need not ask for security.capability before each write;
		// umasks are left to the filesystem, where a default ACL may decide; an
		// ACL comes with word of whether it is to clear the setgid bit. Handles by
		// which a file could be opened are not given (RATIONALE.md). Parallel
		// direct I/O (CAP_ASYNC_DIO) is left out: after an asynchronous write the
		// kernel does not drop the pages that a reader has fetched meanwhile.
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_DONT_MASK | fuse.CAP_SETXATTR_EXT | fuse.CAP_NO_EXPORT_SUPPORT,
	}
	if r.opt.NoPassthrough {
		o.DisabledCapabilities |= fuse.CAP_PASSTHROUGH
	}
	return o
}

// setReadAhead lets the kernel read ahead by whole requests of ours; the
// protocol caps what it takes at the start. Only root may, and it is no matter
// if it cannot be had.
func setReadAhead(conn uint64) {
	path := fmt.Sprintf("/sys/class/bdi/0:%d/read_ahead_kb", conn)
	_ = os.WriteFile(path, strconv.AppendInt(nil, readAheadKB, 10), 0)
}

// checkMountpoint returns the resolved path of a directory that can be mounted
// on; with over, also where that hides something.
func checkMountpoint(mountpoint string, over bool) (string, error) {
	fail := func(kind, err error, hint string) (string, error) {
		return "", &MountError{Path: mountpoint, Kind: kind, Err: err, Hint: hint}
	}
	path, err := resolve(mountpoint)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fail(ErrMountpointMissing, nil, "make the directory")
	case errors.Is(err, syscall.ENOTDIR):
		return fail(ErrNotDirectory, nil, "give a directory")
	case cutOff(err):
		return fail(ErrStale, err, "it lies below a dead mount; unmount that (umount -l)")
	case err != nil:
		return fail(nil, err, "")
	}
	m, ok, err := mountAt(path)
	if err != nil {
		return fail(nil, err, "")
	}
	if ok {
		if isStale(path) {
			return fail(ErrStale, nil, "unmount it (fusermount3 -u -z, as root umount -l)")
		}
		if !over {
			return fail(ErrAlreadyMounted, fmt.Errorf("%s of type %s", m.Source, m.Type), "unmount it or take another directory")
		}
	}
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); {
	case err == syscall.ENOENT:
		return fail(ErrMountpointMissing, nil, "make the directory")
	case err == syscall.ENOTDIR:
		return fail(ErrNotDirectory, nil, "give a directory")
	case cutOff(err):
		return fail(ErrStale, err, "unmount it (fusermount3 -u -z, as root umount -l)")
	case err != nil:
		return fail(nil, err, "")
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fail(ErrNotDirectory, nil, "give a directory")
	case over:
		return filepath.Clean(path), nil
	}
	d, err := os.Open(path)
	if err != nil {
		return fail(nil, err, "")
	}
	defer d.Close()
	switch _, err := d.Readdirnames(1); {
	case err == nil:
		return fail(ErrNotEmpty, nil, "take an empty directory; the mount would hide what is in it")
	case !errors.Is(err, io.EOF):
		return fail(nil, err, "")
	}
	return filepath.Clean(path), nil
}
