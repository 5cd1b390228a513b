package session

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/session/wire"
)

// ownerEnv has the test binary own what is served in that directory. It takes
// nobody on before its standard input says how: after it has worked for a while,
// or never.
const ownerEnv = "SESSION_TEST_OWN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		if err := slowOwner(dir); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func slowOwner(dir string) error {
	l, err := wire.Listen(dir, store.SocketName)
	if err != nil {
		return err
	}
	defer l.Close()
	os.Stdout.WriteString("listens\n")
	how := make([]byte, 1)
	if _, err := os.Stdin.Read(how); err != nil {
		return err
	}
	if how[0] == 'w' {
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
		}
		s := serve(l, &fakeConn{}, "test", quiet())
		defer s.close(context.Background())
	}
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// owner starts a process that owns what a client of it asks.
func owner(t *testing.T) (c *client, cmd *exec.Cmd, say func(string)) {
	t.Helper()
	dir := t.TempDir()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ownerEnv+"="+dir)
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
	t.Cleanup(func() {
		cmd.Process.Kill() // it may have ended
		cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	say = func(what string) {
		if _, err := io.WriteString(in, what); err != nil {
			t.Error(err)
		}
	}
	return &client{disk: &store.Session{Dir: dir}, version: "test", answer: 100 * time.Millisecond}, cmd, say
}

// An owner that works is waited for, one that does nothing or was stopped is not,
// and no longer than until the caller gives up.
func TestSlowOwner(t *testing.T) {
	c, _, say := owner(t)
	say("w")
	if err := c.ping(t.Context()); err != nil {
		t.Errorf("one that works: %v", err)
	}
	slow := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, errNoAnswer) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c, _, say = owner(t)
	say("n")
	slow("one that sleeps", c.ping(t.Context()))
	c.answer = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := c.ping(ctx); !fault.Is(err, fault.Cancelled) {
		t.Errorf("given up: %v", err)
	}

	c, cmd, say := owner(t)
	say("w")
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	slow("a stopped one", c.ping(t.Context()))
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := c.ping(t.Context()); err != nil {
		t.Errorf("one that goes on: %v", err)
	}
}

// TestWork: what works is told from what does not.
func TestWork(t *testing.T) {
	script := exec.Command("sh", "-c", "while :; do :; done")
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { <-ended })
	go func() {
		script.Wait()
		close(ended)
	}()
	w := work{pid: script.Process.Pid}
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		if !w.goesOn() {
			t.Error("a busy process is said to do nothing")
		}
	}
	if err := script.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventuallyIdle(t, "stopped", &w)
	if err := script.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	eventuallyIdle(t, "gone", &w)
	if (&work{}).goesOn() {
		t.Error("nobody is said to work")
	}
}

func eventuallyIdle(t *testing.T, what string, w *work) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); w.goesOn(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a process that is %s is said to work", what)
		}
	}
}

// TestProcStat has the fields of a process with a name that looks like fields.
func TestProcStat(t *testing.T) {
	path := t.TempDir() + "/stat"
	if err := os.WriteFile(path, []byte("12 (a) R (b) S 1 2 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(procStat(path), " "); got != "S 1 2 3" {
		t.Errorf("%q", got)
	}
}
