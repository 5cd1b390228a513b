package capsulehost

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	file := func(name string, age time.Duration, size int) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	file("v1/old", 100*time.Hour, 10)
	file("v1/middle", 50*time.Hour, 400)
	file("v2/recent", 10*time.Hour, 400)
	file("v2/new", time.Hour, 400)
	// Written long ago, and read a moment ago.
	file("v2/used", 100*time.Hour, 10)
	if err := os.Chtimes(filepath.Join(dir, "v2/used"), now, now.Add(-100*time.Hour)); err != nil {
		t.Fatal(err)
	}
	there := func(want ...string) {
		t.Helper()
		got, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("got %q, want %q", got, want)
			return
		}
		for i := range want {
			if filepath.Join(dir, want[i]) != got[i] {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	if err := prune(dir, now, 60*time.Hour, 10_000); err != nil {
		t.Fatal(err)
	}
	there("v1/middle", "v2/new", "v2/recent", "v2/used")
	if err := prune(dir, now, 60*time.Hour, 900); err != nil {
		t.Fatal(err)
	}
	there("v2/new", "v2/recent", "v2/used")
	if err := prune(filepath.Join(dir, "missing"), now, time.Hour, 1); err != nil {
		t.Error(err)
	}
}

func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	for mode, ok := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o775: false, 0o777: false, 0o722: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := private(dir); (err == nil) != ok {
			t.Errorf("%o: %v", mode, err)
		}
	}
	if err := private(filepath.Join(dir, "missing")); err == nil {
		t.Error("no error for a missing directory")
	}
}
