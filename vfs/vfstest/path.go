package vfstest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// PathConfig tells where a filesystem can be tested by system calls.
type PathConfig struct {
	// Dir returns a new, empty directory in the filesystem under test, by a
	// path of the host. A mount is served by another process than this one: a
	// process that waits for its own mount can hang.
	Dir func(t *testing.T) string

	// Seed, if not nil, is used for what the cases find: it has build fill a
	// directory that the filesystem shows, and returns the path where it shows
	// it.
	Seed func(t *testing.T, build func(dir string)) string

	// Lacks is as in Config.
	Lacks map[Feature]string
}

// RunPath runs, as subtests of t, first the whole suite by system calls, by
// means of package hostfs, and then cases that only processes have: file
// offsets, memory maps, locks, execution, paths.
func RunPath(t *testing.T, cfg PathConfig) {
	lacks := map[Feature]string{Replace: "there is no system call for it"}
	for f, why := range cfg.Lacks {
		lacks[f] = why
	}
	open := func(t *testing.T, dir string) vfs.FS {
		t.Helper()
		fs, err := hostfs.Open(dir, hostfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fs.Close() })
		return fs
	}
	calls := Config{Lacks: lacks, New: func(t *testing.T) vfs.FS { return open(t, cfg.Dir(t)) }}
	if cfg.Seed != nil {
		calls.Seed = func(t *testing.T, build func(string)) vfs.FS { return open(t, cfg.Seed(t, build)) }
	}
	t.Run("Calls", func(t *testing.T) { Run(t, calls) })
	t.Run("Process", func(t *testing.T) {
		for _, c := range pathCases() {
			t.Run(c.name, func(t *testing.T) { runPathCase(t, &cfg, c) })
		}
	})
}

// pathCase is one case for a process in a directory.
type pathCase struct {
	name string
	tree Tree
	run  func(p *proc)
}

func runPathCase(t *testing.T, cfg *PathConfig, c pathCase) {
	CheckLeaks(t)
	p := &proc{T: t}
	build := func(dir string) {
		t.Helper()
		if err := c.tree.Build(dir); err != nil {
			t.Fatal(err)
		}
	}
	if cfg.Seed != nil {
		p.dir = cfg.Seed(t, build)
	} else {
		p.dir = cfg.Dir(t)
		build(p.dir)
	}
	c.run(p)
}

// proc is a process that works in a directory of the filesystem under test.
type proc struct {
	*testing.T
	dir string
}

func (p *proc) path(rel string) string { return filepath.Join(p.dir, rel) }

func (p *proc) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatalf("unexpected error: %v", err)
	}
}

func (p *proc) want(err error, errnos ...syscall.Errno) {
	p.Helper()
	var got syscall.Errno
	if err != nil && !errors.As(err, &got) {
		p.Fatalf("got %v", err)
	}
	var names []string
	for _, w := range errnos {
		if got == w {
			return
		}
		names = append(names, errName(w))
	}
	p.Fatalf("got %v, want %s", err, strings.Join(names, " or "))
}

// open opens a path that is closed at the end.
func (p *proc) open(rel string, flags int) *os.File {
	p.Helper()
	f, err := os.OpenFile(p.path(rel), flags, 0644)
	p.ok(err)
	p.Cleanup(func() { f.Close() })
	return f
}

func (p *proc) contents(rel, want string) {
	p.Helper()
	b, err := os.ReadFile(p.path(rel))
	p.ok(err)
	if string(b) != want {
		p.Fatalf("%s holds %q, want %q", rel, clip(string(b)), clip(want))
	}
}
