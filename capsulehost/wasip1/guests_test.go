package wasip1_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// root is the project's directory, cache what may stay there between runs.
const (
	root  = "../.."
	cache = root + "/.cache"
)

// programs builds the named guests, once in a run of the tests.
var programs = func() func(t *testing.T, names ...string) {
	var mu sync.Mutex
	built := map[string]bool{}
	return func(t *testing.T, names ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return built[n] })
		if len(names) == 0 {
			return
		}
		if out, err := exec.Command(root+"/scripts/guests/build", names...).CombinedOutput(); err != nil {
			t.Fatalf("building %v: %v\n%s", names, err, out)
		}
		for _, n := range names {
			built[n] = true
		}
	}
}()

// bed is a directory twice: as a view for guests, and as a plain directory for
// the same programs run natively.
type bed struct {
	t       *testing.T
	runtime wazero.Runtime
	view    *view.View
	native  string
}

// beds runs f on each kind of filesystem that a workspace can be. make fills a
// directory, and is called twice.
func beds(t *testing.T, fill func(t *testing.T, dir string), f func(b *bed)) {
	kinds := map[string]func(t *testing.T, dir string) vfs.FS{
		"hostfs":  func(t *testing.T, dir string) vfs.FS { return openHost(t, dir) },
		"overlay": openOverlay,
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			dir, native := t.TempDir(), t.TempDir()
			fill(t, dir)
			fill(t, native)
			before := snapshot(t, openHost(t, dir))
			f(&bed{
				t:       t,
				runtime: newRuntime(t),
				view:    &view.View{Workspace: open(t, dir), Home: openHost(t, t.TempDir()), Tmp: openHost(t, t.TempDir())},
				native:  native,
			})
			if name == "overlay" {
				same(t, "the workspace under the overlay", before, snapshot(t, openHost(t, dir)))
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openHost(t *testing.T, dir string) *hostfs.FS {
	t.Helper()
	fs, err := hostfs.Open(dir, hostfs.Options{})
	must(t, err)
	t.Cleanup(func() { fs.Close() })
	return fs
}

// newRuntime makes a runtime with the calls, whose compiled code is kept on
// disk. It can't interrupt a guest's loops: that makes Go's programs three
// times slower, and the tests have a time-out of their own.
func newRuntime(t *testing.T) wazero.Runtime {
	t.Helper()
	ctx := context.Background()
	compiled, err := wazero.NewCompilationCacheWithDir(cache + "/wazero")
	must(t, err)
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(compiled))
	t.Cleanup(func() { rt.Close(ctx); compiled.Close(ctx) })
	_, err = wasip1.Instantiate(ctx, rt)
	must(t, err)
	return rt
}

// result is what a program leaves besides files.
type result struct {
	stdout, stderr string
	code           int
}

// guest runs a program on the view.
func (b *bed) guest(stdin string, args ...string) result {
	b.t.Helper()
	programs(b.t, args[0])
	ctx := context.Background()
	code, err := os.ReadFile(cache + "/guests/" + args[0] + ".wasm")
	must(b.t, err)
	var stdout, stderr bytes.Buffer
	in, err := wasip1.New(wasip1.Config{
		Args:   args,
		Env:    wasip1.Environ([]string{"HOME=/home", "TMPDIR=/tmp"}),
		Stdin:  strings.NewReader(stdin),
		Stdout: &stdout,
		Stderr: &stderr,
		View:   b.view,
	})
	must(b.t, err)
	mod, err := b.runtime.InstantiateWithConfig(wasip1.With(ctx, in), code, wazero.NewModuleConfig().WithName(""))
	if mod != nil {
		must(b.t, mod.Close(ctx))
	}
	must(b.t, in.Close())
	var exit *sys.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	if exit != nil {
		r.code = int(exit.ExitCode())
	}
	return r
}

// host runs the same program natively.
func (b *bed) host(stdin string, args ...string) result {
	b.t.Helper()
	programs(b.t, args[0])
	path, err := filepath.Abs(cache + "/guests/" + args[0])
	must(b.t, err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = b.native
	cmd.Env = []string{"HOME=" + b.t.TempDir(), "TMPDIR=" + b.t.TempDir(), "PWD=" + b.native}
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// both runs a program on the view and natively, and compares how it ends and
// what it prints.
func (b *bed) both(args ...string) string {
	b.t.Helper()
	return b.bothWith("", args...)
}

func (b *bed) bothWith(stdin string, args ...string) string {
	b.t.Helper()
	g, h := b.guest(stdin, args...), b.host(stdin, args...)
	if g.code != h.code || g.stdout != h.stdout {
		b.t.Errorf("%v:\nguest:  exit %d\n%s%s\nnative: exit %d\n%s%s", args, g.code, g.stdout, g.stderr, h.code, h.stdout, h.stderr)
	}
	return g.stdout
}

// compare checks that the view and the native directory hold the same files,
// but for those that ignore names.
func (b *bed) compare(ignore ...string) {
	b.t.Helper()
	got, want := snapshot(b.t, b.view.Workspace), snapshot(b.t, openHost(b.t, b.native))
	for _, i := range ignore {
		delete(got, i)
		delete(want, i)
	}
	same(b.t, "the workspace", want, got)
}

// export writes what the view shows to a directory.
func (b *bed) export() string {
	b.t.Helper()
	dir := b.t.TempDir()
	got := snapshot(b.t, b.view.Workspace)
	paths := make([]string, 0, len(got))
	for p := range got {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		kind, data, _ := strings.Cut(got[p], ":")
		to := filepath.Join(dir, p)
		switch kind {
		case "dir":
			must(b.t, os.MkdirAll(to, 0o755))
		case "link":
			must(b.t, os.Symlink(data, to))
		default:
			must(b.t, os.WriteFile(to, []byte(data), 0o644))
		}
	}
	return dir
}

// snapshot reads a filesystem whole: what stands at each path, by its kind.
func snapshot(t *testing.T, fs vfs.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	snapshotDir(t, fs, vfs.RootID, "", out)
	return out
}

func snapshotDir(t *testing.T, fs vfs.FS, dir vfs.NodeID, path string, out map[string]string) {
	t.Helper()
	ctx := context.Background()
	h, err := fs.OpenDir(ctx, dir)
	must(t, err)
	var names []string
	must(t, h.ReadDir(ctx, 0, func(e vfs.DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
		return true
	}))
	must(t, h.Close())
	for _, name := range names {
		e, err := fs.Lookup(ctx, dir, name)
		must(t, err)
		p := filepath.Join(path, name)
		switch {
		case e.Attr.IsDir():
			out[p] = "dir:"
			snapshotDir(t, fs, e.Node, p, out)
		case e.Attr.IsSymlink():
			target, err := fs.Readlink(ctx, e.Node)
			must(t, err)
			out[p] = "link:" + target
		default:
			out[p] = "file:" + readNode(t, fs, e)
		}
		fs.Forget(e.Node, 1)
	}
}

func readNode(t *testing.T, fs vfs.FS, e vfs.Entry) string {
	t.Helper()
	ctx := context.Background()
	h, err := fs.Open(ctx, e.Node, os.O_RDONLY)
	must(t, err)
	defer h.Close()
	b := make([]byte, e.Attr.Size)
	n, err := h.ReadAt(ctx, b, 0)
	must(t, err)
	return string(b[:n])
}

// same compares two snapshots.
func same(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	for p := range want {
		if _, ok := got[p]; !ok {
			t.Errorf("%s: %s is missing", what, p)
		}
	}
	for p, g := range got {
		if w, ok := want[p]; !ok {
			t.Errorf("%s: %s is there and should not be", what, p)
		} else if w != g {
			t.Errorf("%s: %s differs: %d bytes %.200q, want %d bytes %.200q", what, p, len(g), g, len(w), w)
		}
	}
}

// copyTree copies a directory of the host into dir, changing each file's text
// by edit.
func copyTree(t *testing.T, from, dir string, edit func(name, text string) string) {
	t.Helper()
	must(t, filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(edit(rel, string(b))), 0o644)
	}))
}

// asIs is no edit.
func asIs(_, text string) string { return text }

// files writes the files of a txtar-like list: name, text, name, text…
func files(t *testing.T, dir string, list ...string) {
	t.Helper()
	for i := 0; i < len(list); i += 2 {
		to := filepath.Join(dir, list[i])
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		must(t, os.WriteFile(to, []byte(list[i+1]), 0o644))
	}
}
