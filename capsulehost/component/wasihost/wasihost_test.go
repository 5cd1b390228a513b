package wasihost

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	fault "github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// caller calls the interfaces as a component's lowered functions do.
type caller struct {
	t     *testing.T
	ctx   context.Context
	funcs map[string]component.HostFunc
	drops map[string]func(context.Context, uint32)
	in    *Instance
	dir   string
	root  abi.Value // descriptor of the workspace
}

type readOnly string

func (r readOnly) Check(_, path string, want vfs.Access) error {
	if path == string(r) && want&vfs.Write != 0 {
		return vfs.ErrCapability
	}
	return nil
}

func (readOnly) Passes(string, string) bool { return true }

func newCaller(t *testing.T, c wasip1.Config) *caller {
	t.Helper()
	g := &caller{t: t, dir: t.TempDir(), funcs: map[string]component.HostFunc{}, drops: drops()}
	fs, err := hostfs.Open(g.dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	c.View = &view.View{Workspace: fs, Gate: readOnly("ro"), Quota: view.NewQuota(1<<20, 100)}
	wasi, err := wasip1.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wasi.Close() })
	g.in = New(wasi)
	g.ctx = With(t.Context(), g.in)
	for _, i := range Interfaces() {
		for name, f := range i.Funcs {
			g.funcs[strings.TrimSuffix(strings.TrimPrefix(i.Name, "wasi:"), "@0.2")+" "+name] = f
		}
	}
	g.root = g.call("filesystem/preopens get-directories").Fields()[0].Fields()[0]
	return g
}

func (g *caller) call(name string, args ...abi.Value) abi.Value {
	g.t.Helper()
	f, ok := g.funcs[name]
	if !ok {
		g.t.Fatalf("there is no %s", name)
	}
	return f.Call(&component.Call{Ctx: g.ctx, Args: args}).Clone()
}

// file calls a method of descriptor and expects an error, or none where it is
// empty.
func (g *caller) file(want, method string, args ...abi.Value) abi.Value {
	g.t.Helper()
	v := g.call("filesystem/types [method]descriptor."+method, args...)
	got := ""
	if v.Num == 1 {
		got = codeNames[v.Payload().Num]
	}
	if got != want {
		g.t.Errorf("%s: %q, not %q", method, got, want)
	}
	return v.Payload()
}

func num(n uint64) abi.Value { return abi.Value{Num: n} }

func data(s string) abi.Value { return abi.Value{Ref: []byte(s)} }

func (g *caller) open(want, path string, open, flags uint64) abi.Value {
	g.t.Helper()
	return g.file(want, "open-at", g.root, num(1), abi.String(path), num(open), num(flags))
}

func (g *caller) write(path, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, path), []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

func (g *caller) holds(path, want string) {
	g.t.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, path))
	if err != nil || string(b) != want {
		g.t.Errorf("%s holds %q, %v", path, b, err)
	}
}

