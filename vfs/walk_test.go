package vfs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"

	"golang.org/x/sys/unix"
)

// walkTree opens a host directory with the tree in it, and checks at the end
// that every reference was given back.
func walkTree(t testing.TB, tree vfstest.Tree) *vfstest.Counter {
	t.Helper()
	dir := t.TempDir()
	if err := tree.Build(dir); err != nil {
		t.Fatal(err)
	}
	fs, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := vfstest.NewCounter(fs)
	t.Cleanup(func() {
		if held := c.Held(); len(held) > 0 {
			t.Errorf("references left: %v", held)
		}
		fs.Close()
	})
	return c
}

func d(path string) vfstest.Object { return vfstest.Object{Path: path, Mode: unix.S_IFDIR | 0755} }
func f(path string) vfstest.Object { return vfstest.Object{Path: path, Data: path} }
func l(path, target string) vfstest.Object {
	return vfstest.Object{Path: path, Mode: unix.S_IFLNK, Target: target}
}

func sampleTree() vfstest.Tree {
	return vfstest.Tree{
		d("a"), d("a/b"), d("a/b/c"), f("a/f"), f("a/b/g"), f("top"),
		l("to-b", "a/b"), l("to-f", "a/f"), l("a/up", ".."), l("a/b/upup", "../.."), l("slash", "a/b/"), l("file-slash", "a/f/"),
		l("abs", "/etc"), l("a/out", "../.."), l("far", "a/b/../../../x"), l("dangling", "a/new"), l("dangling-deep", "a/none/new"),
		l("chain", "dangling"), l("self", "self"), l("ping", "pong"), l("pong", "ping"), l("dot", "."), l("through", "to-b/../f"),
		l("dots", "a/./b/.././b"), l("dangling-dir", "newdir/"),
	}
}

