package hostfs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// stages are the two ways of a file to the place of another.
var stages = []string{"staged", "beside"}

func staged(t *testing.T, way string) hostfs.Options {
	opt := hostfs.Options{Stage: filepath.Join(t.TempDir(), "stage")}
	if way == "beside" {
		opt.SetApart()
	}
	return opt
}

func TestConformanceWithStage(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			vfstest.Run(t, vfstest.Config{
				New:   func(t *testing.T) vfs.FS { return open(t, t.TempDir(), staged(t, way)) },
				Lacks: lacks,
			})
		})
	}
}

// replace puts data in the place of what path holds.
func replace(fs vfs.FS, path, data string) error {
	t, err := vfs.Walk(ctx, fs, vfs.RootID, path, 0)
	if err != nil {
		return err
	}
	defer t.Release()
	e, h, err := fs.Tmpfile(ctx, t.Parent, unix.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	defer fs.Forget(e.Node, 1)
	defer h.Close()
	if _, err := h.WriteAt(ctx, []byte(data), 0); err != nil {
		return err
	}
	return fs.Replace(ctx, t.Entry.Node, h)
}

func contents(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

// holds fails if a directory holds anything but the names given.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

type told struct{ entries, nodes atomic.Int64 }

func (w *told) EntryChanged(_ context.Context, _ vfs.NodeID, name string) {
	if name == "f" {
		w.entries.Add(1)
	}
}
func (w *told) NodeChanged(context.Context, vfs.NodeID, bool) { w.nodes.Add(1) }

// TestReplaceKeeps: what belongs to a file beside its contents is the same after
// another has taken its place.
func TestReplaceKeeps(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			dir, opt := t.TempDir(), staged(t, way)
			must(t, os.Mkdir(dir+"/d", 0o755))
			path := dir + "/d/f"
			write(t, path, "old")
			must(t, unix.Setxattr(path, "user.a", []byte("1"), 0))
			if os.Geteuid() == 0 {
				must(t, os.Chown(path, 12, 34))
			}
			must(t, unix.Chmod(path, 0o6755))
			// What the directory would give to a new file is not the old one's.
			acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x06\x00\x63\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff")
			if err := unix.Setxattr(dir+"/d", "system.posix_acl_default", acl, 0); err != nil && err != syscall.EOPNOTSUPP {
				t.Fatal(err)
			}
			var before, after unix.Stat_t
			must(t, unix.Lstat(path, &before))
			fs := open(t, dir, opt)
			old := lookup(t, fs, "d/f")
			var w told
			fs.Watch(&w)
			must(t, replace(fs, "d/f", "new contents"))
			contents(t, path, "new contents")
			must(t, unix.Lstat(path, &after))
			if after.Uid != before.Uid || after.Gid != before.Gid || after.Mode != unix.S_IFREG|0o755 || after.Nlink != 1 {
				t.Errorf("it is %+v, was %+v", after, before)
			}
			buf := make([]byte, 100)
			if n, err := unix.Getxattr(path, "user.a", buf); err != nil || string(buf[:n]) != "1" {
				t.Errorf("its attribute is %q, %v", buf[:max(n, 0)], err)
			}
			if _, err := unix.Getxattr(path, "system.posix_acl_access", buf); err == nil {
				t.Error("it has got an access list")
			}
			if w.entries.Load() == 0 {
				t.Error("nobody was told")
			}
			e := lookup(t, fs, "d/f")
			if e.Node == old.Node || e.Attr.Ino != after.Ino || e.Attr.Size != 12 {
				t.Errorf("it is %+v, was %+v", e, old)
			}
			if a, err := fs.GetAttr(ctx, old.Node, nil); err != nil || a.Nlink != 0 {
				t.Errorf("the old one is %+v, %v", a, err)
			}
			if p, err := fs.Path(ctx, e.Node); p != "d/f" {
				t.Errorf("its path is %q, %v", p, err)
			}
			// And once more, and what is known of the node is right.
			must(t, replace(fs, "d/f", "newer"))
			contents(t, path, "newer")
			fs.Forget(old.Node, 1)
			fs.Forget(e.Node, 1)
			holds(t, dir+"/d", "f")
			holds(t, opt.Stage)
		})
	}
}

