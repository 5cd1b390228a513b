package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// within tells whether path is dir or lies below it; both are clean.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// Workspace checks a workspace that a person named and returns its real path:
// a directory that neither holds the state directory nor lies in it.
func Workspace(path string, st *store.Store) (string, error) {
	real, err := realDir("workspace", path, "give the directory of a project")
	if err != nil {
		return "", err
	}
	const next = "put the state directory elsewhere with --state-dir or ASTRIDFS_STATE_DIR"
	switch {
	case within(real, st.Dir()):
		return "", fault.New(fault.Failed, next, "workspace %s lies in the state directory %s", real, st.Dir())
	case within(st.Dir(), real):
		return "", fault.New(fault.Failed, next, "the state directory %s lies in the workspace %s", st.Dir(), real)
	}
	return real, nil
}

// RealPath resolves the symbolic links in the directories of an absolute path
// that are there, and not one that the path itself names.
func RealPath(path string) string {
	dir, name := filepath.Split(filepath.Clean(path))
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return filepath.Join(real, name)
	}
	if name == "" {
		return path
	}
	return filepath.Join(RealPath(filepath.Clean(dir)), name)
}

func realDir(what, path, next string) (string, error) {
	abs, err := store.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err == nil {
		var st fs.FileInfo
		if st, err = os.Stat(real); err == nil && !st.IsDir() {
			err = unix.ENOTDIR
		}
	}
	switch {
	case err == nil:
		return real, nil
	case errors.Is(err, fs.ErrNotExist):
		if st, lerr := os.Lstat(abs); lerr == nil && st.Mode()&fs.ModeSymlink != 0 {
			next = "give a directory that is there"
			return "", fault.New(fault.Failed, next, "%s %s is a symbolic link to what does not exist", what, abs)
		}
		return "", fault.New(fault.Failed, next, "%s %s does not exist", what, abs)
	case errors.Is(err, unix.ENOTDIR):
		return "", fault.New(fault.Failed, "give a directory", "%s %s is not a directory", what, abs)
	case errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ECONNABORTED):
		return "", fault.New(fault.Failed, "take it away with: fusermount3 -u -z, or umount -l",
			"%s %s lies in a mount whose server is gone", what, abs)
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err // it names the same path, or what that leads to
	}
	return "", fault.New(fault.Failed, "", "%s %s: %w", what, abs, err)
}

// MountpointPath returns the real path of a mountpoint without looking at what
// is mounted there, which may be dead or hang.
func MountpointPath(path string) (string, error) {
	abs, err := store.Abs(path)
	if err != nil {
		return "", err
	}
	list, err := Mounts()
	if err != nil {
		return "", err
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		p := filepath.Join(parent, filepath.Base(abs))
		if _, ok := MountedAt(list, p); ok {
			return p, nil
		}
	}
	return realDir("mountpoint", path, "make it with: mkdir -p "+fault.Arg(abs))
}

// checkMountpoint tells whether a session of the workspace may be mounted at
// point, which MountpointPath returned. What only fusefs.Mount finds out, it
// leaves to that.
func checkMountpoint(point, workspace string, st *store.Store) error {
	list, err := Mounts()
	if err != nil {
		return err
	}
	if m, ok := MountedAt(list, point); ok {
		return fault.New(fault.Busy, "work there, or end it with: astridfs unmount "+fault.Arg(point),
			"mountpoint %s is in use: session %s is mounted there%s", point, m.Name, holderOf(st, m.Name))
	}
	const next = "choose an empty directory outside the workspace"
	switch {
	case within(point, workspace):
		return fault.New(fault.Failed, next, "mountpoint %s lies in the workspace %s", point, workspace)
	case within(workspace, point):
		return fault.New(fault.Failed, next, "the workspace %s lies in the mountpoint %s", workspace, point)
	case within(point, st.Dir()), within(st.Dir(), point):
		return fault.New(fault.Failed, next, "mountpoint %s and the state directory %s overlap", point, st.Dir())
	}
	return nil
}

func holderOf(st *store.Store, name string) string {
	if disk, err := st.Load(name); err == nil {
		if h, used, err := disk.InUse(); err == nil && used {
			return ", by " + h.String()
		}
	}
	return ""
}
