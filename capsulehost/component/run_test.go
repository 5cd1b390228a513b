package component

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

func newRuntime(tb testing.TB) wazero.Runtime {
	tb.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true).
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesTailCall|experimental.CoreFeaturesExtendedConst))
	tb.Cleanup(func() { rt.Close(ctx) })
	return rt
}

// start makes an instance of a component of testdata.
func start(tb testing.TB, ctx context.Context, name string, set *Set) *Instance {
	tb.Helper()
	p, err := Compile(ctx, newRuntime(tb), decodeFile(tb, name), set)
	if err != nil {
		tb.Fatal(err)
	}
	i, err := p.Instantiate(ctx, 64<<20)
	tb.Cleanup(func() {
		if err := errors.Join(i.Close(ctx), p.Close(ctx)); err != nil {
			tb.Error(err)
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

func TestNested(t *testing.T) {
	ctx := context.Background()
	i := start(t, ctx, "wat/nested.wasm", NewSet(nil))
	run := []string{"test:nested/run@1.0.0", "run"}
	sum := uint64(0)
	for n := uint64(1); n < 5; n++ {
		sum += n // what the destructors have seen
		v, err := i.Call(ctx, run, abi.Value{Num: n})
		if err != nil {
			t.Fatal(err)
		}
		if want := 2000*n + sum; v.Num != want {
			t.Errorf("run(%d) is %d, not %d", n, v.Num, want)
		}
	}
	_, err := i.Call(ctx, []string{"twice"}, abi.Value{Num: 1})
	if fault, ok := errors.AsType[*guest.Fault](err); !ok {
		t.Errorf("dropping a handle twice: %v", err)
	} else if fault.Reason != "there is no handle 1" {
		t.Errorf("dropping a handle twice: %s", fault.Reason)
	}
	if _, err := i.Call(ctx, run, abi.Value{Num: 1}); err != ErrDead {
		t.Errorf("a call after a trap: %v", err)
	}
}

// A resource type that is exported as another one is that one for whoever makes an
// instance, and the same where it is made.
func TestAbstract(t *testing.T) {
	ctx := context.Background()
	i := start(t, ctx, "wat/abstract.wasm", NewSet(nil))
	for n := uint64(3); n < 10; n += 3 {
		if v, err := i.Call(ctx, []string{"run"}); err != nil || v.Num != n {
			t.Fatalf("run() is %d, not %d: %v", v.Num, n, err)
		}
	}
}

// Parameters that no memory can hold trap, called by a guest and by the host.
func TestHugeParameters(t *testing.T) {
	ctx := context.Background()
	for name, args := range map[string][]abi.Value{"run": nil, "f": make([]abi.Value, 32)} {
		for k := range args {
			args[k] = abi.Value{Ref: []byte{}}
		}
		i := start(t, ctx, "wat/params.wasm", NewSet(nil))
		_, err := i.Call(ctx, []string{name}, args...)
		if fault, ok := errors.AsType[*guest.Fault](err); !ok || !strings.Contains(fault.Reason, "more than a memory") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Destructors run within each other only so deep: each takes stack of the host.
func TestNestedDestructors(t *testing.T) {
	ctx := context.Background()
	for _, n := range []uint64{1, guest.MaxNested, guest.MaxNested + 1, 1 << 31} {
		i := start(t, ctx, "wat/dtors.wasm", NewSet(nil))
		_, err := i.Call(ctx, []string{"run"}, abi.Value{Num: n})
		fault, ok := errors.AsType[*guest.Fault](err)
		if n <= guest.MaxNested && err != nil || n > guest.MaxNested && (!ok || !strings.Contains(fault.Reason, "within each other")) {
			t.Errorf("%d within each other: %v", n, err)
		}
	}
}

func TestTranscode(t *testing.T) {
	ctx := context.Background()
	i := start(t, ctx, "wat/transcode.wasm", NewSet(nil))
	for _, s := range []string{"", "plain", "é", "snow ☃", "𝒳 beyond", "日本語 and more"} {
		v, err := i.Call(ctx, []string{"run"}, abi.String(s))
		if err != nil {
			t.Fatal(err)
		}
		if v.Text() != s {
			t.Errorf("%q came back as %q", s, v.Text())
		}
	}
}

// TestTwoInstances runs two instances of a program, one within the other's
// life, and one after a trap.
func TestTwoInstances(t *testing.T) {
	ctx := context.Background()
	rt := newRuntime(t)
	p, err := Compile(ctx, rt, decodeFile(t, "wat/nested.wasm"), NewSet(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	var live []*Instance
	for range 3 {
		i, err := p.Instantiate(ctx, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close(ctx)
		live = append(live, i)
	}
	run := []string{"test:nested/run@1.0.0", "run"}
	if _, err := live[1].Call(ctx, []string{"twice"}, abi.Value{Num: 1}); err == nil {
		t.Error("no trap")
	}
	for k, i := range []*Instance{live[0], live[2], live[0]} {
		v, err := i.Call(ctx, run, abi.Value{Num: 1})
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(2001 + k/2); v.Num != want {
			t.Errorf("%d: %d, not %d", k, v.Num, want)
		}
	}
}

func TestImportsRefused(t *testing.T) {
	ctx := context.Background()
	rt := newRuntime(t)
	for name, want := range map[string]ImportError{
		"conformance.wasm": {Interface: "astrid:fs/host@1.0.0", Name: "file-handle", Want: "resource"},
		"types.wasm":       {Interface: "test:types/shapes@0.1.0", Name: "canvas", Want: "resource"},
	} {
		_, err := Compile(ctx, rt, decodeFile(t, name), NewSet(nil))
		missing, ok := errors.AsType[*ImportError](err)
		if !ok || *missing != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Denied interfaces link, and the first import that is not one is refused.
	_, err := Compile(ctx, rt, decodeFile(t, "types.wasm"), NewSet(nil, "test:types/"))
	if missing, ok := errors.AsType[*ImportError](err); !ok || missing.Interface != "log" {
		t.Errorf("%v", err)
	}
	p, err := Compile(ctx, rt, decodeFile(t, "conformance.wasm"), NewSet(nil, "astrid:"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
}

// TestDenied calls what the host provides only to deny it: in the terms of the
// function's type, or by a trap where that has none.
func TestDenied(t *testing.T) {
	ctx := context.Background()
	i := start(t, ctx, "wat/denied.wasm", NewSet(nil, "astrid:"))
	v, err := i.Call(ctx, []string{"dial"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Num != 101 {
		t.Errorf("dial answers %d, not the error capability-denied", v.Num)
	}
	_, err = i.Call(ctx, []string{"clock"})
	if fault, ok := errors.AsType[*guest.Fault](err); !ok || fault.Reason != "astrid:net/host@1.0.0 clock is not provided by this host" {
		t.Errorf("clock: %v", err)
	}
}
