package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/session/wire"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// fakeConn is a session that does what a test says.
type fakeConn struct {
	Conn
	status func(context.Context, func(Change) error) error
	run    func(context.Context, RunRequest, RunIO) (RunResult, error)
	commit func(context.Context, StepSink) (StepResult, error)
}

func (f *fakeConn) Info(context.Context) (Info, error) { return Info{Name: "fake"}, nil }

func (f *fakeConn) Status(ctx context.Context, _ StatusRequest, fn func(Change) error) error {
	return f.status(ctx, fn)
}

func (f *fakeConn) Run(ctx context.Context, req RunRequest, rio RunIO) (RunResult, error) {
	return f.run(ctx, req, rio)
}

func (f *fakeConn) Commit(ctx context.Context, _ CommitRequest, sink StepSink) (StepResult, error) {
	return f.commit(ctx, sink)
}

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// newServer serves conn and returns a client of it.
func newServer(t testing.TB, conn Conn) (*client, *server) {
	t.Helper()
	dir := t.TempDir()
	l, err := wire.Listen(dir, store.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(l, conn, "test", quiet())
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.close(ctx)
	})
	return &client{disk: &store.Session{Dir: dir, File: store.File{Name: "fake"}}, version: "test"}, s
}

func TestRequests(t *testing.T) {
	conflict := fault.New(fault.Conflict, "look", "two sides")
	c, _ := newServer(t, &fakeConn{
		status: func(_ context.Context, fn func(Change) error) error {
			for i := range 1000 {
				if err := fn(Change{Path: store.Path(fmt.Sprintf("\xff%d", i)), Status: "A"}); err != nil {
					return err
				}
			}
			return nil
		},
		commit: func(_ context.Context, sink StepSink) (StepResult, error) {
			sink.Progress(Progress{Done: 1, Total: 2})
			return StepResult{Conflicts: []Change{{Path: "x"}}}, conflict
		},
	})
	if i, err := c.Info(t.Context()); err != nil || i.Name != "fake" {
		t.Errorf("info %+v, %v", i, err)
	}
	n := 0
	err := c.Status(t.Context(), StatusRequest{}, func(ch Change) error {
		if ch.Path != store.Path(fmt.Sprintf("\xff%d", n)) {
			return fmt.Errorf("path %q", ch.Path)
		}
		n++
		return nil
	})
	if err != nil || n != 1000 {
		t.Errorf("status: %d changes, %v", n, err)
	}
	// A caller that has had enough.
	enough := errors.New("enough")
	if err := c.Status(t.Context(), StatusRequest{}, func(Change) error { return enough }); err != enough {
		t.Errorf("a callback's error came back as %v", err)
	}
	told := 0
	r, err := c.Commit(t.Context(), CommitRequest{}, StepSink{Step: func(Step) error { return nil }, Progress: func(Progress) { told++ }})
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Conflict || f.Next != "look" || len(r.Conflicts) != 1 || told != 1 {
		t.Errorf("commit: %+v, %v, progress %d", r, err, told)
	}
	if err := c.call(t.Context(), "nonsense", struct{}{}, exchange{}, &struct{}{}); !fault.Is(err, fault.Usage) {
		t.Errorf("an unknown request: %v", err)
	}
	if err := c.call(t.Context(), opRun, "not an object", exchange{}, &struct{}{}); !fault.Is(err, fault.Usage) {
		t.Errorf("malformed arguments: %v", err)
	}
}

