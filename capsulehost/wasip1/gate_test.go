package wasip1

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

// grants is a gate: what each path, and all below it, may be used for.
type grants map[string]vfs.Access

func (g grants) Check(scheme, path string, want vfs.Access) error {
	var have vfs.Access
	for p, a := range g {
		full := scheme + ":" + path
		if full == p || strings.HasPrefix(full, p+"/") {
			have |= a
		}
	}
	if have&want != want {
		return vfs.ErrCapability
	}
	return nil
}

func (g grants) Passes(scheme, path string) bool {
	for p := range g {
		if scheme+":"+path == p || strings.HasPrefix(scheme+":"+path, p+"/") || path == "" || strings.HasPrefix(p, scheme+":"+path+"/") {
			return true
		}
	}
	return false
}

// gated is a guest that may read ro, write wo, do both in rw and nothing else.
func gated(t *testing.T) *guest {
	g := newGuest(t, func(c *Config) {
		c.View.Gate = grants{"workspace:ro": vfs.Read, "workspace:wo": vfs.Write, "workspace:rw": vfs.Read | vfs.Write}
	})
	for _, d := range []string{"ro", "wo", "rw", "no"} {
		g.file(d+"/f", d)
		g.file(d+"/sub/f", d)
	}
	for l, target := range map[string]string{"rw/to-ro": "../ro/f", "rw/to-no": "../no/f", "no/to-rw": "../rw/f", "rw/dangling": "../no/new"} {
		if err := os.Symlink(target, filepath.Join(g.dir, l)); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestGateOnOpen(t *testing.T) {
	g := gated(t)
	const r, w = rightFdRead, rightFdWrite
	for _, c := range []struct {
		path   string
		oflags oflags
		base   rights
		want   Errno
	}{
		{"ro/f", 0, r, Success},
		{"ro/f", 0, 0, Success},
		{"ro/f", 0, w, EACCES},
		{"ro/f", 0, r | w, EACCES},
		{"ro/f", openTrunc, r, EACCES},
		{"ro/f", openCreat, r, EACCES},
		{"ro/new", openCreat, r, EACCES},
		{"ro/new", 0, r, ENOENT},
		{"wo/f", 0, w, Success},
		{"wo/f", openCreat | openTrunc, w, Success},
		{"wo/f", 0, r, EACCES},
		{"wo/f", 0, 0, EACCES},
		{"rw/f", openCreat, r | w, Success},
		{"rw/new", openCreat, r | w, Success},
		{"no/f", 0, r, EACCES},
		{"no/none", 0, r, EACCES}, // the same, there or not
		{"no/none/x", 0, r, EACCES},
		{"no/new", openCreat, w, EACCES},
		{"none", 0, r, EACCES},
		{"rw/../no/f", 0, r, EACCES},
		{"no/../rw/f", 0, r, EACCES}, // or it would show that "no" is there
		{"none/../rw/f", 0, r, EACCES},
		{"rw/to-ro", 0, r, Success},
		{"rw/to-ro", 0, w, EACCES},
		{"rw/to-no", 0, r, EACCES},
		{"no/to-rw", 0, r | w, Success}, // what counts is where it leads
		{"rw/dangling", openCreat, w, EACCES},
		{"rw/../..", 0, 0, EPERM},
		{".", openDirectory, 0, EACCES},
		{"ro", openDirectory, rightFdReaddir, Success},
	} {
		fd, errno := g.openAt(fdWork, c.path, lookupFollow, uint64(c.oflags), c.base, 0, 0)
		if errno != c.want {
			t.Errorf("path_open(%q, %#x, %#x) = %d, want %d", c.path, c.oflags, c.base, errno, c.want)
		}
		if errno == Success {
			g.ok("fd_close", fd)
		}
	}
	equal(t, "content of what may only be read", g.content("ro/f"), "ro")
	equal(t, "content of what may not be touched", g.content("no/f"), "no")
	for _, f := range []string{"ro/new", "no/new"} {
		if _, err := os.Lstat(filepath.Join(g.dir, f)); err == nil {
			t.Errorf("%s was made", f)
		}
	}
}

func TestGateOnNames(t *testing.T) {
	g := gated(t)
	two := func(name string, a, b string) Errno {
		p, n := g.str(a)
		q, k := g.str(b)
		switch name {
		case "path_link":
			return g.call(name, fdWork, 0, p, n, fdWork, q, k)
		case "path_symlink":
			return g.call(name, p, n, fdWork, q, k)
		}
		return g.call(name, fdWork, p, n, fdWork, q, k)
	}
	equal(t, "mkdir in ro", g.path("path_create_directory", fdWork, "ro/d"), EACCES)
	equal(t, "mkdir of what is there in ro", g.path("path_create_directory", fdWork, "ro/sub"), EACCES)
	equal(t, "mkdir in no", g.path("path_create_directory", fdWork, "no/sub"), EACCES)
	equal(t, "mkdir in wo", g.path("path_create_directory", fdWork, "wo/d"), Success)
	equal(t, "rmdir in ro", g.path("path_remove_directory", fdWork, "ro/sub"), EACCES)
	equal(t, "unlink in ro", g.path("path_unlink_file", fdWork, "ro/f"), EACCES)
	equal(t, "unlink in no", g.path("path_unlink_file", fdWork, "no/none"), EACCES)
	equal(t, "rename out of ro", two("path_rename", "ro/f", "rw/x"), EACCES)
	equal(t, "rename into ro", two("path_rename", "rw/f", "ro/x"), EACCES)
	equal(t, "rename out of no", two("path_rename", "no/none", "rw/x"), EACCES)
	equal(t, "rename into no", two("path_rename", "rw/f", "no/x"), EACCES)
	equal(t, "link of ro", two("path_link", "ro/f", "rw/x"), EACCES)
	equal(t, "link of no", two("path_link", "no/f", "rw/x"), EACCES)
	equal(t, "link into ro", two("path_link", "rw/f", "ro/x"), EACCES)
	equal(t, "symlink in ro", two("path_symlink", "f", "ro/x"), EACCES)
	equal(t, "symlink from rw to no", two("path_symlink", "../no/f", "rw/x"), Success)
	equal(t, "rename within rw", two("path_rename", "rw/f", "rw/g"), Success)
	equal(t, "link from wo to rw", two("path_link", "wo/f", "rw/y"), Success)

	out := g.room(64)
	for path, want := range map[string]Errno{"ro/f": Success, "wo/f": EACCES, "no/f": EACCES, "no/none": EACCES, "rw/to-no": EACCES, ".": EACCES} {
		p, n := g.str(path)
		g.want(want, "path_filestat_get", fdWork, lookupFollow, p, n, out)
	}
	for path, want := range map[string]Errno{"ro/f": EACCES, "wo/f": Success, "no/f": EACCES, "rw/to-ro": EACCES} {
		p, n := g.str(path)
		g.want(want, "path_filestat_set_times", fdWork, lookupFollow, p, n, 0, 0, 8)
	}
	for path, want := range map[string]Errno{"rw/to-no": Success, "no/to-rw": EACCES} {
		p, n := g.str(path)
		g.want(want, "path_readlink", fdWork, p, n, out, 64, out)
	}
}

// TestGateOnDescriptors is what a descriptor may be used for after it was
// opened.
func TestGateOnDescriptors(t *testing.T) {
	g := gated(t)
	out := g.room(64)
	// A preopened directory was given without asking.
	g.want(EACCES, "fd_readdir", fdWork, out, 64, 0, out)
	g.want(EACCES, "fd_filestat_get", fdWork, out)
	g.want(EACCES, "fd_filestat_set_times", fdWork, 0, 0, 8)
	g.ok("fd_readdir", fdRoot, out, 64, 0, out)

	ro, _ := g.openAt(fdWork, "ro", 0, uint64(openDirectory), dirRights, allRights, 0)
	g.ok("fd_readdir", ro, out, 64, 0, out)
	g.ok("fd_filestat_get", ro, out)
	g.want(EACCES, "fd_filestat_set_times", ro, 0, 0, 8)
	f, _ := g.openAt(ro, "f", 0, 0, fileRights&^rightFdWrite, 0, 0)
	g.want(EACCES, "fd_filestat_set_times", f, 0, 0, 8)
	g.want(EINVAL, "fd_filestat_set_size", f, 0)
	wo, _ := g.openAt(fdWork, "wo/f", 0, 0, rightFdWrite|rightFdFilestatGet|rightFdFilestatSetTimes, 0, 0)
	g.ok("fd_filestat_get", wo, out)
	g.ok("fd_filestat_set_times", wo, 0, 0, 8)
	// A file without a name is nothing that could be granted.
	if err := os.Remove(filepath.Join(g.dir, "ro/f")); err != nil {
		t.Fatal(err)
	}
	g.ok("fd_filestat_get", f, out)
	g.want(EACCES, "fd_filestat_set_times", f, 0, 0, 8)
}

func TestGateAfterRename(t *testing.T) {
	g := gated(t)
	sub, errno := g.openAt(fdWork, "rw/sub", 0, uint64(openDirectory), dirRights, allRights, 0)
	equal(t, "path_open", errno, Success)
	_, errno = g.openAt(sub, "f", 0, 0, rightFdRead, 0, 0)
	equal(t, "before", errno, Success)
	if err := os.Rename(filepath.Join(g.dir, "rw/sub"), filepath.Join(g.dir, "no/moved")); err != nil {
		t.Fatal(err)
	}
	// The host's own rename is known to the filesystem once it looks there.
	p, n := g.str("no/moved")
	g.want(EACCES, "path_filestat_get", fdWork, 0, p, n, g.room(64))
	_, errno = g.openAt(sub, "f", 0, 0, rightFdRead, 0, 0)
	equal(t, "after", errno, EACCES)
}
