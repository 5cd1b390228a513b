package capsulehost_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// guests builds each guest once for all tests.
var guests sync.Map // name -> func() ([]byte, error)

// goGuest builds testdata/NAME for wasip1: a reactor, or a command.
func goGuest(tb testing.TB, name string, reactor bool) []byte {
	tb.Helper()
	key := name
	args := []string{"build"}
	if reactor {
		key += " reactor"
		args = append(args, "-buildmode=c-shared")
	}
	return buildGuest(tb, key, func(out string) *exec.Cmd {
		cmd := exec.Command("go", append(args, "-o", out, "./testdata/"+name)...)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
		return cmd
	})
}

func buildGuest(tb testing.TB, key string, command func(out string) *exec.Cmd) []byte {
	tb.Helper()
	build, _ := guests.LoadOrStore(key, sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "guest")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		out := filepath.Join(dir, "guest.wasm")
		cmd := command(out)
		if text, err := cmd.CombinedOutput(); err != nil {
			tb.Logf("%s\n%s", cmd, text)
			return nil, err
		}
		return os.ReadFile(out)
	}))
	wasm, err := build.(func() ([]byte, error))()
	if err != nil {
		tb.Fatalf("building %s: %v", key, err)
	}
	return wasm
}

func newHost(tb testing.TB, opt capsulehost.Options) *capsulehost.Host {
	tb.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(logWriter{tb}, nil))
	}
	if dir, err := os.UserCacheDir(); opt.CacheDir == "" && err == nil {
		// Compiling takes most of the tests' time: what was compiled is kept.
		opt.CacheDir = filepath.Join(dir, "astridfs", "test-capsules")
	}
	h, err := capsulehost.New(context.Background(), opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return h
}

type logWriter struct{ tb testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.tb.Logf("%s", p)
	return len(p), nil
}

func compile(tb testing.TB, h *capsulehost.Host, wasm []byte) *capsulehost.Module {
	tb.Helper()
	m, err := h.Compile(context.Background(), wasm)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

// openDir opens a directory of the host, a new one for "".
func openDir(tb testing.TB, dir string) (*hostfs.FS, string) {
	tb.Helper()
	if dir == "" {
		dir = tb.TempDir()
	}
	fs, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { fs.Close() })
	return fs, dir
}

// newView is a view of three new directories.
func newView(tb testing.TB) (v *view.View, workspace string) {
	tb.Helper()
	w, dir := openDir(tb, "")
	home, _ := openDir(tb, "")
	tmp, _ := openDir(tb, "")
	return &view.View{Workspace: w, Home: home, Tmp: tmp}, dir
}

// descriptors counts what this process has open.
func descriptors(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

// cGuest builds testdata/DIR/FILE.c without WASI and without a C library.
func cGuest(tb testing.TB, file string) []byte {
	tb.Helper()
	return buildGuest(tb, file, func(out string) *exec.Cmd {
		return exec.Command(clang(), "--target=wasm32", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
			"-ffreestanding", "-fno-builtin", "-nostdlib", "-I", "../sdk/c", "-Wl,--no-entry", "-o", out, "testdata/"+file)
	})
}

// clang is the compiler for guests in C: $CLANG, or Debian's.
func clang() string {
	if c := os.Getenv("CLANG"); c != "" {
		return c
	}
	return "clang-19"
}
