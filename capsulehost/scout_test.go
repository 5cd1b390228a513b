package capsulehost_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/manifest"
)

// exampleGuest builds a capsule of examples/.
func exampleGuest(tb testing.TB, name string, reactor bool) []byte {
	tb.Helper()
	key, args := "example "+name, []string{"build"}
	if reactor {
		key, args = key+" reactor", append(args, "-buildmode=c-shared")
	}
	return buildGuest(tb, key, func(out string) *exec.Cmd {
		cmd := exec.Command("go", append(args, "-o", out, "../examples/"+name)...)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
		return cmd
	})
}

// The example capsule does its work both ways, as its manifest lets it.
func TestScout(t *testing.T) {
	data, err := os.ReadFile("../examples/scout/Capsule.toml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse("Capsule.toml", data, gate.Validate)
	if err != nil {
		t.Fatal(err)
	}
	caps := m.For("scout.wasm")
	h := newHost(t, capsulehost.Options{})
	command := compile(t, h, exampleGuest(t, "scout", false))
	reactor := compile(t, h, exampleGuest(t, "scout", true))
	if command.Info().Kind != capsulehost.Command || reactor.Info().Kind != capsulehost.Reactor {
		t.Errorf("%s, %s", command.Info().Kind, reactor.Info().Kind)
	}
	v, dir := newView(t)
	if v.Gate, err = gate.Parse(caps.Read, caps.Write); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a.go": "package a\n// old name\n", "sub/b.go": "package b // old name, old name\n",
		"c.txt": "old name\n", "bin": "old name\x00\n", ".git/config": "old name\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, uint32) {
		t.Helper()
		var out bytes.Buffer
		res, err := h.Run(context.Background(), command, capsulehost.RunConfig{
			View: v, Args: append([]string{"scout"}, args...), Stdout: &out, Stderr: &out,
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.String(), res.ExitCode
	}
	act := func(action, payload string) (string, string) {
		t.Helper()
		res, err := h.Run(context.Background(), reactor, capsulehost.RunConfig{View: v, Action: action, Payload: []byte(payload)})
		if err != nil {
			t.Fatal(err)
		}
		return res.Hook.Action, *res.Hook.Data
	}
	const found = "a.go:2:// old name\nsub/b.go:1:package b // old name, old name\n2 lines found\n"
	if out, code := run("grep", "old name", ".", "*.go"); out != found || code != 0 {
		t.Errorf("%d: %q", code, out)
	}
	if action, out := act("grep", `{"pattern": "old name", "glob": "*.go"}`); action != "done" || out != found {
		t.Errorf("%s: %q", action, out)
	}
	if _, out := act("replace", `{"pattern": "old (name)", "with": "new $1"}`); out != "a.go: 1\nc.txt: 1\nsub/b.go: 2\n4 places in 3 files changed\n" {
		t.Errorf("%q", out)
	}
	for name, want := range map[string]string{
		"sub/b.go": "package b // new name, new name\n", "bin": "old name\x00\n", ".git/config": "old name\n",
	} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if out, _ := run("list"); !strings.Contains(out, "sub/b.go") || strings.Contains(out, ".git") {
		t.Errorf("%q", out)
	}
	if out, _ := run("report"); out != "4 files, 4 lines, 73 bytes; the report is REPORT.md\n" {
		t.Errorf("%q", out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "REPORT.md")); !strings.Contains(string(b), "| .go | 2 | 3 | 54 |") {
		t.Errorf("%s, %v", b, err)
	}
	if out, code := run("grep"); code != 1 || !strings.Contains(out, "usage") {
		t.Errorf("%d: %q", code, out)
	}
	if out, code := run("list", "tmp://"); code != 1 || !strings.Contains(out, "capability-denied") {
		t.Errorf("%d: %q", code, out)
	}
	if action, out := act("grep", `{"pattern": "("}`); action != "error" || !strings.Contains(out, "missing closing") {
		t.Errorf("%s: %q", action, out)
	}
	if action, _ := act("nothing", ""); action != "error" {
		t.Error(action)
	}
}
