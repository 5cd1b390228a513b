package fusefs

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fsType is what /proc/self/mountinfo calls the type of our mounts.
const fsType = "fuse." + subtype

// MountInfo is one mount of this process's namespace.
type MountInfo struct {
	Mountpoint string
	Type       string // "fuse.astridfs" for ours
	Source     string // Options.FSName for ours
	ConnID     uint64 // number of the FUSE connection; for other types the minor device number
}

// parseMountInfo reads lines as proc(5) describes them:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// A line that is none is skipped.
func parseMountInfo(data []byte) []MountInfo {
	var l []MountInfo
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 6 {
			continue
		}
		dash := 6 // optional fields end in a single hyphen
		for dash < len(fields) && fields[dash] != "-" {
			dash++
		}
		if dash+2 >= len(fields) {
			continue
		}
		_, minor, ok := strings.Cut(fields[2], ":")
		conn, err := strconv.ParseUint(minor, 10, 64)
		if !ok || err != nil {
			continue
		}
		l = append(l, MountInfo{
			Mountpoint: unescape(fields[4]), Type: unescape(fields[dash+1]), Source: unescape(fields[dash+2]),
			ConnID: conn,
		})
	}
	return l
}

// unescape undoes the kernel's \ooo for blanks and backslashes. What is no such
// escape stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func mounts() ([]MountInfo, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(bufio.NewReaderSize(f, 1<<16)); err != nil {
		return nil, err
	}
	return parseMountInfo(buf.Bytes()), nil
}

// mountAt returns what is mounted at path, which must be absolute and clean; of
// several mounts on top of each other the one that is seen.
func mountAt(path string) (MountInfo, bool, error) {
	l, err := mounts()
	if err != nil {
		return MountInfo{}, false, err
	}
	found, ok := MountInfo{}, false
	for _, m := range l {
		if m.Mountpoint == path {
			found, ok = m, true // a later line is mounted later
		}
	}
	return found, ok, nil
}

// FindMounts lists the mounts of this package whose FSName begins with prefix.
// It looks at none of them, so a dead one does no harm.
func FindMounts(prefix string) ([]MountInfo, error) {
	l, err := mounts()
	if err != nil {
		return nil, err
	}
	var ours []MountInfo
	for _, m := range l {
		if m.Type == fsType && strings.HasPrefix(m.Source, prefix) {
			ours = append(ours, m)
		}
	}
	return ours, nil
}

// staleWait is how long a mount may take to answer before it counts as alive.
const staleWait = 2 * time.Second

// isStale tells whether the FUSE mount at path has lost its process. It must not
// be called by the process that serves it. Only statfs always asks: attributes
// of the root may come from the kernel's cache long after.
func isStale(path string) bool {
	answer := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(path, &st)
	}()
	select {
	case err := <-answer:
		return cutOff(err)
	case <-time.After(staleWait):
		return false
	}
}

// cutOff tells whether an error is that of a mount without a server: ENOTCONN,
// or ECONNABORTED of a request that was under way when the server went.
func cutOff(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)
}

// CleanStale unmounts what a process that is gone left at mountpoint, lazily, so
// that programs with open files there do not hinder. It does nothing where the
// mount is alive, is none of this package's, or there is none; done says
// whether it unmounted.
func CleanStale(mountpoint string) (done bool, err error) {
	path, err := resolve(mountpoint)
	if err != nil {
		return false, err
	}
	for {
		m, ok, err := mountAt(path)
		if err != nil || !ok || m.Type != fsType || !isStale(path) {
			return done, err
		}
		if err := unmount(path, true); err != nil {
			return done, err
		}
		done = true // and look whether another is below
	}
}

// resolve makes a mountpoint absolute, with symbolic links resolved, as
// mountinfo has it. It does not look at the last component unless that is a
// symbolic link: it may be a dead mount.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if abs == "/" {
		return abs, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	full := filepath.Join(dir, filepath.Base(abs))
	if _, ok, err := mountAt(full); err != nil || ok {
		return full, err
	}
	if target, err := filepath.EvalSymlinks(full); err == nil {
		return target, nil
	}
	return full, nil // whoever uses it finds what is wrong with it
}