func TestFiles(t *testing.T) {
	g := newCaller(t, wasip1.Config{})
	f := g.open("", "f", openCreate|openExclusive, descRead|descWrite)
	g.open("exist", "f", openCreate|openExclusive, descWrite)
	g.open("no-entry", "none", 0, descRead)
	g.open("not-permitted", "../x", 0, descRead)
	g.open("name-too-long", strings.Repeat("x", maxPath+1), 0, descRead)
	g.write("ro", "x")
	g.open("access", "ro", 0, descWrite)
	if n := g.file("", "write", f, data("hello world"), num(2)); n.Num != 11 {
		t.Errorf("wrote %v", n)
	}
	g.holds("f", "\x00\x00hello world")
	g.file("quota", "write", f, data(strings.Repeat("x", 1<<20)), num(0))
	got := g.file("", "read", f, num(5), num(2)).Fields()
	if string(got[0].Bytes()) != "hello" || got[1].Num != 0 {
		t.Errorf("read %v", got)
	}
	if got = g.file("", "read", f, num(5), num(13)).Fields(); len(got[0].Bytes()) != 0 || got[1].Num != 1 {
		t.Errorf("read at the end %v", got)
	}
	g.file("", "set-size", f, num(4))
	g.file("", "sync", f)
	g.file("", "sync-data", f)
	g.file("", "advise", f, num(0), num(0), num(2))
	g.file("bad-descriptor", "advise", g.root, num(0), num(0), num(2))
	if v := g.file("", "get-flags", f); v.Num != descRead|descWrite {
		t.Errorf("flags %#x", v.Num)
	}
	if v := g.file("", "get-flags", g.root); v.Num != descRead|descMutate {
		t.Errorf("flags %#x", v.Num)
	}
	if a, b := g.file("", "get-type", f), g.file("", "get-type", g.root); a.Num != 6 || b.Num != 3 {
		t.Errorf("types %d, %d", a.Num, b.Num)
	}
	at := func(s, ns uint64) abi.Value { return abi.Case(2, abi.Tuple(num(s), num(ns))) }
	g.file("", "set-times", f, at(5, 6), at(7, 8))
	g.file("invalid", "set-times", f, at(5, 1e9), num(0))
	st := g.file("", "stat", f).Fields()
	if st[0].Num != 6 || st[1].Num != 1 || st[2].Num != 4 || st[3].Payload().Fields()[1].Num != 6 || st[4].Payload().Fields()[0].Num != 7 {
		t.Errorf("stat %v", st)
	}
	g.file("", "set-times-at", g.root, num(1), abi.String("f"), num(0), num(1))
	if m := g.file("", "stat-at", g.root, num(1), abi.String("f")).Fields()[4].Payload().Fields()[0].Num; m < 1e9 {
		t.Errorf("modified at %d", m)
	}
	g.file("", "create-directory-at", g.root, abi.String("d"))
	g.file("exist", "create-directory-at", g.root, abi.String("d"))
	d := g.open("", "d", openDirectory, descRead)
	g.file("", "link-at", g.root, num(0), abi.String("f"), d, abi.String("g"))
	g.file("", "symlink-at", d, abi.String("../f"), abi.String("l"))
	g.file("not-permitted", "symlink-at", d, abi.String("/etc"), abi.String("m"))
	if v := g.file("", "readlink-at", d, abi.String("l")); v.Text() != "../f" {
		t.Errorf("the link is %v", v)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(g.dir, "abs")); err != nil {
		t.Fatal(err)
	}
	g.file("not-permitted", "readlink-at", g.root, abi.String("abs"))
	g.open("not-permitted", "abs", 0, descRead)
	same := g.open("", "d/g", 0, descRead)
	if v := g.call("filesystem/types [method]descriptor.is-same-object", f, same); v.Num != 1 {
		t.Error("a hard link is another object")
	}
	if v := g.call("filesystem/types [method]descriptor.is-same-object", f, d); v.Num != 0 {
		t.Error("a file is a directory")
	}
	h := g.file("", "metadata-hash", f).Fields()
	if i := g.file("", "metadata-hash-at", g.root, num(1), abi.String("d/l")).Fields(); h[0] != i[0] || h[1] != i[1] {
		t.Errorf("hashes %v, %v", h, i)
	}
	g.file("", "rename-at", g.root, abi.String("f"), d, abi.String("moved"))
	g.file("not-empty", "remove-directory-at", g.root, abi.String("d"))
	g.file("is-directory", "unlink-file-at", g.root, abi.String("d"))
	g.file("", "unlink-file-at", d, abi.String("l"))
	list := g.file("", "read-directory", g.root)
	var names []string
	for {
		e := g.call("filesystem/types [method]directory-entry-stream.read-directory-entry", list)
		if e.Payload().Num == 0 {
			break
		}
		names = append(names, e.Payload().Payload().Fields()[1].Text())
	}
	if slices.Sort(names); !slices.Equal(names, []string{"abs", "d", "ro"}) {
		t.Errorf("entries %q", names)
	}
	g.file("not-directory", "read-directory", f)
	g.drops["descriptor"](g.ctx, uint32(same.Num))
	g.file("bad-descriptor", "stat", same)
	g.drops["directory-entry-stream"](g.ctx, uint32(list.Num))
}

const (
	in  = "io/streams [method]input-stream."
	out = "io/streams [method]output-stream."
)

