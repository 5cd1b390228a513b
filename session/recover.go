package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// Recovered is a mount that a killed owner left and that Recover took away.
type Recovered struct {
	Session    string
	Mountpoint string
}

func (r Recovered) String() string {
	return fmt.Sprintf("session %s: its owner is gone and left a dead mount at %s, which was unmounted; no change is lost", r.Session, r.Mountpoint)
}

// Recover takes away the mounts of st's sessions whose owner is gone, so that
// nobody runs into a filesystem that answers nothing but errors. It costs one
// reading of the kernel's table where there is no such mount.
func Recover(st *store.Store) ([]Recovered, error) {
	list, err := Mounts()
	if err != nil {
		return nil, err
	}
	var all []Recovered
	var errs []error
	seen := map[string]bool{}
	for _, m := range list {
		if seen[m.ID] {
			continue
		}
		seen[m.ID] = true
		disk, err := st.Load(m.Name)
		if err != nil || disk.File.ID != m.ID {
			continue // another state directory's
		}
		l, err := lockDead(disk)
		if errors.Is(err, store.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
			continue // alive
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		done, err := detachAll(disk)
		all = append(all, done...)
		errs = append(errs, err, l.Unlock())
	}
	return all, errors.Join(errs...)
}

// lockDead takes the lock of a session whose owner may be just dying, which it
// waits for: a thread that waits for the disk (the audit log's, say) holds up
// the end of its process, and the lock's with it.
func lockDead(disk *store.Session) (*store.Lock, error) {
	for deadline := time.Now().Add(dying); ; time.Sleep(10 * time.Millisecond) {
		l, err := disk.Lock("recover")
		if !errors.Is(err, store.ErrLocked) || !killed(disk.Holder().PID) || time.Now().After(deadline) {
			return l, err
		}
	}
}

// killed tells whether a process has ended but for some of its threads, or will
// as soon as it runs: its SIGKILL is pending.
func killed(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if pid == 0 || err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "State":
			if strings.HasPrefix(value, "Z") || strings.HasPrefix(value, "X") {
				return true
			}
		case "SigPnd", "ShdPnd":
			mask, err := strconv.ParseUint(value, 16, 64)
			if err == nil && mask&(1<<(unix.SIGKILL-1)) != 0 {
				return true
			}
		}
	}
	return false
}

// dying is how long a killed owner may take to be gone after its lock is free:
// the kernel gives the lock up first.
const dying = 3 * time.Second

// detachAll takes away every mount of a session that the caller owns and has
// not mounted: they are a killed owner's.
func detachAll(disk *store.Session) ([]Recovered, error) {
	list, err := Mounts()
	if err != nil {
		return nil, err
	}
	var done []Recovered
	for _, m := range list {
		if m.ID != disk.File.ID {
			continue
		}
		if err := detach(m.Point); err != nil {
			return done, fault.New(fault.Failed, "unmount it: fusermount3 -u -z, as root umount -l",
				"the dead mount of session %s at %s: %w", disk.File.Name, m.Point, err)
		}
		done = append(done, Recovered{disk.File.Name, m.Point})
	}
	return done, nil
}

func detach(point string) error {
	for deadline := time.Now().Add(dying); ; time.Sleep(10 * time.Millisecond) {
		done, err := fusefs.CleanStale(point)
		if err != nil || done {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("something still serves it")
		}
	}
}
