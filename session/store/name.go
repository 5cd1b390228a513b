package store

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/astridfs/astridfs/session/fault"
)

// nameMax is the length of the longest session or principal name, in bytes. It
// leaves room for what is put around a name in a file's name.
const nameMax = 100

// CheckName tells whether name can name a session: 1 to 100 letters, digits,
// '.', '_' and '-' of ASCII, the first a letter or digit.
func CheckName(name string) error { return checkWord("session", name) }

// CheckPrincipal tells whether name can name a principal. The rule is that of
// [CheckName], so that it can be a directory's name and leads nowhere else.
func CheckPrincipal(name string) error { return checkWord("principal", name) }

func checkWord(what, name string) error {
	const next = "use 1 to 100 letters, digits, '.', '_' or '-', and begin with a letter or digit"
	if name == "" || len(name) > nameMax || !alnum(name[0]) {
		return fault.New(fault.Usage, next, "%q is no %s name", name, what)
	}
	for i := range len(name) {
		if !wordByte(name[i]) {
			return fault.New(fault.Usage, next, "%q is no %s name: %q in it", name, what, name[i:i+1])
		}
	}
	return nil
}

func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func wordByte(c byte) bool { return alnum(c) || c == '.' || c == '_' || c == '-' }

// DefaultName is the name of the session of a workspace for which none was
// given: the base of its path and a hash of the whole, so that two workspaces
// of one base differ. workspace is absolute, with symbolic links resolved.
func DefaultName(workspace string) string {
	base := strings.Map(func(r rune) rune {
		if r < 0x80 && wordByte(byte(r)) {
			return r
		}
		return '-'
	}, filepath.Base(workspace))
	base = strings.TrimLeft(base, "._-")
	if len(base) > 40 {
		base = base[:40]
	}
	if base == "" {
		base = "root"
	}
	sum := sha256.Sum256([]byte(workspace))
	return base + "-" + hex.EncodeToString(sum[:4])
}
