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
// a session: extended attributes in the namespace that this process uses for
// the marks of layers (trusted. for root, user. otherwise), and character
// devices 0:0, the marks of deleted files. It leaves nothing behind.
func (s *Store) Probe() (err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fault.New(kindOf(err), "give another with --state-dir or ASTRIDFS_STATE_DIR",
			"cannot make the state directory: %w", err)
	}
	dir, err := os.MkdirTemp(s.dir, ".new-")
	if err != nil {
		return fault.New(kindOf(err), "give another with --state-dir or ASTRIDFS_STATE_DIR",
			"cannot write to the state directory: %w", err)
	}
	defer func() { err = errors.Join(err, removeTree(dir)) }()
	return probe(dir, s.dir)
}

func probe(dir, report string) error {
	full := func(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
	name := xattrNamespace() + "overlay.probe"
	if err := unix.Setxattr(dir, name, []byte("y"), 0); full(err) {
		return fault.New(fault.Failed, "", "state directory %s: %w", report, err)
	} else if err != nil {
		return fault.New(fault.Failed,
			"use a state directory on a filesystem with extended attributes (ext4, xfs, btrfs, or tmpfs of Linux 6.6 and newer): --state-dir or ASTRIDFS_STATE_DIR",
			"state directory %s cannot hold extended attributes (%s): %w", report, name, err)
	}
	if err := unix.Mknod(filepath.Join(dir, "whiteout"), unix.S_IFCHR, 0); full(err) {
		return fault.New(fault.Failed, "", "state directory %s: %w", report, err)
	} else if err != nil {
		return fault.New(fault.Failed,
			"use a state directory on ext4, xfs or btrfs (in a container a volume: its root is an overlay already), and Linux 5.8 or newer",
			"state directory %s cannot hold the mark of a deleted file: %w", report, err)
	}
	return nil
}

func xattrNamespace() string {
	if os.Geteuid() == 0 {
		return "trusted."
	}
	return "user."
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
