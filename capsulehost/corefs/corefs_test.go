package corefs_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/astridfs/astridfs/capsulehost/corefs"
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// memoryOnly is (module (memory (export "memory") 1)).
const memoryOnly = "\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x01\x07\x0a\x01\x06memory\x02\x00"

// The names and types are the interface's.
func TestFunctions(t *testing.T) {
	want := `fs-open iiii fs-exists iii fs-mkdir iii fs-mkdir-all iii fs-readdir iii fs-stat iii
		fs-stat-symlink iii fs-unlink iii read-file iii write-file iiiii fs-append iiiii fs-copy iiiii
		fs-rename iiiii fs-remove-dir-all iii fs-canonicalize iii fs-read-link iii fs-hard-link iiiii
		[method]file-handle.read-at iIii [method]file-handle.write-at iIiii [method]file-handle.sync-data ii
		[method]file-handle.sync-all ii [method]file-handle.stat ii [method]file-handle.set-len iIi
		[resource-drop]file-handle i`
	var got []string
	for _, f := range corefs.Functions() {
		got = append(got, f.Name, f.Params)
		if f.Results != "" {
			t.Errorf("%s has results", f.Name)
		}
	}
	if strings.Join(got, " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got %q", got)
	}
}

// The upper halves of i32 arguments are not part of them, and what is stored is
// the result and nothing behind it.
func TestDirtyArguments(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	if _, err := corefs.Instantiate(ctx, rt); err != nil {
		t.Fatal(err)
	}
	mod, err := rt.InstantiateWithConfig(ctx, []byte(memoryOnly), wazero.NewModuleConfig().WithName("guest"))
	if err != nil {
		t.Fatal(err)
	}
	fs, err := hostfs.Open(t.TempDir(), hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	in := &corefs.Instance{FS: fsapi.New(&view.View{Workspace: fs})}
	defer in.Close(ctx)
	ctx = corefs.With(ctx, in)
	call := func(name string, args ...uint64) []byte {
		t.Helper()
		mem := mod.Memory()
		clean, _ := mem.Read(1024, 128)
		for i := range clean {
			clean[i] = 0xaa
		}
		stack := make([]uint64, len(args))
		for _, f := range corefs.Functions() {
			if f.Name != name {
				continue
			}
			for i, arg := range args {
				stack[i] = arg
				if f.Params[i] == 'i' {
					stack[i] |= 0xdeadbeef << 32
				}
			}
			corefs.Call(ctx, f, mod, stack)
		}
		out, _ := mem.Read(1024, 128)
		return out
	}
	path := func(at uint32, s string) (uint64, uint64) {
		mod.Memory().WriteString(at, s)
		return uint64(at), uint64(len(s))
	}
	p, n := path(0, "file")
	out := call("fs-open", p, n, uint64(fsapi.ModeWrite), 1024)
	if out[0] != 0 || out[1] != 0xaa || out[8] != 0xaa {
		t.Fatalf("%x", out[:16])
	}
	h := uint64(binary.LittleEndian.Uint32(out[4:]))
	data, m := path(100, "contents")
	if out := call("[method]file-handle.write-at", h, 0, data, m, 1024); out[0] != 0 || out[4] != 8 {
		t.Errorf("%x", out[:16])
	}
	if out := call("[method]file-handle.set-len", h, 1<<33, 1024); out[0] != 0 || out[4] != 0xaa {
		t.Errorf("%x", out[:16])
	}
	if out := call("fs-stat", p, n, 1024); out[0] != 0 || binary.LittleEndian.Uint64(out[8:]) != 1<<33 || out[16] != 1 || out[17] != 0xaa || out[96] != 0xaa {
		t.Errorf("%x", out[:100])
	}
	call("[resource-drop]file-handle", h)
	if out := call("[method]file-handle.sync-all", h, 1024); out[0] != 1 || out[4] != byte(fsapi.Closed) || out[5] != 0xaa {
		t.Errorf("%x", out[:16])
	}
	if in.FS.OpenHandles() != 0 {
		t.Error("a handle is open")
	}
	if out := call("fs-exists", p, n, 1024); out[0] != 0 || out[4] != 1 || out[5] != 0xaa {
		t.Errorf("%x", out[:16])
	}
	if out := call("fs-remove-dir-all", p, n, 1024); out[0] != 1 || out[8] != byte(fsapi.NotDirectory) {
		t.Errorf("%x", out[:24])
	}
}
