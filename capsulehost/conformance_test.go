package capsulehost_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/conformance"
	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// workspaces are the filesystems that the conformance guests run on, each
// holding the prepared tree.
var workspaces = map[string]func(t testing.TB, dir string) vfs.FS{
	"host": func(t testing.TB, dir string) vfs.FS {
		fs, err := hostfs.Open(dir, hostfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fs.Close() })
		return fs
	},
	"overlay": func(t testing.TB, dir string) vfs.FS {
		state := t.TempDir()
		opt := overlay.Options{
			Lower: []string{dir}, Upper: filepath.Join(state, "upper"),
			Work: filepath.Join(state, "work"), State: filepath.Join(state, "state"),
		}
		for _, d := range []string{opt.Upper, opt.Work, opt.State} {
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		fs, err := overlay.Open(context.Background(), opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := fs.Close(); err != nil {
				t.Error(err)
			}
		})
		return fs
	},
}

// runConformance runs a conformance guest on a filesystem that holds the tree
// and returns what it found.
func runConformance(t *testing.T, h *capsulehost.Host, wasm []byte, workspace vfs.FS) []conformance.Case {
	t.Helper()
	v, _ := newView(t)
	v.Workspace = workspace
	var err error
	if v.Gate, err = gate.Parse(conformance.Grants()); err != nil {
		t.Fatal(err)
	}
	res, err := h.Run(context.Background(), compile(t, h, wasm), capsulehost.RunConfig{
		View:   v,
		Action: conformance.Action,
		Limits: capsulehost.Limits{WriteBytes: conformance.WriteBytes, FileCount: conformance.FileCount},
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.ExitCode != 0 || res.Hook == nil || res.Hook.Data == nil {
		t.Fatalf("the guest answered %+v", res)
	}
	cases, err := conformance.Parse(*res.Hook.Data)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestConformance(t *testing.T) {
	h := newHost(t, capsulehost.Options{})
	guests := map[string][]byte{
		"go": goGuest(t, "conformance", true),
		"c":  cGuest(t, "conformance_c/conformance.c"),
	}
	names := map[string][]string{}
	for kind, open := range workspaces {
		for language, wasm := range guests {
			t.Run(kind+"/"+language, func(t *testing.T) {
				dir := t.TempDir()
				if err := conformance.Prepare(dir); err != nil {
					t.Fatal(err)
				}
				names[language] = nil
				for _, c := range runConformance(t, h, wasm, open(t, dir)) {
					names[language] = append(names[language], c.Name)
					if c.Got != c.Want {
						t.Errorf("%s: got %q, want %q", c.Name, c.Got, c.Want)
					}
				}
			})
		}
	}
	for i, name := range names["go"] {
		if i >= len(names["c"]) || names["c"][i] != name {
			t.Fatalf("the guest in C lacks %q", name)
		}
	}
	if len(names["c"]) != len(names["go"]) || len(names["go"]) < 200 {
		t.Errorf("the guest in C has %d cases and the one in Go %d", len(names["c"]), len(names["go"]))
	}
}
