package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"astridfs": main})
}

// TestScripts runs the scripts, each in a directory and with a state directory
// of its own. Sessions mounted there end with the script, however it ends.
func TestScripts(t *testing.T) {
	guests, err := filepath.Abs("testdata/guests")
	if err != nil {
		t.Fatal(err)
	}
	demo, err := filepath.Abs("demo")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ASTRIDFS_STATE_DIR", filepath.Join(env.WorkDir, "state"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("GUESTS", guests)
			env.Setenv("DEMO", demo)
			env.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			env.Defer(func() { endMounts(t, env.WorkDir) })
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    cmdCode,
			"owner":   cmdOwner,
			"mounted": cmdMounted,
			"json":    cmdJSON,
			"waitfor": cmdWaitFor,
		},
	})
}

// endMounts takes away what a script left mounted below dir.
func endMounts(t *testing.T, dir string) {
	list, err := session.Mounts()
	if err != nil {
		t.Error(err)
	}
	for _, m := range list {
		if !inside(m.Point, dir) {
			continue
		}
		if disk, err := load(dir, m.Name); err == nil {
			if h, used, err := disk.InUse(); err == nil && used && h.PID != os.Getpid() {
				syscall.Kill(h.PID, syscall.SIGKILL) // it may be gone by now
			}
		}
		if err := unix.Unmount(m.Point, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", m.Point, err)
		}
	}
}

// load finds a session in a script's state directory. What is mounted beside
// that is not looked at: its owner may be stopped.
func load(dir, name string) (*store.Session, error) {
	st, err := store.Open(filepath.Join(dir, "state"))
	if err != nil {
		return nil, err
	}
	return st.Load(name)
}

// cmdCode runs a program that ends with an exit code: code N PROGRAM ARGS….
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARGS…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// cmdOwner sends a signal to a session's owner: owner SIGNAL SESSION. It waits
// until KILL, TERM and STOP have done their work.
func cmdOwner(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: owner SIGNAL SESSION")
	}
	sig := unix.SignalNum("SIG" + args[0])
	disk, err := load(ts.Getenv("WORK"), args[1])
	ts.Check(err)
	h, used, err := disk.InUse()
	ts.Check(err)
	if !used || sig == 0 {
		ts.Fatalf("nobody owns %s, or no signal %s", args[1], args[0])
	}
	ts.Check(syscall.Kill(h.PID, sig))
	switch sig {
	case unix.SIGKILL, unix.SIGTERM:
		until(ts, "the owner is gone", func() bool {
			_, used, err := disk.InUse()
			return err == nil && !used
		})
	case unix.SIGSTOP:
		until(ts, "the owner has stopped", func() bool { return stopped(h.PID) })
	}
}

// stopped tells whether all threads of a process have stopped.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, stat := range threads {
		b, rerr := os.ReadFile(stat)
		if err = errors.Join(err, rerr); !strings.Contains(string(b), ") T ") {
			return false
		}
	}
	return err == nil && len(threads) > 0
}

// cmdMounted tells whether a session is mounted at a path, dead or alive.
func cmdMounted(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] mounted PATH")
	}
	list, err := session.Mounts()
	ts.Check(err)
	path := ts.MkAbs(args[0])
	if real, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(real, filepath.Base(path))
	}
	if _, ok := session.MountedAt(list, path); ok == neg {
		ts.Fatalf("mounted at %s: %v", path, ok)
	}
}

// cmdJSON looks into the JSON document on standard output: json PATH VALUE. A
// path has names and indices, separated by dots; "len" is a length.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] json PATH VALUE")
	}
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	dec.UseNumber()
	var v any
	ts.Check(dec.Decode(&v))
	if dec.More() {
		ts.Fatalf("more than one document")
	}
	for name := range strings.SplitSeq(args[0], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			if name == "len" {
				v = len(x)
				continue
			}
			i, err := strconv.Atoi(name)
			ts.Check(err)
			if i >= len(x) {
				ts.Fatalf("%s: only %d elements", args[0], len(x))
			}
			v = x[i]
		default:
			v = nil
		}
	}
	want := strings.ReplaceAll(args[1], `\n`, "\n")
	if got := fmt.Sprint(v); (got == want) == neg {
		ts.Fatalf("%s is %q", args[0], got)
	}
}

