package capsulehost_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/conformance"
)

func componentFile(tb testing.TB, name string) []byte {
	tb.Helper()
	wasm, err := os.ReadFile("component/testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}

// TestComponent runs the conformance guest as a component, on each filesystem.
func TestComponent(t *testing.T) {
	h := newHost(t, capsulehost.Options{})
	wasm := componentFile(t, "conformance.wasm")
	for kind, open := range workspaces {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			if err := conformance.Prepare(dir); err != nil {
				t.Fatal(err)
			}
			cases := runConformance(t, h, wasm, open(t, dir))
			if len(cases) < 190 {
				t.Errorf("%d cases", len(cases))
			}
			for _, c := range cases {
				if c.Got != c.Want {
					t.Errorf("%s: got %q, want %q", c.Name, c.Got, c.Want)
				}
			}
		})
	}
}

func TestComponentEntries(t *testing.T) {
	h := newHost(t, capsulehost.Options{})
	m := compile(t, h, componentFile(t, "conformance.wasm"))
	for _, cfg := range []capsulehost.RunConfig{
		{},
		{Entry: capsulehost.EntryRun},
		{Entry: capsulehost.EntryStart},
		{Entry: capsulehost.EntryRun, Action: "x"},
	} {
		_, err := h.Run(context.Background(), m, cfg)
		if _, ok := errors.AsType[*capsulehost.EntryError](err); !ok {
			t.Errorf("%q %q: %v", cfg.Entry, cfg.Action, err)
		}
	}
	// A memory of 1 MiB does not hold its heap.
	v, _ := newView(t)
	_, err := h.Run(context.Background(), m, capsulehost.RunConfig{
		View: v, Action: conformance.Action, Limits: capsulehost.Limits{MemoryPages: 4},
	})
	if _, ok := errors.AsType[*capsulehost.TrapError](err); !ok {
		t.Errorf("with 4 pages of memory: %v", err)
	}
}

func TestComponentImports(t *testing.T) {
	h := newHost(t, capsulehost.Options{})
	_, err := h.Compile(context.Background(), componentFile(t, "types.wasm"))
	if im, ok := errors.AsType[*capsulehost.ImportError](err); !ok || im.Module != "test:types/shapes@0.1.0" {
		t.Errorf("%v", err)
	}
}

func TestInspectComponent(t *testing.T) {
	info, err := capsulehost.Inspect(componentFile(t, "conformance.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Kind != capsulehost.Component || strings.Join(info.Entries, " ") != "astrid-hook-trigger" ||
		strings.Join(info.Capabilities, " ") != "fs_read fs_write" {
		t.Errorf("%+v", info)
	}
	if len(info.Imports) != 23 || len(info.Interfaces) != 2 || !info.Interfaces[0].Provided || !info.Interfaces[1].Provided {
		t.Errorf("%d imports of %+v", len(info.Imports), info.Interfaces)
	}
	if !strings.Contains(info.WIT, "fs-exists: func(path: string) -> result<bool, error-code>;") {
		t.Error(info.WIT)
	}
	info, err = capsulehost.Inspect(componentFile(t, "types.wasm"))
	if err != nil || len(info.Interfaces) != 2 || info.Interfaces[0].Provided || info.Interfaces[1].Provided {
		t.Errorf("%+v %v", info.Interfaces, err)
	}
}
