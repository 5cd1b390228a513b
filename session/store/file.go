package store

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/astridfs/astridfs/session/fault"
)

// Format is the version of the session file that this program writes. It reads
// that one and every older one.
const Format = 1

// fileName is the session file's name in the session's directory.
const fileName = "session.json"

// maxFile bounds the size of a session file, in bytes.
const maxFile = 1 << 20

// Mode is how a session relates to its workspace.
type Mode string

// The modes. Overlay holds every change back until a commit; Worktree writes to
// a git worktree on a branch of its own; Host writes to the workspace itself.
const (
	Overlay  Mode = "overlay"
	Worktree Mode = "worktree"
	Host     Mode = "host"
)

// File is the session file: what a session is, fixed when it is made.
type File struct {
	Format      int       `json:"format"`
	ID          string    `json:"id"` // 16 hexadecimal digits, in the source of its mounts
	Name        string    `json:"name"`
	Workspace   Path      `json:"workspace"` // absolute, symbolic links resolved
	Mode        Mode      `json:"mode"`
	Branch      string    `json:"branch,omitempty"`       // mode worktree: the branch it is on
	GitDir      Path      `json:"git_dir,omitempty"`      // mode worktree: what git keeps for it
	Deny        []string  `json:"deny,omitempty"`         // deny rules besides those of ignore files
	Audit       string    `json:"audit,omitempty"`        // level of the audit log; empty: the default
	AuditKey    Path      `json:"audit_key,omitempty"`    // file of the key that signs it; empty: the log's own
	UserXattr   bool      `json:"user_xattr,omitempty"`   // marks of layers are in the namespace user.: who made it could not use trusted.
	AuditPublic string    `json:"audit_public,omitempty"` // public key that the log began with, in hexadecimal; empty: it has not
	Created     time.Time `json:"created"`
}

// NewFile describes a session that is made now.
func NewFile(name, workspace string, mode Mode) File {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return File{
		Format: Format, ID: hex.EncodeToString(id[:]), Name: name,
		Workspace: Path(workspace), Mode: mode, Created: time.Now().UTC().Truncate(time.Second),
	}
}

func (f *File) check(path string) error {
	bad := func(what string) error {
		return fault.New(fault.Failed, mend(path),
			"session file %s: %s", path, what)
	}
	id, err := hex.DecodeString(f.ID)
	switch {
	case err != nil || len(id) != 8:
		return bad("id is not 16 hexadecimal digits")
	case CheckName(f.Name) != nil:
		return bad("bad name")
	case !filepath.IsAbs(string(f.Workspace)):
		return bad("workspace is not absolute")
	case f.Mode != Overlay && f.Mode != Worktree && f.Mode != Host:
		return bad("unknown mode " + string(f.Mode))
	case !slices.Contains([]string{"", "off", "mutations", "opens", "full"}, f.Audit):
		return bad("unknown audit level " + f.Audit)
	case f.AuditKey != "" && !filepath.IsAbs(string(f.AuditKey)):
		return bad("audit key is not absolute")
	}
	return nil
}

// mend is what to do about a session file that cannot be used.
func mend(path string) string {
	return "restore it from a backup, or remove the session with: astridfs sessions remove --force " + filepath.Base(filepath.Dir(path))
}

// readFile reads the session file in dir. Errors: fs.ErrNotExist; a fault that
// names the file for one that is damaged or too new.
func readFile(dir string) (File, error) {
	path := filepath.Join(dir, fileName)
	st, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	if st.Size() > maxFile {
		return File{}, fault.New(fault.Failed, mend(path), "session file %s: too large", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return File{}, err
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return File{}, fault.New(fault.Failed, mend(path),
			"session file %s is damaged: %w", path, err)
	}
	if head.Format > Format {
		return File{}, fault.New(fault.Failed, "use the astridfs that made the session, or a newer one",
			"session file %s has format %d, and this astridfs knows formats up to %d", path, head.Format, Format)
	}
	var f File
	if err := json.Unmarshal(b, &f); err != nil {
		return File{}, fault.New(fault.Failed, mend(path),
			"session file %s is damaged: %w", path, err)
	}
	if head.Format < 1 {
		return File{}, fault.New(fault.Failed, mend(path), "session file %s has no format", path)
	}
	return f, f.check(path)
}

// write writes the session file in dir; a crash leaves the old one or this one.
func (f *File) write(dir string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(f); err != nil {
		return err
	}
	return writeAtomic(filepath.Join(dir, fileName), b.Bytes())
}

// writeAtomic replaces the file at path, durably.
func writeAtomic(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// Path is a path of the host or of a workspace: bytes, which need not be UTF-8.
// In JSON it is a string, or {"base64": "…"} where a string cannot hold it.
type Path string

type pathBytes struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (p Path) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(p)) {
		return json.Marshal(string(p))
	}
	return json.Marshal(pathBytes{[]byte(p)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Path) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var v pathBytes
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		*p = Path(v.Base64)
		return nil
	}
	return json.Unmarshal(b, (*string)(p))
}
