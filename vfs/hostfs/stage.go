package hostfs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Kept is a file of another process that came to lie where a replacing file is
// on its way: its process put it in the place of the file that was replaced, at
// the same moment, and what happened then (a kill, an error of the disk) kept it
// from getting its place back. Nothing removes it but who is told of it.
type Kept struct {
	Path string // where it is on the host
	Of   string // the path from the root that it had; empty if that is not known
}

// stage is the directory that Options.Stage names. A file that is to replace
// another has a name here, "file-TAG.N", between having none and having the
// other's; or, where this is on another mount than the other, it has one beside
// that. "note-TAG.N" is a note of it. TAG is different for each Open.
type stage struct {
	fd   int
	dev  uint64
	path string
	root string // the path that the filesystem was opened by
	tag  string // "TAG."
	last atomic.Uint64
	kept func(Kept) // may be nil

	step  func(string) // told of the points where a crash is tested; may be nil
	apart bool         // a test's: as if it were on another mount
	plain bool         // a test's: as if the host could not exchange names
}

const (
	notePrefix, filePrefix = "note-", "file-"

	// tempPrefix begins the names that a replacing file has beside the replaced.
	tempPrefix = ".astridfs-"

	noteMax = 1 << 20 // bytes
)

// openStage opens the stage, and clears it of what an earlier user left. The
// root is open as root.
func (fs *FS) openStage(path string, root int, opt *Options) error {
	s := &stage{fd: -1, kept: opt.Kept, step: opt.step, apart: opt.apart, plain: opt.plain}
	var err error
	if s.root, err = filepath.Abs(path); err != nil {
		return err
	}
	if s.path, err = filepath.Abs(opt.Stage); err != nil {
		return err
	}
	if err := os.MkdirAll(s.path, 0o700); err != nil {
		return err
	}
	if s.fd, err = unix.Open(s.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return &os.PathError{Op: "open", Path: s.path, Err: err}
	}
	_, id, err := at.Stat(s.fd, "")
	if err != nil {
		return errors.Join(&os.PathError{Op: "stat", Path: s.path, Err: err}, s.close())
	}
	s.dev = id.Dev
	var random [8]byte
	rand.Read(random[:]) // never fails
	s.tag = hex.EncodeToString(random[:]) + "."
	fs.stage = s
	if err := fs.clearStage(root); err != nil {
		return errors.Join(&os.PathError{Op: "clear", Path: s.path, Err: err}, s.close())
	}
	return nil
}

func (s *stage) close() error { return unix.Close(s.fd) }

// keep tells of a file of somebody else's that stays at temp, in the stage or,
// with a directory from the root, there.
func (s *stage) keep(n *note) {
	if s.kept == nil {
		return
	}
	k := Kept{Path: filepath.Join(s.path, n.temp), Of: filepath.Join(n.dir, n.name)}
	if n.beside {
		k.Path = filepath.Join(s.root, n.dir, n.temp)
	}
	s.kept(k)
}

// note is what is written down of a replacement before a file gets a name for
// it, so that whoever finds a file by that name knows whose it is.
type note struct {
	dir, name string // of the file that is replaced; dir is from the root
	temp      string // what the new file is called until then,
	beside    bool   // in dir and not in the stage
	old       mark   // of the file that is replaced
	fresh     mark   // of the one that replaces it
}

// mark tells a file from every other that may come to have its name.
type mark struct {
	ino   uint64
	birth vfs.Timespec // zero where it tells nothing
	size  int64        // bytes
	mtime vfs.Timespec
}

func markOf(f *found) mark {
	return mark{f.ident.Ino, f.birth, f.attr.Size, f.attr.Mtime}
}

// same tells whether f is the file that m is of, with whatever contents.
func (m *mark) same(f *found) bool {
	return m.ino == f.ident.Ino && m.birth == f.birth
}

// untouched tells whether f is the file that m is of, and nobody wrote to it.
func (m *mark) untouched(f *found) bool { return *m == markOf(f) }

// spent tells whether f, found where the new file was, may go: it is the old
// one, or the new one, unless somebody wrote to that while it had its name.
func (n *note) spent(f *found) bool { return n.old.same(f) || n.fresh.untouched(f) }

const markFields = 6