func TestWalk(t *testing.T) {
	long := strings.Repeat("n", 256)
	fs := walkTree(t, sampleTree())
	for _, c := range []struct {
		path   string
		flags  vfs.WalkFlags
		want   string // resolved path
		exists bool
		dir    bool // MustBeDir
		errno  syscall.Errno
		kind   error
	}{
		// Where it ends.
		{path: "", want: "", exists: true, dir: true},
		{path: "/", want: "", exists: true, dir: true},
		{path: "///", want: "", exists: true, dir: true},
		{path: ".", want: "", exists: true, dir: true},
		{path: "./././/", want: "", exists: true, dir: true},
		{path: "top", want: "top", exists: true},
		{path: "/top", want: "top", exists: true},
		{path: "./top", want: "top", exists: true},
		{path: "a//b///g", want: "a/b/g", exists: true},
		{path: "a/b/g", want: "a/b/g", exists: true},
		{path: "a/b//", want: "a/b", exists: true, dir: true},
		{path: "a//b/none", want: "a/b/none"},
		{path: "a/b//none/", want: "a/b/none", dir: true},
		{path: "a/./b/g", want: "a/b/g", exists: true},
		{path: "a/b/../b/g", want: "a/b/g", exists: true},
		{path: "a/", want: "a", exists: true, dir: true},
		{path: "a/.", want: "a", exists: true, dir: true},
		{path: "a/b/..", want: "a", exists: true, dir: true},
		{path: "a/..", want: "", exists: true, dir: true},
		{path: "a/../top", want: "top", exists: true},
		{path: "a/b/../../top", want: "top", exists: true},
		// Missing.
		{path: "none", want: "none"},
		{path: "none/", want: "none", dir: true},
		{path: "a/b/none", want: "a/b/none"},
		{path: "none/x", errno: syscall.ENOENT},
		{path: "none/..", errno: syscall.ENOENT},
		{path: "none/.", errno: syscall.ENOENT},
		{path: "a/none/../f", errno: syscall.ENOENT},
		// Not a directory.
		{path: "top/", errno: syscall.ENOTDIR},
		{path: "top/x", errno: syscall.ENOTDIR},
		{path: "top/.", errno: syscall.ENOTDIR},
		{path: "top/..", errno: syscall.ENOTDIR},
		{path: "to-f/", errno: syscall.ENOTDIR},
		{path: "to-f/x", errno: syscall.ENOTDIR},
		{path: "file-slash", flags: vfs.Follow, errno: syscall.ENOTDIR},
		// Symbolic links.
		{path: "to-b", want: "to-b", exists: true},
		{path: "to-b", flags: vfs.Follow, want: "a/b", exists: true},
		{path: "to-b/", want: "a/b", exists: true, dir: true},
		{path: "to-b/.", want: "a/b", exists: true, dir: true},
		{path: "to-b/g", want: "a/b/g", exists: true},
		{path: "to-b/..", want: "a", exists: true, dir: true},
		{path: "to-b/../f", want: "a/f", exists: true},
		{path: "to-b/../../top", want: "top", exists: true},
		{path: "slash", flags: vfs.Follow, want: "a/b", exists: true, dir: true},
		{path: "through", flags: vfs.Follow, want: "a/f", exists: true},
		{path: "a/up/top", want: "top", exists: true},
		{path: "a/b/upup/a/f", want: "a/f", exists: true},
		{path: "a/b/upup", flags: vfs.Follow, want: "", exists: true, dir: true},
		{path: "dot/dot/dot/top", want: "top", exists: true},
		{path: "dots/g", want: "a/b/g", exists: true},
		{path: "dangling", want: "dangling", exists: true},
		{path: "dangling", flags: vfs.Follow, want: "a/new"},
		{path: "chain", flags: vfs.Follow, want: "a/new"},
		{path: "dangling/", want: "a/new", dir: true},
		{path: "dangling-dir", flags: vfs.Follow, want: "newdir", dir: true},
		{path: "dangling/x", errno: syscall.ENOENT},
		{path: "dangling-deep", flags: vfs.Follow, errno: syscall.ENOENT},
		{path: "self", want: "self", exists: true},
		{path: "self", flags: vfs.Follow, errno: syscall.ELOOP},
		{path: "self/x", errno: syscall.ELOOP},
		{path: "ping", flags: vfs.Follow, errno: syscall.ELOOP},
		{path: "self/..", errno: syscall.ELOOP},
		// Out of the root.
		{path: "..", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "../x", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "/..", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "a/../..", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "a/../../a", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "to-b/../../..", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "abs", want: "abs", exists: true},
		{path: "abs", flags: vfs.Follow, errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "abs/passwd", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "a/out", flags: vfs.Follow, errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "a/out/x", errno: syscall.EACCES, kind: vfs.ErrEscape},
		{path: "far", flags: vfs.Follow, errno: syscall.EACCES, kind: vfs.ErrEscape},
		// Names.
		{path: long, errno: syscall.ENAMETOOLONG},
		{path: "a/" + long + "/x", errno: syscall.ENAMETOOLONG},
		{path: "a\x00b", errno: syscall.EINVAL},
		{path: "a/x\x00/y", errno: syscall.EINVAL},
		{path: "...", want: "..."},
		{path: "a/..x", want: "a/..x"},
	} {
		t.Run(fmt.Sprintf("%.40q/%d", c.path, c.flags), func(t *testing.T) {
			target, err := vfs.Walk(context.Background(), fs, vfs.RootID, c.path, c.flags)
			if vfs.Errno(err) != c.errno {
				t.Fatalf("got %v, want %v", err, c.errno)
			}
			if err != nil {
				var we *vfs.WalkError
				if !errors.As(err, &we) {
					t.Fatalf("error is a %T", err)
				}
				if c.kind != nil && !errors.Is(err, c.kind) {
					t.Fatalf("error is %v, want %v", err, c.kind)
				}
				if c.kind == nil && errors.Is(err, vfs.ErrEscape) {
					t.Fatal("error is an escape")
				}
				return
			}
			defer target.Release()
			if target.Path != c.want || target.Exists() != c.exists || target.MustBeDir != c.dir {
				t.Fatalf("ended at %q (exists %v, directory %v)", target.Path, target.Exists(), target.MustBeDir)
			}
			checkTarget(t, fs, &target)
		})
	}
}

// checkTarget checks that what a walk returned agrees with the filesystem.
func checkTarget(t *testing.T, fs vfs.FS, target *vfs.Target) {
	t.Helper()
	ctx := context.Background()
	if target.Parent != 0 {
		dir := target.Path[:max(strings.LastIndexByte(target.Path, '/'), 0)]
		if p, err := fs.Path(ctx, target.Parent); err != nil || p != dir {
			t.Errorf("parent is %q, %v; want %q", p, err, dir)
		}
		if want := target.Path[strings.LastIndexByte(target.Path, '/')+1:]; target.Name != want {
			t.Errorf("name is %q, want %q", target.Name, want)
		}
	}
	if target.Exists() {
		if p, err := fs.Path(ctx, target.Entry.Node); err != nil || p != target.Path {
			t.Errorf("what was found is %q, %v", p, err)
		}
		if target.MustBeDir && !target.Entry.Attr.IsDir() {
			t.Error("what was found is no directory")
		}
	}
	target.Release()
	target.Release() // again has no effect
}

