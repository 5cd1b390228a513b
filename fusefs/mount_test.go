package fusefs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// A mount that cannot be made says why, and changes nothing. None of these comes
// as far as a mount, so the test's own process may try them.
func TestMountpointErrors(t *testing.T) {
	fs, err := hostfs.Open(t.TempDir(), hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	live := serve.Start(t, serve.Config{FS: "hostfs", Dirs: []string{t.TempDir()}, Mountpoint: mkdir(t, dir, "with space, comma\\and\tmore")})
	for _, c := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "missing"), fusefs.ErrMountpointMissing},
		{filepath.Join(dir, "missing", "parent"), fusefs.ErrMountpointMissing},
		{filepath.Join(dir, "dangling"), fusefs.ErrMountpointMissing},
		{filepath.Join(dir, "file"), fusefs.ErrNotDirectory},
		{filepath.Join(dir, "file", "below"), fusefs.ErrNotDirectory},
		{dir, fusefs.ErrNotEmpty},
		{live.Mountpoint, fusefs.ErrAlreadyMounted},
	} {
		_, err := fusefs.Mount(fs, c.path, fusefs.Options{})
		var me *fusefs.MountError
		if !errors.Is(err, c.want) || !errors.As(err, &me) || me.Hint == "" {
			t.Errorf("%s: got %v, want %v with a hint", c.path, err, c.want)
		}
	}
}