func (m *mark) append(b []byte) []byte {
	return fmt.Appendf(b, "%d\x00%d\x00%d\x00%d\x00%d\x00%d\x00", m.ino, m.birth.Sec, m.birth.Nsec, m.size, m.mtime.Sec, m.mtime.Nsec)
}

func parseMark(fields []string) (m mark, err error) {
	var v [markFields]int64
	for i, f := range fields {
		if i == 0 {
			m.ino, err = strconv.ParseUint(f, 10, 64)
		} else {
			v[i], err = strconv.ParseInt(f, 10, 64)
		}
		if err != nil {
			return mark{}, err
		}
	}
	m.birth = vfs.Timespec{Sec: v[1], Nsec: uint32(v[2])}
	m.size = v[3]
	m.mtime = vfs.Timespec{Sec: v[4], Nsec: uint32(v[5])}
	return m, nil
}

// write puts n into the stage as name.
func (s *stage) write(name string, n *note) error {
	fd, err := at.Open(s.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	b := fmt.Appendf(nil, "%s\x00%s\x00%s\x00%t\x00", n.dir, n.name, n.temp, n.beside)
	b = n.fresh.append(n.old.append(b))
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, at.Unlink(s.fd, name, 0))
	}
	return err
}

// read returns what the note called name says; nil if it was not written whole,
// and so before anything was done.
func (s *stage) read(name string) (*note, error) {
	fd, err := at.Open(s.fd, name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, noteMax))
	if err != nil {
		return nil, err
	}
	if bytes.Count(b, []byte{0}) != 4+2*markFields {
		return nil, nil
	}
	fields := strings.Split(string(b), "\x00")
	n := &note{dir: fields[0], name: fields[1], temp: fields[2], beside: fields[3] == "true"}
	var errs [2]error
	n.old, errs[0] = parseMark(fields[4 : 4+markFields])
	n.fresh, errs[1] = parseMark(fields[4+markFields : 4+2*markFields])
	if errs != [2]error{} || vfs.CheckName(n.temp) != nil || n.beside != strings.HasPrefix(n.temp, tempPrefix) {
		return nil, nil
	}
	return n, nil
}

// clearStage removes what an earlier user of the stage left there and below
// root, its own root, and tells of what is somebody else's.
func (fs *FS) clearStage(root int) error {
	s := fs.stage
	names := make(map[string]bool)
	err := at.ReadDir(s.fd, 0, func(e vfs.DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			names[e.Name] = true
		}
		return true
	})
	if err != nil {
		return err
	}
	for name := range names {
		if !strings.HasPrefix(name, notePrefix) {
			continue
		}
		n, err := s.read(name)
		if err != nil {
			return err
		}
		delete(names, name)
		if n != nil {
			delete(names, n.temp)
			if err := fs.clearNoted(root, n, name); err != nil {
				return err
			}
		} else if err := at.Unlink(s.fd, name, 0); err != nil {
			return err
		}
	}
	for name := range names {
		s.keep(&note{temp: name}) // without a note: whose it is cannot be told
	}
	return nil
}

