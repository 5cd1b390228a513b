// Package store keeps sessions on disk: where they are, what they are called,
// which process owns one.
//
// The state directory has a directory for each session:
//
//	NAME/session.json      what the session is (File); versioned, written atomically
//	NAME/lock              held by the owner, and what it says of itself (Holder)
//	NAME/sock              the owner's control socket, mode 0600
//	NAME/layers/upper      the changes, as kernel overlayfs writes them
//	NAME/layers/work       copy-up in the making
//	NAME/state             fingerprints of what the changes cover
//	NAME/tree              the worktree of a session in that mode
//	NAME/home/PRINCIPAL    what a principal has as home://
//	NAME/tmp/PRINCIPAL     what a principal has as tmp://
//	NAME/stage             files that are about to take the place of others
//	NAME/audit             the audit log
//	NAME/log               what the owner reports while it runs in the background
//
// Names that begin with '.' are the store's own: ".cache" has compiled
// capsules, ".new-…" a session in the making, ".gone-…" one being removed.
// Everything is made with mode 0700 or 0600.
package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session/fault"
)

// ErrUnknown is what looking for a session that is not there answers.
var ErrUnknown = errors.New("no such session")

// Store is a state directory. It has no state of its own in memory; several
// processes may use one at the same time.
type Store struct {
	dir string
}

// Session is a session on disk.
type Session struct {
	Dir  string // absolute
	File File
}

// DefaultDir returns the state directory where none was given: astridfs in
// $XDG_STATE_HOME or in ~/.local/state, and /var/lib/astridfs for root.
func DefaultDir(getenv func(string) string, uid int) (string, error) {
	if x := getenv("XDG_STATE_HOME"); filepath.IsAbs(x) {
		return filepath.Join(x, "astridfs"), nil
	}
	if uid == 0 {
		return "/var/lib/astridfs", nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "astridfs"), nil
	}
	return "", fault.New(fault.Failed, "give one with --state-dir or ASTRIDFS_STATE_DIR",
		"no state directory: neither XDG_STATE_HOME nor HOME is set")
}

// Open returns the store in dir, which need not exist yet. Nothing is made
// before the first session is.
func Open(dir string) (*Store, error) {
	abs, err := Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: resolve(abs)}
	return s, s.checkOwner()
}

// Abs is filepath.Abs for a path that a person has typed.
func Abs(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fault.New(fault.Failed, "go to a directory that is there, or give the whole path",
			"%s is relative, and the current directory cannot be told: %w", fault.Arg(path), err)
	}
	return abs, nil
}

// checkOwner tells whether the state directory, if it is there, is one whose
// contents nobody else can replace: capsules and layers are taken from it as
// they are.
func (s *Store) checkOwner() error {
	var st unix.Stat_t
	if err := unix.Stat(s.dir, &st); err != nil {
		return nil // whoever uses it finds what is wrong with it
	}
	const next = "give one of your own with --state-dir or ASTRIDFS_STATE_DIR"
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fault.New(fault.Failed, "give another with --state-dir or ASTRIDFS_STATE_DIR", "the state directory %s is not a directory", s.dir)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fault.New(fault.Denied, next, "the state directory %s belongs to another user (uid %d)", s.dir, st.Uid)
	case st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
		return fault.New(fault.Denied, "take that away: chmod go-w "+fault.Arg(s.dir), "others can write to the state directory %s (mode %04o)", s.dir, st.Mode&0o7777)
	}
	return nil
}

// resolve resolves the symbolic links of the part of path that exists.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolve(parent), filepath.Base(path))
}

// Dir returns the state directory: absolute, symbolic links resolved.
func (s *Store) Dir() string { return s.dir }

// CacheDir returns the directory for compiled capsules. It need not exist.
func (s *Store) CacheDir() string { return filepath.Join(s.dir, ".cache") }

