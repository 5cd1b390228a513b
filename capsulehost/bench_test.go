package capsulehost_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// benchTree makes what the benchmarks work on.
func benchTree(b *testing.B, dir string) {
	b.Helper()
	for _, d := range []string{"dir", "many"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for name, size := range map[string]int{"dir/1K": 1 << 10, "dir/10M": 10 << 20} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("x", size)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 4096 {
		if err := os.WriteFile(filepath.Join(dir, "many", fmt.Sprintf("file-%d", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// workload is one call, and what it needs of the system at least, made from Go.
type workload struct {
	name string
	bare func(dir string, n int) error
}

// workloads are in the order that the guests have them.
func workloads() []workload {
	return []workload{
		{"fs-exists", func(dir string, n int) error {
			return repeat(n, func(int) error { return unix.Access(dir+"/dir/1K", unix.F_OK) })
		}},
		{"fs-stat", func(dir string, n int) error {
			var st unix.Statx_t
			return repeat(n, func(int) error {
				return unix.Statx(unix.AT_FDCWD, dir+"/dir/1K", 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
			})
		}},
		{"read-file 1K", func(dir string, n int) error { return readFiles(dir+"/dir/1K", n) }},
		{"read-file 10M", func(dir string, n int) error { return readFiles(dir+"/dir/10M", n) }},
		{"read-at", func(dir string, n int) error {
			f, err := os.Open(dir + "/dir/10M")
			if err != nil {
				return err
			}
			defer f.Close()
			buf := make([]byte, 4096)
			return repeat(n, func(i int) error { _, err := f.ReadAt(buf, int64(i&1023)*4096); return err })
		}},
		{"write-at", func(dir string, n int) error {
			f, err := os.Create(dir + "/dir/bare")
			if err != nil {
				return err
			}
			defer f.Close()
			buf := make([]byte, 4096)
			return repeat(n, func(i int) error { _, err := f.WriteAt(buf, int64(i&1023)*4096); return err })
		}},
		{"write-file 1K", func(dir string, n int) error {
			return repeat(n, func(int) error { return os.WriteFile(dir+"/dir/bare2", make([]byte, 1024), 0o644) })
		}},
		{"fs-readdir 4096", func(dir string, n int) error {
			return repeat(n, func(int) error {
				d, err := os.Open(dir + "/many")
				if err != nil {
					return err
				}
				defer d.Close()
				names, err := d.Readdirnames(-1)
				slices.Sort(names)
				return err
			})
		}},
	}
}

// readFiles reads a file into memory that is there already, as a guest's is.
func readFiles(name string, n int) error {
	buf := make([]byte, 10<<20+1)
	return repeat(n, func(int) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		for have := 0; ; {
			m, err := f.Read(buf[have:])
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			have += m
		}
	})
}

// BenchmarkGuestCall compares, for each call: the call of astrid:fs from a guest
// in C, on a directory and on an overlay of it; from the same guest as a component, where scripts/guests/build has made
// it one (scripts/bench does); the same work by WASI on the same view; by WASI on wazero's own mount of
// the directory; and the bare system calls, made from Go.
func BenchmarkGuestCall(b *testing.B) {
	h := newHost(b, capsulehost.Options{})
	m := compile(b, h, cGuest(b, "bench/bench.c"))
	var c *capsulehost.Module
	if wasm, err := os.ReadFile("../.cache/guests/bench.wasm"); err == nil {
		c = compile(b, h, wasm)
	} else if !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	v, dir := newView(b)
	grants, err := gate.Parse([]string{"cwd://dir", "cwd://many"}, []string{"cwd://dir"})
	if err != nil {
		b.Fatal(err)
	}
	v.Gate = grants
	benchTree(b, dir)
	over := &view.View{Workspace: workspaces["overlay"](b, dir), Gate: v.Gate}
	ours := wasiBench(b, func(ctx context.Context, rt wazero.Runtime) (context.Context, wazero.ModuleConfig) {
		if _, err := wasip1.Instantiate(ctx, rt); err != nil {
			b.Fatal(err)
		}
		in, err := wasip1.New(wasip1.Config{View: v})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { in.Close() })
		return wasip1.With(ctx, in), wazero.NewModuleConfig()
	})
	wazeros := wasiBench(b, func(ctx context.Context, rt wazero.Runtime) (context.Context, wazero.ModuleConfig) {
		wasi_snapshot_preview1.MustInstantiate(ctx, rt)
		return ctx, wazero.NewModuleConfig().WithFSConfig(wazero.NewFSConfig().WithDirMount(dir, "/"))
	})
	for i, w := range workloads() {
		name := strings.ReplaceAll(w.name, " ", "-")
		for _, on := range []struct {
			name  string
			view  *view.View
			guest *capsulehost.Module
		}{{"astrid-fs", v, m}, {"astrid-fs-overlay", over, m}, {"component", v, c}} {
			if on.guest == nil {
				continue
			}
			b.Run(name+"/"+on.name, func(b *testing.B) {
				payload := binary.LittleEndian.AppendUint64(nil, uint64(b.N))
				b.ReportAllocs()
				_, err := h.Run(context.Background(), on.guest, capsulehost.RunConfig{
					View: on.view, Action: w.name, Payload: payload,
					Limits: capsulehost.Limits{WriteBytes: capsulehost.Unlimited},
				})
				if err != nil {
					b.Fatal(err)
				}
			})
		}
		b.Run(name+"/wasi", func(b *testing.B) { ours(b, i) })
		b.Run(name+"/wazero-mount", func(b *testing.B) { wazeros(b, i) })
		b.Run(name+"/bare", func(b *testing.B) {
			if err := w.bare(dir, b.N); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// wasiBench makes a runtime of wazero with the WASI that setup gives it, and
// returns a function that runs a workload in it.
func wasiBench(b *testing.B, setup func(context.Context, wazero.Runtime) (context.Context, wazero.ModuleConfig)) func(b *testing.B, what int) {
	b.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	b.Cleanup(func() { rt.Close(ctx) })
	ctx, config := setup(ctx, rt)
	mod, err := rt.InstantiateWithConfig(ctx, cGuest(b, "bench_wasi/bench.c"), config)
	if err != nil {
		b.Fatal(err)
	}
	bench := mod.ExportedFunction("bench")
	return func(b *testing.B, what int) {
		if _, err := bench.Call(ctx, uint64(what), uint64(b.N)); err != nil {
			b.Fatal(err)
		}
	}
}

func repeat(n int, do func(i int) error) error {
	for i := range n {
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkGuestRun is the start and end of a small guest of a compiled module.
func BenchmarkGuestRun(b *testing.B) {
	g := newMisbehave(b, capsulehost.Options{})
	for b.Loop() {
		if _, err := g.run(context.Background(), "nothing", nil, capsulehost.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGuestParallel is many small guests at once.
func BenchmarkGuestParallel(b *testing.B) {
	g := newMisbehave(b, capsulehost.Options{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := g.run(context.Background(), "exists", []byte("file"), capsulehost.Limits{}); err != nil {
				b.Error(err)
			}
		}
	})
}
