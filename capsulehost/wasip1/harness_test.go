package wasip1

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// trampolines is a guest that imports every call and exports each again under
// its name, with a memory of 16 pages: what a test calls comes from a guest.
func trampolines() []byte {
	calls := append(exports(), export{name: "proc_exit", params: "i"})
	var types, imports, funcs, code []byte
	exp := leb(nil, uint32(len(calls)+1))
	exp = append(str(exp, "memory"), 2, 0)
	for i, c := range calls {
		types = leb(append(types, 0x60), uint32(len(c.params)))
		for _, p := range c.params {
			types = append(types, map[rune]byte{'i': 0x7f, 'I': 0x7e}[p])
		}
		body := []byte{0} // no locals
		for p := range c.params {
			body = leb(append(body, 0x20), uint32(p)) // local.get
		}
		body = append(leb(append(body, 0x10), uint32(i)), 0x0b) // call, end
		if c.name == "proc_exit" {
			types = append(types, 0)
		} else {
			types = append(types, 1, 0x7f)
		}
		imports = leb(append(str(str(imports, ModuleName), c.name), 0), uint32(i))
		funcs = leb(funcs, uint32(i))
		exp = leb(append(str(exp, c.name), 0), uint32(len(calls)+i))
		code = append(leb(code, uint32(len(body))), body...)
	}
	n := leb(nil, uint32(len(calls)))
	b := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range []struct {
		id   byte
		body []byte
	}{
		{1, append(n[:len(n):len(n)], types...)},
		{2, append(n[:len(n):len(n)], imports...)},
		{3, append(n[:len(n):len(n)], funcs...)},
		{5, []byte{1, 0, 16}},
		{7, exp},
		{10, append(n[:len(n):len(n)], code...)},
	} {
		b = append(leb(append(b, s.id), uint32(len(s.body))), s.body...)
	}
	return b
}

func leb(b []byte, n uint32) []byte { return binary.AppendUvarint(b, uint64(n)) }
func str(b []byte, s string) []byte { return append(leb(b, uint32(len(s))), s...) }

// guest is a guest under a test's control.
type guest struct {
	t   testing.TB
	dir string // what /workspace is on the host
	fs  *counted
	in  *Instance
	mod api.Module
	top uint32 // memory below is in use
}

const (
	// fdWork, fdRoot and fdDot are preopened directories of a guest without
	// home.
	fdWork = 3
	fdTmp  = 4
	fdRoot = 5
	fdDot  = 6

	beyond = 16 << 16 // where the memory ends
)

// newGuest makes a guest whose workspace and tmp are fresh directories. change
// may adjust what it is given.
func newGuest(t testing.TB, change ...func(*Config)) *guest {
	t.Helper()
	dir := t.TempDir()
	fs, tmp := openCounted(t, dir), openCounted(t, t.TempDir())
	c := Config{View: &view.View{Workspace: fs, Tmp: tmp}, Args: []string{"prog", "arg"}, Env: []string{"A=1"}}
	for _, f := range change {
		f(&c)
	}
	in, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() {
		rt.Close(ctx)
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		fs.check()
		tmp.check()
	})
	if _, err := Instantiate(ctx, rt); err != nil {
		t.Fatal(err)
	}
	mod, err := rt.InstantiateWithConfig(With(ctx, in), trampolines(), wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	return &guest{t: t, dir: dir, fs: fs, in: in, mod: mod, top: 1024}
}

// try makes a call; the error is a trap.
func (g *guest) try(ctx context.Context, name string, args ...uint64) (Errno, error) {
	res, err := g.mod.ExportedFunction(name).Call(With(ctx, g.in), args...)
	if err != nil {
		return 0, err
	}
	return Errno(res[0]), nil
}

// call makes a call that must not trap.
func (g *guest) call(name string, args ...uint64) Errno {
	g.t.Helper()
	errno, err := g.try(context.Background(), name, args...)
	if err != nil {
		g.t.Fatalf("%s: %v", name, err)
	}
	return errno
}

