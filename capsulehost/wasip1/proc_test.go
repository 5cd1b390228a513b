package wasip1

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"

	"github.com/astridfs/astridfs/capsulehost/view"
)

func TestArgsAndEnviron(t *testing.T) {
	g := newGuest(t, func(c *Config) { c.Args, c.Env = []string{"prog", "", "ü x"}, []string{"A=1", "B=a=b"} })
	for _, c := range []struct{ sizes, get, text string }{
		{"args_sizes_get", "args_get", "prog\x00\x00ü x\x00"},
		{"environ_sizes_get", "environ_get", "A=1\x00B=a=b\x00"},
	} {
		n := strings.Count(c.text, "\x00")
		sizes, ptrs, buf := g.room(8), g.room(uint32(4*n)), g.room(uint32(len(c.text)))
		g.ok(c.sizes, sizes, sizes+4)
		equal(t, c.sizes, g.u32(sizes), uint32(n))
		equal(t, c.sizes+" bytes", g.u32(sizes+4), uint32(len(c.text)))
		g.ok(c.get, ptrs, buf)
		equal(t, c.get, string(g.bytes(buf, uint32(len(c.text)))), c.text)
		at := buf
		for i := range n {
			equal(t, c.get+" pointer", uint64(g.u32(ptrs+uint64(4*i))), at)
			at += uint64(strings.Index(string(g.bytes(at, uint32(buf)+uint32(len(c.text))-uint32(at))), "\x00") + 1)
		}
		g.want(EFAULT, c.sizes, beyond-2, sizes)
		g.want(EFAULT, c.sizes, sizes, beyond)
		g.want(EFAULT, c.get, beyond-4, buf)
		g.want(EFAULT, c.get, ptrs, beyond-1)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"an argument with a NUL": {Args: []string{"a\x00b"}},
		"a variable with a NUL":  {Env: []string{"A=\x00"}},
		"a tree that is missing": {Preopens: []Preopen{{"/x", view.Home}}},
		"too few descriptors":    {MaxFiles: 3},
	} {
		if in, err := New(c); err == nil {
			in.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEnviron(t *testing.T) {
	equal(t, "without PWD", strings.Join(Environ([]string{"A=1"}), " "), "A=1 PWD=/workspace")
	equal(t, "with PWD", strings.Join(Environ([]string{"PWD=/tmp"}), " "), "PWD=/tmp")
}

func TestClocks(t *testing.T) {
	g := newGuest(t)
	p := g.room(8)
	g.ok("clock_res_get", 0, p)
	equal(t, "resolution", g.u64(p), 1)
	before := uint64(time.Now().UnixNano())
	g.ok("clock_time_get", 0, 0, p)
	if now := g.u64(p); now < before || now > uint64(time.Now().UnixNano()) {
		t.Errorf("realtime %d is not now", now)
	}
	g.ok("clock_time_get", 1, 0, p)
	first := g.u64(p)
	g.ok("clock_time_get", 1, 0, p)
	if first == 0 || g.u64(p) < first {
		t.Errorf("monotonic %d, then %d", first, g.u64(p))
	}
	for _, id := range []uint64{2, 3, 4, 0xffffffff} {
		g.want(EINVAL, "clock_res_get", id, p)
		g.want(EINVAL, "clock_time_get", id, 0, p)
	}
	g.want(EFAULT, "clock_res_get", 0, beyond-7)
	g.want(EFAULT, "clock_time_get", 1, 0, beyond-7)
}

func TestRandom(t *testing.T) {
	g := newGuest(t)
	p := g.room(64)
	g.ok("random_get", p, 64)
	if bytes.Equal(g.bytes(p, 64), make([]byte, 64)) {
		t.Error("64 random bytes are zero")
	}
	g.ok("random_get", p, 0)
	g.ok("random_get", beyond, 0)
	g.want(EFAULT, "random_get", beyond, 1)
	g.want(EFAULT, "random_get", p, 0xffffffff)

	g = newGuest(t, func(c *Config) { c.Rand = strings.NewReader("abc") })
	p = g.room(8)
	g.ok("random_get", p, 3)
	equal(t, "from the given source", string(g.bytes(p, 3)), "abc")
	g.want(EIO, "random_get", p, 1)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := g.try(ctx, "random_get", p, 8)
	ended(t, err)
}

func TestSmallCalls(t *testing.T) {
	g := newGuest(t)
	g.ok("sched_yield")
	g.want(ENOSYS, "proc_raise", 9)
	for _, fd := range []uint64{0, 1, 2, fdWork} {
		g.want(ENOTSOCK, "sock_accept", fd, 0, 0)
		g.want(ENOTSOCK, "sock_recv", fd, 0, 0, 0, 0, 0)
		g.want(ENOTSOCK, "sock_send", fd, 0, 0, 0, 0)
		g.want(ENOTSOCK, "sock_shutdown", fd, 0)
	}
	g.want(EBADF, "sock_accept", 99, 0, 0)
	g.want(EBADF, "sock_shutdown", 0xffffffff, 0)
}

func TestProcExit(t *testing.T) {
	g := newGuest(t)
	_, err := g.try(context.Background(), "proc_exit", 1<<32|42)
	var exit *sys.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 42 {
		t.Errorf("proc_exit(42): %v", err)
	}
}

// TestNoInstance calls from a guest whose context carries nothing.
func TestNoInstance(t *testing.T) {
	g := newGuest(t)
	for _, e := range exports() {
		res, err := g.mod.ExportedFunction(e.name).Call(context.Background(), make([]uint64, len(e.params))...)
		if err != nil || Errno(res[0]) != ENOSYS {
			t.Errorf("%s: %v, %v", e.name, res, err)
		}
	}
}

// TestNoMemory calls from a guest that has no memory: everything that would
// touch it is EFAULT.
func TestNoMemory(t *testing.T) {
	ctx := context.Background()
	in, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(ctx)
	if _, err := Instantiate(ctx, rt); err != nil {
		t.Fatal(err)
	}
	// Without the memory section and its export, the first of the exports.
	b := trampolines()
	b = bytes.Replace(b, []byte{5, 3, 1, 0, 16}, nil, 1)
	b = bytes.Replace(b, append([]byte{6}, "memory\x02\x00"...), append([]byte{6}, "memory\x00\x00"...), 1)
	mod, err := rt.InstantiateWithConfig(With(ctx, in), b, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"args_sizes_get", "clock_time_get", "fd_write", "path_open", "poll_oneoff", "random_get"} {
		f := mod.ExportedFunction(name)
		args := make([]uint64, len(f.Definition().ParamTypes()))
		args[len(args)/2] = 1
		if name == "fd_write" {
			args[0] = 1
		}
		if name == "poll_oneoff" || name == "random_get" || name == "clock_time_get" || name == "args_sizes_get" {
			args = []uint64{0, 0, 1, 0}[:len(args)]
		}
		res, err := f.Call(With(ctx, in), args...)
		if err != nil || Errno(res[0]) != EFAULT {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
}

// TestParallel runs many guests on one host module at once; each finds its own
// instance.
func TestParallel(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(ctx)
	if _, err := Instantiate(ctx, rt); err != nil {
		t.Fatal(err)
	}
	compiled, err := rt.CompileModule(ctx, trampolines())
	if err != nil {
		t.Fatal(err)
	}
	fs := openCounted(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name := strings.Repeat("x", i+1)
			in, err := New(Config{View: &view.View{Workspace: fs}, Args: []string{name}})
			if err != nil {
				t.Error(err)
				return
			}
			mod, err := rt.InstantiateModule(With(ctx, in), compiled, wazero.NewModuleConfig().WithName(""))
			if err != nil {
				t.Error(err)
				return
			}
			g := &guest{t: t, fs: fs, in: in, mod: mod, top: 1024}
			for range 50 {
				g.top = 1024
				p := g.room(8)
				g.want(Success, "args_sizes_get", p, p+4)
				equal(t, "length of the arguments", g.u32(p+4), uint32(i+2))
				fd, errno := g.openAt(fdWork, name, 0, uint64(openCreat), allRights, allRights, flagAppend)
				equal(t, "path_open", errno, Success)
				if n, errno := g.write(fd, name); n != i+1 || errno != Success {
					t.Errorf("fd_write: %d, %d", n, errno)
				}
				g.want(Success, "fd_close", fd)
			}
			mod.Close(ctx)
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	fs.check()
}
