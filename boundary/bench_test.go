package boundary_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// benchFS is a tree under each of: no layer, a layer without rules, one with.
func benchFS(b *testing.B, run func(b *testing.B, fs vfs.FS, dir vfs.NodeID)) {
	b.Helper()
	var rules strings.Builder
	for i := range 200 {
		fmt.Fprintf(&rules, "name%d\n*.ext%d\n/dir%d/file\npre%d-*\n", i, i, i, i)
	}
	for _, c := range []struct {
		name  string
		layer bool
		deny  []string
	}{{"hostfs", false, nil}, {"no rules", true, nil}, {"800 rules", true, strings.Fields(rules.String())}} {
		b.Run(c.name, func(b *testing.B) {
			root := b.TempDir()
			if err := os.MkdirAll(filepath.Join(root, "a/b"), 0o755); err != nil {
				b.Fatal(err)
			}
			for i := range 1000 {
				if err := os.WriteFile(filepath.Join(root, "a/b", fmt.Sprint("file", i)), nil, 0o644); err != nil {
					b.Fatal(err)
				}
			}
			host, err := hostfs.Open(root, hostfs.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer host.Close()
			var fs vfs.FS = host
			if c.layer {
				l, err := boundary.New(host, boundary.Options{Deny: c.deny})
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				fs = l
			}
			t, err := vfs.Walk(context.Background(), fs, vfs.RootID, "a/b", 0)
			if err != nil {
				b.Fatal(err)
			}
			defer t.Release()
			b.ReportAllocs()
			run(b, fs, t.Entry.Node)
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	benchFS(b, func(b *testing.B, fs vfs.FS, dir vfs.NodeID) {
		ctx := context.Background()
		for b.Loop() {
			e, err := fs.Lookup(ctx, dir, "file500")
			if err != nil {
				b.Fatal(err)
			}
			fs.Forget(e.Node, 1)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchFS(b, func(b *testing.B, fs vfs.FS, dir vfs.NodeID) {
		ctx := context.Background()
		e, err := fs.Lookup(ctx, dir, "file500")
		if err != nil {
			b.Fatal(err)
		}
		defer fs.Forget(e.Node, 1)
		for b.Loop() {
			h, err := fs.Open(ctx, e.Node, unix.O_RDONLY)
			if err != nil {
				b.Fatal(err)
			}
			h.Close()
		}
	})
}

func BenchmarkList1000(b *testing.B) {
	benchFS(b, func(b *testing.B, fs vfs.FS, dir vfs.NodeID) {
		ctx := context.Background()
		for b.Loop() {
			h, err := fs.OpenDir(ctx, dir)
			if err != nil {
				b.Fatal(err)
			}
			if err := h.ReadDir(ctx, 0, func(vfs.DirEntry) bool { return true }); err != nil {
				b.Fatal(err)
			}
			h.Close()
		}
	})
}

// BenchmarkHiddenLookup is a name that is refused without looking.
func BenchmarkHiddenLookup(b *testing.B) {
	benchFS(b, func(b *testing.B, fs vfs.FS, dir vfs.NodeID) {
		for b.Loop() {
			if e, err := fs.Lookup(context.Background(), dir, "pre77-x"); err == nil {
				fs.Forget(e.Node, 1)
			}
		}
	})
}

// BenchmarkGetAttr looks at many nodes in turn, longer than a look at the rules
// is good for.
func BenchmarkGetAttr(b *testing.B) {
	benchFS(b, func(b *testing.B, fs vfs.FS, dir vfs.NodeID) {
		ctx := context.Background()
		var nodes []vfs.NodeID
		for i := range 1000 {
			e, err := fs.Lookup(ctx, dir, fmt.Sprint("file", i))
			if err != nil {
				b.Fatal(err)
			}
			defer fs.Forget(e.Node, 1)
			nodes = append(nodes, e.Node)
		}
		i := 0
		for b.Loop() {
			if _, err := fs.GetAttr(ctx, nodes[i%len(nodes)], nil); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}
