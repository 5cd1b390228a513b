package hostfs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// stage is the directory that Options.Stage names. A file that is to replace
// another has a name here, "file-N", between having none and having the other's;
// or, where this is on another mount than the other, it has one beside that, and
// "note-N" says where: the directory's path from the root, NUL, the name, NUL.
type stage struct {
	fd     int
	prefix string // of names beside other files, different for each Open
	last   atomic.Uint64
	step   func(string) // told of the points where a crash is tested; may be nil
	apart  bool         // a test's: as if it were on another mount
}

const (
	notePrefix, filePrefix = "note-", "file-"

	// tempPrefix begins the names that a replacing file has beside the replaced.
	tempPrefix = ".astridfs-"

	noteMax  = 1 << 20  // bytes
	xattrMax = 64 << 10 // bytes, of a value and of all names
)

// openStage opens the stage of a filesystem with that root, and removes what an
// earlier user of it left there and in the root.
func openStage(path string, root int) (*stage, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	s := &stage{fd: fd, prefix: tempPrefix + hex.EncodeToString(random[:]) + "."}
	if err := s.clear(root); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "clear", Path: path, Err: err}
	}
	return s, nil
}

func (s *stage) close() error { return unix.Close(s.fd) }

// clear empties the stage, and removes what is named there below root.
func (s *stage) clear(root int) error {
	var names []string
	err := at.ReadDir(s.fd, 0, func(e vfs.DirEntry) bool {
		if e.Type == unix.S_IFREG {
			names = append(names, e.Name)
		}
		return true
	})
	for _, name := range names {
		if err == nil {
			err = s.clearOne(root, name)
		}
	}
	return err
}

func (s *stage) clearOne(root int, name string) error {
	if strings.HasPrefix(name, notePrefix) {
		dir, temp, err := s.readNote(name)
		if err == nil && strings.HasPrefix(temp, tempPrefix) {
			err = removeTemp(root, dir, temp)
		}
		if err != nil {
			return err
		}
	}
	return at.Unlink(s.fd, name, 0)
}

