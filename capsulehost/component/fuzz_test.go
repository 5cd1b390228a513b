package component

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// TestMutated changes bytes of components at random, always the same ones, and
// runs those that are still valid. The host must neither panic nor hang.
func TestMutated(t *testing.T) {
	rt := newRuntime(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	ran := 0
	for _, name := range []string{"wat/nested.wasm", "wat/transcode.wasm"} {
		good, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for range 1500 {
			b := slices.Clone(good)
			for range 1 + rnd.IntN(3) {
				b[8+rnd.IntN(len(b)-8)] = byte(rnd.Uint32())
			}
			c, err := Decode(b)
			if err != nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			if tryRun(ctx, t, rt, c) {
				ran++
			}
			cancel()
		}
	}
	if ran == 0 {
		t.Error("nothing ran")
	}
}

// tryRun makes an instance and calls what it exports. It tells whether that came
// to an end of the guest's own.
func tryRun(ctx context.Context, t *testing.T, rt wazero.Runtime, c *Component) bool {
	t.Helper()
	p, err := Compile(ctx, rt, c, NewSet(nil))
	if err != nil {
		return false
	}
	defer p.Close(ctx)
	i, err := p.Instantiate(ctx, 8<<20)
	defer func() { i.Close(ctx) }() // also of one that failed
	for _, e := range c.Exports() {
		if err != nil {
			break
		}
		if c.Shape(e.Name) == "func(string) -> string" {
			_, err = i.Call(ctx, []string{e.Name}, abi.String("text é ☃"))
		}
		if c.Shape(e.Name) == "func(u32)" {
			_, err = i.Call(ctx, []string{e.Name}, abi.Value{Num: 1})
		}
	}
	if err == nil {
		return true
	}
	_, fault := errors.AsType[*guest.Fault](err)
	_, broke := errors.AsType[*HostError](err)
	trap := fault || strings.Contains(err.Error(), "wasm error: ")
	if broke || !trap && strings.Contains(err.Error(), "recovered by wazero") {
		t.Errorf("the host failed: %v", err)
	}
	return trap
}
