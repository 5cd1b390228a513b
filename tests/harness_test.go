package tests

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// binary is the astridfs command that TestMain built.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "astridfs-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "astridfs")
	build := exec.Command("go", "build", "-o", binary, "../cmd/astridfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building astridfs: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// box is a place of its own for one test: a state directory, a workspace and a
// mountpoint, all removed at its end.
type box struct {
	t              *testing.T
	dir            string
	state, ws, mnt string
	session        string
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir := t.TempDir()
	b := &box{t: t, dir: dir, state: filepath.Join(dir, "state"), ws: filepath.Join(dir, "ws"), mnt: filepath.Join(dir, "mnt"), session: "test"}
	for _, d := range []string{b.ws, b.mnt} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(b.cleanup)
	return b
}

// cleanup leaves no mount behind, whatever state the test left things in.
func (b *box) cleanup() {
	if !mounted(b.mnt) {
		return
	}
	b.try("unmount", b.mnt)
	if mounted(b.mnt) {
		if err := unix.Unmount(b.mnt, unix.MNT_DETACH); err != nil {
			b.t.Errorf("unmount %s: %v", b.mnt, err)
		}
	}
}

// mounted tells whether path is a mountpoint, without touching what is mounted.
func mounted(path string) bool {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == path {
			return true
		}
	}
	return false
}

type result struct {
	stdout, stderr string
	code           int
}

// try runs astridfs and returns what it said.
func (b *box) try(args ...string) result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "ASTRIDFS_STATE_DIR="+b.state, "NO_COLOR=1")
	cmd.Dir = b.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("astridfs %s: %v", strings.Join(args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run is try for what must succeed.
func (b *box) run(args ...string) string {
	b.t.Helper()
	r := b.try(args...)
	if r.code != 0 {
		b.t.Fatalf("astridfs %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func (b *box) mount(args ...string) {
	b.t.Helper()
	args = append([]string{"mount", "--session", b.session}, args...)
	b.run(append(args, b.ws, b.mnt)...)
	if !mounted(b.mnt) {
		b.t.Fatalf("mount succeeded, but %s is no mountpoint", b.mnt)
	}
}

func (b *box) unmount() {
	b.t.Helper()
	b.run("unmount", b.mnt)
	if mounted(b.mnt) {
		b.t.Fatalf("unmount succeeded, but %s is still mounted", b.mnt)
	}
}

// change is a row of `astridfs status --json`.
type change struct {
	Path   string `json:"path"`
	Status string `json:"status"`
	From   string `json:"from"`
}

// status returns the session's changes as "M path" lines, sorted.
func (b *box) status() []string {
	b.t.Helper()
	var doc struct {
		Changes []change `json:"changes"`
	}
	out := b.run("status", b.session, "--json")
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		b.t.Fatalf("status --json: %v\n%s", err, out)
	}
	var rows []string
	for _, c := range doc.Changes {
		row := c.Status + " " + c.Path
		if c.From != "" {
			row += " <- " + c.From
		}
		rows = append(rows, row)
	}
	sort.Strings(rows)
	return rows
}

// owner returns the process that owns the session.
func (b *box) owner() int {
	b.t.Helper()
	var doc struct {
		Session struct {
			PID int `json:"pid"`
		} `json:"session"`
	}
	out := b.run("sessions", "show", b.session, "--json")
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Session.PID == 0 {
		b.t.Fatalf("sessions show --json names no owner (%v):\n%s", err, out)
	}
	return doc.Session.PID
}

// sh runs a shell script in dir and fails the test unless it succeeds.
func sh(t *testing.T, dir, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// manifest describes a tree, a line for each entry: mode, size, modification
// time, owner, link target or hash of the contents, path. Directories are
// without size and times, which differ between filesystems or change when a
// temporary file comes and goes.
func manifest(t *testing.T, root string) map[string]string {
	t.Helper()
	m := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			sum, err := hash(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %d %s", st.Size, info.ModTime().UnixNano(), sum)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		m[rel] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sameTree fails the test where two manifests differ, naming the first few
// differences.
func sameTree(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	var diffs []string
	for p, w := range want {
		if g, ok := got[p]; !ok {
			diffs = append(diffs, fmt.Sprintf("%s is missing", p))
		} else if g != w {
			diffs = append(diffs, fmt.Sprintf("%s\n   is %s\n want %s", p, g, w))
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			diffs = append(diffs, fmt.Sprintf("%s should not be there", p))
		}
	}
	if len(diffs) == 0 {
		return
	}
	sort.Strings(diffs)
	t.Fatalf("%s: %d differences:\n%s", what, len(diffs), strings.Join(diffs[:min(len(diffs), 10)], "\n"))
}
