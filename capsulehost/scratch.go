package capsulehost

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// scratch is a directory that a process compiles into. Whoever made it holds a lock
// on it (flock), which the kernel gives up with its process: one that is not locked
// is nobody's, and whoever comes across it removes it.
type scratch struct {
	dir  string
	lock *os.File // of the directory; nil where the host has no such locks
}

const (
	scratchPrefix = "compiling-"
	sparePrefix   = "astridfs-" + scratchPrefix // of those outside of a cache

	// scratchAge is how long one was not changed that is nobody's, where the
	// host has no locks.
	scratchAge = time.Hour
)

// newScratch makes a directory in place.
func newScratch(place, prefix string) (*scratch, error) {
	for range 100 {
		dir, err := os.MkdirTemp(place, prefix)
		if err != nil {
			return nil, err
		}
		lock, free, err := lockScratch(dir)
		if err == nil && !free || errors.Is(err, os.ErrNotExist) {
			continue // somebody came across it before it was locked, and removes it
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), os.RemoveAll(dir))
		}
		return &scratch{dir, lock}, nil
	}
	return nil, fmt.Errorf("directories in %s are removed as soon as they are made", place)
}

// remove removes the directory and ends the lock on it.
func (s *scratch) remove(log *slog.Logger) {
	err := os.RemoveAll(s.dir)
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		log.Warn("removing the directory of a compiler failed", "error", err)
	}
}

// lockScratch locks a directory and tells whether it was free; lock is nil where the
// host has no such locks. ErrNotExist if it was removed by then.
func lockScratch(dir string) (lock *os.File, free bool, err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	switch err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
	case unix.EWOULDBLOCK:
		return nil, false, f.Close()
	default: // a filesystem without
		return nil, true, f.Close()
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Nlink == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, true, nil
}

// removeScratches removes the directories in place that a killed process of this
// user has left. What cannot be removed stays.
func removeScratches(place, prefix string, now time.Time) {
	list, err := os.ReadDir(place)
	if err != nil {
		return
	}
	for _, d := range list {
		if !d.IsDir() || !strings.HasPrefix(d.Name(), prefix) {
			continue
		}
		info, err := d.Info()
		if err != nil {
			continue
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(st.Uid) != os.Geteuid() {
			continue
		}
		path := filepath.Join(place, d.Name())
		lock, free, err := lockScratch(path)
		if err != nil || !free {
			continue
		}
		if lock != nil || now.Sub(info.ModTime()) > scratchAge {
			_ = os.RemoveAll(path)
		}
		if lock != nil {
			_ = lock.Close()
		}
	}
}