// ended fails the test unless err is that of a guest that was ended with its
// context.
func ended(t *testing.T, err error) {
	t.Helper()
	exit, ok := errors.AsType[*sys.ExitError](err)
	if !ok || exit.ExitCode() != sys.ExitCodeDeadlineExceeded && exit.ExitCode() != sys.ExitCodeContextCanceled {
		t.Errorf("the guest goes on, and was to end: %v", err)
	}
}

// want makes a call that must answer errno.
func (g *guest) want(errno Errno, name string, args ...uint64) {
	g.t.Helper()
	if got := g.call(name, args...); got != errno {
		g.t.Errorf("%s%v = %d, want %d", name, args, got, errno)
	}
}

func (g *guest) ok(name string, args ...uint64) {
	g.t.Helper()
	if got := g.call(name, args...); got != Success {
		g.t.Fatalf("%s%v = %d", name, args, got)
	}
}

// room is n fresh bytes of memory.
func (g *guest) room(n uint32) uint64 {
	g.t.Helper()
	p := g.top
	if g.top += (n + 7) &^ 7; g.top > beyond {
		g.t.Fatal("the guest's memory is used up")
	}
	return uint64(p)
}

// str puts a string into memory: what a call takes for it.
func (g *guest) str(s string) (ptr, n uint64) {
	g.t.Helper()
	p := g.room(uint32(len(s)))
	g.mod.Memory().Write(uint32(p), []byte(s))
	return p, uint64(len(s))
}

func (g *guest) bytes(p uint64, n uint32) []byte {
	g.t.Helper()
	b, ok := g.mod.Memory().Read(uint32(p), n)
	if !ok {
		g.t.Fatal("out of memory's bounds")
	}
	return append([]byte(nil), b...)
}

func (g *guest) u32(p uint64) uint32 { g.t.Helper(); return binary.LittleEndian.Uint32(g.bytes(p, 4)) }
func (g *guest) u64(p uint64) uint64 { g.t.Helper(); return binary.LittleEndian.Uint64(g.bytes(p, 8)) }

// iovs puts buffers into memory: what a call takes for them.
func (g *guest) iovs(bufs ...string) (ptr, n uint64) {
	g.t.Helper()
	var l []byte
	for _, b := range bufs {
		p, n := g.str(b)
		l = binary.LittleEndian.AppendUint32(l, uint32(p))
		l = binary.LittleEndian.AppendUint32(l, uint32(n))
	}
	p, _ := g.str(string(l))
	return p, uint64(len(bufs))
}

// openAt is path_open.
func (g *guest) openAt(dir uint64, path string, lookup, oflags uint64, base, inherit rights, flags fdflags) (uint64, Errno) {
	g.t.Helper()
	p, n := g.str(path)
	out := g.room(4)
	errno := g.call("path_open", dir, lookup, p, n, oflags, uint64(base), uint64(inherit), uint64(flags), out)
	return uint64(g.u32(out)), errno
}

// open opens a path of the workspace with every right.
func (g *guest) open(path string, oflags oflags, flags fdflags) uint64 {
	g.t.Helper()
	base := allRights
	if fi, err := os.Stat(filepath.Join(g.dir, path)); err == nil && fi.IsDir() {
		base = dirRights
	}
	fd, errno := g.openAt(fdWork, path, lookupFollow, uint64(oflags), base, allRights, flags)
	if errno != Success {
		g.t.Fatalf("path_open %q = %d", path, errno)
	}
	return fd
}

// path makes a call that takes (fd, path, path_len).
func (g *guest) path(name string, fd uint64, path string) Errno {
	g.t.Helper()
	p, n := g.str(path)
	return g.call(name, fd, p, n)
}

func (g *guest) write(fd uint64, bufs ...string) (int, Errno) {
	g.t.Helper()
	p, n := g.iovs(bufs...)
	out := g.room(4)
	errno := g.call("fd_write", fd, p, n, out)
	return int(g.u32(out)), errno
}

func (g *guest) read(fd uint64, size int) (string, Errno) {
	g.t.Helper()
	p, n := g.iovs(string(make([]byte, size)))
	out := g.room(4)
	errno := g.call("fd_read", fd, p, n, out)
	return string(g.bytes(uint64(g.u32(p)), g.u32(out))), errno
}

