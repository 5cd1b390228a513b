package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// Server is one live mount. Its methods may be called concurrently.
type Server struct {
	raw  *rawFS
	path string
	conn uint64
}

// Mountpoint is where the mount is, absolute and with symbolic links resolved.
func (s *Server) Mountpoint() string { return s.path }

// Wait returns when the mount is gone, whoever unmounted it, and the filesystem
// has got back every reference and handle; or with ctx's error.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.raw.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unmount takes the mount away and returns when it is gone. If files below it
// are in use it fails with [ErrBusy] and the mount stays. Where another mount
// namespace (of a container, say) has a copy, that is still served after some
// seconds, when Unmount returns; Wait tells when it ends. An ended mount is no
// error, and what an abort left of it is taken away; one that was taken out of
// the tree and is still served, for files that are open, is [ErrNotMounted].
func (s *Server) Unmount() error {
	if s.done() {
		_, err := CleanStale(s.path)
		return err
	}
	if err := s.unmount(false); err != nil {
		// Out of the tree, it may be about to end: the kernel has let go of it
		// and the server has not heard yet.
		if errors.Is(err, ErrNotMounted) && s.endsWithin(endWait) || s.done() {
			return nil
		}
		return err
	}
	s.endsWithin(copyWait)
	return nil
}

// copyWait is how long a mount that was taken away may take to end before it is
// taken for one that another namespace has too.
const copyWait = 5 * time.Second

// endWait is how long a mount that is out of the tree, with nothing open, may
// take to end.
const endWait = time.Second

func (s *Server) endsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.raw.ended:
		return true
	case <-t.C:
		return false
	}
}

// UnmountLazy takes the mount out of the directory tree at once. It goes on
// serving the files that are open until the last is closed; Wait tells when.
func (s *Server) UnmountLazy() error {
	if s.done() {
		return s.Unmount()
	}
	if err := s.unmount(true); err != nil && !s.done() {
		return err
	}
	return nil
}

// unmount takes this mount away, and no other that came to its place.
func (s *Server) unmount(lazy bool) error {
	m, ok, err := mountAt(s.path)
	if err != nil {
		return &MountError{Path: s.path, Err: err}
	}
	if !ok || s.conn != 0 && m.ConnID != s.conn {
		return &MountError{Path: s.path, Kind: ErrNotMounted}
	}
	return unmount(s.path, lazy)
}

func (s *Server) done() bool {
	select {
	case <-s.raw.ended:
		return true
	default:
		return false
	}
}

// Abort cuts the connection: every call on the mount, also one that hangs,
// fails with ENOTCONN or ECONNABORTED. The mount itself stays until it is
// unmounted. It needs the fusectl filesystem at its usual place.
func (s *Server) Abort() error {
	if s.conn == 0 {
		return &MountError{Path: s.path, Kind: ErrNotMounted}
	}
	name := "/sys/fs/fuse/connections/" + strconv.FormatUint(s.conn, 10) + "/abort"
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("1")
		if cErr := f.Close(); err == nil {
			err = cErr
		}
	}
	if errors.Is(err, fs.ErrNotExist) && s.endsWithin(endWait) {
		return nil // it ended by itself, just now
	}
	if err != nil {
		return &MountError{Path: s.path, Err: fmt.Errorf("abort: %w", err), Hint: "mount fusectl (mount -t fusectl none /sys/fs/fuse/connections)"}
	}
	return nil
}

// ConnID is the number of the connection below /sys/fs/fuse/connections; 0 if it
// could not be found out.
func (s *Server) ConnID() uint64 { return s.conn }

// Stats is what a mount did so far.
type Stats struct {
	Requests      uint64 // requests of the kernel, forgets aside
	Notifications uint64 // changes of others that the kernel was told of
	Dropped       uint64 // those it could not be told of; not 0 means old caches
	Passthrough   uint64 // files that were opened with passthrough first
	Panics        uint64 // calls that ended in a panic
	Nodes         int    // nodes the kernel knows
	Handles       int    // open files and directories
}

// Stats returns the present counts.
func (s *Server) Stats() Stats {
	c := &s.raw.stats
	return Stats{
		Requests: c.requests.Load(), Notifications: c.notified.Load(), Dropped: c.dropped.Load(),
		Passthrough: c.passthrough.Load(), Panics: c.panics.Load(),
		Nodes: int(s.raw.nodes.count.Load()), Handles: s.raw.handles.len(),
	}
}
