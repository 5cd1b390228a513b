package capsulehost_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/vfs"
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

// BenchmarkCall compares each call from a guest with what it needs of the
// system at least, made from Go.
func BenchmarkCall(b *testing.B) {
	h := newHost(b, capsulehost.Options{})
	m := compile(b, h, cGuest(b, "bench/bench.c"))
	v, dir := newView(b)
	v.Gate = grants{read: []string{"cwd://dir", "cwd://many"}, write: []string{"cwd://dir"}}
	benchTree(b, dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		action string
		bare   func(n int) error
	}{
		{"fs-exists", func(n int) error { return repeat(n, func(int) error { return unix.Access(path("dir/1K"), unix.F_OK) }) }},
		{"fs-stat", func(n int) error {
			var st unix.Statx_t
			return repeat(n, func(int) error {
				return unix.Statx(unix.AT_FDCWD, path("dir/1K"), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
			})
		}},
		{"read-file 1K", func(n int) error {
			return repeat(n, func(int) error { _, err := os.ReadFile(path("dir/1K")); return err })
		}},
		{"read-file 10M", func(n int) error {
			return repeat(n, func(int) error { _, err := os.ReadFile(path("dir/10M")); return err })
		}},
		{"read-at", func(n int) error {
			f, err := os.Open(path("dir/10M"))
			if err != nil {
				return err
			}
			defer f.Close()
			buf := make([]byte, 4096)
			return repeat(n, func(i int) error { _, err := f.ReadAt(buf, int64(i&1023)*4096); return err })
		}},
		{"write-at", func(n int) error {
			f, err := os.Create(path("dir/bare"))
			if err != nil {
				return err
			}
			defer f.Close()
			buf := make([]byte, 4096)
			return repeat(n, func(i int) error { _, err := f.WriteAt(buf, int64(i&1023)*4096); return err })
		}},
		{"write-file 1K", func(n int) error {
			return repeat(n, func(int) error { return os.WriteFile(path("dir/bare2"), make([]byte, 1024), 0o644) })
		}},
		{"fs-readdir 4096", func(n int) error {
			return repeat(n, func(int) error {
				d, err := os.Open(path("many"))
				if err != nil {
					return err
				}
				defer d.Close()
				names, err := d.Readdirnames(-1)
				slices.Sort(names)
				return err
			})
		}},
	} {
		b.Run(strings.ReplaceAll(c.action, " ", "-")+"/guest", func(b *testing.B) {
			payload := binary.LittleEndian.AppendUint64(nil, uint64(b.N))
			b.ReportAllocs()
			_, err := h.Run(context.Background(), m, capsulehost.RunConfig{
				View: v, Action: c.action, Payload: payload,
				Limits: capsulehost.Limits{WriteBytes: capsulehost.Unlimited},
			})
			if err != nil {
				b.Fatal(err)
			}
		})
		b.Run(strings.ReplaceAll(c.action, " ", "-")+"/bare", func(b *testing.B) {
			if err := c.bare(b.N); err != nil {
				b.Fatal(err)
			}
		})
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

// BenchmarkRun is the start and end of a small guest of a compiled module.
func BenchmarkRun(b *testing.B) {
	g := newMisbehave(b, capsulehost.Options{})
	for b.Loop() {
		if _, err := g.run(context.Background(), "nothing", nil, capsulehost.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParallel is many small guests at once.
func BenchmarkParallel(b *testing.B) {
	g := newMisbehave(b, capsulehost.Options{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := g.run(context.Background(), "exists", []byte("file"), capsulehost.Limits{}); err != nil {
				b.Error(err)
			}
		}
	})
}

var _ vfs.Gate = grants{}
