package capsulehost

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
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
	// What a process compiles into is left alone as long as there is one.
	used, err := newScratch(dir, scratchPrefix)
	if err != nil {
		t.Fatal(err)
	}
	file(filepath.Base(used.dir)+"/new", time.Hour, 10)
	file("compiling-2/left", 0, 10)
	if err := prune(dir, now, 0, -1); err != nil {
		t.Fatal(err)
	}
	there(filepath.Base(used.dir) + "/new")
	used.remove(slog.New(slog.DiscardHandler))
	there()
}

// What a killed process has left outside of a cache is removed at once, and nothing
// else.
func TestRemoveScratches(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{sparePrefix + "1", "other"} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("other", filepath.Join(dir, sparePrefix+"link")); err != nil {
		t.Fatal(err)
	}
	used, err := newScratch(dir, sparePrefix)
	if err != nil {
		t.Fatal(err)
	}
	defer used.lock.Close()
	removeScratches(dir, sparePrefix, time.Now())
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	slices.Sort(list)
	want := []string{used.dir, filepath.Join(dir, sparePrefix+"link"), filepath.Join(dir, "other")}
	slices.Sort(want)
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("there are %q, %v", list, err)
	}
}

// Directories that are made while others look for those to remove are not taken for
// such.
func TestScratchesAtOnce(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				removeScratches(dir, scratchPrefix, time.Now())
			}
		}
	})
	for range 300 {
		s, err := newScratch(dir, scratchPrefix)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := os.Stat(s.dir); err != nil {
			t.Error(err)
		}
		s.remove(slog.New(slog.DiscardHandler))
	}
	close(stop)
	wg.Wait()
}

// What is not compiled yet is not compiled to load it.
func TestLoad(t *testing.T) {
	wasm := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x07\x01\x03run\x00\x00\x0a\x04\x01\x02\x00\x0b")
	dir := t.TempDir()
	stored := func() int {
		list, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	c, err := openCompiler(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close(t.Context())
	if _, err := c.load(t.Context(), wasm); !errors.Is(err, errNotCompiled) || stored() > 0 {
		t.Errorf("%v, and %d files", err, stored())
	}
	if _, err := c.load(t.Context(), wasm[:30]); err == nil || errors.Is(err, errNotCompiled) || errors.Is(err, errDamaged) {
		t.Errorf("of a broken one: %v", err)
	}
	if _, err := c.CompileModule(t.Context(), wasm); err != nil || stored() != 1 {
		t.Errorf("%v, and %d files", err, stored())
	}
	for range 2 {
		if _, err := c.load(t.Context(), wasm); err != nil {
			t.Error(err)
		}
		if c, err = openCompiler(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		defer c.close(t.Context())
	}
	if _, err := c.load(t.Context(), wasm[:8]); err != nil { // there is nothing to compile
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

// What is damaged in the cache, or cannot be written to it, keeps nobody from
// running.
func TestBrokenCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	wasm := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x07\x01\x03run\x00\x00\x0a\x04\x01\x02\x00\x0b") // (func (export "run"))
	run := func() {
		t.Helper()
		h, err := New(t.Context(), Options{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(t.Context())
		m, err := h.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if _, err := h.Run(t.Context(), m, RunConfig{}); err != nil {
			t.Error(err)
		}
		// A module that is broken itself is no reason to throw anything away.
		if _, err := h.Compile(t.Context(), append(wasm[:len(wasm)-1:len(wasm)-1], 0x1a, 0x0b)); err == nil {
			t.Error("a broken module compiles")
		}
	}
	each := func(do func(path string)) (n int) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				do(path)
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	run()
	stored := each(func(string) {})
	for _, size := range []int64{0, 1, 20, 60} {
		each(func(path string) {
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
		})
		run()
		if n := each(func(path string) {
			if st, err := os.Stat(path); err != nil || st.Size() == size {
				t.Errorf("%s has still %d bytes, %v", path, size, err)
			}
		}); n != stored {
			t.Errorf("the cache has %d files, and had %d", n, stored)
		}
	}
	// Nothing can be stored where there is no directory any more.
	h, err := New(t.Context(), Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	m, err := h.Compile(t.Context(), append(wasm, 0, 2, 1, 'x'))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := h.Run(t.Context(), m, RunConfig{}); err != nil {
		t.Error(err)
	}
}
