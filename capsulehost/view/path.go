package view

import (
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxPath is the length of the longest path that a guest may give, in bytes,
// its scheme included.
const MaxPath = 4096

// Scheme names one of the trees of a view.
type Scheme uint8

// The schemes. The zero value is none.
const (
	Workspace Scheme = iota + 1
	Home
	Tmp
)

// String returns the scheme's canonical name, which a [vfs.Gate] is asked with.
func (s Scheme) String() string {
	switch s {
	case Workspace:
		return "workspace"
	case Home:
		return "home"
	case Tmp:
		return "tmp"
	}
	return "none"
}

// Parse splits a guest's path into its scheme and what follows it, which is
// for a walk and still holds "..", "." and doubled slashes.
//
// Errnos: EINVAL for an unknown scheme and for what [CheckText] refuses.
func Parse(path string) (Scheme, string, error) {
	if err := CheckText(path); err != nil {
		return 0, "", err
	}
	// Only what stands before the first slash can be a scheme: a name further
	// down may hold any character.
	if i := strings.Index(path, "://"); i >= 0 && strings.IndexByte(path[:i], '/') < 0 {
		rest := path[i+len("://"):]
		switch path[:i] {
		case "workspace", "cwd":
			return Workspace, rest, nil
		case "home":
			return Home, rest, nil
		case "tmp":
			return Tmp, rest, nil
		}
		return 0, "", syscall.EINVAL
	}
	if rest, ok := strings.CutPrefix(path, "/tmp"); ok && (rest == "" || rest[0] == '/') {
		return Tmp, rest, nil
	}
	return Workspace, path, nil
}

// CheckText answers EINVAL to text that cannot be a path or a name of a guest:
// longer than [MaxPath] bytes, not UTF-8, not in Unicode's normal form NFC, or
// with a NUL or another control character in it.
func CheckText(s string) error {
	if len(s) > MaxPath {
		return syscall.EINVAL
	}
	ascii := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < 0x20 || c == 0x7f:
			return syscall.EINVAL
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if ascii {
		return nil
	}
	if !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0 || !norm.NFC.IsNormalString(s) {
		return syscall.EINVAL
	}
	return nil
}

// Format returns the canonical form of a resolved path: "workspace://p",
// "home://p" or "tmp://p".
func Format(s Scheme, path string) string { return s.String() + "://" + path }
