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
				if step == "linked" {
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

// put puts a file with those contents in the place of path, as an editor does.
func put(t *testing.T, path, data string) {
	t.Helper()
	write(t, path+".new", data)
	must(t, os.Rename(path+".new", path))
}

// TestReplaceKeepsOthers: what other processes put in the file's place at the last
// moment is there, or is told of, also where it cannot be put back.
func TestReplaceKeepsOthers(t *testing.T) {
	cases := []struct {
		name       string
		meanwhile  func(t *testing.T, path string) // after the exchange
		after      string                          // what the name stands for then
		kept       string                          // what is told of
		errno      syscall.Errno
		privileged bool
	}{
		{
			name:      "removed",
			meanwhile: func(t *testing.T, path string) { must(t, os.Remove(path)) },
			after:     "first", errno: syscall.ESTALE,
		},
		{
			name:      "another",
			meanwhile: func(t *testing.T, path string) { put(t, path, "second") },
			after:     "second", kept: "first", errno: syscall.ESTALE,
		},
		{
			name: "written to",
			meanwhile: func(t *testing.T, path string) {
				f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
				must(t, err)
				_, err = f.WriteString(", and theirs")
				must(t, err)
				must(t, f.Close())
			},
			after: "first", kept: "new, and theirs", errno: syscall.ESTALE,
		},
		{
			name: "cannot go back",
			meanwhile: func(t *testing.T, path string) {
				must(t, exec.Command("chattr", "+i", filepath.Dir(path)).Run())
			},
			after: "new", kept: "first", errno: syscall.EPERM, privileged: true,
		},
	}
	for _, way := range stages {
		for _, c := range cases {
			t.Run(way+"/"+c.name, func(t *testing.T) {
				if c.privileged && os.Geteuid() != 0 {
					t.Skip("needs root")
				}
				dir, opt := t.TempDir(), staged(t, way)
				must(t, os.Mkdir(dir+"/d", 0o755))
				path := dir + "/d/f"
				write(t, path, "old")
				opt.SetStep(func(step string) {
					switch step {
					case "linked":
						put(t, path, "first")
					case "exchanged":
						c.meanwhile(t, path)
					}
				})
				var kept []hostfs.Kept
				opt.Kept = func(k hostfs.Kept) { kept = append(kept, k) }
				fs := open(t, dir, opt)
				err := replace(fs, "d/f", "new")
				if c.privileged {
					must(t, exec.Command("chattr", "-i", dir+"/d").Run())
				}
				wantErrno(t, "raced", err, c.errno)
				contents(t, path, c.after)
				if c.kept == "" {
					if len(kept) != 0 {
						t.Errorf("told of %v", kept)
					}
					holds(t, dir+"/d", "f")
					holds(t, opt.Stage)
					return
				}
				// It is told of by each Open, until somebody takes it away.
				opt.SetStep(nil)
				fs = open(t, dir, opt)
				if len(kept) != 2 || kept[0] != kept[1] || kept[0].Of != "d/f" {
					t.Fatalf("told of %v", kept)
				}
				contents(t, kept[0].Path, c.kept)
				must(t, replace(fs, "d/f", "newer"))
				contents(t, path, "newer")
				must(t, os.Rename(kept[0].Path, dir+"/mine"))
				open(t, dir, opt)
				if len(kept) != 2 {
					t.Errorf("told of %v", kept)
				}
				holds(t, dir+"/d", "f")
				holds(t, opt.Stage)
			})
		}
	}
}

// TestStageUnknown: a file in the stage that nothing is known of is not removed.
func TestStageUnknown(t *testing.T) {
	dir, opt := t.TempDir(), staged(t, "staged")
	must(t, os.Mkdir(opt.Stage, 0o700))
	write(t, opt.Stage+"/file-1", "whose?")
	write(t, opt.Stage+"/note-2", "cut sho")
	must(t, os.Mkdir(opt.Stage+"/file-3", 0o700))
	kept := map[string]bool{}
	opt.Kept = func(k hostfs.Kept) { kept[k.Path] = k.Of == "" }
	fs := open(t, dir, opt)
	if !kept[opt.Stage+"/file-1"] || !kept[opt.Stage+"/file-3"] || len(kept) != 2 {
		t.Errorf("told of %v", kept)
	}
	write(t, dir+"/f", "old")
	must(t, replace(fs, "f", "new"))
	holds(t, opt.Stage, "file-1", "file-3")
}

// TestReplaceWithoutExchange is Replace on a host that cannot exchange names.
func TestReplaceWithoutExchange(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			dir, opt := t.TempDir(), staged(t, way)
			write(t, dir+"/f", "old")
			race := false
			opt.SetPlain()
			opt.SetStep(func(step string) {
				if race && step == "linked" {
					put(t, dir+"/f", "somebody's")
				}
			})
			fs := open(t, dir, opt)
			must(t, replace(fs, "f", "new"))
			contents(t, dir+"/f", "new")
			race = true
			wantErrno(t, "raced", replace(fs, "f", "newer"), syscall.ESTALE)
			contents(t, dir+"/f", "somebody's")
			holds(t, dir, "f")
			holds(t, opt.Stage)
		})
	}
}