// cmdWaitFor waits until a file exists, or with "runs" until a session runs
// that many capsules: waitfor FILE, waitfor runs SESSION N.
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case len(args) == 1:
		until(ts, args[0], func() bool {
			_, err := os.Stat(ts.MkAbs(args[0]))
			return (err == nil) != neg
		})
	case len(args) == 3 && args[0] == "runs":
		st, err := store.Open(ts.Getenv("ASTRIDFS_STATE_DIR"))
		ts.Check(err)
		until(ts, strings.Join(args, " "), func() bool {
			disk, err := st.Load(args[1])
			if err != nil {
				return false
			}
			conn, err := session.Dial(context.Background(), disk, session.Options{Command: "test"})
			if err != nil {
				return args[2] == "0"
			}
			info, err := conn.Info(context.Background())
			return err == nil && strconv.Itoa(info.Runs) == args[2]
		})
	default:
		ts.Fatalf("usage: waitfor FILE, or waitfor runs SESSION N")
	}
}

func until(ts *testscript.TestScript, what string, ok func() bool) {
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waiting for: %s", what)
		}
	}
}

// TestPermute: flags may stand behind other arguments.
func TestPermute(t *testing.T) {
	app := newApp(&env{})
	for in, want := range map[string]string{
		"x":                           "x",
		"x status":                    "x status",
		"x status S --json":           "x status --json -- S",
		"x --quiet status S":          "x --quiet status -- S",
		"x --state-dir mount status":  "x --state-dir mount status",
		"x diff S a --stat b":         "x diff --stat -- S a b",
		"x diff -- --stat":            "x diff -- --stat",
		"x diff --session S a -- -b":  "x diff --session S -- a -b",
		"x run --env A=B c.wasm --x":  "x run --env A=B -- c.wasm --x",
		"x run c.wasm -- --env":       "x run -- c.wasm -- --env",
		"x sessions remove S --force": "x sessions remove --force -- S",
		"x sessions list --json":      "x sessions list --json",
		"x nothing --json":            "x nothing --json",
		"x mount A B --view=all -f":   "x mount --view=all -f -- A B",
		"x mount A B -fsS":            "x mount -f -s=S -- A B",
		"x audit tail -fn5 S":         "x audit tail -f -n=5 -- S",
		"x audit tail -fn 5 S":        "x audit tail -f -n 5 -- S",
		"x commit -ni -mtext S":       "x commit -n -i -m=text -- S",
		"x diff -stat S":              "x diff -stat -- S",
		"x -qh":                       "x -q -h",
		"x run -sS c.wasm -ab":        "x run -s=S -- c.wasm -ab",
	} {
		got, err := permute(app, strings.Fields(in))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v; want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"x commit -nx":           "astridfs commit has no option -x",
		"x commit -xn":           "astridfs commit has no option -xn",
		"x commit -nm":           "option -m needs a value",
		"x audit tail -nfive":    `option --lines cannot be "five"`,
		"x run --max-files -1 c": `option --max-files cannot be "-1"`,
		"x run --timeout=5 c":    `option --timeout cannot be "5"`,
	} {
		if got, err := permute(app, strings.Fields(in)); err == nil || err.Error() != want {
			t.Errorf("%s: %q, %v; want the error %s", in, got, err, want)
		}
	}
}

// TestExitCodes: the table is a promise.
func TestExitCodes(t *testing.T) {
	if got := exitCode(nil); got != 0 {
		t.Errorf("nil: %d", got)
	}
	if got := exitCode(errors.New("x")); got != 1 {
		t.Errorf("any error: %d", got)
	}
	if got := exitCode(fmt.Errorf("x: %w", &codeError{77})); got != 77 {
		t.Errorf("a capsule's own: %d", got)
	}
	for kind, want := range map[string]int{
		"failed": 1, "usage": 2, "conflict": 3, "denied": 4, "verification": 5, "busy": 6,
		"not-runnable": 126, "not-found": 127, "cancelled": 130,
	} {
		if got := codeOf(fault.Kind(kind)); got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
	}
}
