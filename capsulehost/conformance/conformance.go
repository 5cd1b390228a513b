// Package conformance prepares the tree that the conformance guests work on,
// and reads what they found.
package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Grants returns the patterns of fs_read and fs_write that the guests expect:
// all but the directory "secret", and "readonly" only to read.
func Grants() (read, write []string) {
	write = []string{"cwd://fixture", "cwd://work", "home://", "tmp://"}
	return append([]string{"cwd://readonly"}, write...), write
}

// The quotas that the guests expect, in bytes and names.
const (
	WriteBytes = 96 << 20
	FileCount  = 500
)

// Action is the action that the guests answer; they need no payload.
const Action = "conformance"

// Case is what a guest found: the name of a case, what has to come out, and
// what did.
type Case struct {
	Name string `json:"case"`
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Parse reads a guest's lines.
func Parse(data string) ([]Case, error) {
	var cases []Case
	for line := range strings.Lines(data) {
		var c Case
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(cases)+1, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// Prepare makes the tree in the empty directory root.
func Prepare(root string) error {
	p := preparer{root: root}
	p.dir("fixture/dir", "fixture/names", "fixture/many", "fixture/toomany", "work/withlinks", "secret", "readonly")
	p.file("fixture/hello.txt", "hello\n", 0o640)
	p.file("fixture/empty", "", 0o644)
	p.file("fixture/dir/inner.txt", "inner", 0o644)
	p.file("secret/key", "key", 0o644)
	p.file("readonly/file", "ok", 0o644)
	p.file("work/file", "old", 0o600)
	for _, name := range []string{"~", "a", "|", "é"} {
		p.file("fixture/names/"+name, "", 0o644)
	}
	// Names that no path of a guest could say are not listed.
	p.file("fixture/names/e\u0301", "", 0o644)
	p.file("fixture/names/\xff", "", 0o644)
	p.file("fixture/names/\n", "", 0o644)
	for i := range 4097 {
		if i < 4096 {
			p.file(fmt.Sprintf("fixture/many/%04d", i), "", 0o644)
		}
		p.file(fmt.Sprintf("fixture/toomany/%04d", i), "", 0o644)
	}
	p.link("hello.txt", "fixture/link")
	p.link("../hello.txt", "fixture/dir/up")
	p.link("dir", "fixture/dirlink")
	p.link("nowhere", "fixture/dangling")
	p.link("loop", "fixture/loop")
	p.link("../../outside", "fixture/out")
	p.link("/etc/passwd", "fixture/abs")
	p.link("../secret/key", "fixture/tosecret")
	p.link("file", "work/tofile")
	p.link("../fixture/dir", "work/todir")
	p.link("../../fixture/dir", "work/withlinks/dir")
	p.link("nowhere", "work/withlinks/dangling")
	p.file("fixture/big10", "", 0o644)
	p.file("fixture/big10plus", "", 0o644)
	p.do(os.Truncate(p.path("fixture/big10"), 10<<20))
	p.do(os.Truncate(p.path("fixture/big10plus"), 10<<20+1))
	p.do(unix.Mkfifo(p.path("fixture/fifo"), 0o644))
	at := time.Unix(1_000_000_000, 123_456_789)
	p.do(os.Chtimes(p.path("fixture/hello.txt"), at, at))
	return errors.Join(p.errs...)
}

type preparer struct {
	root string
	errs []error
}

func (p *preparer) path(name string) string { return filepath.Join(p.root, name) }

func (p *preparer) do(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

func (p *preparer) dir(names ...string) {
	for _, name := range names {
		p.do(os.MkdirAll(p.path(name), 0o755))
	}
}

func (p *preparer) file(name, data string, mode os.FileMode) {
	p.do(os.WriteFile(p.path(name), []byte(data), mode))
	p.do(os.Chmod(p.path(name), mode))
}

func (p *preparer) link(target, name string) { p.do(os.Symlink(target, p.path(name))) }
