package fusefs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// A small project with every kind of entry, and hard links across directories
// if links says so; else they are files.
func project(t *testing.T, dir string, links bool) {
	t.Helper()
	p := &place{t, dir}
	for _, d := range []string{"a", "a/b", "a/b/c", "d", "empty"} {
		p.mkdir(d, 0o755)
	}
	for _, f := range []string{"f", "g", "a/f", "a/b/f", "a/b/c/f", "d/f", "d/gone", "bytes \xff\n\\"} {
		p.write(f, "lower "+f, 0o644)
	}
	for _, l := range [][2]string{{"f", "hard"}, {"f", "a/hard"}, {"a/f", "d/hard"}} {
		if links {
			p.ok(os.Link(p.at(l[0]), p.at(l[1])))
		} else {
			p.write(l[1], "lower "+l[1], 0o644)
		}
	}
	p.ok(os.Symlink("a/b/f", p.at("link")))
	p.ok(unix.Mkfifo(p.at("fifo"), 0o600))
	p.ok(unix.Setxattr(p.at("g"), "user.note", []byte("kept"), 0))
}

// work changes the project in every way that moves something between layers.
func work(t *testing.T, dir string) {
	t.Helper()
	p := &place{t, dir}
	f := p.open("hard", os.O_WRONLY|os.O_APPEND)
	_, err := f.WriteString(" and more")
	p.ok(err)
	p.ok(f.Close())
	p.ok(os.Chmod(p.at("g"), 0o600))
	p.ok(os.Rename(p.at("a"), p.at("d/moved")))
	p.ok(os.Rename(p.at("d/moved/b"), p.at("b")))
	p.ok(os.Rename(p.at("b/c"), p.at("empty/c")))
	p.ok(os.Rename(p.at("d/f"), p.at("b/f"))) // over a file that is there
	p.ok(os.Remove(p.at("d/gone")))
	p.mkdir("a", 0o700) // where a lower one was
	p.write("a/new", "new", 0o640)
	p.ok(os.Link(p.at("d/moved/f"), p.at("a/third")))
	p.ok(unix.Renameat2(unix.AT_FDCWD, p.at("link"), unix.AT_FDCWD, p.at("empty"), unix.RENAME_EXCHANGE))
	p.ok(os.Remove(p.at("fifo")))
	p.write("fifo", "a file now", 0o644)
	p.ok(unix.Setxattr(p.at("d/hard"), "user.more", []byte("set"), 0))
}

