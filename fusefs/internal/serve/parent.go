package serve

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Mount is a mount that a child serves.
type Mount struct {
	Config
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	enc    *json.Encoder
	dec    *json.Decoder
	stderr *output
	exited chan error

	forgiven bool // the test expects that the child fails or complains

	mu sync.Mutex // one command at a time
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start starts a child and returns when its mount answers. At the end of the
// test the mount is gone, whatever happened, and what the child complained of
// is a failure.
func Start(t testing.TB, c Config) *Mount {
	t.Helper()
	m, r := TryStart(t, c)
	if r.Error != "" {
		t.Fatalf("mount: %s", r.Error)
	}
	return m
}

// TryStart is Start for a mount that may fail, which the reply tells.
func TryStart(t testing.TB, c Config) (*Mount, Reply) {
	t.Helper()
	if c.Mountpoint == "" {
		c.Mountpoint = t.TempDir()
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	m := &Mount{Config: c, t: t, stderr: &output{}, exited: make(chan error, 1)}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), Env+"="+string(text), "GORACE=atexit_sleep_ms=0")
	m.cmd.Stderr = m.stderr
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.enc, m.dec = json.NewEncoder(m.in), json.NewDecoder(out)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.end)
	var r Reply
	if err := m.dec.Decode(&r); err != nil {
		t.Fatalf("child: %v\n%s", err, m.stderr)
	}
	return m, r
}

func (m *Mount) end() {
	m.in.Close()
	go func() { m.exited <- m.cmd.Wait() }()
	var err error
	select {
	case err = <-m.exited:
	case <-time.After(2 * time.Minute):
		m.t.Errorf("child does not end")
		m.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to stderr
		select {
		case <-m.exited:
		case <-time.After(20 * time.Second):
			m.cmd.Process.Kill()
		}
	}
	for _, p := range []string{m.Mountpoint, m.Second} {
		if p != "" {
			// Usually nothing is there any more.
			if unix.Unmount(p, unix.MNT_DETACH) == unix.EPERM {
				exec.Command("fusermount3", "-u", "-z", "-q", p).Run()
			}
		}
	}
	if text := strings.TrimSpace(m.stderr.String()); (err != nil || text != "") && !m.forgiven {
		m.t.Errorf("child: %v\n%s", err, text)
	}
}

// Forgive drops what the child complained of so far; the test expects it.
func (m *Mount) Forgive() {
	m.stderr.mu.Lock()
	defer m.stderr.mu.Unlock()
	m.stderr.buf.Reset()
	m.forgiven = true
}

// Kill ends the child without a chance to unmount.
func (m *Mount) Kill() {
	m.cmd.Process.Kill()
	m.forgiven = true
}

// Do has the child do something beside the mount.
func (m *Mount) Do(q Request) Reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	var r Reply
	if err := m.enc.Encode(q); err != nil {
		m.t.Errorf("child: %v\n%s", err, m.stderr)
		return r
	}
	if err := m.dec.Decode(&r); err != nil {
		m.t.Errorf("child: %v\n%s", err, m.stderr)
	}
	return r
}

// Must is Do and fails the test on an error.
func (m *Mount) Must(q Request) Reply {
	m.t.Helper()
	r := m.Do(q)
	if r.Error != "" {
		m.t.Errorf("%s %s: %s", q.Op, q.Path, r.Error)
	}
	return r
}
