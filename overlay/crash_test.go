package overlay_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
)

// crashCase is an operation that is killed at each of its steps. Before it
// comes prepare, which is not.
type crashCase struct {
	name    string
	prepare func(s subject) error
	do      func(s subject) error
}

func write(p, data string) func(subject) error {
	return func(s subject) error {
		f, err := s.open(p, unix.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.close()
		_, err = f.pwrite([]byte(data), 0)
		return err
	}
}

func all(fs ...func(subject) error) func(subject) error {
	return func(s subject) error {
		for _, f := range fs {
			if err := f(s); err != nil {
				return err
			}
		}
		return nil
	}
}

func unlinks(ps ...string) func(subject) error {
	return func(s subject) error {
		for _, p := range ps {
			if err := s.unlink(p); err != nil {
				return err
			}
		}
		return nil
	}
}

func renames(p, q string, flags uint) func(subject) error {
	return func(s subject) error { return s.rename(p, q, flags) }
}

func crashCases() []crashCase {
	list := everyCrashCase()
	if os.Geteuid() != 0 {
		// Only root may give a file away.
		list = slices.DeleteFunc(list, func(c crashCase) bool { return c.name == "chown a symlink" })
	}
	return list
}

func everyCrashCase() []crashCase {
	nothing := func(subject) error { return nil }
	hollow := unlinks("d/x", "d/sub/y") // leaves whiteouts in both
	return []crashCase{
		{"write", nothing, write("f", "F")},
		{"write below", nothing, write("d/sub/y", "Y")},
		{"write a hard link", nothing, write("h1", "H")},
		{"truncate", nothing, func(s subject) error { return s.setattr("f", vfs.SetAttr{Valid: vfs.SetSize}) }},
		{"chmod", nothing, func(s subject) error { return s.setattr("d/sub/y", vfs.SetAttr{Valid: vfs.SetMode, Mode: 0o600}) }},
		{"chmod a directory", nothing, func(s subject) error { return s.setattr("d/sub", vfs.SetAttr{Valid: vfs.SetMode, Mode: 0o700}) }},
		{"chown a symlink", nothing, func(s subject) error {
			return s.setattr("s", vfs.SetAttr{Valid: vfs.SetUID | vfs.SetGID, UID: 1, GID: 1})
		}},
		{"unlink", nothing, unlinks("f")},
		{"unlink what was written", write("f", "F"), unlinks("f")},
		{"unlink a hard link", nothing, unlinks("h1")},
		{"unlink a written hard link", write("h1", "H"), unlinks("d/h2")},
		{"create", nothing, func(s subject) error { return s.mknod("d/new", unix.S_IFREG|0o644, 0) }},
		{"create over a whiteout", unlinks("f"), func(s subject) error { return s.mknod("f", unix.S_IFREG|0o644, 0) }},
		{"symlink over a whiteout", unlinks("f"), func(s subject) error { return s.symlink("t", "f") }},
		{"mkdir", nothing, func(s subject) error { return s.mkdir("d/new", 0o755) }},
		{"mkdir over a whiteout", unlinks("f"), func(s subject) error { return s.mkdir("f", 0o755) }},
		{"link", nothing, func(s subject) error { return s.link("f", "d/g") }},
		{"link over a whiteout", unlinks("d/x"), func(s subject) error { return s.link("f", "d/x") }},
		{"rmdir", nothing, func(s subject) error { return s.rmdir("e") }},
		{"rmdir with whiteouts", hollow, func(s subject) error { return s.rmdir("d/sub") }},
		{"rename a file", nothing, renames("f", "g", 0)},
		{"rename a file over one", nothing, renames("f", "d/x", 0)},
		{"rename a file onto a whiteout", unlinks("d/x"), renames("f", "d/x", 0)},
		{"rename a hard link", nothing, renames("h1", "g", 0)},
		{"rename a directory", nothing, renames("d", "g", 0)},
		{"rename a directory into one", nothing, renames("d", "e/g", 0)},
		{"rename a directory over an empty one", nothing, renames("d", "e", 0)},
		{"rename a directory over whiteouts", hollow, renames("e", "d/sub", 0)},
		{"rename a directory onto a whiteout", unlinks("f"), renames("d", "f", 0)},
		{"rename a new directory onto a whiteout", all(unlinks("f"), func(s subject) error { return s.mkdir("n", 0o755) }), renames("n", "f", 0)},
		{"rename back", renames("d", "g", 0), renames("g", "d", 0)},
		{"exchange", nothing, renames("f", "d/x", unix.RENAME_EXCHANGE)},
		{"exchange directories", nothing, renames("d/sub", "e", unix.RENAME_EXCHANGE)},
		{"exchange a file and a directory", nothing, renames("f", "d/sub", unix.RENAME_EXCHANGE)},
		{"replace", nothing, replaceFile("f")},
		{"replace what was written", write("f", "F"), replaceFile("f")},
		{"replace what was made", func(s subject) error { return s.mknod("n", unix.S_IFREG|0o644, 0) }, replaceFile("n")},
	}
}

func replaceFile(p string) func(subject) error {
	return func(s subject) error {
		v := s.(view)
		return v.node(p, func(e vfs.Entry) error {
			t, h, err := v.Tmpfile(bg, vfs.RootID, unix.O_RDWR, 0o600)
			if err != nil {
				return err
			}
			defer v.Forget(t.Node, 1)
			defer h.Close()
			if _, err := h.WriteAt(bg, []byte("replaced"), 0); err != nil {
				return err
			}
			return v.Replace(bg, e.Node, h)
		})
	}
}

// crashLower makes the lower layer of the crash cases.
func crashLower(dir string) error {
	for _, d := range []string{"d", "d/sub", "e"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, f := range []string{"f", "d/x", "d/sub/y", "h1"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("old "+f), 0o644); err != nil {
			return err
		}
	}
	if err := os.Link(dir+"/h1", dir+"/d/h2"); err != nil {
		return err
	}
	if err := os.Symlink("f", dir+"/s"); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		ts := []unix.Timespec{{Sec: 1000}, {Sec: 1000}}
		if err == nil {
			err = unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
		}
		return err
	})
}