// tree describes all below a directory; of files also which are one, by the
// order of their first names.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	seen := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(strings.TrimPrefix(path, filepath.Clean(dir)), "/")
		if err != nil || path == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%q %o %d:%d", rel, st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			if seen[st.Ino] == "" {
				seen[st.Ino] = rel
			}
			value := make([]byte, 100)
			for _, attr := range []string{"user.note", "user.more"} {
				if n, err := unix.Getxattr(path, attr, value); err == nil {
					line += fmt.Sprintf(" %s=%s", attr, value[:n])
				} else if err != syscall.ENODATA {
					return err
				}
			}
			line += fmt.Sprintf(" %d links, as %q: %q", st.Nlink, seen[st.Ino], read(t, path))
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func sameTree(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

// numbers returns the inode number of each path, after checking that all have
// the mount's own device, and that listings tell the same numbers.
func numbers(t *testing.T, root string) map[string]uint64 {
	t.Helper()
	var top unix.Stat_t
	if err := unix.Stat(root, &top); err != nil {
		t.Fatal(err)
	}
	m := map[string]uint64{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Dev != top.Dev {
			t.Errorf("%s is on device %#x, the mount is %#x", path, st.Dev, top.Dev)
		}
		if path != root {
			m[path[len(root)+1:]] = st.Ino
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range m {
		for name, ino := range listed(t, filepath.Join(root, dir)) {
			if want := m[filepath.Join(dir, name)]; name != "." && name != ".." && ino != want {
				t.Errorf("%s: listed with number %d, is %d", filepath.Join(dir, name), ino, want)
			}
		}
	}
	return m
}

// listed returns the numbers that a listing tells; of what is no directory,
// nothing.
func listed(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	m := map[string]uint64{}
	buf := make([]byte, 1<<14)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return m
		}
		for _, e := range parseDents(buf[:n]) {
			m[e.name] = e.ino
		}
	}
}

// moved is where work leaves what was in the project.
var moved = map[string]string{
	"f": "f", "g": "g", "hard": "hard", "a": "d/moved", "a/f": "d/moved/f", "a/hard": "d/moved/hard", "a/b": "b", "a/b/c": "link/c",
	"d": "d", "d/f": "b/f", "d/hard": "d/hard", "empty": "link", "link": "empty", "bytes \xff\n\\": "bytes \xff\n\\",
}

// Inode numbers stay through copy-up, rename and remount, and hard links stay
// one file. The kernel's overlay over the same layers shows the same tree.
func TestIdentityStays(t *testing.T) {
	dirs := overlayDirs(t)
	project(t, lowerOf(dirs), true)
	before := tree(t, lowerOf(dirs))
	bare := t.TempDir()
	project(t, bare, true)

	mount := func(do func(mnt string)) {
		t.Run("mounted", func(t *testing.T) { do(serve.Start(t, serve.Config{FS: "overlay static", Dirs: dirs}).Mountpoint) })
	}
	var first, last map[string]uint64
	mount(func(mnt string) {
		sameTree(t, "at first", tree(t, mnt), before)
		first = numbers(t, mnt)
		work(t, mnt)
		last = numbers(t, mnt)
	})
	work(t, bare)
	want := tree(t, bare)
	for old, now := range moved {
		if first[old] != last[now] {
			t.Errorf("%s, now %s: number %d became %d", old, now, first[old], last[now])
		}
	}
	mount(func(mnt string) {
		sameTree(t, "mounted again", tree(t, mnt), want)
		for path, ino := range numbers(t, mnt) {
			// An ordinary user's marks cannot stand on a symbolic link.
			if ino != last[path] && (os.Geteuid() == 0 || path != "empty") {
				t.Errorf("%s: number %d became %d by a remount", path, last[path], ino)
			}
		}
	})
	sameTree(t, "the lower layer", tree(t, lowerOf(dirs)), before)
	if os.Geteuid() == 0 {
		sameTree(t, "the kernel's overlay", tree(t, kernelOverlay(t, lowerOf(dirs), dirs[0], dirs[1])), want)
	}
}

// kernelOverlay mounts the kernel's overlay and returns where; with an index,
// which keeps hard links one file, where the layers can have it. It is in no tree
// of mounts: another's copy of it would keep its layers from being mounted again.
func kernelOverlay(t *testing.T, lower, upper, work string) string {
	t.Helper()
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatalf("fsopen: %v", err)
	}
	defer unix.Close(fsfd)
	for _, o := range [][2]string{{"lowerdir+", lower}, {"upperdir", upper}, {"workdir", work}, {"redirect_dir", "on"}, {"index", "on"}} {
		if err := unix.FsconfigSetString(fsfd, o[0], o[1]); err != nil {
			t.Fatalf("kernel overlay, %s=%s: %v", o[0], o[1], err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		t.Fatalf("kernel overlay of %s, %s and %s: %v", lower, upper, work, err)
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("fsmount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("/proc/%d/fd/%d/.", os.Getpid(), fd)
}

// An overlay whose lower layer is itself an overlay, ours or the kernel's, and
// the kernel's over ours.
func TestNested(t *testing.T) {
	ours := func(t *testing.T, lower string, dirs []string) string {
		dirs[3] = lower
		return served(t, serve.Config{FS: "overlay", Dirs: dirs}).Mountpoint
	}
	kernels := func(t *testing.T, lower string, dirs []string) string {
		return kernelOverlay(t, lower, dirs[0], dirs[1])
	}
	for name, c := range map[string]struct {
		below, above func(t *testing.T, lower string, dirs []string) string
		links        bool
	}{
		"ours over ours":     {ours, ours, true},
		"ours over kernel's": {kernels, ours, true},
		// The kernel has an index only where it can open the lower layer by file
		// handle. Without, it breaks hard links at copy-up, and shows one that was
		// made to a copy by two numbers until it is mounted again.
		"kernel's over ours": {ours, kernels, false},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "ours over ours" && os.Geteuid() != 0 {
				vfstest.Skip(t, vfstest.KernelOverlay)
			}
			bare, lower := t.TempDir(), t.TempDir()
			project(t, bare, c.links)
			project(t, lower, c.links)
			before := tree(t, bare)
			below := c.below(t, lower, overlayDirs(t))
			dirs := overlayDirs(t)
			t.Run("mounted", func(t *testing.T) {
				above := c.above(t, below, dirs)
				sameTree(t, "above, at first", tree(t, above), before)
				work(t, above)
				work(t, bare)
				if c.links {
					sameTree(t, "above", tree(t, above), tree(t, bare))
				}
			})
			t.Run("again", func(t *testing.T) {
				sameTree(t, "above", tree(t, c.above(t, below, dirs)), tree(t, bare))
			})
			sameTree(t, "below", tree(t, below), before)
			sameTree(t, "the lowest layer", tree(t, lower), before)
		})
	}
	// An overlay keeps its marks to itself, so it cannot store another's; that is
	// said before anything is mounted.
	t.Run("upper on ours", func(t *testing.T) {
		on := ours(t, t.TempDir(), overlayDirs(t))
		_, err := overlay.Open(context.Background(), overlay.Options{
			Lower: []string{t.TempDir()}, Upper: mkdir(t, on, "upper"), Work: mkdir(t, on, "work"),
		})
		if !errors.Is(err, overlay.ErrNoXattr) {
			t.Errorf("got %v, want %v", err, overlay.ErrNoXattr)
		}
	})
}