func mkdir(t *testing.T, elem ...string) string {
	t.Helper()
	dir := filepath.Join(elem...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A process that dies leaves a mount behind, which is found, named and cleaned.
func TestStaleMount(t *testing.T) {
	c := serve.Config{FS: "stable", Dirs: []string{t.TempDir()}}
	c.Mountpoint = mkdir(t, t.TempDir(), "a mount")
	c.Options.FSName = "astridfs:stale-test"
	m := serve.Start(t, c)
	if err := os.WriteFile(filepath.Join(m.Mountpoint, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	found := func() bool {
		t.Helper()
		l, err := fusefs.FindMounts("astridfs:stale-")
		if err != nil {
			t.Fatal(err)
		}
		return len(l) == 1 && l[0].Mountpoint == m.Mountpoint && l[0].Source == c.Options.FSName
	}
	if !found() {
		t.Error("the live mount was not found")
	}
	if done, err := fusefs.CleanStale(m.Mountpoint); done || err != nil {
		t.Fatalf("a live mount was cleaned: %v, %v", done, err)
	}
	m.Kill()
	if !found() {
		t.Error("the dead mount was not found")
	}
	if _, r := serve.TryStart(t, c); !strings.Contains(r.Error, fusefs.ErrStale.Error()) {
		t.Errorf("mounting on it: %q", r.Error)
	}
	if done, err := fusefs.CleanStale(m.Mountpoint); !done || err != nil {
		t.Fatalf("cleaning: %v, %v", done, err)
	}
	if done, err := fusefs.CleanStale(m.Mountpoint); done || err != nil {
		t.Fatalf("cleaning a clean place: %v, %v", done, err)
	}
	if found() {
		t.Error("it is still there")
	}
	serve.Start(t, c)
}

// Unmounting a mount in use fails and leaves it; a lazy one lets open files be.
func TestUnmountBusy(t *testing.T) {
	m := serve.Start(t, serve.Config{FS: "stable", Dirs: []string{t.TempDir()}})
	f, err := os.Create(filepath.Join(m.Mountpoint, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Do(serve.Request{Op: "unmount"}); !strings.Contains(r.Error, fusefs.ErrBusy.Error()) {
		t.Errorf("unmount: %q", r.Error)
	}
	if _, err := os.Stat(f.Name()); err != nil {
		t.Errorf("after it: %v", err)
	}
	m.Must(serve.Request{Op: "lazy"})
	if _, err := os.Stat(f.Name()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("after the lazy one: %v", err)
	}
	if _, err := f.WriteString("still"); err != nil {
		t.Error(err)
	}
	f.Close()
	m.Must(serve.Request{Op: "unmount"})
	if b := read(t, filepath.Join(m.Dirs[0], "f")); string(b) != "still" {
		t.Errorf("got %q", b)
	}
}

// fusectl sees to it that connections can be aborted.
func fusectl(t *testing.T) {
	t.Helper()
	const dir, magic = "/sys/fs/fuse/connections", 0x65735543
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == magic {
		return
	}
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.NoFusectl)
	}
	// Another package's tests may do the same.
	if err := unix.Mount("none", dir, "fusectl", 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
		t.Fatal(err)
	}
}

// After an abort everything fails at once, and nothing is left of what was open.
func TestAbort(t *testing.T) {
	fusectl(t)
	m := serve.Start(t, serve.Config{FS: "stable", Dirs: []string{t.TempDir()}})
	f, err := os.Create(filepath.Join(m.Mountpoint, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.Must(serve.Request{Op: "abort"})
	if err := os.WriteFile(filepath.Join(m.Mountpoint, "g"), nil, 0o644); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("after the abort: %v", err)
	}
	eventually(t, "nothing left open", func() bool {
		st := m.Do(serve.Request{Op: "stats"}).Stats
		return st.Handles == 0 && st.Nodes == 0
	})
	m.Must(serve.Request{Op: "unmount"})
	if _, err := os.Stat(m.Mountpoint); err != nil {
		t.Errorf("unmounted after the abort: %v", err)
	}
}

// Two mounts of one filesystem: what changes on one shows on the other soon, and
// both may be busy in the same directory without waiting for each other.
func TestTwoMounts(t *testing.T) {
	c := serve.Config{FS: "stable", Dirs: []string{t.TempDir()}, Second: t.TempDir()}
	c.Options.NoPassthrough = true
	m := serve.Start(t, c)
	done := make(chan error, 2)
	for _, dir := range []string{m.Mountpoint, m.Second} {
		go func() {
			for range 500 {
				name := filepath.Join(dir, "same")
				err := os.WriteFile(name, []byte(dir), 0o644)
				if err == nil {
					_, err = os.ReadDir(dir)
				}
				if err == nil {
					err = os.Rename(name, filepath.Join(dir, "other"))
				}
				if err != nil && !errors.Is(err, syscall.ENOENT) {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Minute):
			t.Fatal("deadlock")
		}
	}
	if err := os.WriteFile(filepath.Join(m.Mountpoint, "f"), []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new file", func() bool { b, _ := os.ReadFile(filepath.Join(m.Second, "f")); return string(b) == "one" })
	if err := os.WriteFile(filepath.Join(m.Second, "f"), []byte("two, longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new contents", func() bool {
		b, _ := os.ReadFile(filepath.Join(m.Mountpoint, "f"))
		return string(b) == "two, longer"
	})
	if err := os.Remove(filepath.Join(m.Mountpoint, "f")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "removed", func() bool {
		_, err := os.Stat(filepath.Join(m.Second, "f"))
		return errors.Is(err, syscall.ENOENT)
	})
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Errorf("%s: never seen", what)
}

// A read-only mount refuses every change, also with tricks in the open flags.
func TestReadOnly(t *testing.T) {
	c := serve.Config{FS: "stable", Dirs: []string{t.TempDir()}}
	if err := os.WriteFile(filepath.Join(c.Dirs[0], "f"), []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Options.ReadOnly = true
	m := serve.Start(t, c)
	f, d := filepath.Join(m.Mountpoint, "f"), m.Mountpoint
	remounted := false
	for {
		for name, try := range map[string]func() error{
			"write":         func() error { return open(f, unix.O_WRONLY) },
			"truncate":      func() error { return unix.Truncate(f, 0) },
			"rdonly|trunc":  func() error { return open(f, unix.O_RDONLY|unix.O_TRUNC) },
			"create":        func() error { return open(filepath.Join(d, "g"), unix.O_RDONLY|unix.O_CREAT) },
			"mkdir":         func() error { return unix.Mkdir(filepath.Join(d, "g"), 0o755) },
			"unlink":        func() error { return unix.Unlink(f) },
			"rename":        func() error { return unix.Rename(f, filepath.Join(d, "g")) },
			"link":          func() error { return unix.Link(f, filepath.Join(d, "g")) },
			"symlink":       func() error { return unix.Symlink("f", filepath.Join(d, "g")) },
			"chmod":         func() error { return unix.Chmod(f, 0o777) },
			"setxattr":      func() error { return unix.Setxattr(f, "user.x", nil, 0) },
			"mknod":         func() error { return unix.Mknod(filepath.Join(d, "g"), unix.S_IFIFO|0o644, 0) },
			"tmpfile":       func() error { return open(d, unix.O_TMPFILE|unix.O_RDWR) },
			"remove itself": func() error { return unix.Rmdir(filepath.Join(d, "nothing")) },
		} {
			if err := try(); !errors.Is(err, syscall.EROFS) && !(name == "remove itself" && errors.Is(err, syscall.ENOENT)) {
				t.Errorf("%s (remounted: %v): %v", name, remounted, err)
			}
		}
		if remounted || os.Geteuid() != 0 {
			break
		}
		// Root can take the flag away, and gains nothing by it.
		if err := unix.Mount("", d, "", unix.MS_REMOUNT, ""); err != nil {
			t.Logf("remount: %v", err)
			break
		}
		remounted = true
	}
	if b := read(t, f); string(b) != "kept" {
		t.Errorf("got %q", b)
	}
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