// TestFileStreams reads and writes by streams, which outlive their descriptor.
func TestFileStreams(t *testing.T) {
	g := newCaller(t, wasip1.Config{})
	f := g.open("", "f", openCreate, descRead|descWrite)
	w := g.file("", "write-via-stream", f, num(3))
	a := g.file("", "append-via-stream", f)
	r := g.file("", "read-via-stream", f, num(1))
	ro := g.open("", "f", 0, descRead)
	g.file("bad-descriptor", "write-via-stream", ro, num(0))
	g.file("bad-descriptor", "append-via-stream", ro)
	g.file("is-directory", "read-via-stream", g.root, num(0))
	g.drops["descriptor"](g.ctx, uint32(f.Num))
	if v := g.call(out+"check-write", w); v.Payload().Num != MaxChunk {
		t.Errorf("permitted %v", v)
	}
	trapped := func(name, want string, args ...abi.Value) {
		t.Helper()
		defer func() {
			if f, ok := recover().(*fault.Fault); !ok || !strings.Contains(f.Reason, want) {
				t.Errorf("%s: no trap of %q: %v", name, want, f)
			}
		}()
		g.call(out+name, args...)
	}
	trapped("write", "permitted 1048576", w, data(strings.Repeat("x", MaxChunk+1)))
	trapped("write", "permitted 0", a, data("x"))
	trapped("write-zeroes", "permitted 0", a, num(1))
	trapped("blocking-write-and-flush", "4096 may be", a, data(strings.Repeat("x", 4097)))
	trapped("blocking-write-zeroes-and-flush", "4096 may be", a, num(1<<40))
	g.call(out+"write", w, data("abc"))
	g.call(out+"blocking-write-and-flush", a, data("end"))
	g.call(out+"write", w, data("DE"))
	g.call(out+"write-zeroes", w, num(2))
	g.call(out+"flush", w)
	g.holds("f", "\x00\x00\x00abcDE\x00\x00")
	if v := g.call(in+"skip", r, num(2)); v.Payload().Num != 2 {
		t.Errorf("skipped %v", v)
	}
	if v := g.call(in+"read", r, num(4)); string(v.Payload().Bytes()) != "abcD" {
		t.Errorf("read %v", v)
	}
	if v := g.call(out+"splice", a, r, num(1)); v.Payload().Num != 1 {
		t.Errorf("spliced %v", v)
	}
	g.holds("f", "\x00\x00\x00abcDE\x00\x00E")
	if v := g.call(in+"blocking-read", r, num(100)); string(v.Payload().Bytes()) != "\x00\x00E" {
		t.Errorf("read %v", v)
	}
	for range 2 {
		if v := g.call(in+"read", r, num(1)); v.Num != 1 || v.Payload().Num != 1 {
			t.Errorf("at the end %v", v)
		}
	}
	// Beyond the quota: an error that tells which, and the stream is closed.
	g.call(out+"check-write", w)
	v := g.call(out+"write", w, data(strings.Repeat("x", 1<<20)))
	if v.Num != 1 || v.Payload().Num != 0 {
		t.Fatalf("beyond the quota %v", v)
	}
	err := v.Payload().Payload()
	if c := g.call("filesystem/types filesystem-error-code", err); c.Num != 1 || codeNames[c.Payload().Num] != "quota" {
		t.Errorf("the code is %v", c)
	}
	if s := g.call("io/error [method]error.to-debug-string", err); s.Text() != "error-code quota" {
		t.Errorf("%v", s)
	}
	for _, v := range []abi.Value{g.call(out+"check-write", w), g.call(out+"write", w, data(strings.Repeat("x", 2<<20))), g.call(out+"write-zeroes", w, num(1<<60))} {
		if v.Num != 1 || v.Payload().Num != 1 {
			t.Errorf("after an error %v", v)
		}
	}
	for _, s := range []abi.Value{r, w, a} {
		g.drops["input-stream"](g.ctx, uint32(s.Num))
	}
	if n := len(g.in.entries) - len(g.in.free); n != 1 { // the error
		t.Errorf("%d entries are left", n)
	}
}

