package gate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// gated opens a small tree through grants.
func gated(t *testing.T, read, write []string) vfs.FS {
	t.Helper()
	dir := t.TempDir()
	for path, content := range map[string]string{"src/a.go": "a", "src/sub/b.go": "b", "secret/key": "k", "top": "t", "src-evil/x": "x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"in": "src/a.go", "out": "secret/key", "src/out": "../secret/key"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	host, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	g, err := Parse(read, write)
	if err != nil {
		t.Fatal(err)
	}
	return New(host, Workspace, g)
}

// walk resolves path and gives the references back at the end of the test.
func walk(t *testing.T, fs vfs.FS, path string) (vfs.Target, error) {
	t.Helper()
	target, err := vfs.Walk(context.Background(), fs, vfs.RootID, path, vfs.Follow)
	if err == nil {
		t.Cleanup(target.Release)
	}
	return target, err
}

func TestUngrantedPathsDoNotShowWhetherTheyExist(t *testing.T) {
	fs := gated(t, []string{"cwd://src"}, nil)
	for _, path := range []string{"secret", "secret/key", "secret/none", "none", "none/none", "top", "src-evil", "src-evil/x", "out", "src/out", "src/../secret/key"} {
		if _, err := walk(t, fs, path); !errors.Is(err, vfs.ErrCapability) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"src", "src/a.go", "src/sub/b.go", "in", "./src/../src/a.go"} {
		if target, err := walk(t, fs, path); err != nil || !target.Exists() {
			t.Errorf("%s: %v", path, err)
		}
	}
	if target, err := walk(t, fs, "src/none"); err != nil || target.Exists() {
		t.Errorf("src/none: %v", err)
	}
}

func TestReadingIsNotWriting(t *testing.T) {
	ctx := context.Background()
	fs := gated(t, []string{"cwd://"}, []string{"cwd://src/sub"})
	a, err := walk(t, fs, "src/a.go")
	if err != nil {
		t.Fatal(err)
	}
	b, err := walk(t, fs, "src/sub/b.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		node vfs.NodeID
		flag int
		ok   bool
	}{
		{"read", a.Entry.Node, unix.O_RDONLY, true},
		{"write", a.Entry.Node, unix.O_WRONLY, false},
		{"read-write", a.Entry.Node, unix.O_RDWR, false},
		{"truncate while reading", a.Entry.Node, unix.O_RDONLY | unix.O_TRUNC, false},
		{"append", a.Entry.Node, unix.O_WRONLY | unix.O_APPEND, false},
		{"write where granted", b.Entry.Node, unix.O_WRONLY, true},
		{"truncate where granted", b.Entry.Node, unix.O_RDONLY | unix.O_TRUNC, true},
	} {
		h, err := fs.Open(ctx, c.node, c.flag)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, vfs.ErrCapability) {
			t.Errorf("%s: %v", c.what, err)
		}
		if err == nil {
			h.Close()
		}
	}

	src, err := walk(t, fs, "src")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := walk(t, fs, "src/sub")
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]error{}
	_, refused["setattr"] = fs.SetAttr(ctx, a.Entry.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0o600})
	_, _, refused["create"] = fs.Create(ctx, src.Entry.Node, "new", unix.O_RDWR, 0o644)
	_, _, refused["tmpfile"] = fs.Tmpfile(ctx, src.Entry.Node, unix.O_RDWR, 0o644)
	_, refused["mkdir"] = fs.Mkdir(ctx, src.Entry.Node, "new", 0o755)
	_, refused["mknod"] = fs.Mknod(ctx, src.Entry.Node, "new", unix.S_IFIFO|0o644, 0)
	_, refused["symlink"] = fs.Symlink(ctx, src.Entry.Node, "new", "x")
	refused["unlink"] = fs.Unlink(ctx, src.Entry.Node, "a.go")
	refused["rmdir"] = fs.Rmdir(ctx, src.Entry.Node, "none")
	refused["rename away"] = fs.Rename(ctx, sub.Entry.Node, "b.go", src.Entry.Node, "c.go", 0)
	refused["rename into"] = fs.Rename(ctx, src.Entry.Node, "a.go", sub.Entry.Node, "c.go", 0)
	refused["setxattr"] = fs.SetXattr(ctx, a.Entry.Node, "user.x", []byte("y"), 0)
	refused["removexattr"] = fs.RemoveXattr(ctx, a.Entry.Node, "user.x")
	// A second name in a writable place would make the file writable.
	_, refused["link"] = fs.Link(ctx, a.Entry.Node, sub.Entry.Node, "linked")
	for what, err := range refused {
		if !errors.Is(err, vfs.ErrCapability) || vfs.Errno(err) != syscall.EACCES {
			t.Errorf("%s: %v", what, err)
		}
	}

	e, h, err := fs.Create(ctx, sub.Entry.Node, "new", unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Forget(e.Node, 1)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := fs.Rename(ctx, sub.Entry.Node, "new", sub.Entry.Node, "renamed", 0); err != nil {
		t.Error(err)
	}
	e, h, err = fs.Tmpfile(ctx, sub.Entry.Node, unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	defer fs.Forget(e.Node, 1)
	linked, err := fs.Link(ctx, e.Node, sub.Entry.Node, "from-tmpfile")
	if err != nil {
		t.Fatal(err)
	}
	fs.Forget(linked.Node, 1)
}

func TestDirectoryAboveAGrantIsWalkedButNotListed(t *testing.T) {
	ctx := context.Background()
	fs := gated(t, []string{"cwd://src/sub"}, nil)
	if _, err := fs.OpenDir(ctx, vfs.RootID); !errors.Is(err, vfs.ErrCapability) {
		t.Errorf("listing the root: %v", err)
	}
	sub, err := walk(t, fs, "src/sub")
	if err != nil {
		t.Fatal(err)
	}
	d, err := fs.OpenDir(ctx, sub.Entry.Node)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var names []string
	if err := d.ReadDir(ctx, 0, func(e vfs.DirEntry) bool { names = append(names, e.Name); return true }); err != nil {
		t.Error(err)
	}
	if len(names) != 3 {
		t.Errorf("listing: %q", names)
	}
}
