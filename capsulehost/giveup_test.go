package capsulehost_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/astridfs/astridfs/capsulehost"
)

// TestCompileGivenUp gives up while the compiler is busy with one function, which
// it does not end before its time, and closes the host.
func TestCompileGivenUp(t *testing.T) {
	const n = 6000 // values that stay on the stack while there are loops
	sized := func(b ...[]byte) []byte {
		body := bytes.Join(b, nil)
		return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	}
	slow := sized([]byte{0}, bytes.Repeat([]byte{0x10, 1}, n), bytes.Repeat([]byte{0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b}, n), bytes.Repeat([]byte{0x1a}, n), []byte{0x0b})
	wasm := bytes.Join([][]byte{
		[]byte("\x00asm\x01\x00\x00\x00\x01\x08\x02\x60\x00\x00\x60\x00\x01\x7f\x03\x03\x02\x00\x01\x07\x07\x01\x03run\x00\x00\x0a"),
		sized([]byte{2}, slow, sized([]byte{0, 0x41, 1, 0x0b})),
	}, nil)
	h, err := capsulehost.New(context.Background(), capsulehost.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stacks := make([]byte, 1<<20)
	busy := func() bool {
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("wazevo.(*engine).compileLocalWasmFunction("))
	}
	ctx, cancel := context.WithCancel(context.Background())
	given := make(chan error, 1)
	go func() {
		_, err := h.Compile(ctx, wasm)
		given <- err
	}()
	for deadline := time.Now().Add(time.Minute); !busy(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the compiler does not begin")
		}
	}
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Fatalf("given up: %v", err)
	}
	if !busy() {
		t.Error("it was waited for all the same")
	}
	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
