package fsapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// grants is a gate that grants everything in the directories "ok" and "ok2".
type grants struct{}

func (grants) Check(_, path string, _ vfs.Access) error {
	if top, _, _ := strings.Cut(path, "/"); top == "ok" || top == "ok2" {
		return nil
	}
	return vfs.ErrCapability
}

func (g grants) Passes(_, path string) bool { return path == "" || g.Check("", path, vfs.Read) == nil }

// A path that is refused has no effect, wherever on it the refusal is.
func TestMkdirAllRefused(t *testing.T) {
	f, dir := newFS(t, view.View{Gate: grants{}})
	for _, d := range []string{"ok/there", "ok2", "no"} {
		os.MkdirAll(filepath.Join(dir, d), 0o755)
	}
	os.Symlink("../no", filepath.Join(dir, "ok/tono"))
	for path, want := range map[string]fsapi.Code{
		"ok/a/../../no/x":      fsapi.CapabilityDenied,
		"ok/a/b/../../../none": fsapi.CapabilityDenied,
		"ok/a/../tono/x":       fsapi.CapabilityDenied,
		"ok/a/../b/../tono/x":  fsapi.CapabilityDenied,
		"ok/a/../../../x":      fsapi.BoundaryEscape,
		"ok/a/b/c/../../../..": fsapi.CapabilityDenied, // the root
		"ok/a/../../../ok/x":   fsapi.BoundaryEscape,
	} {
		code(t, f.MkdirAll(ctx, path), want)
		if _, err := os.Lstat(filepath.Join(dir, "ok/a")); err == nil {
			t.Fatalf("%s made ok/a", path)
		}
	}
	for _, path := range []string{"ok/a/../../ok2/x/y", "ok/b/../c/../there/d", "ok/e/./../f//"} {
		if err := f.MkdirAll(ctx, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, d := range []string{"ok/a", "ok2/x/y", "ok/b", "ok/c", "ok/there/d", "ok/e", "ok/f"} {
		if _, err := os.Stat(filepath.Join(dir, d)); err != nil {
			t.Error(err)
		}
	}
}

// Where a link leads is told without what the gate does not grant.
func TestReadLinkGated(t *testing.T) {
	f, dir := newFS(t, view.View{Gate: grants{}})
	for _, d := range []string{"ok/sub/deep", "no/sub"} {
		os.MkdirAll(filepath.Join(dir, d), 0o755)
	}
	for link, target := range map[string]string{
		"no/link": "sub", "no/to": "../ok/sub", "ok/alias": "sub/deep",
		"ok/a": "../no/link/x", "ok/b": "../no/link/../x", "ok/c": "../no/none/../x", "ok/d": "../no/sub/../../ok/sub",
		"ok/e": "../no/none/../../ok/sub", "ok/f": "alias/../x", "ok/g": "alias/../../../..", "ok/h": "../no/../..", "ok/i": "../none/../..",
		"ok/j": "..", "ok/k": "alias/../../../x", "ok/l": "../no/to/x",
	} {
		os.Symlink(target, filepath.Join(dir, link))
	}
	for link, want := range map[string]string{
		"ok/a": "no/link/x", "ok/b": "no/x", "ok/c": "no/x", "ok/d": "ok/sub", "ok/e": "ok/sub", "ok/f": "ok/sub/x", "ok/j": "", "ok/k": "x",
		"ok/l": "no/to/x",
	} {
		if got, err := f.ReadLink(ctx, link); err != nil || got != "workspace://"+want {
			t.Errorf("%s leads to %q, %v", link, got, err)
		}
	}
	for _, link := range []string{"ok/g", "ok/h", "ok/i"} {
		_, err := f.ReadLink(ctx, link)
		code(t, err, fsapi.BoundaryEscape)
	}
}

// A name with a slash behind it is never followed: what is moved, removed or made
// is the name, as for system calls.
func TestTrailingSlash(t *testing.T) {
	f, dir := newFS(t, view.View{})
	os.MkdirAll(filepath.Join(dir, "d/e"), 0o755)
	put(t, dir, "file", "")
	os.Symlink("d", filepath.Join(dir, "link"))
	os.Symlink("nowhere", filepath.Join(dir, "dangling"))
	code(t, f.Rename(ctx, "link/", "moved"), fsapi.NotDirectory)
	code(t, f.Rename(ctx, "d/", "link/"), fsapi.NotDirectory)
	code(t, f.Rename(ctx, "file", "new/"), fsapi.NotDirectory)
	code(t, f.Rename(ctx, "file/", "new"), fsapi.NotDirectory)
	code(t, f.Unlink(ctx, "link/"), fsapi.NotDirectory)
	code(t, f.Unlink(ctx, "file/"), fsapi.NotDirectory)
	code(t, f.Unlink(ctx, "d/"), fsapi.IsDirectory)
	code(t, f.Unlink(ctx, "none/"), fsapi.NotFound)
	code(t, f.Mkdir(ctx, "dangling/"), fsapi.AlreadyExists)
	code(t, f.Mkdir(ctx, "link//"), fsapi.AlreadyExists)
	code(t, f.HardLink(ctx, "file", "dangling/"), fsapi.AlreadyExists)
	code(t, f.HardLink(ctx, "file", "new/"), fsapi.NotFound)
	code(t, f.HardLink(ctx, "file/", "new"), fsapi.NotDirectory)
	code(t, f.HardLink(ctx, "link/", "new"), fsapi.Access)
	_, err := f.RemoveDirAll(ctx, "link//")
	code(t, err, fsapi.NotDirectory)
	if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a dangling link was followed")
	}
	if err := f.Rename(ctx, "d/", "moved//"); err != nil {
		t.Error(err)
	}
	if err := f.Mkdir(ctx, "d/"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "moved/e")); err != nil {
		t.Error(err)
	}
}
