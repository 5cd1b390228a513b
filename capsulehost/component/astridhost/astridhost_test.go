package astridhost_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/astridhost"
	"github.com/astridfs/astridfs/capsulehost/component/wasihost"
	"github.com/astridfs/astridfs/capsulehost/kv"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// guest calls the interfaces as a component's lowered functions do.
type guest struct {
	t   *testing.T
	in  *astridhost.Instance
	ctx context.Context
}

func newGuest(t *testing.T, c astridhost.Config) *guest {
	t.Helper()
	wasi, err := wasip1.New(wasip1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wasi.Close() })
	in := astridhost.New(c)
	return &guest{t, in, astridhost.With(wasihost.With(t.Context(), wasihost.New(wasi)), in)}
}

func (g *guest) call(name string, args ...abi.Value) abi.Value {
	g.t.Helper()
	iface, fn, _ := strings.Cut(name, " ")
	for _, i := range astridhost.Interfaces() {
		if f, ok := i.Funcs[fn]; ok && strings.HasPrefix(i.Name, "astrid:"+iface+"/") {
			return f.Call(&component.Call{Ctx: g.ctx, Args: args})
		}
	}
	g.t.Fatalf("there is no %s", name)
	return abi.Value{}
}

// code is the number of an error, or -1 for ok.
func code(v abi.Value) int {
	if v.Num == 0 {
		return -1
	}
	return int(v.Payload().Num)
}

func list(s string) abi.Value { return abi.Value{Ref: []byte(s)} }

func (g *guest) expect(want int, name string, args ...abi.Value) abi.Value {
	g.t.Helper()
	v := g.call(name, args...)
	if got := code(v); got != want {
		g.t.Errorf("%s answers %d, not %d", name, got, want)
	}
	return v.Payload()
}

func TestSys(t *testing.T) {
	var log bytes.Buffer
	g := newGuest(t, astridhost.Config{Principal: "ann", Log: &log, Values: map[string]string{"style": "", "n": "3"}, Capabilities: []string{"fs_read"}})
	if v := g.expect(-1, "sys get-config", abi.String("n")); v.Payload().Text() != "3" {
		t.Errorf("n is %v", v)
	}
	if v := g.expect(-1, "sys get-config", abi.String("style")); v.Num != 1 || v.Payload().Text() != "" {
		t.Errorf("style is %v", v)
	}
	if v := g.expect(-1, "sys get-config", abi.String("none")); v.Num != 0 {
		t.Errorf("none is %v", v)
	}
	caller := g.expect(-1, "sys get-caller").Fields()
	if _, err := time.Parse(time.RFC3339, caller[2].Text()); caller[0].Payload().Text() != "ann" || len(caller[1].Text()) != 36 || err != nil {
		t.Errorf("the caller is %v, %v", caller, err)
	}
	g.call("sys log", abi.Value{Num: 3}, abi.String("two\nlines\x1b[31m\tand a tab"))
	g.call("sys log", abi.Value{}, abi.String(strings.Repeat("é", 70_000)))
	lines := strings.Split(log.String(), "\n")
	if lines[0] != "warn: two lines [31m\tand a tab" || len(lines) != 3 || len(lines[1]) > 70_000 {
		t.Errorf("the log is %.200q", lines)
	}
	before := g.call("sys clock-monotonic-ns").Num
	g.expect(-1, "sys sleep-ns", abi.Value{Num: 1_000_000})
	if after := g.call("sys clock-monotonic-ns").Num; after < before+1_000_000 {
		t.Errorf("%d, and after a sleep of 1 ms %d", before, after)
	}
	g.expect(2, "sys sleep-ns", abi.Value{Num: 60_000_000_001})
	if v := g.expect(-1, "sys random-bytes", abi.Value{Num: 4096}); len(v.Bytes()) != 4096 || bytes.Count(v.Bytes(), []byte{0}) > 100 {
		t.Error("random bytes that are none")
	}
	g.expect(2, "sys random-bytes", abi.Value{Num: 4097})
	for _, c := range []struct {
		id, name string
		want     uint64
	}{{caller[1].Text(), "fs_read", 1}, {caller[1].Text(), "fs_write", 0}, {"", "fs_read", 0}} {
		if v := g.expect(-1, "sys check-capsule-capability", abi.Tuple(abi.String(c.id), abi.String(c.name))); v.Fields()[0].Num != c.want {
			t.Errorf("%v: %v", c, v)
		}
	}
	ctx, cancel := context.WithCancel(g.ctx)
	cancel()
	g.ctx = ctx
	g.expect(4, "sys sleep-ns", abi.Value{Num: 60_000_000_000})
}

