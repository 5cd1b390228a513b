//go:build wasitestsuite

package wasip1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// spec is a case's description in the suite.
type spec struct {
	Args     []string
	Env      map[string]string
	Root     string
	Stdout   string
	ExitCode uint32 `json:"exit_code"`
}

// TestSuite runs the public wasi-testsuite's preview1 cases, whose compiled
// form lies in the directory WASI_TESTSUITE, here, on a directory of the host
// and on an overlay, and on wazero's own directory mount, and fails where a
// case fails here and passes there. scripts/wasi-testsuite gets
// the suite and runs it.
func TestSuite(t *testing.T) {
	dir := os.Getenv("WASI_TESTSUITE")
	cases, err := filepath.Glob(filepath.Join(dir, "tests", "*", "testsuite", "wasm32-wasip1", "*.wasm"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in %q: %v", dir, err)
	}
	counts := map[string]int{}
	for _, path := range cases {
		name := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(path)))) + "/" + strings.TrimSuffix(filepath.Base(path), ".wasm")
		ours, theirs := runCase(path, runHere), runCase(path, runWazero)
		if ours == nil {
			if ours = runCase(path, runOverlay); ours != nil {
				ours = fmt.Errorf("on an overlay: %w", ours)
			}
		}
		counts[fmt.Sprintf("here %s, wazero %s", verdict(ours), verdict(theirs))]++
		switch {
		case ours != nil && theirs == nil:
			t.Errorf("%s: passes on wazero only: %v", name, ours)
		case ours != nil:
			t.Logf("%s: fails on both: %v; wazero: %v", name, ours, theirs)
		case theirs != nil:
			t.Logf("%s: passes here only; wazero: %v", name, theirs)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%3d cases: %s", counts[k], k)
	}
}

func verdict(err error) string {
	if err != nil {
		return "fails"
	}
	return "passes"
}

type runner func(ctx context.Context, rt wazero.Runtime, wasm []byte, s spec, name string, stdout, stderr io.Writer) error

// runCase runs one case on a fresh copy of its directory.
func runCase(path string, run runner) (err error) {
	var s spec
	if b, err := os.ReadFile(strings.TrimSuffix(path, ".wasm") + ".json"); err == nil {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if s.Root != "" {
		tmp, err := os.MkdirTemp("", "wasi-testsuite")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		if err := os.CopyFS(tmp, os.DirFS(filepath.Join(filepath.Dir(path), s.Root))); err != nil {
			return err
		}
		s.Root = tmp
	}
	if s.Env == nil {
		s.Env = map[string]string{}
	}
	if strings.Contains(path, "/rust/") {
		s.Env["ERRNO_MODE_UNIX"] = "1" // accept what a Unix answers and nothing else
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	defer rt.Close(ctx)
	var stdout, stderr bytes.Buffer
	err = run(ctx, rt, wasm, s, filepath.Base(path), &stdout, &stderr)
	var exit *sys.ExitError
	code := uint32(0)
	if errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	switch {
	case err != nil && stderr.Len() > 0: // what the case says is clearer than where it trapped
		return errors.New(strings.TrimSpace(stderr.String()))
	case err != nil:
		return err
	case code != s.ExitCode:
		return fmt.Errorf("exit code %d: %s", code, stderr.String())
	case s.Stdout != "" && stdout.String() != s.Stdout:
		return fmt.Errorf("stdout is %q", stdout.String())
	}
	return nil
}

func runHere(ctx context.Context, rt wazero.Runtime, wasm []byte, s spec, name string, stdout, stderr io.Writer) error {
	if s.Root == "" {
		return runOn(ctx, rt, nil, wasm, s, name, stdout, stderr)
	}
	fs, err := hostfs.Open(s.Root, hostfs.Options{})
	if err != nil {
		return err
	}
	defer fs.Close()
	return runOn(ctx, rt, fs, wasm, s, name, stdout, stderr)
}

func runOverlay(ctx context.Context, rt wazero.Runtime, wasm []byte, s spec, name string, stdout, stderr io.Writer) error {
	if s.Root == "" {
		return runOn(ctx, rt, nil, wasm, s, name, stdout, stderr)
	}
	state, err := os.MkdirTemp("", "wasi-testsuite")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	opt := overlay.Options{Lower: []string{s.Root}, Upper: state + "/upper", Work: state + "/work"}
	if err := errors.Join(os.Mkdir(opt.Upper, 0o755), os.Mkdir(opt.Work, 0o755)); err != nil {
		return err
	}
	fs, err := overlay.Open(ctx, opt)
	if err != nil {
		return err
	}
	defer fs.Close()
	return runOn(ctx, rt, fs, wasm, s, name, stdout, stderr)
}

func runOn(ctx context.Context, rt wazero.Runtime, fs vfs.FS, wasm []byte, s spec, name string, stdout, stderr io.Writer) error {
	c := wasip1.Config{Args: append([]string{name}, s.Args...), Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Preopens: []wasip1.Preopen{}}
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		c.Env = append(c.Env, k+"="+s.Env[k])
	}
	if fs != nil {
		c.View = &view.View{Workspace: fs}
		c.Preopens = []wasip1.Preopen{{Name: "/", Scheme: view.Workspace}}
	}
	in, err := wasip1.New(c)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := wasip1.Instantiate(ctx, rt); err != nil {
		return err
	}
	_, err = rt.InstantiateWithConfig(wasip1.With(ctx, in), wasm, wazero.NewModuleConfig())
	return err
}

func runWazero(ctx context.Context, rt wazero.Runtime, wasm []byte, s spec, name string, stdout, stderr io.Writer) error {
	c := wazero.NewModuleConfig().WithArgs(append([]string{name}, s.Args...)...).
		WithStdin(strings.NewReader("")).WithStdout(stdout).WithStderr(stderr).
		WithSysWalltime().WithSysNanotime().WithSysNanosleep()
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		c = c.WithEnv(k, s.Env[k])
	}
	if s.Root != "" {
		c = c.WithFSConfig(wazero.NewFSConfig().WithDirMount(s.Root, "/"))
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, rt); err != nil {
		return err
	}
	_, err := rt.InstantiateWithConfig(ctx, wasm, c)
	return err
}