const crashEnv = "ASTRIDFS_TEST_CRASH"

// TestCrashChild is the process that TestCrash kills: it does the operation of
// one case and dies at one step.
func TestCrashChild(t *testing.T) {
	args := strings.Split(os.Getenv(crashEnv), "|")
	if len(args) != 3 {
		return // not started by TestCrash
	}
	unix.Umask(0)
	var c crashCase
	for _, k := range crashCases() {
		if k.name == args[1] {
			c = k
		}
	}
	var step, die int
	fmt.Sscan(args[2], &die)
	counting := false
	opt := crashOptions(args[0])
	opt.SetStep(func(string) {
		if !counting {
			return
		}
		if step++; step == die {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	})
	fs, err := overlay.Open(bg, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.prepare(view{fs}); err != nil {
		t.Fatal(err)
	}
	if die == 0 {
		return
	}
	counting = true
	if err := c.do(view{fs}); err != nil {
		t.Fatal(err)
	}
}

func crashOptions(dir string) overlay.Options {
	return overlay.Options{Lower: []string{dir + "/lower"}, Upper: dir + "/upper", Work: dir + "/work", State: dir + "/state"}
}

// TestCrash kills a process at every step of an operation. What the next one
// shows is the tree from before the operation or the one from after it, and the
// work directory holds nothing of the attempt.
func TestCrash(t *testing.T) {
	for _, c := range crashCases() {
		t.Run(c.name, func(t *testing.T) { crash(t, c) })
	}
}

func crash(t *testing.T, c crashCase) {
	const never = 1000
	run := func(die int) (tree map[string]string, killed bool) {
		dir := t.TempDir()
		for _, d := range []string{"lower", "upper", "work", "state"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := crashLower(dir + "/lower"); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.v")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", crashEnv, dir, c.name, die))
		out, err := cmd.CombinedOutput()
		if err != nil {
			if st, ok := cmd.ProcessState.Sys().(interface{ Signaled() bool }); !ok || !st.Signaled() {
				t.Fatalf("at step %d: %v\n%s", die, err, out)
			}
			killed = true
		}
		fs := open(t, crashOptions(dir))
		// Times of directories change apart from their entries. So does the link
		// count of a lower inode apart from the whiteout that hides a name of it.
		tree = dump(t, view{fs}, "nodirtimes", "nolinks")
		if left, err := os.ReadDir(dir + "/work/work"); err != nil || len(left) > 0 {
			t.Errorf("left in the work directory after step %d: %v %v", die, left, err)
		}
		return tree, killed
	}
	old, _ := run(0)
	done, _ := run(never)
	if differences(old, done) == "" && !strings.HasPrefix(c.name, "rename back") {
		t.Fatal("the operation changes nothing")
	}
	for die := 1; ; die++ {
		got, killed := run(die)
		if !killed {
			if die == 1 {
				t.Error("the operation has no step")
			}
			return
		}
		if d := differences(got, old); d != "" && differences(got, done) != "" {
			t.Errorf("killed at step %d it shows neither the old tree\n%s\nnor the new\n%s", die, d, differences(got, done))
		}
	}
}