// readNote returns what a note says; nothing if it was cut short, which was
// before there was a file.
func (s *stage) readNote(name string) (dir, temp string, err error) {
	fd, err := at.Open(s.fd, name, unix.O_RDONLY, 0)
	if err != nil {
		return "", "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	note, err := io.ReadAll(io.LimitReader(f, noteMax))
	if err != nil {
		return "", "", err
	}
	fields := strings.Split(string(note), "\x00")
	if len(fields) != 3 {
		return "", "", nil
	}
	return fields[0], fields[1], nil
}

func removeTemp(root int, dir, name string) error {
	if dir == "" {
		dir = "."
	}
	fd, err := at.OpenBeneath(root, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		err = at.Unlink(fd, name, 0)
		unix.Close(fd)
	}
	if notThere(err) {
		err = nil
	}
	return err
}

func (fs *FS) step(name string) {
	if fs.stage.step != nil {
		fs.stage.step(name)
	}
}

// passing tells whether a name is that of a replacing file.
func (fs *FS) passing(name string) bool {
	return fs.stage != nil && strings.HasPrefix(name, fs.stage.prefix)
}

// Replace implements vfs.FS. See the package comment.
func (fs *FS) Replace(ctx context.Context, id vfs.NodeID, tmp vfs.Handle) error {
	n, err := fs.node(id)
	if err != nil {
		return err
	}
	h, ok := tmp.(*handle)
	switch {
	case n.dir != nil:
		return syscall.EISDIR
	case n.typ != unix.S_IFREG || !ok || h.fs != fs || !h.tmp || !h.writable() || h.n == n:
		return syscall.EINVAL
	case fs.stage == nil:
		return syscall.EOPNOTSUPP
	}
	if n.used() {
		return syscall.EOPNOTSUPP // found out before anything is synced
	}
	if err := h.Sync(ctx, false); err != nil {
		return err
	}
	err = syscall.ESTALE
	for _, a := range n.names() {
		// Of a file that was renamed on the host, names that it had before are known.
		if err = fs.replaceAt(ctx, a, n, h); !notThere(err) {
			break
		}
		err = syscall.ESTALE
	}
	return err
}

// replaceAt is Replace of n by a name that it may have.
func (fs *FS) replaceAt(ctx context.Context, a alias, n *node, h *handle) error {
	if !a.parent.hold() {
		return syscall.ESTALE
	}
	defer fs.unhold(a.parent)
	if err := fs.replace(ctx, a.parent, a.name, n, h); err != nil {
		return err
	}
	fs.EntryChanged(ctx, a.parent.id, a.name)
	fs.NodeChanged(ctx, a.parent.id, true)
	fs.NodeChanged(ctx, n.id, false)
	return nil
}

// replace puts the file of h in the place of n, which is name in p.
func (fs *FS) replace(ctx context.Context, p *node, name string, n *node, h *handle) error {
	p.dir.names.Lock()
	defer p.dir.names.Unlock()
	s, err := fs.enter(p)
	if err != nil {
		return err
	}
	defer s.leave()
	t, err := fs.openTarget(s.fd, name)
	if err != nil {
		return err
	}
	defer t.close()
	if !n.matches(t.ident, &t.attr) {
		return syscall.ESTALE
	}
	if t.attr.Nlink != 1 || n.used() {
		return syscall.EOPNOTSUPP
	}
	if err := dress(h.held.fd, &t); err != nil {
		return err
	}
	fs.step("dressed")
	if err := fs.takeName(ctx, h.held.fd, p, s.fd, name, &t); err != nil {
		return err
	}
	fs.step("replaced")
	fs.unnamed(p, name, &t)
	if f, err := fs.look(h.held.fd, ""); err == nil {
		if fresh, err := fs.intern(p, name, &f); err == nil {
			fs.unref(fresh, 1)
		}
	} // or else a lookup will find it
	return nil
}

// used tells whether somebody has n open by this filesystem.
func (n *node) used() bool {
	n.shard.mu.Lock()
	defer n.shard.mu.Unlock()
	return len(n.open) > 0
}

// takeName gives the nameless file fd the name in p, which dirfd is, that t has.
// EOPNOTSUPP where the host does not let that be done.
func (fs *FS) takeName(ctx context.Context, fd int, p *node, dirfd int, name string, t *target) error {
	number := strconv.FormatUint(fs.stage.last.Add(1), 10)
	err := error(syscall.EXDEV)
	if !fs.stage.apart {
		staged := filePrefix + number
		if err = at.LinkFD(fd, fs.stage.fd, staged); err == nil {
			fs.step("staged")
			err = fs.swap(fs.stage.fd, staged, dirfd, name, t.ident)
		}
	}
	if err == syscall.EXDEV {
		err = fs.takeBeside(ctx, fd, p, dirfd, name, number, t)
	}
	switch err {
	case syscall.EXDEV, syscall.EACCES, syscall.EPERM, syscall.EBUSY, syscall.ENOENT:
		// A directory that may not be written to while the file may, a file that
		// is a mount point, a host that links no nameless files.
		return syscall.EOPNOTSUPP
	}
	return err
}

// takeBeside is takeName where the stage is on another mount.
func (fs *FS) takeBeside(ctx context.Context, fd int, p *node, dirfd int, name, number string, t *target) error {
	dir, err := fs.Path(ctx, p.id)
	if err != nil {
		return err
	}
	temp, note := fs.stage.prefix+number, notePrefix+number
	nfd, err := at.Open(fs.stage.fd, note, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer at.Unlink(fs.stage.fd, note, 0)
	f := os.NewFile(uintptr(nfd), note)
	_, err = fmt.Fprintf(f, "%s\x00%s\x00", dir, temp)
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	fs.step("noted")
	if err := at.LinkFD(fd, dirfd, temp); err != nil {
		return err
	}
	fs.step("linked")
	return fs.swap(dirfd, temp, dirfd, name, t.ident)
}

// swap puts the file temp in tempfd in the place of name in dirfd, and leaves
// nothing in its own. ESTALE, with nothing done, if that is not old any more:
// what another process has put there meanwhile is not ours to replace.
func (fs *FS) swap(tempfd int, temp string, dirfd int, name string, old at.Ident) error {
	err := at.Rename(tempfd, temp, dirfd, name, unix.RENAME_EXCHANGE)
	switch err {
	case nil:
		fs.step("exchanged")
		if _, id, serr := at.Stat(tempfd, temp); serr == nil && id == old {
			break
		}
		if err := at.Rename(tempfd, temp, dirfd, name, unix.RENAME_EXCHANGE); err != nil {
			return err // what is somebody else's is in the stage then
		}
		err = syscall.ESTALE
	case syscall.EINVAL, syscall.ENOSYS: // a filesystem that cannot do that
		if err = at.Rename(tempfd, temp, dirfd, name, 0); err == nil {
			return nil
		}
	}
	at.Unlink(tempfd, temp, 0) // or else the next Open will
	return err
}

// dress gives the new file fd what t has beside its contents: owner, permission
// bits, as after a write, and extended attributes. EOPNOTSUPP where this process
// cannot; EACCES, EPERM and ETXTBSY where t is not to be written to.
func dress(fd int, t *target) error {
	w, err := at.Reopen(t.fd, unix.O_WRONLY)
	if err != nil {
		return err
	}
	unix.Close(w)
	a, _, err := at.Stat(fd, "")
	if err != nil {
		return err
	}
	if a.UID != t.attr.UID || a.GID != t.attr.GID {
		if err := at.Chown(fd, "", int(t.attr.UID), int(t.attr.GID)); err != nil {
			return syscall.EOPNOTSUPP
		}
	}
	if err := dressXattrs(fd, t.fd); err != nil {
		return err
	}
	mode := t.attr.Mode & 07777
	if hasSetID(mode) {
		mode &^= unix.S_ISUID
		if mode&unix.S_IXGRP != 0 {
			mode &^= unix.S_ISGID
		}
	}
	return at.Chmod(fd, "", mode)
}

// dressXattrs makes the extended attributes of fd those of old, but for what a
// write takes away.
func dressXattrs(fd, old int) error {
	want, err := xattrs(old)
	if err != nil {
		return err
	}
	delete(want, "security.capability")
	have, err := xattrs(fd)
	if err != nil {
		return err
	}
	for name := range have {
		if _, ok := want[name]; !ok && at.RemoveXattr(fd, "", name) != nil {
			return syscall.EOPNOTSUPP
		}
	}
	for name, value := range want {
		if now, ok := have[name]; ok && now == value {
			continue
		}
		if at.SetXattr(fd, "", name, []byte(value), 0) != nil {
			return syscall.EOPNOTSUPP
		}
	}
	return nil
}

// xattrs returns the extended attributes of the file fd, of any descriptor.
func xattrs(fd int) (map[string]string, error) {
	list, err := grown(func(b []byte) (int, error) { return at.ListXattr(fd, "", b) })
	if err == syscall.EOPNOTSUPP {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for name := range strings.SplitSeq(list, "\x00") {
		if name == "" {
			continue
		}
		value, err := grown(func(b []byte) (int, error) { return at.GetXattr(fd, "", name, b) })
		if err == syscall.ENODATA {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[name] = value
	}
	return out, nil
}

// grown calls read with a larger buffer until it is large enough.
func grown(read func([]byte) (int, error)) (string, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := read(b)
		if err == syscall.ERANGE && size < xattrMax {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(b[:n]), nil
	}
}
