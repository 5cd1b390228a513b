package capsulehost_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost"
)

// TestMain lets the test binary be the process that compiles: as it should, held up
// by the test, or going wrong in some way.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "compile-") {
		os.Exit(compilerProcess(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

func compilerProcess(how string, args []string) int {
	switch how {
	case "compile-held": // SOCKET JOB…
		c, err := net.Dial("unix", args[0])
		if err != nil {
			panic(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			panic(err)
		}
		defer c.Close()
		return capsulehost.CompileMain(args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "compile-panics":
		done := make(chan bool)
		go func() {
			var none []int
			done <- none[len(args)] > 0 // where nobody recovers
		}()
		<-done
	case "compile-killed":
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case "compile-quiet":
		return 0
	case "compile-garbage":
		fmt.Println("}")
		fmt.Fprintln(os.Stderr, "first words\nlast words")
		return 3
	case "compile-looks":
		fmt.Fprintln(os.Stderr, look(args[0]))
		return 1
	case "compile-owner": // SOCKET CACHE
		h, err := capsulehost.New(context.Background(), capsulehost.Options{Compiler: held(args[0]), CacheDir: args[1]})
		if err != nil {
			panic(err)
		}
		_, err = h.Compile(context.Background(), numbered(0))
		panic(err)
	}
	return capsulehost.CompileMain(args, os.Stdin, os.Stdout, os.Stderr)
}

// look tells what a process that compiles has.
func look(out string) string {
	var fds []string
	list, err := os.ReadDir("/proc/self/fd")
	for _, e := range list {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(to, "/sys/fs/cgroup/") { // that of the listing, or Go's own
			continue
		}
		fds = append(fds, e.Name()+" "+strings.TrimRight(to, "[]0123456789"))
	}
	elsewhere := os.WriteFile(filepath.Join(filepath.Dir(out), "elsewhere"), nil, 0o600)
	inside := os.WriteFile(filepath.Join(out, "inside"), nil, 0o600)
	sid, _ := unix.Getsid(0)
	return fmt.Sprintf("fds %q %v, env %q, elsewhere %v, inside %v, leads %v", fds, err, os.Environ(), errors.Is(elsewhere, os.ErrPermission), inside, sid == os.Getpid())
}

func compilerArgs(how string, args ...string) []string {
	return append([]string{"capsulehost.test", "compile-" + how}, args...)
}

func held(socket string) []string { return compilerArgs("held", socket) }

// numbered is a module whose export "run" ends; each is another.
func numbered(n int) []byte {
	text := strconv.Itoa(n)
	return fmt.Appendf(nil, "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x07\x01\x03run\x00\x00\x0a\x04\x01\x02\x00\x0b\x00%c\x01n%s", 2+len(text), text)
}

// bomb is a module of 200 KB that is valid, and that the compiler takes a minute and more for:
// a function with as many values on its stack as it has loops.
func bomb() []byte {
	const n = 20_000
	sized := func(b ...[]byte) []byte {
		body := bytes.Join(b, nil)
		return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	}
	slow := sized([]byte{0}, bytes.Repeat([]byte{0x10, 1}, n), bytes.Repeat([]byte{0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b}, n), bytes.Repeat([]byte{0x1a}, n), []byte{0x0b})
	return bytes.Join([][]byte{
		[]byte("\x00asm\x01\x00\x00\x00\x01\x08\x02\x60\x00\x00\x60\x00\x01\x7f\x03\x03\x02\x00\x01\x07\x07\x01\x03run\x00\x00\x0a"),
		sized([]byte{2}, slow, sized([]byte{0, 0x41, 1, 0x0b})),
	}, nil)
}

// apart is a host that has other processes compile, into a cache of its own.
func apart(t *testing.T, opt capsulehost.Options) (h *capsulehost.Host, log *bytes.Buffer) {
	t.Helper()
	log = new(bytes.Buffer)
	if opt.Compiler == nil {
		opt.Compiler = compilerArgs("well")
	}
	if opt.CacheDir == "" {
		opt.CacheDir = filepath.Join(t.TempDir(), "cache")
	}
	opt.Logger = slog.New(slog.NewTextHandler(log, nil))
	return newHost(t, opt), log
}

// runs compiles a module and runs it.
func runs(t *testing.T, h *capsulehost.Host, wasm []byte) {
	t.Helper()
	m, err := h.Compile(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := h.Run(context.Background(), m, capsulehost.RunConfig{}); err != nil {
		t.Fatal(err)
	}
}

// children returns how many processes this one has started and not waited for.
func children(t *testing.T) (n int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		n += len(strings.Fields(string(b)))
	}
	return n
}

// What was compiled in another process is kept, and none is started for it again.
func TestCompileApart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	wasm := cGuest(t, "misbehave/misbehave.c")
	for range 2 {
		h, log := apart(t, capsulehost.Options{CacheDir: dir})
		m := compile(t, h, wasm)
		if res, err := h.Run(context.Background(), m, capsulehost.RunConfig{Action: "nothing"}); err != nil || res.Hook == nil {
			t.Errorf("%+v, %v", res, err)
		}
		runs(t, h, numbered(1))
		// What is wrong with a module is told as if it were compiled here.
		broken := bytes.Replace(numbered(2), []byte("\x0a\x04\x01\x02\x00\x0b"), []byte("\x0a\x05\x01\x03\x00\x1a\x0b"), 1) // drop
		_, err := h.Compile(context.Background(), broken)
		if e, ok := errors.AsType[*capsulehost.FormatError](err); !ok || !strings.Contains(e.What, "drop") {
			t.Errorf("%v", err)
		}
		if log.Len() > 0 {
			t.Error(log)
		}
	}
	h, _ := apart(t, capsulehost.Options{CacheDir: dir, Compiler: compilerArgs("panics")})
	compile(t, h, wasm)
	runs(t, h, numbered(1))
	left, err := filepath.Glob(filepath.Join(dir, "compiling-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}

// holder holds up processes that compile until the test lets them go.
type holder struct {
	net.Listener
	path string
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	dir, err := os.MkdirTemp("", "hold") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &holder{l, path}
}

func (h *holder) next(t *testing.T) net.Conn {
	t.Helper()
	c, err := h.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func letGo(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte{1}); err != nil {
		t.Error(err)
	}
}

// gone waits until the process at the other end has ended.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Error(err)
	}
}

// Whoever wants the same module waits for the same compiler; it goes on as long as
// one of them waits, and ends with the last.
func TestCompileOnce(t *testing.T) {
	hold := newHolder(t)
	h, _ := apart(t, capsulehost.Options{Compiler: held(hold.path)})
	first, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	errs := make(chan error, 50)
	start := func(ctx context.Context) {
		all.Go(func() {
			m, err := h.Compile(ctx, numbered(1))
			if err == nil {
				_, err = h.Run(ctx, m, capsulehost.RunConfig{})
				m.Close()
			}
			errs <- err
		})
	}
	start(first)
	c := hold.next(t)
	for range cap(errs) - 1 {
		start(context.Background())
	}
	for h.Waiting(numbered(1)) < cap(errs) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	letGo(t, c)
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	gone(t, c)

	ctx, cancel := context.WithCancel(context.Background())
	errs = make(chan error, 2)
	for range cap(errs) {
		go func() {
			_, err := h.Compile(ctx, numbered(2))
			errs <- err
		}()
	}
	c = hold.next(t)
	cancel()
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	gone(t, c)
	// It can be had again.
	go func() { letGo(t, hold.next(t)) }()
	runs(t, h, numbered(2))
	hold.Close() // none was started besides
}

// spareDirs returns the directories outside of a cache that something is compiled in.
func spareDirs(t *testing.T) (dirs []string) {
	t.Helper()
	for _, place := range []string{os.TempDir(), "/dev/shm", "/var/tmp", os.Getenv("XDG_RUNTIME_DIR")} {
		list, err := filepath.Glob(filepath.Join(place, "astridfs-compiling-*"))
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, list...)
	}
	return dirs
}

// Where nothing can be stored in the cache, modules are compiled elsewhere, and
// nothing is left there.
func TestCompileElsewhere(t *testing.T) {
	for _, name := range []string{"none", "removed", "no directory"} {
		t.Run(name, func(t *testing.T) {
			before := spareDirs(t)
			dir := filepath.Join(t.TempDir(), "cache")
			if name == "no directory" {
				if err := os.WriteFile(dir, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			opt := capsulehost.Options{Compiler: compilerArgs("well"), CacheDir: dir, KeepModules: 1}
			if name == "none" {
				opt.CacheDir = ""
			}
			h, err := capsulehost.New(context.Background(), opt)
			if err != nil {
				t.Fatal(err)
			}
			if name == "removed" {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			wasm := cGuest(t, "misbehave/misbehave.c")
			for range 2 {
				m := compile(t, h, wasm)
				for range 2 {
					if res, err := h.Run(context.Background(), m, capsulehost.RunConfig{Action: "nothing"}); err != nil || res.Hook == nil {
						t.Errorf("%+v, %v", res, err)
					}
				}
				m.Close()
				runs(t, h, numbered(1))
			}
			for slices.ContainsFunc(spareDirs(t), func(d string) bool { return !slices.Contains(before, d) }) {
				time.Sleep(time.Millisecond) // those of other processes come and go
			}
			if err := h.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is damaged in the cache, or gone, is compiled anew, and nothing else is.
func TestDamagedApart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	files := func() []string {
		list, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	h, _ := apart(t, capsulehost.Options{CacheDir: dir})
	runs(t, h, numbered(1))
	before := files()
	runs(t, h, numbered(2))
	for _, path := range files() {
		if slices.Contains(before, path) {
			continue
		}
		if err := os.Truncate(path, 20); err != nil {
			t.Fatal(err)
		}
	}
	h, _ = apart(t, capsulehost.Options{CacheDir: dir})
	runs(t, h, numbered(2))
	h, _ = apart(t, capsulehost.Options{CacheDir: dir, Compiler: compilerArgs("panics")})
	runs(t, h, numbered(1))
	runs(t, h, numbered(2))
	for _, path := range files() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	h, _ = apart(t, capsulehost.Options{CacheDir: dir})
	runs(t, h, numbered(1))
	runs(t, h, numbered(2))
}

// A host that is closed while something is compiled leaves nothing behind.
func TestCloseCompiling(t *testing.T) {
	hold := newHolder(t)
	dir := filepath.Join(t.TempDir(), "cache")
	h, err := capsulehost.New(context.Background(), capsulehost.Options{Compiler: held(hold.path), CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := h.Compile(ctx, numbered(1))
		ended <- err
	}()
	c := hold.next(t)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "compiling-*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
	gone(t, c)
}
