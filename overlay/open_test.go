package overlay_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// onAnotherFilesystem makes a directory that is not on that of temporary files.
func onAnotherFilesystem(t *testing.T) string {
	t.Helper()
	var here, there unix.Stat_t
	if err := unix.Stat(t.TempDir(), &here); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"/dev/shm", "/var/tmp", "."} {
		dir, err := os.MkdirTemp(place, "astridfs")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := unix.Stat(dir, &there); err != nil {
			t.Fatal(err)
		}
		if here.Dev != there.Dev {
			return dir
		}
	}
	t.Fatal("everything is one filesystem")
	return ""
}

func TestOpenErrors(t *testing.T) {
	elsewhere := onAnotherFilesystem(t)
	for _, c := range []struct {
		name   string
		change func(o *overlay.Options)
		want   error
	}{
		{"no lower", func(o *overlay.Options) { o.Lower = nil }, overlay.ErrNoLower},
		{"missing lower", func(o *overlay.Options) { o.Lower[0] += "/none" }, overlay.ErrNotDir},
		{"missing upper", func(o *overlay.Options) { o.Upper += "/none" }, overlay.ErrNotDir},
		{"missing work", func(o *overlay.Options) { o.Work += "/none" }, overlay.ErrNotDir},
		{"missing state", func(o *overlay.Options) { o.State += "/none" }, overlay.ErrNotDir},
		{"lower is a file", func(o *overlay.Options) { put(t, o.Lower[0]+"/f", ""); o.Lower[0] += "/f" }, overlay.ErrNotDir},
		{"upper in lower", func(o *overlay.Options) {
			o.Upper = o.Lower[0] + "/upper"
			os.Mkdir(o.Upper, 0o755)
		}, overlay.ErrOverlap},
		{"lower in upper", func(o *overlay.Options) {
			o.Lower[0] = o.Upper + "/lower"
			os.Mkdir(o.Lower[0], 0o755)
		}, overlay.ErrOverlap},
		{"work in upper", func(o *overlay.Options) {
			o.Work = o.Upper + "/work"
			os.Mkdir(o.Work, 0o755)
		}, overlay.ErrOverlap},
		{"work is upper", func(o *overlay.Options) { o.Work = o.Upper }, overlay.ErrOverlap},
		{"lower by a symbolic link", func(o *overlay.Options) {
			link := filepath.Join(t.TempDir(), "link")
			os.Symlink(o.Upper, link)
			o.Lower[0] = link
		}, overlay.ErrOverlap},
		{"work elsewhere", func(o *overlay.Options) { o.Work = elsewhere }, overlay.ErrOtherDevice},
		{"work not empty", func(o *overlay.Options) { put(t, o.Work+"/mine/f", "") }, overlay.ErrForeignWork},
		{"no xattrs", func(o *overlay.Options) { o.Upper, o.Work = "/proc/self/task", "/proc/self/fdinfo" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := layers(t, 1)
			c.change(&opt)
			fs, err := overlay.Open(bg, opt)
			if err == nil {
				fs.Close()
				t.Fatal("it opens")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("in use", func(t *testing.T) {
		opt := layers(t, 1)
		open(t, opt)
		other := layers(t, 1)
		opt.Lower = other.Lower
		if _, err := overlay.Open(bg, opt); !errors.Is(err, overlay.ErrInUse) {
			t.Fatalf("got %v, want %v", err, overlay.ErrInUse)
		}
	})
	t.Run("lower not changed", func(t *testing.T) {
		opt := layers(t, 2)
		os.Chmod(opt.Lower[0], 0o555)
		open(t, opt)
		for _, d := range append(opt.Lower, opt.Upper) {
			if l, err := os.ReadDir(d); err != nil || len(l) > 0 {
				t.Errorf("%s holds %v, %v", d, l, err)
			}
			if n, _ := unix.Listxattr(d, nil); n > 0 {
				t.Errorf("%s has attributes", d)
			}
		}
	})
}

const userEnv = "ASTRIDFS_TEST_AS_USER"

// TestAsOrdinaryUser runs the tests of this package as a user without any
// privilege: marks are user attributes, and new files belong to that user.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 || os.Getenv(userEnv) != "" {
		return // it is one already
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "astridfs-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "overlay.test")
	data, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(bin, data, 0o755)
	}
	if err == nil {
		err = os.Chown(dir, nobody, nobody)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(bin, append(args, "-test.timeout=10m")...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, userEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("--- SKIP")) {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run("-test.v", "-test.skip=^TestStress$/^Mounted$", "-test.run", "^(TestConformance|TestConformanceOfLowerFiles|TestStress|TestHardLinks|TestInode|TestCopyUp|TestReplace|TestMarks|TestOpenCopies|TestPassthrough|TestHostEdits|TestReadDir|TestOwn|TestNewNodes)")
	vfstest.LetUsersMount(t)
	run("-test.v", "-test.run=^TestStress$/^Mounted$")
}

// TestOwnFiles: modes that shut their owner out do not keep an ordinary user
// from what the view allows.
func TestOwnFiles(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/d/f", "lower")
		put(t, d+"/e/x", "")
		os.Chmod(d+"/d", 0o555)
		os.Chmod(d+"/e", 0o555)
	})
	t.Cleanup(func() {
		for _, d := range []string{b.lower("d"), b.lower("e")} {
			os.Chmod(d, 0o755)
		}
	})
	f, err := b.open("d/f", unix.O_RDWR, 0)
	b.ok(err)
	b.ok(b.setattr("d/f", setMode(0o444)))
	_, err = f.pwrite([]byte("UP"), 0)
	b.ok(err)
	b.ok(f.close())
	b.contents("d/f", "UPwer")
	if m := b.stat("d/f").Mode & 0o7777; m != 0o444 {
		t.Errorf("mode %o", m)
	}
	if m := b.stat("d").Mode & 0o7777; m != 0o555 {
		t.Errorf("mode of the directory %o", m)
	}
	b.ok(b.mkdir("new", 0o755))
	b.ok(b.rename("e", "new/e", 0))
	b.contents("new/e/x", "")
	if m := b.stat("new/e").Mode & 0o7777; os.Geteuid() == 0 && m != 0o555 {
		t.Errorf("mode of the moved directory %o", m)
	}
	b.ok(b.setattr("d", setMode(0o755)))
	b.ok(b.setattr("new/e", setMode(0o755)))
}

// TestOwnDirectoryCommitted: a commit gets into a directory that the workspace
// shuts its owner out of, where the view does not.
func TestOwnDirectoryCommitted(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/d/old", "")
		os.Chmod(d+"/d", 0o555)
	})
	t.Cleanup(func() { os.Chmod(b.lower("d"), 0o755) })
	b.ok(b.setattr("d", setMode(0o750)))
	b.ok(b.mkdir("d/new", 0o755))
	b.ok(b.unlink("d/old"))
	_, err := b.FS.(*overlay.FS).Commit(t.Context(), overlay.CommitOptions{})
	b.ok(err)
	b.upperEmpty()
	names, err := os.ReadDir(b.lower("d"))
	if err != nil || len(names) != 1 || names[0].Name() != "new" {
		t.Errorf("%v, %v", names, err)
	}
	if st, err := os.Stat(b.lower("d")); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", st, err)
	}
}

// TestOwnFilesRefused: a truncation that the permission bits do not allow leaves
// the contents as they are.
func TestOwnFilesRefused(t *testing.T) {
	b := newBed(t, func(d string) {
		put(t, d+"/f", "lower")
		os.Chmod(d+"/f", 0o444)
	})
	_, openErr := b.open("f", unix.O_WRONLY|unix.O_TRUNC, 0)
	if os.Geteuid() == 0 {
		b.ok(openErr)
		return // whom nothing is refused
	}
	b.want(openErr, syscall.EACCES)
	b.contents("f", "lower")
	b.want(b.setattr("f", vfs.SetAttr{Valid: vfs.SetSize, Size: 2}), syscall.EACCES)
	b.contents("f", "lower")
	b.upperEmpty()
}