// TestReplaceLeaves: a file that is open, or has other names, is not replaced.
func TestReplaceLeaves(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			dir, opt := t.TempDir(), staged(t, way)
			write(t, dir+"/f", "old")
			fs := open(t, dir, opt)
			e := lookup(t, fs, "f")
			h, err := fs.Open(ctx, e.Node, unix.O_RDONLY)
			must(t, err)
			wantErrno(t, "open", replace(fs, "f", "new"), syscall.EOPNOTSUPP)
			must(t, h.Close())
			must(t, os.Link(dir+"/f", dir+"/g"))
			wantErrno(t, "of two names", replace(fs, "f", "new"), syscall.EOPNOTSUPP)
			must(t, os.Remove(dir+"/g"))
			contents(t, dir+"/f", "old")
			// The host's rename is no reason: it has one name.
			must(t, os.Rename(dir+"/f", dir+"/g"))
			g := lookup(t, fs, "g")
			must(t, replace(fs, "g", "new"))
			contents(t, dir+"/g", "new")
			fs.Forget(e.Node, 1)
			fs.Forget(g.Node, 1)
			if os.Geteuid() == 0 {
				must(t, exec.Command("chattr", "+i", dir+"/g").Run())
				err := replace(fs, "g", "newer")
				must(t, exec.Command("chattr", "-i", dir+"/g").Run())
				wantErrno(t, "immutable", err, syscall.EPERM)
			}
			holds(t, dir, "g")
			holds(t, opt.Stage)
		})
	}
}

// TestReplaceUnseen lists a directory while files in it are replaced.
func TestReplaceUnseen(t *testing.T) {
	dir, opt := t.TempDir(), staged(t, "beside")
	write(t, dir+"/f", "old")
	var fs *hostfs.FS
	looked := 0
	opt.SetStep(func(step string) {
		if step != "linked" {
			return
		}
		looked++
		list, err := os.ReadDir(dir)
		if err != nil || len(list) != 2 {
			t.Errorf("the host has %v, %v", list, err)
		}
		d, err := fs.OpenDir(ctx, vfs.RootID)
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		err = d.ReadDir(ctx, 0, func(e vfs.DirEntry) bool {
			if strings.HasPrefix(e.Name, ".astridfs") {
				t.Errorf("the listing has %q", e.Name)
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
	})
	fs = open(t, dir, opt)
	must(t, replace(fs, "f", "new"))
	if looked != 1 {
		t.Errorf("looked %d times", looked)
	}
}

// TestReplaceRaced: what another process puts in the file's place at the last
// moment is not lost.
func TestReplaceRaced(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			dir, opt := t.TempDir(), staged(t, way)
			write(t, dir+"/f", "old")
			opt.SetStep(func(step string) {
				if step == "staged" || step == "linked" {
					write(t, dir+"/new", "somebody's")
					must(t, os.Rename(dir+"/new", dir+"/f"))
				}
			})
			fs := open(t, dir, opt)
			wantErrno(t, "raced", replace(fs, "f", "new"), syscall.ESTALE)
			contents(t, dir+"/f", "somebody's")
			holds(t, dir, "f")
			holds(t, opt.Stage)
		})
	}
}

const crashEnv = "ASTRIDFS_TEST_HOSTFS_CRASH"

// TestCrashChild is the process that TestCrashOfReplace kills.
func TestCrashChild(t *testing.T) {
	args := strings.Split(os.Getenv(crashEnv), "|")
	if len(args) != 3 {
		return // not started by it
	}
	var step, die int
	fmt.Sscan(args[2], &die)
	opt := hostfs.Options{Stage: args[0] + "/stage"}
	if args[1] == "beside" {
		opt.SetApart()
	}
	opt.SetStep(func(string) {
		if step++; step == die {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	})
	fs, err := hostfs.Open(args[0]+"/root", opt)
	must(t, err)
	must(t, replace(fs, "d/f", "note-1\x00.astridfs-x\x00"))
}

// TestCrashOfReplace kills a process at every step of putting a file in the place
// of another: there is one or the other, at once, and the next Open leaves
// nothing else.
func TestCrashOfReplace(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			for die := 1; ; die++ {
				dir := t.TempDir()
				must(t, os.MkdirAll(dir+"/root/d", 0o755))
				write(t, dir+"/root/d/f", "old")
				write(t, dir+"/root/d/.astridfs-x", "somebody's")
				cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", crashEnv, dir, way, die))
				out, err := cmd.CombinedOutput()
				killed := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
				if err != nil && !killed {
					t.Fatalf("%v\n%s", err, out)
				}
				got, err := os.ReadFile(dir + "/root/d/f")
				must(t, err)
				if string(got) != "old" && string(got) != "note-1\x00.astridfs-x\x00" {
					t.Errorf("killed at step %d it holds %q", die, got)
				}
				open(t, dir+"/root", hostfs.Options{Stage: dir + "/stage"})
				contents(t, dir+"/root/d/f", string(got))
				holds(t, dir+"/root/d", ".astridfs-x", "f")
				holds(t, dir+"/stage")
				if !killed {
					if die < 5 {
						t.Errorf("it has %d steps", die-1)
					}
					return
				}
			}
		})
	}
}