// file writes a file of the workspace from outside.
func (g *guest) file(path, text string) {
	g.t.Helper()
	to := filepath.Join(g.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, []byte(text), 0o644)); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) content(path string) string {
	g.t.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, path))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

// equal checks a result.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// counted is a filesystem that counts the references and handles that its user
// holds.
type counted struct {
	vfs.FS
	t       testing.TB
	mu      sync.Mutex
	refs    map[vfs.NodeID]int
	handles int
}

func openCounted(t testing.TB, dir string) *counted {
	t.Helper()
	fs, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return &counted{FS: fs, t: t, refs: map[vfs.NodeID]int{}}
}

// check reports what is still held.
func (c *counted) check() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, r := range c.refs {
		if r != 0 {
			c.t.Errorf("%d references to node %d are left", r, n)
		}
	}
	if c.handles != 0 {
		c.t.Errorf("%d handles are left", c.handles)
	}
}

func (c *counted) ref(e vfs.Entry, err error) (vfs.Entry, error) {
	if err == nil {
		c.mu.Lock()
		c.refs[e.Node]++
		c.mu.Unlock()
	}
	return e, err
}

func (c *counted) opened(n int) {
	c.mu.Lock()
	c.handles += n
	c.mu.Unlock()
}

func (c *counted) Forget(n vfs.NodeID, k uint64) {
	c.mu.Lock()
	c.refs[n] -= int(k)
	c.mu.Unlock()
	c.FS.Forget(n, k)
}

func (c *counted) Lookup(ctx context.Context, p vfs.NodeID, name string) (vfs.Entry, error) {
	return c.ref(c.FS.Lookup(ctx, p, name))
}

func (c *counted) Mkdir(ctx context.Context, p vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	return c.ref(c.FS.Mkdir(ctx, p, name, mode))
}

func (c *counted) Symlink(ctx context.Context, p vfs.NodeID, name, target string) (vfs.Entry, error) {
	return c.ref(c.FS.Symlink(ctx, p, name, target))
}

func (c *counted) Link(ctx context.Context, n, p vfs.NodeID, name string) (vfs.Entry, error) {
	return c.ref(c.FS.Link(ctx, n, p, name))
}

func (c *counted) Create(ctx context.Context, p vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	e, h, err := c.FS.Create(ctx, p, name, flags, mode)
	e, err = c.ref(e, err)
	return e, c.handle(h, err), err
}

func (c *counted) Open(ctx context.Context, n vfs.NodeID, flags int) (vfs.Handle, error) {
	h, err := c.FS.Open(ctx, n, flags)
	return c.handle(h, err), err
}

func (c *counted) OpenDir(ctx context.Context, n vfs.NodeID) (vfs.DirHandle, error) {
	h, err := c.FS.OpenDir(ctx, n)
	if err != nil {
		return nil, err
	}
	c.opened(1)
	return &countedDir{h, c}, nil
}

func (c *counted) handle(h vfs.Handle, err error) vfs.Handle {
	if err != nil {
		return nil
	}
	c.opened(1)
	return &countedHandle{h, c}
}

// GetAttr and SetAttr take the wrapped handle off.
func (c *counted) GetAttr(ctx context.Context, n vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	return c.FS.GetAttr(ctx, n, bare(h))
}

func (c *counted) SetAttr(ctx context.Context, n vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	return c.FS.SetAttr(ctx, n, bare(h), in)
}

func bare(h vfs.Handle) vfs.Handle {
	if w, ok := h.(*countedHandle); ok {
		return w.Handle
	}
	return h
}

type countedHandle struct {
	vfs.Handle
	c *counted
}

func (h *countedHandle) Close() error { h.c.opened(-1); return h.Handle.Close() }

type countedDir struct {
	vfs.DirHandle
	c *counted
}

func (h *countedDir) Close() error { h.c.opened(-1); return h.DirHandle.Close() }

func specOf(sec int64) vfs.Timespec { return vfs.Timespec{Sec: sec, Nsec: 1} }