// TestStdio waits for what comes in, with a clock beside it.
func TestStdio(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	var stdout bytes.Buffer
	g := newCaller(t, wasip1.Config{Stdin: pr, Stdout: &stdout, Args: []string{"prog", "a b"}, Env: []string{"A=1=2", "B="}})
	stdin := g.call("cli/stdin get-stdin")
	if v := g.call(in+"read", stdin, num(10)); v.Num != 0 || len(v.Payload().Bytes()) != 0 {
		t.Errorf("before anything came %v", v)
	}
	arrival := g.call(in+"subscribe", stdin)
	hour := g.call("clocks/monotonic-clock subscribe-duration", num(uint64(time.Hour)))
	past := g.call("clocks/monotonic-clock subscribe-instant", num(1))
	if v := g.call("io/poll poll", abi.Tuple(hour, arrival, past)); !bytes.Equal(v.Bytes(), []byte{2, 0, 0, 0}) {
		t.Errorf("ready %v", v)
	}
	if a, b := g.call("io/poll [method]pollable.ready", hour), g.call("io/poll [method]pollable.ready", past); a.Num != 0 || b.Num != 1 {
		t.Errorf("ready %v, %v", a, b)
	}
	// As many as may be wait for the same; one more is a fault of the guest.
	many := slices.Repeat([]abi.Value{arrival}, maxPoll-1)
	if v := g.call("io/poll poll", abi.Tuple(append(many, past)...)); len(v.Bytes()) != 4 {
		t.Errorf("ready %v", v)
	}
	func() {
		defer func() {
			if _, ok := recover().(*fault.Fault); !ok {
				t.Error("a poll of too many: no trap")
			}
		}()
		g.call("io/poll poll", abi.Tuple(slices.Repeat([]abi.Value{arrival}, 70_000)...))
	}()
	go io.WriteString(pw, "text")
	if v := g.call("io/poll poll", abi.Tuple(hour, arrival)); !bytes.Equal(v.Bytes(), []byte{1, 0, 0, 0}) {
		t.Errorf("ready %v", v)
	}
	if v := g.call(in+"read", stdin, num(10)); string(v.Payload().Bytes()) != "text" {
		t.Errorf("read %v", v)
	}
	pw.Close()
	g.call("io/poll [method]pollable.block", arrival)
	if v := g.call(in+"blocking-read", stdin, num(10)); v.Num != 1 || v.Payload().Num != 1 {
		t.Errorf("at the end %v", v)
	}
	g.call(out+"blocking-write-and-flush", g.call("cli/stdout get-stdout"), data("printed"))
	if stdout.String() != "printed" {
		t.Errorf("printed %q", stdout.String())
	}
	if v := g.call("cli/terminal-stdout get-terminal-stdout"); v.Num != 0 {
		t.Error("a buffer is a terminal")
	}
	if a := g.call("cli/environment get-arguments").Fields(); len(a) != 2 || a[1].Text() != "a b" {
		t.Errorf("arguments %v", a)
	}
	if e := g.call("cli/environment get-environment").Fields(); len(e) != 2 || e[0].Fields()[1].Text() != "1=2" || e[1].Fields()[0].Text() != "B" {
		t.Errorf("environment %v", e)
	}
	if v := g.call("random/random get-random-bytes", num(100)); len(v.Bytes()) != 100 {
		t.Errorf("random %v", v)
	}
	ctx, cancel := context.WithCancel(g.ctx)
	cancel()
	g.ctx = ctx
	g.call("io/poll [method]pollable.block", hour) // the guest is at its end
}

// TestCodes finds that every error number has a code, and every code but a few a
// number.
func TestCodes(t *testing.T) {
	seen := map[uint64]bool{}
	for e := wasip1.E2BIG; e <= wasip1.ENOTCAPABLE; e++ {
		seen[codeOf(e)] = true
	}
	for i, name := range codeNames {
		if !seen[uint64(i)] {
			t.Errorf("nothing is %s", name)
		}
	}
	if codeNames[codeOf(wasip1.EIO)] != "io" || codeNames[codeOf(wasip1.EXDEV)] != "cross-device" || codeNames[codeOf(wasip1.ENOTDIR)] != "not-directory" {
		t.Error("the numbers of the codes are shifted")
	}
}

// TestNothing uses a handle that stands for nothing, as a denied interface may
// answer one: the guest is trapped, or nothing is done.
func TestNothing(t *testing.T) {
	g := newCaller(t, wasip1.Config{Stdin: strings.NewReader("x")})
	for _, drop := range g.drops {
		drop(g.ctx, 0)
	}
	for _, f := range []string{"io/poll [method]pollable.block", in + "subscribe", out + "flush", "io/error [method]error.to-debug-string"} {
		func() {
			defer func() {
				if _, ok := recover().(*fault.Fault); !ok {
					t.Errorf("%s: no trap", f)
				}
			}()
			g.call(f, num(0), num(1))
		}()
	}
	g.file("bad-descriptor", "stat", num(0))
	if v := g.call(in+"blocking-read", g.call("cli/stdin get-stdin"), num(1)); string(v.Payload().Bytes()) != "x" {
		t.Errorf("standard input: %v", v)
	}
}
