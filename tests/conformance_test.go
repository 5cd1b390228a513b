package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/conformance"
)

// TestConformanceOnSessions runs the guest that walks every call and error case
// of astrid:fs on a mounted session of each mode.
func TestConformanceOnSessions(t *testing.T) {
	wasm := filepath.Join(t.TempDir(), "conformance.wasm")
	sh(t, "..", "go build -buildmode=c-shared -o "+wasm+" ./capsulehost/testdata/conformance", "GOOS=wasip1", "GOARCH=wasm")
	for _, mode := range []string{"overlay", "worktree", "host"} {
		t.Run(mode, func(t *testing.T) {
			b := newBox(t)
			if mode == "worktree" {
				write(t, filepath.Join(b.ws, "README"), "a repository\n")
				sh(t, b.ws, "git init -q -b main && git add -A && git commit -q -m base",
					"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a")
				b.mount("--mode", mode)
				// git keeps no fifos, times and modes, so the tree is made in the worktree.
				prepare(t, b.mnt)
			} else {
				prepare(t, b.ws)
				b.mount("--mode", mode)
			}
			args := []string{"run", "--json", "--session", b.session, "--action", conformance.Action,
				"--max-write", strconv.Itoa(conformance.WriteBytes), "--max-files", strconv.Itoa(conformance.FileCount)}
			reads, writes := conformance.Grants()
			for _, p := range reads {
				args = append(args, "--fs-read", p)
			}
			for _, p := range writes {
				args = append(args, "--fs-write", p)
			}
			var doc struct {
				Run struct {
					Result struct {
						Data string `json:"data"`
					} `json:"result"`
				} `json:"run"`
			}
			out := b.run(append(args, wasm)...)
			if err := json.Unmarshal([]byte(out), &doc); err != nil {
				t.Fatalf("%v\n%.2000s", err, out)
			}
			cases, err := conformance.Parse(doc.Run.Result.Data)
			if err != nil {
				t.Fatal(err)
			}
			if len(cases) < 200 {
				t.Errorf("only %d cases", len(cases))
			}
			for _, c := range cases {
				if c.Got != c.Want {
					t.Errorf("%s: got %q, want %q", c.Name, c.Got, c.Want)
				}
			}
		})
	}
}

func prepare(t *testing.T, dir string) {
	t.Helper()
	if err := conformance.Prepare(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "fixture")); err != nil {
		t.Fatal(err)
	}
}