// TestCompiling has a client told of the compiler before what the capsule
// prints, ended also where the compiler fails and the owner says no more.
func TestCompiling(t *testing.T) {
	var told []string
	say := func(what string) { told = append(told, what) }
	for _, fails := range []bool{false, true} {
		told = nil
		c, _ := newServer(t, &fakeConn{run: func(_ context.Context, _ RunRequest, rio RunIO) (RunResult, error) {
			done := rio.Compiling(12 << 20)
			if fails {
				return RunResult{}, errors.New("no such opcode")
			}
			done()
			_, err := rio.Stdout.Write([]byte("output"))
			return RunResult{}, err
		}})
		_, err := c.Run(t.Context(), RunRequest{}, RunIO{
			Stdout: writerFunc(func(p []byte) (int, error) { say(string(p)); return len(p), nil }),
			Compiling: func(size int64) func() {
				say(fmt.Sprint("begin ", size))
				return func() { say("end") }
			},
		})
		want := "begin 12582912, end, output"
		if fails {
			want = "begin 12582912, end"
		}
		if got := strings.Join(told, ", "); got != want || (err != nil) != fails {
			t.Errorf("fails %t: the client was told %s; %v", fails, got, err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestStreams(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	c, _ := newServer(t, &fakeConn{run: func(_ context.Context, req RunRequest, rio RunIO) (RunResult, error) {
		m, err := rio.Module()
		if err != nil {
			return RunResult{}, err
		}
		wasm, err := io.ReadAll(m)
		if err != nil {
			return RunResult{}, err
		}
		if _, err := io.Copy(rio.Stdout, rio.Stdin); err != nil {
			return RunResult{}, err
		}
		_, err = rio.Stderr.Write([]byte("to stderr"))
		return RunResult{ExitCode: len(wasm)}, err
	}})
	var wg sync.WaitGroup
	for range 4 { // side by side
		wg.Add(1)
		go func() {
			defer wg.Done()
			var stdout, stderr bytes.Buffer
			r, err := c.Run(context.Background(), RunRequest{}, RunIO{
				Stdin: bytes.NewReader(big), Stdout: &stdout, Stderr: &stderr,
				Module: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("module")), nil },
			})
			if err != nil || r.ExitCode != 6 || !bytes.Equal(stdout.Bytes(), big) || stderr.String() != "to stderr" {
				t.Errorf("%+v, %v, %d bytes, %q", r, err, stdout.Len(), stderr.String())
			}
		}()
	}
	wg.Wait()

	// A module that cannot be read to its end is not run as it is.
	broken := errors.New("broken disk")
	_, err := c.Run(t.Context(), RunRequest{}, RunIO{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Module: func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("half"), errReader{broken})), nil
		},
	})
	if !errors.Is(err, broken) {
		t.Errorf("a module that cannot be read: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// A client that cancels, or goes away, ends what it asked for.
func TestCancel(t *testing.T) {
	started, ended := make(chan struct{}, 1), make(chan error, 1)
	c, _ := newServer(t, &fakeConn{run: func(ctx context.Context, _ RunRequest, rio RunIO) (RunResult, error) {
		started <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return RunResult{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if _, err := c.Run(ctx, RunRequest{}, RunIO{}); !fault.Is(err, fault.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
	<-ended

	conn := dial(t, c)
	w := wire.NewConn(conn)
	if err := c.greet(w, request{Op: opRun, Args: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	<-started
	conn.Close()
	<-ended
}

func dial(t testing.TB, c *client) *net.UnixConn {
	t.Helper()
	conn, err := wire.Dial(context.Background(), c.disk.Dir, store.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Whatever a client sends, the owner lives on, and what breaks the rules is cut
// off.
func TestRuleBreakers(t *testing.T) {
	ended := make(chan struct{}, 8)
	fake := &fakeConn{
		run: func(ctx context.Context, _ RunRequest, rio RunIO) (RunResult, error) {
			<-ctx.Done()
			ended <- struct{}{}
			return RunResult{}, ctx.Err()
		},
		status: func(context.Context, func(Change) error) error { panic("a fault of the program") },
	}
	c, _ := newServer(t, fake)
	for what, raw := range map[string]string{
		"nothing":               "",
		"text":                  "GET / HTTP/1.1\r\n\r\n",
		"a length over the top": "\xff\xff\xff\xff\x01",
		"no hello":              "\x00\x00\x00\x02\x02{}",
		"half a frame":          "\x00\x00\x00\x09\x01{",
	} {
		conn := dial(t, c)
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		conn.CloseWrite()
		if reply, err := io.ReadAll(conn); err == nil && len(reply) > 0 {
			t.Errorf("%s: answered %q", what, reply)
		}
	}
	// Data that nobody asked for, and frames that a client does not send.
	for _, k := range []wire.Kind{wire.Data, wire.End, wire.Stdout, wire.Hello, 99} {
		conn := dial(t, c)
		w := wire.NewConn(conn)
		if err := c.greet(w, request{Op: opRun, Args: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		if err := w.Write(k, []byte{0, 'x'}); err != nil {
			t.Fatal(err)
		}
		<-ended
	}
	if err := c.Status(t.Context(), StatusRequest{}, nil); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("a panic: %v", err)
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestVersions(t *testing.T) {
	c, _ := newServer(t, &fakeConn{})
	conn := dial(t, c)
	w := wire.NewConn(conn)
	if err := w.WriteJSON(wire.Hello, map[string]any{"astridfs_protocol": 99, "program": "future", "pid": 1, "more": "unknown"}); err != nil {
		t.Fatal(err)
	}
	// The server says who it is, so that the client can tell its user.
	if k, _, err := w.Read(); err != nil || k != wire.Hello {
		t.Fatalf("kind %d, %v", k, err)
	}
	if _, _, err := w.Read(); err == nil {
		t.Error("a request of another version was taken")
	}

	// And the other way round: an owner of another version.
	dir := t.TempDir()
	l, err := wire.Listen(dir, store.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer conn.Close()
		wire.NewConn(conn).WriteJSON(wire.Hello, wire.HelloMessage{Protocol: 99, Program: "future", PID: 7})
		io.Copy(io.Discard, conn)
	}()
	future := &client{disk: &store.Session{Dir: dir, File: store.File{Name: "f"}}, version: "test"}
	if _, err := future.Info(t.Context()); !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "astridfs future") {
		t.Errorf("an owner of another version: %v", err)
	}
}

// Another user is refused even where the socket's permissions let him in.
func TestOtherUser(t *testing.T) {
	if dir := os.Getenv("SESSION_TEST_DIAL"); dir != "" {
		conn, err := wire.Dial(t.Context(), dir, store.SocketName)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "\x00\x00\x00\x02\x01{}")
		if reply, _ := io.ReadAll(conn); len(reply) > 0 {
			t.Fatalf("answered %q", reply)
		}
		return
	}
	c, _ := newServer(t, &fakeConn{})
	cmd := exec.Command(os.Args[0], "-test.run=^TestOtherUser$")
	cmd.Env = append(os.Environ(), "SESSION_TEST_DIAL="+c.disk.Dir)
	cmd.Dir = "/"
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.OtherUser) // that the own user is let in, the other tests show
	}
	for dir := c.disk.Dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(c.disk.Dir, store.SocketName), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	exe, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(c.disk.Dir, "test")
	if err := os.WriteFile(cmd.Path, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func FuzzServer(f *testing.F) {
	c, _ := newServer(f, &fakeConn{
		status: func(_ context.Context, fn func(Change) error) error { return fn(Change{}) },
		run: func(_ context.Context, _ RunRequest, rio RunIO) (RunResult, error) {
			var b [64]byte
			n, err := rio.Stdin.Read(b[:])
			return RunResult{ExitCode: n}, err
		},
	})
	hello := "\x00\x00\x00\x18\x01{\"astridfs_protocol\": 1 }"
	f.Add([]byte(hello + "\x00\x00\x00\x0f\x02{\"op\":\"status\"}"))
	f.Add([]byte(hello + "\x00\x00\x00\x0c\x02{\"op\":\"run\"}\x00\x00\x00\x03\x04\x00ab"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		conn, err := wire.Dial(context.Background(), c.disk.Dir, store.SocketName)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			conn.Write(raw) // the server may have hung up
			conn.CloseWrite()
		}()
		io.Copy(io.Discard, conn)
		if _, err := c.Info(context.Background()); err != nil {
			t.Fatalf("the owner answers no more: %v", err)
		}
	})
}
