package capsulehost_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// Calls with random pointers, lengths, handles and paths: the host neither
// fails nor changes anything of the guest's memory but the result (the guest
// looks, and exits with 99), nothing outside of the view is touched, and no
// descriptor is left.
func FuzzCalls(f *testing.F) {
	g := newMisbehave(f, capsulehost.Options{})
	few, err := hostfs.Open(g.dir, hostfs.Options{Dirs: 4, Pins: 4}) // so that a leak shows
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { few.Close() })
	g.view = &view.View{Workspace: few}
	outside := filepath.Join(filepath.Dir(g.dir), "outside")
	if err := os.WriteFile(outside, []byte("untouched"), 0o644); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(g.dir, "escape")); err != nil {
		f.Fatal(err)
	}
	f.Add(seed("fileescape../outsidetmp://x"))
	for fn := range 24 {
		f.Add(seed("file", call{fn, 0, 4, 0, 4, 512, 0, 0}, call{fn, 0, 4, 2048, 100, 0x80000000, 0, 0}))
		f.Add(seed("escape/../outside", call{fn, 0, 6, 0, 17, 512, 0x81, 1}, call{0, 0, 6, 0, 3, 512, 0, 0}, call{fn, 0, 3, 1, 3, 520, 0x10, 5}))
	}
	for range 50 {
		g.healthy()
	}
	before := descriptors(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		res, err := g.run(context.Background(), "calls", payload, capsulehost.Limits{
			WriteBytes: 1 << 20, FileCount: 100, WallTime: 10 * time.Second,
		})
		if trap, ok := errors.AsType[*capsulehost.TrapError](err); err != nil && (!ok || trap.Kind == capsulehost.TrapHost) {
			t.Fatal(err)
		}
		if res.ExitCode != 0 {
			t.Fatalf("the guest's memory was changed: %+v", res)
		}
		if b, err := os.ReadFile(outside); string(b) != "untouched" {
			t.Fatalf("the file outside holds %q, %v", b, err)
		}
		if after := descriptors(t); after > before+8 { // what the filesystem keeps
			t.Fatalf("%d descriptors are open, and were %d", after, before)
		}
	})
}

// call is one call for the guest to make: the function, pointers into its arena
// (or, with the top bit, anywhere), lengths, a handle and an offset.
type call struct {
	fn     int
	a      uint32
	n      uint16
	b      uint32
	m      uint16
	ret    uint32
	handle byte
	off    uint64
}

// seed is what the guest reads: the start of its arena, then calls.
func seed(arena string, calls ...call) []byte {
	out := binary.LittleEndian.AppendUint16(nil, uint16(len(arena)))
	out = append(out, arena...)
	for _, c := range calls {
		out = append(out, byte(c.fn))
		out = binary.LittleEndian.AppendUint32(out, c.a)
		out = binary.LittleEndian.AppendUint16(out, c.n)
		out = binary.LittleEndian.AppendUint32(out, c.b)
		out = binary.LittleEndian.AppendUint16(out, c.m)
		out = binary.LittleEndian.AppendUint32(out, c.ret)
		out = append(out, c.handle)
		out = binary.LittleEndian.AppendUint64(out, c.off)
	}
	return out
}

// Broken binaries: an error and no panic, and what is accepted can be
// inspected.
func FuzzInspect(f *testing.F) {
	small := cGuest(f, "misbehave/misbehave.c")
	f.Add(small[:400])
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x02\x23\x01\x14astrid:fs/host@1.0.0\x0afs-nothing\x00\x00"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		info, err := capsulehost.Inspect(wasm)
		if err == nil {
			if info.Kind == "" {
				t.Error("no kind")
			}
			return
		}
		e, ok := errors.AsType[*capsulehost.FormatError](err)
		if !ok || e.Offset < 0 || e.Offset > int64(len(wasm)) {
			t.Errorf("%T %v", err, err)
		}
	})
}
