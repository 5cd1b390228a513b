// Package vfstest is the conformance suite of package vfs: what the comments
// there promise, as tests that run on any [vfs.FS] ([Run]) and, by system
// calls, in any directory that a filesystem is mounted on ([RunPath]).
//
// A case names the files it starts from as data ([Tree]). Where they come from
// is the filesystem's choice: made through it ([Config].New), or put into a
// directory of the host that lies under it before it is opened
// ([Config].Seed). An overlay runs the suite both ways, so that each case meets
// files of its upper and of its lower layer.
//
// Each case has a filesystem of its own. At its end all references are given
// back and counted, and no descriptor may be left open.
package vfstest

import (
	"context"
	"os"
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

// Feature is something that a filesystem may honestly not be able to do.
type Feature string

// The features. Where one is lacking the suite does not skip: it checks that
// the filesystem says so with the errno that the interface names.
const (
	// Tmpfile is FS.Tmpfile; lacking, it is EOPNOTSUPP.
	Tmpfile Feature = "Tmpfile"
	// Replace is FS.Replace; lacking, it is EOPNOTSUPP where it would have to work.
	Replace Feature = "Replace"
	// UserXattrs is attributes of the user namespace; lacking, they are EOPNOTSUPP.
	UserXattrs Feature = "UserXattrs"
	// Fallocate is Handle.Allocate; lacking, it is EOPNOTSUPP.
	Fallocate Feature = "Fallocate"
	// CopyRange is Handle.CopyRange; lacking, it is EOPNOTSUPP.
	CopyRange Feature = "CopyRange"
)

// Config tells how to make the filesystem under test.
type Config struct {
	// New opens an empty filesystem and has t's Cleanup close it. The root's
	// permission bits do not matter.
	New func(t *testing.T) vfs.FS

	// Seed, if not nil, is used instead of New: it chooses a directory of the
	// host, has build fill it, and opens a filesystem that shows what is in it
	// as its root. build fails t if it can't.
	Seed func(t *testing.T, build func(dir string)) vfs.FS

	// Lacks names what the filesystem can't do, each with the reason.
	Lacks map[Feature]string
}

// testCase is one case of the suite.
type testCase struct {
	name string
	tree Tree
	run  func(e *env)
}

// cases returns the whole suite.
func cases() []testCase {
	var all []testCase
	for _, group := range []func() []testCase{
		lookupCases, nameCases, attrCases, timeCases, openCases, ioCases, sparseCases, copyCases, nodeCases,
		dirCases, readdirCases, linkCases, symlinkCases, mknodCases, renameCases, renameMatrix,
		xattrCases, tmpfileCases, ownerCases, watchCases, concurrentCases,
	} {
		all = append(all, group()...)
	}
	return all
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, cfg Config) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { runCase(t, &cfg, c) })
	}
}

func runCase(t *testing.T, cfg *Config, c testCase) {
	CheckLeaks(t)
	var fs vfs.FS
	if cfg.Seed != nil {
		fs = cfg.Seed(t, func(dir string) {
			t.Helper()
			if err := c.tree.Build(dir); err != nil {
				t.Fatalf("building the tree in %s: %v", dir, err)
			}
		})
	} else {
		fs = cfg.New(t)
	}
	counter := NewCounter(fs)
	e := &env{T: t, cfg: cfg, fs: counter, bare: fs, ctx: context.Background(), handles: map[vfs.Handle]bool{}}
	t.Cleanup(func() {
		e.finish()
		if held := counter.Held(); len(held) > 0 && !t.Failed() {
			t.Errorf("references left at the end of the case: %v", held)
		}
	})
	if cfg.Seed == nil {
		c.tree.through(e)
	}
	c.run(e)
}

// privileged tells whether the tests run with the rights to make devices and to
// give files away.
func privileged() bool { return os.Geteuid() == 0 }
