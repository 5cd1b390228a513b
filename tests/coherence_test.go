package tests

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// guest is a capsule that runs on a box's session and does what it is told,
// line by line.
type guest struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
	cmd *exec.Cmd
}

// buildGuest compiles a Go package below testdata for wasip1.
func buildGuest(t *testing.T, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(pkg)+".wasm")
	sh(t, ".", "go build -o "+out+" ./testdata/"+pkg, "GOOS=wasip1", "GOARCH=wasm")
	return out
}

func startGuest(t *testing.T, b *box, wasm string) *guest {
	t.Helper()
	cmd := exec.Command(binary, "run", "--session", b.session, wasm)
	cmd.Env = append(os.Environ(), "ASTRIDFS_STATE_DIR="+b.state)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, in: in, out: bufio.NewScanner(out), cmd: cmd}
	t.Cleanup(g.finish)
	return g
}

// finish lets the capsule end and waits for it. It may be called again.
func (g *guest) finish() {
	if g.cmd == nil {
		return
	}
	g.in.Close()
	if err := g.cmd.Wait(); err != nil {
		g.t.Errorf("the capsule: %v", err)
	}
	g.cmd = nil
}

// do sends one line and returns the answer.
func (g *guest) do(op string, args ...string) string {
	g.t.Helper()
	if _, err := fmt.Fprintln(g.in, op+" "+strings.Join(args, " ")); err != nil {
		g.t.Fatal(err)
	}
	if !g.out.Scan() {
		g.t.Fatalf("the capsule ended at %s %q", op, args)
	}
	answer, err := strconv.Unquote(g.out.Text())
	if err != nil {
		g.t.Fatalf("the capsule answers %q to %s", g.out.Text(), op)
	}
	return answer
}

func (g *guest) want(want, op string, args ...string) {
	g.t.Helper()
	if got := g.do(op, args...); got != want {
		g.t.Fatalf("%s %q: the capsule says %q, want %q", op, args, got, want)
	}
}

// TestCapsuleAndMountAreOne alternates 10,000 times between a capsule and the
// mount: each sees at its next call what the other just did, in attributes,
// contents and listings, with no pause in between.
func TestCapsuleAndMountAreOne(t *testing.T) {
	b := newBox(t)
	for i := range 20 {
		write(t, filepath.Join(b.ws, "d", fmt.Sprintf("lower%d", i)), "from the workspace\n")
	}
	b.mount()
	g := startGuest(t, b, buildGuest(t, "live"))

	listed := func(dir, name string) bool {
		entries, err := os.ReadDir(filepath.Join(b.mnt, dir))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name })
	}
	for i := range 10_000 {
		name := fmt.Sprintf("d/lower%d", i%20) // copied up at its first change
		if i%3 == 0 {
			name = fmt.Sprintf("d/new%d", i%30)
		}
		path := filepath.Join(b.mnt, name)
		base := filepath.Base(name)

		// The capsule writes, the mount looks.
		text := strings.Repeat("c", i%100) + strconv.Itoa(i)
		g.want("ok", "write", name, text)
		if st, err := os.Stat(path); err != nil || st.Size() != int64(len(text)) {
			t.Fatalf("round %d: the mount's stat after the capsule's write: %v, %v; want size %d", i, st, err, len(text))
		}
		if got := read(t, path); got != text {
			t.Fatalf("round %d: the mount reads %q, the capsule wrote %q", i, got, text)
		}
		if !listed("d", base) {
			t.Fatalf("round %d: the mount does not list %s", i, name)
		}

		// The mount writes, the capsule looks.
		text = strings.Repeat("m", i%77) + strconv.Itoa(i)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		g.want(text, "read", name)
		g.want(strconv.Itoa(len(text)), "size", name)

		// Names come and go.
		switch i % 5 {
		case 0:
			g.want("ok", "unlink", name)
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Fatalf("round %d: the capsule removed %s, the mount says %v", i, name, err)
			}
			if listed("d", base) {
				t.Fatalf("round %d: the mount lists the removed %s", i, name)
			}
		case 1:
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			g.want("false", "exists", name)
			if slices.Contains(strings.Split(g.do("list", "d"), "/"), base) {
				t.Fatalf("round %d: the capsule lists the removed %s", i, name)
			}
		case 2:
			g.want("ok", "rename", name, "d/moved")
			if got := read(t, filepath.Join(b.mnt, "d/moved")); got != text {
				t.Fatalf("round %d: the renamed file reads %q", i, got)
			}
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Fatalf("round %d: the old name is still there: %v", i, err)
			}
		case 3:
			if err := os.Rename(path, filepath.Join(b.mnt, "d/moved")); err != nil {
				t.Fatal(err)
			}
			g.want(text, "read", "d/moved")
			g.want("false", "exists", name)
		case 4:
			g.want("ok", "append", name, "more")
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("and more"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			g.want(text+"moreand more", "read", name)
			if got := read(t, path); got != text+"moreand more" {
				t.Fatalf("round %d: after both appended the mount reads %q", i, got)
			}
		}
	}
}

// TestOpenFilesSeeTheOtherSide: a file held open on the mount since before its
// copy-up reads what a capsule writes later, and its mapping too.
func TestOpenFilesSeeTheOtherSide(t *testing.T) {
	b := newBox(t)
	write(t, filepath.Join(b.ws, "f"), "lower\n")
	b.mount()
	f, err := os.Open(filepath.Join(b.mnt, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 100)
	if n, err := f.ReadAt(buf, 0); string(buf[:n]) != "lower\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	g := startGuest(t, b, buildGuest(t, "live"))
	for i := range 200 {
		text := fmt.Sprintf("by the capsule, %d", i)
		g.want("ok", "write", "f", text)
		if n, err := f.ReadAt(buf, 0); string(buf[:n]) != text {
			t.Fatalf("round %d: the open file reads %q, %v; want %q", i, buf[:n], err, text)
		}
	}
	if got := read(t, filepath.Join(b.ws, "f")); got != "lower\n" {
		t.Errorf("the workspace's file holds %q", got)
	}
}
