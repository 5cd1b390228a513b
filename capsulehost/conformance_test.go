package capsulehost_test

import (
	"context"
	"testing"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/conformance"
)

// runConformance runs a conformance guest on a prepared tree and returns what
// it found.
func runConformance(t *testing.T, h *capsulehost.Host, wasm []byte) []conformance.Case {
	t.Helper()
	v, workspace := newView(t)
	if err := conformance.Prepare(workspace); err != nil {
		t.Fatal(err)
	}
	read, write := conformance.Grants()
	v.Gate = grants{read, write}
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
	inGo := runConformance(t, h, goGuest(t, "conformance", true))
	for _, c := range inGo {
		if c.Got != c.Want {
			t.Errorf("%s: got %q, want %q", c.Name, c.Got, c.Want)
		}
	}
	inC := runConformance(t, h, cGuest(t, "conformance_c/conformance.c"))
	for i, c := range inC {
		if i >= len(inGo) || c != inGo[i] {
			t.Fatalf("case %d of the guest in C is %+v", i+1, c)
		}
	}
	if len(inC) != len(inGo) {
		t.Errorf("the guest in C has %d cases and the one in Go %d", len(inC), len(inGo))
	}
}