// clearNoted finishes what the note says, which is called name, if that can be
// done without a loss.
func (fs *FS) clearNoted(root int, n *note, name string) error {
	dirfd := fs.stage.fd
	if n.beside {
		dir := n.dir
		if dir == "" {
			dir = "."
		}
		fd, err := at.OpenBeneath(root, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if notThere(err) {
			return at.Unlink(fs.stage.fd, name, 0)
		}
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		dirfd = fd
	}
	return fs.discard(dirfd, n, name)
}

// discard removes what the new file's passing name in dirfd stands for, and then
// the note of it; or keeps both, if that is somebody else's.
func (fs *FS) discard(dirfd int, n *note, name string) error {
	f, err := fs.look(dirfd, n.temp)
	if err == nil && !n.spent(&f) {
		fs.stage.keep(n)
		return nil
	}
	if err == nil {
		err = at.Unlink(dirfd, n.temp, 0)
	}
	if err != nil && !notThere(err) {
		return err
	}
	return at.Unlink(fs.stage.fd, name, 0)
}

func (fs *FS) step(name string) {
	if fs.stage.step != nil {
		fs.stage.step(name)
	}
}

// passing tells whether a name is that of a replacing file.
func (fs *FS) passing(name string) bool {
	return fs.stage != nil && strings.HasPrefix(name, tempPrefix) && strings.HasPrefix(name[len(tempPrefix):], fs.stage.tag)
}

// takeName gives the nameless file fd the name in p, which dirfd is, that old
// has. EOPNOTSUPP where the host does not let that be done.
func (fs *FS) takeName(ctx context.Context, fd int, p *node, dirfd int, name string, old *found) error {
	f, err := fs.look(fd, "")
	if err != nil {
		return err
	}
	dir, err := fs.Path(ctx, p.id)
	if err != nil {
		return err
	}
	n := &note{dir: dir, name: name, old: markOf(old), fresh: markOf(&f)}
	number := fs.stage.next()
	err = syscall.EXDEV
	if !fs.stage.apart && f.ident.Dev == fs.stage.dev {
		n.temp = filePrefix + number
		err = fs.pass(fd, fs.stage.fd, dirfd, n, notePrefix+number)
	}
	if err == syscall.EXDEV {
		n.temp, n.beside = tempPrefix+number, true
		err = fs.pass(fd, dirfd, dirfd, n, notePrefix+number)
	}
	switch err {
	case syscall.EXDEV, syscall.EACCES, syscall.EPERM, syscall.EBUSY, syscall.ENOENT:
		// A directory that may not be written to while the file may, a file that
		// is a mount point, a host that links no nameless files.
		return syscall.EOPNOTSUPP
	}
	return err
}

// next returns what follows the prefix of a name that was not used yet.
func (s *stage) next() string { return s.tag + strconv.FormatUint(s.last.Add(1), 10) }

// pass gives the nameless file fd its passing name in tempfd, and then that of
// the old file in dirfd. noteName is what n is to be called.
func (fs *FS) pass(fd, tempfd, dirfd int, n *note, noteName string) error {
	if err := fs.stage.write(noteName, n); err != nil {
		return err
	}
	fs.step("noted")
	err := at.LinkFD(fd, tempfd, n.temp)
	if err == nil {
		fs.step("linked")
		err = fs.swap(tempfd, dirfd, n)
		fs.step("swapped")
	}
	fs.discard(tempfd, n, noteName) // or else the next Open will
	return err
}

// swap puts the new file in the place of the old one, and that in the new one's.
// ESTALE, with nothing done, if another is there now: what another process has
// put there meanwhile is not ours to replace.
func (fs *FS) swap(tempfd, dirfd int, n *note) error {
	err := fs.exchange(tempfd, dirfd, n)
	if err == syscall.EINVAL || err == syscall.ENOSYS { // a filesystem that cannot do that
		return fs.supplant(tempfd, dirfd, n)
	}
	if err != nil {
		return err
	}
	fs.step("exchanged")
	f, err := fs.look(tempfd, n.temp)
	if err == nil && n.old.same(&f) || notThere(err) {
		return nil
	}
	if err := fs.putBack(tempfd, dirfd, n); err != nil {
		return fmt.Errorf("what another process has put in the place of %s could not be left there: %w", n.name, err)
	}
	return syscall.ESTALE
}

func (fs *FS) exchange(tempfd, dirfd int, n *note) error {
	if fs.stage.plain {
		return syscall.EINVAL
	}
	return at.Rename(tempfd, n.temp, dirfd, n.name, unix.RENAME_EXCHANGE)
}

// supplant is swap where names cannot be exchanged: what is put there between a
// look and the rename is lost, as to every program that renames.
func (fs *FS) supplant(tempfd, dirfd int, n *note) error {
	f, err := fs.look(dirfd, n.name)
	if notThere(err) || err == nil && !n.old.same(&f) {
		return syscall.ESTALE
	}
	if err != nil {
		return err
	}
	return at.Rename(tempfd, n.temp, dirfd, n.name, 0)
}

// putBack gives somebody else's file its name again, which the new file has now.
// Whatever is in the new file's passing name after it, an error or not, is still
// to be looked at.
func (fs *FS) putBack(tempfd, dirfd int, n *note) error {
	err := fs.exchange(tempfd, dirfd, n)
	if err == syscall.ENOENT { // the name was removed
		return at.Rename(tempfd, n.temp, dirfd, n.name, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return err
	}
	fs.step("put back")
	if f, err := fs.look(tempfd, n.temp); err != nil || n.fresh.same(&f) {
		return err
	}
	// Yet another was put there. It is the later one, and has the name.
	return fs.exchange(tempfd, dirfd, n)
}
