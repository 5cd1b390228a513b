package capsulehost_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost"
)

// A module that the compiler takes too long for, or too much memory, is ended at its
// limit; this process, and what it compiles and runs meanwhile, goes on.
func TestCompileBomb(t *testing.T) {
	for name, c := range map[string]struct {
		limits capsulehost.CompileLimits
		want   string
	}{
		"time":   {capsulehost.CompileLimits{CPU: time.Second, Wall: time.Hour}, "compiling it takes more than 1s of processor time"},
		"wall":   {capsulehost.CompileLimits{Wall: 200 * time.Millisecond}, "compiling it takes longer than 200ms"},
		"memory": {capsulehost.CompileLimits{Memory: 32 << 20}, "compiling it takes more than 32 MiB of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			h, log := apart(t, capsulehost.Options{CompileLimits: c.limits})
			_, err := h.Compile(context.Background(), bomb())
			if e, ok := errors.AsType[*capsulehost.LimitError](err); !ok || e.What != c.want {
				t.Errorf("%v", err)
			}
			if log.Len() > 0 {
				t.Error(log)
			}
		})
	}
	h, _ := apart(t, capsulehost.Options{Compilers: 2})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := h.Compile(ctx, bomb())
		ended <- err
	}()
	for i := range 3 {
		runs(t, h, numbered(i))
	}
	select {
	case err := <-ended:
		t.Errorf("the other one ended: %v", err)
	default:
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for children(t) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// A compiler that ends in a way that nobody can recover from is an error of the
// module.
func TestCompilerEnds(t *testing.T) {
	for how, want := range map[string]string{
		"panics":  "panic: runtime error: index out of range",
		"quiet":   "it says nothing",
		"garbage": "first words",
	} {
		h, _ := apart(t, capsulehost.Options{Compiler: compilerArgs(how)})
		_, err := h.Compile(context.Background(), numbered(1))
		e, ok := errors.AsType[*capsulehost.FormatError](err)
		if !ok || !strings.HasPrefix(e.What, "the compiler gives up: "+want) || strings.Contains(e.What, "\n") {
			t.Errorf("%s: %v", how, err)
		}
	}
	// It is none where the machine had no memory for it.
	h, _ := apart(t, capsulehost.Options{Compiler: compilerArgs("killed")})
	if _, err := h.Compile(context.Background(), numbered(1)); err == nil || !strings.Contains(err.Error(), "was killed, as the kernel does where memory runs out") {
		t.Errorf("killed: %v", err)
	} else if _, ok := errors.AsType[*capsulehost.FormatError](err); ok {
		t.Errorf("killed is called the module's fault: %v", err)
	}
	h, _ = apart(t, capsulehost.Options{Compiler: []string{"capsulehost.test", "compile-well", "and more"}})
	if _, err := h.Compile(context.Background(), numbered(1)); err == nil {
		t.Error("with wrong arguments it compiles")
	}
}

// The process that compiles has its streams, and can write where it compiles to.
func TestCompilerConfined(t *testing.T) {
	leak, err := unix.Dup(1) // as a shell may leave one open
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	t.Setenv("SECRET", "x")
	h, _ := apart(t, capsulehost.Options{Compiler: compilerArgs("looks")})
	_, err = h.Compile(context.Background(), numbered(1))
	const want = `fds ["0 pipe:" "1 pipe:" "2 pipe:"] <nil>, env ["GOTRACEBACK=none"], elsewhere true, inside <nil>, leads true`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v", err)
	}
	// This process is not, nor is a thread of it when that process has ended.
	for confined(t) > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

// confined returns how many threads of this process, but for the first, which does
// not end, can gain no privileges.
func confined(t *testing.T) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err == nil && task.Name() != strconv.Itoa(os.Getpid()) && !strings.Contains(string(b), "NoNewPrivs:\t0\n") {
			n++
		}
	}
	return n
}

// No more processes compile at a time than may; who waits for one can give up.
func TestCompilersBounded(t *testing.T) {
	hold := newHolder(t)
	h, _ := apart(t, capsulehost.Options{Compiler: held(hold.path), Compilers: 2})
	errs := make(chan error)
	const n = 6
	for i := range n {
		go func() {
			_, err := h.Compile(context.Background(), numbered(i))
			errs <- err
		}()
	}
	a, b := hold.next(t), hold.next(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Compile(ctx, numbered(n)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range n - 2 {
		if got := children(t); got > 2 {
			t.Errorf("%d processes compile", got)
		}
		letGo(t, a)
		if err := <-errs; err != nil {
			t.Error(err)
		}
		a, b = b, hold.next(t)
	}
	letGo(t, a)
	letGo(t, b)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for children(t) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// A process that compiles ends with the one that has started it, and what it leaves
// is gone when the next one starts.
func TestCompilerEndsWithOwner(t *testing.T) {
	hold := newHolder(t)
	dir := filepath.Join(t.TempDir(), "cache")
	owner := exec.Command("/proc/self/exe", "compile-owner", hold.path, dir)
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	c := hold.next(t)
	if err := owner.Process.Kill(); err != nil {
		t.Error(err)
	}
	owner.Wait()
	gone(t, c)
	left := func() []string {
		list, err := filepath.Glob(filepath.Join(dir, "compiling-*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if len(left()) != 1 {
		t.Errorf("it left %q", left())
	}
	apart(t, capsulehost.Options{CacheDir: dir})
	if len(left()) != 0 {
		t.Errorf("%q is left", left())
	}
}
