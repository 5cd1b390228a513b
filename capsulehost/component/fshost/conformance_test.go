package fshost_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/fshost"
	"github.com/astridfs/astridfs/capsulehost/conformance"
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

func openDir(tb testing.TB, dir string) *hostfs.FS {
	tb.Helper()
	fs, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { fs.Close() })
	return fs
}

// program compiles a component of testdata.
func program(tb testing.TB, name string) *component.Program {
	tb.Helper()
	ctx := context.Background()
	wasm, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := component.Decode(wasm)
	if err != nil {
		tb.Fatal(err)
	}
	rt := wazero.NewRuntime(ctx)
	p, err := component.Compile(ctx, rt, c, component.NewSet([]*component.Interface{fshost.Interface()}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(p.Close(ctx), rt.Close(ctx)); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// TestConformance runs the guest that the core-module edge is tested with as a
// component, all but the cases in which a component is trapped.
func TestConformance(t *testing.T) {
	dir := t.TempDir()
	if err := conformance.Prepare(dir); err != nil {
		t.Fatal(err)
	}
	grants, err := gate.Parse(conformance.Grants())
	if err != nil {
		t.Fatal(err)
	}
	v := &view.View{
		Workspace: openDir(t, dir), Home: openDir(t, t.TempDir()), Tmp: openDir(t, t.TempDir()), Gate: grants,
		Quota: view.NewQuota(conformance.WriteBytes, conformance.FileCount),
	}
	fs := fsapi.New(v)
	ctx := fshost.With(context.Background(), &fshost.Instance{FS: fs})
	i, err := program(t, "conformance.wasm").Instantiate(ctx, 256<<20)
	defer func() {
		if err := errors.Join(i.Close(ctx), fs.Close()); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	out, err := i.Call(ctx, []string{"astrid-hook-trigger"}, abi.String(conformance.Action), abi.Value{Ref: []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	cases, err := conformance.Parse(out.Fields()[1].Payload().Text())
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 190 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		if c.Got != c.Want {
			t.Errorf("%s: got %q, want %q", c.Name, c.Got, c.Want)
		}
	}
	if n := fs.OpenHandles(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}
