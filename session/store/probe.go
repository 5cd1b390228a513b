package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session/fault"
)

// Probe finds out by trying whether the state directory can hold the layers of
// a session: extended attributes for the marks of layers, and character devices
// 0:0, the marks of deleted files. userXattr tells that the attributes have to be
// of the namespace user., since this process may not use trusted.: an ordinary
// user's, or root's without CAP_SYS_ADMIN, as in most containers. It leaves
// nothing behind.
func (s *Store) Probe() (userXattr bool, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return false, fault.New(kindOf(err), "give another with --state-dir or ASTRIDFS_STATE_DIR",
			"cannot make the state directory: %w", err)
	}
	dir, err := os.MkdirTemp(s.dir, ".new-")
	if err != nil {
		return false, fault.New(kindOf(err), "give another with --state-dir or ASTRIDFS_STATE_DIR",
			"cannot write to the state directory: %w", err)
	}
	defer func() { err = errors.Join(err, removeTree(dir)) }()
	return probe(dir, s.dir)
}

func probe(dir, report string) (userXattr bool, err error) {
	full := func(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
	name := trustedProbe
	if err = unix.Setxattr(dir, name, []byte("y"), 0); err == unix.EPERM {
		userXattr, name = true, "user.overlay.probe"
		err = unix.Setxattr(dir, name, []byte("y"), 0)
	}
	if full(err) {
		return false, fault.New(fault.Failed, "", "state directory %s: %w", report, err)
	} else if err != nil {
		return false, fault.New(fault.Failed,
			"use a state directory on a filesystem with extended attributes (ext4, xfs, btrfs, or tmpfs of Linux 6.6 and newer): --state-dir or ASTRIDFS_STATE_DIR",
			"state directory %s cannot hold extended attributes (%s): %w", report, name, err)
	}
	if err := unix.Mknod(filepath.Join(dir, "whiteout"), unix.S_IFCHR, 0); full(err) {
		return false, fault.New(fault.Failed, "", "state directory %s: %w", report, err)
	} else if err != nil {
		return false, fault.New(fault.Failed,
			"use a state directory on ext4, xfs, btrfs or tmpfs (in a container, whose root is an overlay already, a volume or /dev/shm), and Linux 5.8 or newer",
			"state directory %s cannot hold the mark of a deleted file: %w", report, err)
	}
	return userXattr, nil
}

// trustedProbe is an attribute that only a process with CAP_SYS_ADMIN can set.
const trustedProbe = "trusted.overlay.probe"

// CheckMarks tells whether this process can read and write the marks of the
// session's layers: without CAP_SYS_ADMIN root sees none in trusted., and took a
// directory that was moved for one that is gone.
func (s *Session) CheckMarks() error {
	if s.File.UserXattr || os.Geteuid() != 0 { // who is not root has made it with user.
		return nil
	}
	err := unix.Setxattr(s.Dir, trustedProbe, []byte("y"), 0)
	if err == unix.EPERM {
		return fault.New(fault.Denied, "give this process that capability (in a container: --cap-add SYS_ADMIN), or use another session: --session",
			"session %s was made with the capability CAP_SYS_ADMIN, without which its layers cannot be read", s.File.Name)
	}
	if err == nil {
		err = unix.Removexattr(s.Dir, trustedProbe)
	}
	if err == unix.ENOSPC || err == unix.EDQUOT { // it may be set, were there room
		return nil
	}
	return err
}

// Space tells how much room there is in the state directory, in bytes.
func (s *Store) Space() (free uint64, err error) {
	var st unix.Statfs_t
	dir := s.dir
	for {
		err = unix.Statfs(dir, &st)
		if parent := filepath.Dir(dir); errors.Is(err, unix.ENOENT) && parent != dir {
			dir = parent
			continue
		}
		break
	}
	if err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Frsize), nil
}
