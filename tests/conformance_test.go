package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/conformance"
)

// TestConformanceOnSessions runs the guests that walk every call and error case
// of astrid:fs, one in Go and one in C, on a mounted session of each mode.
func TestConformanceOnSessions(t *testing.T) {
	dir := t.TempDir()
	guests := map[string]string{"go": filepath.Join(dir, "go.wasm"), "c": filepath.Join(dir, "c.wasm")}
	sh(t, "..", "go build -buildmode=c-shared -o "+guests["go"]+" ./capsulehost/testdata/conformance", "GOOS=wasip1", "GOARCH=wasm")
	sh(t, "..", "${CLANG:-clang-19} --target=wasm32 -O2 -Wall -Wextra -Werror -Wno-unused-function -ffreestanding -fno-builtin -nostdlib "+
		"-I sdk/c -Wl,--no-entry -o "+guests["c"]+" capsulehost/testdata/conformance_c/conformance.c")
	for lang, wasm := range guests {
		for _, mode := range []string{"overlay", "worktree", "host"} {
			t.Run(lang+" "+mode, func(t *testing.T) { conformanceOn(t, mode, wasm) })
		}
	}
}

func conformanceOn(t *testing.T, mode, wasm string) {
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