// Names returns the names of all sessions, sorted.
func (s *Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if CheckName(e.Name()) != nil {
			continue
		}
		dir := filepath.Join(s.dir, e.Name())
		if _, err := os.Lstat(filepath.Join(dir, fileName)); err == nil || hasLayers(dir) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Load returns the session called name. The error is [ErrUnknown] if there is
// none, or that of a damaged session file.
func (s *Store) Load(name string) (*Session, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, name)
	f, err := readFile(dir)
	if errors.Is(err, fs.ErrNotExist) && hasLayers(dir) {
		if f, err = readFile(dir); errors.Is(err, fs.ErrNotExist) { // not that it was made just now
			path := filepath.Join(dir, fileName)
			return nil, fault.New(fault.Failed, mend(path), "session file %s is gone", path)
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, fault.New(fault.Failed, "see what there is with: astridfs sessions list",
			"no session %q in %s", name, s.dir).By(ErrUnknown)
	}
	if err != nil {
		return nil, err
	}
	if f.Name != name { // its mounts and its audit log go by the name
		return nil, fault.New(fault.Failed, "keep copies outside of the state directory, and bring one back by its own name; or: astridfs sessions remove --force "+name,
			"session %s is a copy of session %s", name, f.Name)
	}
	return &Session{Dir: dir, File: f}, nil
}

// hasLayers tells whether dir is of a session: it is made, and removed, as a whole.
func hasLayers(dir string) bool {
	st, err := os.Lstat(filepath.Join(dir, "layers"))
	return err == nil && st.IsDir()
}

// Create makes the session that f describes. It appears whole or not at all.
// The error is fs.ErrExist if there is one of that name.
func (s *Store) Create(f File) (*Session, error) {
	if err := CheckName(f.Name); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fault.New(kindOf(err), "give another with --state-dir or ASTRIDFS_STATE_DIR",
			"cannot make the state directory: %w", err)
	}
	tmp, err := os.MkdirTemp(s.dir, ".new-")
	if err != nil {
		return nil, fault.New(kindOf(err), "give another with --state-dir or ASTRIDFS_STATE_DIR",
			"cannot write to the state directory: %w", err)
	}
	dir := filepath.Join(s.dir, f.Name)
	err = populate(tmp, f)
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
		if err != nil {
			err = &fs.PathError{Op: "create session", Path: dir, Err: err}
		}
	}
	if err != nil {
		return nil, errors.Join(err, removeTree(tmp))
	}
	if err := syncDir(s.dir); err != nil {
		return nil, err
	}
	return &Session{Dir: dir, File: f}, nil
}

func kindOf(err error) fault.Kind {
	if errors.Is(err, fs.ErrPermission) {
		return fault.Denied
	}
	return fault.Failed
}

func populate(dir string, f File) error {
	// The root of the upper layer is what the root of the mount shows: it takes
	// after the workspace, in so far as this process may.
	for _, sub := range []string{"layers", "layers/upper", "layers/work", "state", "home", "tmp", "audit"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := likeWorkspace(filepath.Join(dir, "layers/upper"), string(f.Workspace)); err != nil {
		return err
	}
	return f.write(dir)
}

func likeWorkspace(dir, workspace string) error {
	var st unix.Stat_t
	if err := unix.Stat(workspace, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: workspace, Err: err}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return unix.Chmod(dir, st.Mode&0o7777)
}

// Remove deletes the session, which the caller owns by l; l ends with it. It
// needs no room on the disk.
func (s *Store) Remove(sess *Session, l *Lock) error {
	gone := filepath.Join(s.dir, ".gone-"+rand.Text())
	err := unix.Renameat2(unix.AT_FDCWD, sess.Dir, unix.AT_FDCWD, gone, unix.RENAME_NOREPLACE)
	if err != nil {
		err = &fs.PathError{Op: "remove session", Path: sess.Dir, Err: err}
	}
	if uerr := l.Unlock(); err == nil {
		err = uerr
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return err
	}
	return removeTree(gone)
}

// RemoveDamaged deletes what stands in the place of a session and cannot be
// loaded as one. The error is ErrLocked while a process owns it.
func (s *Store) RemoveDamaged(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	sess := &Session{Dir: filepath.Join(s.dir, name), File: File{Name: name}}
	l, err := sess.Lock("remove")
	if err != nil {
		return err
	}
	return s.Remove(sess, l)
}

// Leftovers removes what processes that were killed left in the state directory
// while they made or removed a session, and returns how many there were.
func (s *Store) Leftovers() (int, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	n := 0
	for _, e := range entries {
		old := false
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), ".new-") {
			old = time.Since(info.ModTime()) > time.Hour // none is that long in the making
		}
		if old || strings.HasPrefix(e.Name(), ".gone-") {
			n++
			err = errors.Join(err, removeTree(filepath.Join(s.dir, e.Name())))
		}
	}
	return n, err
}