func TestKV(t *testing.T) {
	store, release := kv.NewStores(t.TempDir()).Open("p", "c")
	defer release()
	g := newGuest(t, astridhost.Config{KV: store})
	for _, k := range []string{"a1", "a2", "a3", "b"} {
		g.expect(-1, "kv kv-set", abi.String(k), list(k))
	}
	if v := g.expect(-1, "kv kv-get", abi.String("a1")); string(v.Payload().Bytes()) != "a1" {
		t.Errorf("%v", v)
	}
	if v := g.expect(-1, "kv kv-get", abi.String("none")); v.Num != 0 {
		t.Errorf("%v", v)
	}
	var pages []string
	cursor := abi.Value{}
	for {
		f := g.expect(-1, "kv kv-list-keys-page", abi.String("a"), cursor, abi.Value{Num: 2}).Fields()
		for _, k := range f[0].Fields() {
			pages = append(pages, k.Text())
		}
		if cursor = f[1]; cursor.Num == 0 {
			break
		}
		pages = append(pages, "|")
	}
	if got := strings.Join(pages, " "); got != "a1 a2 | a3" {
		t.Errorf("pages: %s", got)
	}
	g.expect(-1, "kv kv-cas", abi.String("c"), abi.Value{}, list("1"))
	g.expect(3, "kv kv-cas", abi.String("c"), abi.Value{}, list("2"))
	g.expect(-1, "kv kv-cas", abi.String("c"), abi.Some(list("1")), list("2"))
	g.expect(0, "kv kv-set", abi.String("\x01"), list(""))
	g.expect(1, "kv kv-set", abi.String("k"), abi.Value{Ref: make([]byte, kv.MaxValue+1)})
	g.expect(-1, "kv kv-delete", abi.String("b"))
	if v := g.expect(-1, "kv kv-clear-prefix", abi.String("a")); v.Num != 3 {
		t.Errorf("cleared %v", v)
	}
	if v := g.expect(-1, "kv kv-list-keys", abi.String("")); len(v.Fields()) != 1 {
		t.Errorf("%v", v)
	}
	newGuest(t, astridhost.Config{}).expect(4, "kv kv-get", abi.String("a"))
}

func TestIPC(t *testing.T) {
	var record []astridhost.Event
	var full error
	g := newGuest(t, astridhost.Config{
		Principal: "ann",
		Messages:  []astridhost.Message{{"user.v1.prompt", `"hi"`}, {"other", "1"}, {"user.v1.stop", "null"}},
		Bindings:  []astridhost.Binding{{"act", "user.v1.*"}},
		Publish:   func(topic string) bool { return topic != "secret" },
		Subscribe: func(pattern string) bool { return pattern != "other" },
		Record: func(_ context.Context, e astridhost.Event) error {
			record = append(record, e)
			return full
		},
	})
	sub := g.expect(-1, "ipc subscribe", abi.String("user.v1.*"))
	v := g.expect(-1, "ipc [method]subscription.recv", sub, abi.Value{Num: 60_000})
	if l := v.Fields()[0].Fields(); len(l) != 2 || l[0].Fields()[1].Text() != `"hi"` || l[1].Fields()[0].Text() != "user.v1.stop" || l[0].Fields()[3].Num != 2 {
		t.Errorf("received %v", l)
	}
	g.expect(2, "ipc [method]subscription.recv", sub, abi.Value{Num: 60_000})
	g.expect(-1, "ipc publish", abi.String("user.v1.answer"), abi.String(`{"a":1}`))
	v = g.expect(-1, "ipc [method]subscription.poll", sub)
	if l := v.Fields()[0].Fields(); len(l) != 1 || l[0].Fields()[3].Payload().Text() != "ann" {
		t.Errorf("received %v", l)
	}
	for _, c := range []struct {
		want           int
		topic, payload string
	}{
		{0, "secret", "1"}, {1, "user..x", "1"}, {1, "User", "1"}, {1, "a.*", "1"}, {1, "", "1"}, {1, "a.b.c.d.e.f.g.h.i", "1"},
		{1, "a", "{"}, {1, "a", ""}, {1, "a", `"` + strings.Repeat("x", 1<<20) + `"`}, {-1, "a-b_c.d0", "[]"},
	} {
		g.expect(c.want, "ipc publish", abi.String(c.topic), abi.String(c.payload))
	}
	g.expect(0, "ipc publish-as", abi.String("a"), abi.String("1"), abi.String("root"))
	g.expect(0, "ipc subscribe", abi.String("other"))
	for _, pattern := range []string{"*.a", "a.*.b", "a*", "a..b"} {
		g.expect(1, "ipc subscribe", abi.String(pattern))
	}
	want := []astridhost.Event{
		{Op: "publish", Topic: "user.v1.answer", Size: 7}, {Op: "publish", Topic: "secret", Denied: true}, {Op: "publish", Topic: "a-b_c.d0", Size: 2},
		{Op: "publish", Topic: "a", Denied: true}, {Op: "subscribe", Topic: "other", Denied: true},
	}
	if !slices.Equal(record, want) {
		t.Errorf("on record: %+v, want %+v", record, want)
	}
	full = syscall.ENOSPC
	g.expect(7, "ipc publish", abi.String("a"), abi.String("1"))
	g.expect(7, "ipc publish", abi.String("secret"), abi.String("1"))
	g.expect(7, "ipc subscribe", abi.String("other"))
	full = nil
	if p := g.in.Published(); len(p) != 2 || p[1] != (astridhost.Message{Topic: "a-b_c.d0", Payload: "[]"}) {
		t.Errorf("published %v", p)
	}
	b := g.expect(-1, "ipc get-interceptor-bindings").Fields()
	if f := b[0].Fields(); len(b) != 1 || f[0].Num != 1 || f[1].Text() != "act" || f[2].Text() != "user.v1.*" {
		t.Errorf("bindings %v", b)
	}
	ready := g.call("ipc [method]subscription.subscribe-readiness", sub)
	if v := g.expect(-1, "io poll", abi.Tuple(ready, ready)); !bytes.Equal(v.Bytes(), []byte{0, 0, 0, 0, 1, 0, 0, 0}) {
		t.Errorf("ready: %v", v)
	}
	g.expect(0, "io poll", abi.Tuple())
	g.expect(-1, "io [method]pollable.block", ready)
	for n := 1; n < 128; n++ {
		g.expect(-1, "ipc subscribe", abi.String("a"))
	}
	g.expect(5, "ipc subscribe", abi.String("a"))
	for code(g.call("ipc publish", abi.String("a"), abi.String("1"))) == -1 {
	}
	if n := len(g.in.Published()); n != 1024 {
		t.Errorf("%d messages were published", n)
	}
}
