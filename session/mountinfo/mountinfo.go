// Package mountinfo reads the kernel's table of mounts, and finds and removes
// those of a session. It never looks at a mounted filesystem itself: one whose
// owner was killed answers nothing but errors, and one whose owner hangs would
// never answer.
package mountinfo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one line of the table.
type Mount struct {
	Dev    string // major:minor
	Point  string // absolute
	Type   string // "fuse.astridfs"
	Source string
}

// FSType is the type of a session's mount in the table, and Subtype the part of
// it that a mount is given.
const (
	FSType  = "fuse." + Subtype
	Subtype = "astridfs"
)

// Source returns what stands as the source of a session's mounts: the name for
// people, the id for programs.
func Source(name, id string) string { return "astridfs:" + name + ":" + id }

// Session returns the session's name and id from a mount's source; ok is false
// if it is no mount of a session.
func (m *Mount) Session() (name, id string, ok bool) {
	if m.Type != FSType {
		return "", "", false
	}
	rest, ok := strings.CutPrefix(m.Source, "astridfs:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// Read returns the mounts of this process's mount namespace, later ones after
// earlier ones.
func Read() ([]Mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f)
}

// parse reads the format of proc(5): fields separated by spaces, among them a
// variable number of tags that end with "-"; space, tab, newline and backslash
// are written as octal escapes.
func parse(r io.Reader) ([]Mount, error) {
	var list []Mount
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		f := strings.Split(sc.Text(), " ")
		sep := -1
		for i := 6; i < len(f); i++ {
			if f[i] == "-" {
				sep = i
				break
			}
		}
		if sep < 0 || sep+2 >= len(f) {
			return nil, fmt.Errorf("/proc/self/mountinfo: unexpected line %q", sc.Text())
		}
		list = append(list, Mount{
			Dev: f[2], Point: unescape(f[4]), Type: unescape(f[sep+1]), Source: unescape(f[sep+2]),
		})
	}
	return list, sc.Err()
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// At returns the topmost mount exactly at point, which is absolute and clean.
func At(list []Mount, point string) (Mount, bool) {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Point == point {
			return list[i], true
		}
	}
	return Mount{}, false
}

// Covering returns the mount that path, absolute and clean, lies in: the one at
// the longest point above it, and of several at that point the topmost.
func Covering(list []Mount, path string) (Mount, bool) {
	for {
		if m, ok := At(list, path); ok {
			return m, true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return Mount{}, false
		}
		path = parent
	}
}

// OfSession returns the mounts of the session with this id, the latest first.
func OfSession(list []Mount, id string) []Mount {
	var found []Mount
	for i := len(list) - 1; i >= 0; i-- {
		if _, got, ok := list[i].Session(); ok && got == id {
			found = append(found, list[i])
		}
	}
	return found
}

// Detach takes the mount at point out of the tree at once, also while it is in
// use (a lazy unmount). An ordinary user's goes through fusermount3.
func Detach(point string) error {
	err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if !errors.Is(err, unix.EPERM) {
		if err != nil {
			return &os.PathError{Op: "unmount", Path: point, Err: err}
		}
		return nil
	}
	out, err := exec.Command("fusermount3", "-u", "-z", "--", point).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3 -u -z %s: %w: %s", point, err, strings.TrimSpace(string(out)))
	}
	return nil
}
