package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/astridfs/astridfs/session/fault"
)

// FuzzReadFile reads anything as a session file: what is refused is a fault with
// a reason, and what is accepted stays the same when it is written and read.
func FuzzReadFile(f *testing.F) {
	old, err := os.ReadFile("testdata/format1/session.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old)
	f.Add([]byte(`{"format":1,"id":"0123456789abcdef","name":"s","workspace":{"base64":"L/8="},"mode":"worktree","branch":"b","audit":"full","deny":["a"]}`))
	f.Add([]byte(`{"format":9}`))
	f.Add([]byte(`{"format":1,"name":"../x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		one, err := readFile(dir)
		if err != nil {
			if f := fault.Of(err); f.What == "" {
				t.Fatal("a fault without a reason")
			}
			return
		}
		if CheckName(one.Name) != nil || !filepath.IsAbs(string(one.Workspace)) {
			t.Fatalf("accepted %+v", one)
		}
		if err := one.write(dir); err != nil {
			t.Fatal(err)
		}
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		two, err := readFile(dir)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if err := two.write(dir); err != nil {
			t.Fatal(err)
		}
		if second, err := os.ReadFile(path); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written again: %s, then %s (%v)", first, second, err)
		}
	})
}