func TestWalkErrorTellsThePlace(t *testing.T) {
	fs := walkTree(t, sampleTree())
	for path, want := range map[string]string{
		"a/none/x/y":    "a/none/x/y",
		"to-b/none/x":   "a/b/none/x",
		"top/x":         "top/x",
		"abs/passwd":    "abs/passwd",
		"a/b/../../..":  "",
		"dangling-deep": "a/none/new",
	} {
		_, err := vfs.Walk(context.Background(), fs, vfs.RootID, path, vfs.Follow)
		var we *vfs.WalkError
		if !errors.As(err, &we) || we.Path != want {
			t.Errorf("%s fails with %#v, want the path %q", path, err, want)
		}
	}
}

func TestWalkFollowsFortyLinks(t *testing.T) {
	tree := vfstest.Tree{f("end"), d("dir"), l("l1", "end"), l("d1", "dir")}
	for i := 2; i <= 41; i++ {
		tree = append(tree, l(fmt.Sprintf("l%d", i), fmt.Sprintf("l%d", i-1)))
	}
	fs := walkTree(t, tree)
	target, err := vfs.Walk(context.Background(), fs, vfs.RootID, "l40", vfs.Follow)
	if err != nil || target.Path != "end" {
		t.Errorf("40 links lead to %q, %v", target.Path, err)
	}
	target.Release()
	if _, err = vfs.Walk(context.Background(), fs, vfs.RootID, "l41", vfs.Follow); vfs.Errno(err) != syscall.ELOOP {
		t.Errorf("41 links: %v", err)
	}
	// All links of a path count together.
	path := strings.Repeat("d1/../", 40)
	target, err = vfs.Walk(context.Background(), fs, vfs.RootID, path+"end", 0)
	if err != nil || target.Path != "end" {
		t.Errorf("40 links on the way lead to %q, %v", target.Path, err)
	}
	target.Release()
	if _, err = vfs.Walk(context.Background(), fs, vfs.RootID, path+"d1/", 0); vfs.Errno(err) != syscall.ELOOP {
		t.Errorf("41 links on the way: %v", err)
	}
}

func TestWalkFromADirectory(t *testing.T) {
	fs := walkTree(t, sampleTree())
	ctx := context.Background()
	a, err := fs.Lookup(ctx, vfs.RootID, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Forget(a.Node, 1)
	target, err := vfs.Walk(ctx, fs, a.Node, "/b/../f", 0)
	if err != nil || target.Path != "f" || target.Parent != a.Node {
		t.Errorf("ended at %q in %d, %v", target.Path, target.Parent, err)
	}
	target.Release()
	for _, path := range []string{"..", "b/../..", "up", "up/top", "b/upup/top"} {
		if _, err := vfs.Walk(ctx, fs, a.Node, path, vfs.Follow); !errors.Is(err, vfs.ErrEscape) {
			t.Errorf("%s: %v, want an escape", path, err)
		}
	}
}

// TestWalkReleasesOnFailure has each operation of a walk fail in turn.
func TestWalkReleasesOnFailure(t *testing.T) {
	fs := walkTree(t, sampleTree())
	for fail := 1; fail < 12; fail++ {
		broken := &failing{FS: fs, left: fail}
		target, err := vfs.Walk(context.Background(), broken, vfs.RootID, "to-b/../b/upup/a/b/", vfs.Follow)
		if err == nil {
			target.Release()
		} else if vfs.Errno(err) != syscall.EIO {
			t.Errorf("after %d operations: %v", fail, err)
		}
		if held := fs.Held(); len(held) > 0 {
			t.Fatalf("after %d operations references are left: %v", fail, held)
		}
	}
}

// failing answers EIO once a number of operations is used up.
type failing struct {
	vfs.FS
	left int
}

func (f *failing) broken() bool { f.left--; return f.left < 0 }

func (f *failing) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if f.broken() {
		return vfs.Entry{}, syscall.EIO
	}
	return f.FS.Lookup(ctx, parent, name)
}

func (f *failing) Readlink(ctx context.Context, n vfs.NodeID) (string, error) {
	if f.broken() {
		return "", syscall.EIO
	}
	return f.FS.Readlink(ctx, n)
}

func (f *failing) GetAttr(ctx context.Context, n vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	if f.broken() {
		return vfs.Attr{}, syscall.EIO
	}
	return f.FS.GetAttr(ctx, n, h)
}