// TestReplaceClosesTheOld: who comes to open a file while another takes its place
// does not get one that nothing is written to any more.
func TestReplaceClosesTheOld(t *testing.T) {
	dir, opt := t.TempDir(), staged(t, "staged")
	write(t, dir+"/f", "old")
	var fs *hostfs.FS
	var e vfs.Entry
	race, opened := false, 0
	opt.SetStep(func(step string) {
		if step != "linked" {
			return
		}
		opened++
		_, err := fs.Open(ctx, e.Node, unix.O_RDWR)
		wantErrno(t, "open", err, syscall.ESTALE)
		if race {
			put(t, dir+"/f", "somebody's")
		}
	})
	fs = open(t, dir, opt)
	for _, race = range []bool{false, true} {
		e = lookup(t, fs, "f")
		err := replace(fs, "f", "new")
		if race {
			wantErrno(t, "raced", err, syscall.ESTALE)
		} else {
			must(t, err)
		}
		fs.Forget(e.Node, 1)
		e = lookup(t, fs, "f")
		h, err := fs.Open(ctx, e.Node, unix.O_RDWR)
		must(t, err)
		must(t, h.Close())
		fs.Forget(e.Node, 1)
	}
	if opened != 2 {
		t.Errorf("opened %d times", opened)
	}
	// One that was left alone after all can be opened again.
	must(t, os.Link(dir+"/f", dir+"/g"))
	e = lookup(t, fs, "f")
	wantErrno(t, "of two names", replace(fs, "f", "new"), syscall.EOPNOTSUPP)
	h, err := fs.Open(ctx, e.Node, unix.O_RDWR)
	must(t, err)
	must(t, h.Close())
	fs.Forget(e.Node, 1)
}

const crashEnv = "ASTRIDFS_TEST_HOSTFS_CRASH"

// TestCrashChild is the process that TestCrashOfReplace kills.
func TestCrashChild(t *testing.T) {
	args := strings.Split(os.Getenv(crashEnv), "|")
	if len(args) != 4 {
		return // not started by it
	}
	var step, die int
	fmt.Sscan(args[2], &die)
	race := args[3] == "raced"
	opt := hostfs.Options{Stage: args[0] + "/stage"}
	if args[1] == "beside" {
		opt.SetApart()
	}
	opt.SetStep(func(name string) {
		if race && name == "linked" {
			put(t, args[0]+"/root/d/f", "somebody's save")
		}
		if step++; step == die {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	})
	fs, err := hostfs.Open(args[0]+"/root", opt)
	must(t, err)
	err = replace(fs, "d/f", "note-1\x00.astridfs-x\x00")
	if race {
		wantErrno(t, "raced", err, syscall.ESTALE)
	} else {
		must(t, err)
	}
}

// crash runs TestCrashChild until it comes to a step, and tells whether it did.
func crash(t *testing.T, dir, way string, die int, how string) bool {
	t.Helper()
	must(t, os.MkdirAll(dir+"/root/d", 0o755))
	write(t, dir+"/root/d/f", "old")
	write(t, dir+"/root/d/.astridfs-x", "somebody's")
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d|%s", crashEnv, dir, way, die, how))
	out, err := cmd.CombinedOutput()
	killed := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
	if err != nil && !killed {
		t.Fatalf("%v\n%s", err, out)
	}
	if !killed && die < 6 {
		t.Errorf("it has %d steps", die-1)
	}
	return killed
}

// TestCrashOfReplace kills a process at every step of putting a file in the place
// of another: there is one or the other, at once, and the next Open leaves
// nothing else.
func TestCrashOfReplace(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			for die, killed := 1, true; killed; die++ {
				dir := t.TempDir()
				killed = crash(t, dir, way, die, "alone")
				got, err := os.ReadFile(dir + "/root/d/f")
				must(t, err)
				if string(got) != "old" && string(got) != "note-1\x00.astridfs-x\x00" {
					t.Errorf("killed at step %d it holds %q", die, got)
				}
				open(t, dir+"/root", hostfs.Options{
					Stage: dir + "/stage",
					Kept:  func(k hostfs.Kept) { t.Errorf("killed at step %d: told of %v", die, k) },
				})
				contents(t, dir+"/root/d/f", string(got))
				holds(t, dir+"/root/d", ".astridfs-x", "f")
				holds(t, dir+"/stage")
			}
		})
	}
}

// TestCrashOfRacedReplace kills a process that has taken somebody else's file for
// the one to be replaced, at every step: that file is not lost.
func TestCrashOfRacedReplace(t *testing.T) {
	for _, way := range stages {
		t.Run(way, func(t *testing.T) {
			told := 0
			for die, killed := 1, true; killed; die++ {
				dir := t.TempDir()
				killed = crash(t, dir, way, die, "raced")
				var kept []hostfs.Kept
				open(t, dir+"/root", hostfs.Options{
					Stage: dir + "/stage",
					Kept:  func(k hostfs.Kept) { kept = append(kept, k) },
				})
				got, err := os.ReadFile(dir + "/root/d/f")
				must(t, err)
				switch {
				case len(kept) == 1 && kept[0].Of == "d/f":
					told++
					contents(t, kept[0].Path, "somebody's save")
				case len(kept) != 0:
					t.Errorf("killed at step %d: told of %v", die, kept)
				case string(got) == "somebody's save":
					holds(t, dir+"/stage")
					holds(t, dir+"/root/d", ".astridfs-x", "f")
				case string(got) != "old": // before anybody came
					t.Errorf("killed at step %d it holds %q", die, got)
				}
			}
			if told == 0 {
				t.Error("nobody was told of anything")
			}
		})
	}
}
