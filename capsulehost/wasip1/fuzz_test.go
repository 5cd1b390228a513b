package wasip1

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/astridfs/astridfs/capsulehost/view"
)

// fuzzPaths are what fuzzed calls may have for a path.
func fuzzPaths() []string {
	return []string{"f", "d", "d/g", ".", "..", "../secret", "l", "d/up", "d/../../secret", "/etc/passwd", "x", "d/x/", "",
		"f\x00", "\xff", "abs", "loop", "workspace/f", "workspace/../..", "d/./../d//g"}
}

// FuzzCalls makes random calls with random parameters. None may trap the guest
// or panic, touch what is outside of the workspace, or leave anything open.
//
// The input is a sequence of calls: a byte for which, and two for each of its
// parameters, what kind it is of and which.
func FuzzCalls(f *testing.F) {
	list := exports()
	number := map[string]byte{}
	for i, e := range list {
		number[e.name] = byte(i)
	}
	const small, fd, path, length, scratch, edge, huge, all = 0, 1, 2, 3, 4, 5, 6, 7
	open := func(p byte, oflags byte) []byte {
		return []byte{number["path_open"], fd, 3, small, 1, path, p, length, 0, small, oflags, all, 0, all, 0, small, 0, scratch, 0}
	}
	for _, seed := range [][][]byte{
		{open(0, 9), {number["fd_write"], fd, 7, scratch, 1, small, 1, scratch, 2}, {number["fd_close"], fd, 7}},
		{open(1, 2), {number["fd_readdir"], fd, 7, scratch, 0, small, 200, small, 0, scratch, 9}, {number["path_open"], fd, 7, small, 1, path, 7, length, 0, small, 0, all, 0, all, 0, small, 0, scratch, 0}},
		{{number["path_rename"], fd, 3, path, 1, length, 0, fd, 3, path, 10, length, 0}, {number["path_remove_directory"], fd, 3, path, 10, length, 0}},
		{{number["path_symlink"], path, 5, length, 0, fd, 3, path, 10, length, 0}, {number["path_link"], fd, 3, small, 1, path, 15, length, 0, fd, 6, path, 10, length, 0}},
		{{number["poll_oneoff"], scratch, 0, scratch, 3, small, 2, scratch, 7}, {number["fd_renumber"], fd, 1, fd, 3}, {number["random_get"], edge, 0, huge, 0}},
		{{number["path_filestat_get"], fd, 5, small, 0, path, 18, length, 0, scratch, 0}, {number["path_readlink"], fd, 3, path, 15, length, 0, scratch, 0, small, 64, scratch, 9}},
		{open(8, 1), open(9, 1), open(5, 1), {number["fd_allocate"], fd, 7, huge, 1, huge, 2}, {number["fd_filestat_set_size"], fd, 7, huge, 3}},
	} {
		var b []byte
		for _, call := range seed {
			b = append(b, call...)
		}
		f.Add(b)
	}

	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	f.Cleanup(func() { rt.Close(ctx) })
	if _, err := Instantiate(ctx, rt); err != nil {
		f.Fatal(err)
	}
	compiled, err := rt.CompileModule(ctx, trampolines())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		outer := t.TempDir()
		g := &guest{t: t, dir: filepath.Join(outer, "w"), top: 1024}
		g.file("f", "text")
		g.file("d/g", "more")
		g.file("../secret", "secret")
		for l, to := range map[string]string{"l": "d/g", "d/up": "../../secret", "abs": filepath.Join(outer, "secret"), "loop": "loop"} {
			if err := os.Symlink(to, filepath.Join(g.dir, l)); err != nil {
				t.Fatal(err)
			}
		}
		g.fs = openCounted(t, g.dir)
		in, err := New(Config{
			View:     &view.View{Workspace: g.fs, Quota: view.NewQuota(1<<20, 100)},
			Args:     []string{"fuzz"},
			MaxFiles: 16,
		})
		if err != nil {
			t.Fatal(err)
		}
		g.in = in
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond) // a wait that is asked for ends
		defer cancel()
		if g.mod, err = rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("")); err != nil {
			t.Fatal(err)
		}
		defer g.mod.Close(ctx)
		for calls := 0; len(data) > 0 && calls < 64; calls++ {
			e := list[int(data[0])%len(list)]
			data = data[1:]
			args := make([]uint64, len(e.params))
			last := ""
			for i := range args {
				if len(data) < 2 {
					data = nil
					break
				}
				kind, v := data[0]%8, uint64(data[1])
				data = data[2:]
				switch kind {
				case small:
					args[i] = v
				case fd:
					args[i] = v % 16
				case path:
					last = fuzzPaths()[int(v)%len(fuzzPaths())]
					args[i], _ = g.str(last)
				case length:
					args[i] = uint64(len(last)) + v/128
				case scratch:
					args[i] = 32768 + v*64
				case edge:
					args[i] = beyond - v
				case huge:
					args[i] = 1<<(v%64) - v/64
				case all:
					args[i] = uint64(allRights) &^ (1 << v)
				}
			}
			if _, err := g.try(ctx, e.name, args...); ctx.Err() != nil {
				break // the time was up, on a busy machine also without a wait
			} else if err != nil {
				t.Fatalf("%s%v: %v", e.name, args, err)
			}
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		g.fs.check()
		equal(t, "what is outside", g.content("../secret"), "secret")
		names, err := os.ReadDir(outer)
		if err != nil || len(names) != 2 {
			t.Errorf("beside the workspace: %v, %v", names, err)
		}
	})
}
