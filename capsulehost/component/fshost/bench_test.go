package fshost_test

import (
	"context"
	"errors"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/component/fshost"
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
)

// BenchmarkInstantiate makes and closes an instance of a compiled component.
func BenchmarkInstantiate(b *testing.B) {
	p := program(b, "conformance.wasm")
	v := &view.View{Workspace: openDir(b, b.TempDir()), Quota: view.NewQuota(0, 0)}
	for b.Loop() {
		fs := fsapi.New(v)
		ctx := fshost.With(context.Background(), &fshost.Instance{FS: fs})
		i, err := p.Instantiate(ctx, 64<<20)
		if err := errors.Join(err, i.Close(ctx), fs.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
