package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the lock file's name in the session's directory.
const lockName = "lock"

// ErrLocked is what taking a lock answers while another process has it.
var ErrLocked = errors.New("the session is in use")

// Holder is what the owner of a session tells of itself in the lock file, for
// messages. Nothing is decided by it: the lock alone says whether there is an
// owner.
type Holder struct {
	PID        int       `json:"pid"`
	BootID     string    `json:"boot_id"`
	Since      time.Time `json:"since"`
	Command    string    `json:"command"`              // the subcommand it runs
	Mountpoint Path      `json:"mountpoint,omitempty"` // where it has, or is about to have, the session mounted
	View       string    `json:"view,omitempty"`       // what it shows there; empty: the workspace
}

func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "process %d (astridfs %s", h.PID, h.Command)
	if h.Mountpoint != "" {
		fmt.Fprintf(&b, ", mounted at %s", h.Mountpoint)
	}
	fmt.Fprintf(&b, ", since %s)", h.Since.Local().Format("2006-01-02 15:04:05"))
	return b.String()
}

// Lock is the ownership of a session. It ends with Unlock or with the process.
type Lock struct {
	f      *os.File
	holder Holder
}

// Lock makes this process the owner of s and records in the lock file that it
// runs command. It does not wait: while another process is the owner it
// answers [ErrLocked]. fs.ErrNotExist: the session was removed meanwhile.
func (s *Session) Lock(command string) (*Lock, error) {
	path := filepath.Join(s.Dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// A lock of the open file description: it goes with the process, as one of
	// flock(2) would, and unlike that one it can be asked for without taking it.
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk); err != nil {
		f.Close()
		if err == unix.EAGAIN || err == unix.EACCES {
			return nil, ErrLocked
		}
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	// Between the open and the lock, the session may have been removed, and
	// another made in its place.
	mine, err := f.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Stat(path); err == nil && !os.SameFile(mine, there) {
			err = ErrLocked
		}
	}
	l := &Lock{f: f, holder: Holder{PID: os.Getpid(), BootID: bootID(), Since: time.Now().UTC(), Command: command}}
	if err == nil {
		err = l.record()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// SetMountpoint records where the session is mounted, and what is shown there.
func (l *Lock) SetMountpoint(path, view string) error {
	l.holder.Mountpoint, l.holder.View = Path(path), view
	return l.record()
}

// Holder returns what the lock file says of this process.
func (l *Lock) Holder() Holder { return l.holder }

// record writes what the holder tells of itself. Where a full disk has no room
// for it, nobody is named: a session must not be out of reach then, because
// discarding changes is what makes room.
func (l *Lock) record() error {
	b, err := json.Marshal(l.holder)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	_, err = l.f.WriteAt(b, 0)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		b, err = nil, nil
	}
	if err != nil {
		return err
	}
	return l.f.Truncate(int64(len(b)))
}

// Unlock ends the ownership.
func (l *Lock) Unlock() error {
	err := l.f.Truncate(0)
	if cerr := l.f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Holder returns what the last owner of this boot recorded; the zero Holder
// where there is nothing. Whether it is still there only the lock tells.
func (s *Session) Holder() Holder {
	f, err := os.Open(filepath.Join(s.Dir, lockName))
	if err != nil {
		return Holder{}
	}
	defer f.Close()
	var h Holder
	if json.NewDecoder(f).Decode(&h) != nil || h.BootID != bootID() {
		return Holder{}
	}
	return h
}

// InUse tells whether a process owns the session now, and which.
func (s *Session) InUse() (Holder, bool, error) {
	f, err := os.Open(filepath.Join(s.Dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, err
	}
	defer f.Close()
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lk); err != nil {
		return Holder{}, false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	if lk.Type == unix.F_UNLCK {
		return Holder{}, false, nil
	}
	return s.Holder(), true, nil
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