// removeTree removes a tree that may hold directories without permissions.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	})
	if rerr := os.RemoveAll(dir); rerr != nil {
		return fmt.Errorf("%w (%w)", rerr, errors.Join(err))
	}
	return nil
}

// Upper returns the directory of the upper layer.
func (s *Session) Upper() string { return filepath.Join(s.Dir, "layers", "upper") }

// Work returns the directory where copy-up happens.
func (s *Session) Work() string { return filepath.Join(s.Dir, "layers", "work") }

// State returns the directory of base fingerprints.
func (s *Session) State() string { return filepath.Join(s.Dir, "state") }

// Tree returns the directory of the git worktree.
func (s *Session) Tree() string { return filepath.Join(s.Dir, "tree") }

// Stage returns the directory where files that replace others in a directory of
// the session, or in the workspace, are in between; part says which that is.
func (s *Session) Stage(part string) string { return filepath.Join(s.Dir, "stage", part) }

// Audit returns the directory of the audit log.
func (s *Session) Audit() string { return filepath.Join(s.Dir, "audit") }

// KV returns the directory of the values that capsules keep with astrid:kv.
func (s *Session) KV() string { return filepath.Join(s.Dir, "kv") }

// KeepsData tells whether capsules keep something with the session that is no
// change to the workspace: a file in a home, or a value of astrid:kv.
func (s *Session) KeepsData() (bool, error) {
	for _, dir := range []string{filepath.Join(s.Dir, "home"), s.KV()} {
		owners, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		for _, owner := range owners {
			d, err := os.Open(filepath.Join(dir, owner.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return false, err
			}
			some, err := d.Readdirnames(1)
			d.Close()
			if len(some) > 0 {
				return true, nil
			}
			if err != io.EOF {
				return false, err
			}
		}
	}
	return false, nil
}

// Log returns the path of the owner's log.
func (s *Session) Log() string { return filepath.Join(s.Dir, "log") }

// SocketName is the control socket's name in the session's directory.
const SocketName = "sock"

// PrincipalDirs returns the directories of a principal's home:// and tmp://,
// and makes them if they are not there.
func (s *Session) PrincipalDirs(principal string) (home, tmp string, err error) {
	if err := CheckPrincipal(principal); err != nil {
		return "", "", err
	}
	home = filepath.Join(s.Dir, "home", principal)
	tmp = filepath.Join(s.Dir, "tmp", principal)
	for _, dir := range []string{home, tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", "", err
		}
	}
	return home, tmp, nil
}

// Gone tells whether the session was removed since it was loaded.
func (s *Session) Gone() bool {
	f, err := readFile(s.Dir)
	return errors.Is(err, fs.ErrNotExist) || err == nil && f.ID != s.File.ID
}

// Update replaces the session file. The caller owns the session.
func (s *Session) Update(f File) error {
	if err := f.write(s.Dir); err != nil {
		return err
	}
	s.File = f
	return nil
}
