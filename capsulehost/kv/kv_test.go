package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/kv"
)

func open(t *testing.T, dir, principal, capsule string) *kv.Store {
	t.Helper()
	s, release := kv.NewStores(dir).Open(principal, capsule)
	t.Cleanup(release)
	return s
}

func check(t *testing.T, s *kv.Store, key, want string) {
	t.Helper()
	v, err := s.Get(key)
	if err != nil || string(v) != want || v == nil && want != "" {
		t.Errorf("%s is %q, %v, not %q", key, v, err, want)
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "p", "c")
	for _, step := range []func() error{
		func() error { return s.Set("a/1", []byte("one")) },
		func() error { return s.Set("a/2", nil) },
		func() error { return s.Set("b\n"[:1]+"é", []byte{0, 255}) },
		func() error { return s.Set("a/1", []byte("uno")) },
		func() error { return s.Delete("nothing") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // as it is, and opened anew
		check(t, s, "a/1", "uno")
		check(t, s, "bé", "\x00\xff")
		if v, err := s.Get("a/2"); v == nil || len(v) != 0 || err != nil {
			t.Errorf("an empty value is %v, %v", v, err)
		}
		if v, err := s.Get("a/3"); v != nil || err != nil {
			t.Errorf("no value is %v, %v", v, err)
		}
		if keys, more, err := s.List("a/", "", 10); !slices.Equal(keys, []string{"a/1", "a/2"}) || more || err != nil {
			t.Errorf("%q, %v, %v", keys, more, err)
		}
		if keys, more, err := s.List("", "a/1", 1); !slices.Equal(keys, []string{"a/2"}) || !more || err != nil {
			t.Errorf("%q, %v, %v", keys, more, err)
		}
		s = open(t, dir, "p", "c")
	}
	// Namespaces see nothing of each other, whatever their names look like.
	for _, other := range []*kv.Store{open(t, dir, "p", "c2"), open(t, dir, "p2", "c"), open(t, dir, "", "p\x00c"), open(t, dir, "../p", "c")} {
		check(t, other, "a/1", "")
	}
	if n, err := s.Clear("a/"); n != 2 || err != nil {
		t.Errorf("cleared %d, %v", n, err)
	}
	check(t, s, "a/1", "")
	check(t, open(t, dir, "p", "c"), "bé", "\x00\xff")
}

func TestErrors(t *testing.T) {
	s := open(t, t.TempDir(), "p", "c")
	for _, key := range []string{"", "a\x00", "a\n", "a\x7f", "e\u0301", "\xff", strings.Repeat("k", kv.MaxKey+1)} {
		if err := s.Set(key, nil); err != kv.ErrInvalidKey {
			t.Errorf("%q: %v", key, err)
		}
	}
	if err := s.Set("k", make([]byte, kv.MaxValue+1)); err != kv.ErrTooLarge {
		t.Error(err)
	}
	big := make([]byte, kv.MaxValue)
	var full error
	n := 0
	for ; n < 100 && full == nil; n++ {
		full = s.Set(fmt.Sprint("k", n), big)
	}
	if full != kv.ErrQuota || n != kv.MaxBytes/kv.MaxValue {
		t.Errorf("after %d: %v", n, full)
	}
	if err := s.Set("k0", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := s.Set("new", big[:kv.MaxValue/2]); err != nil {
		t.Errorf("room was not given back: %v", err)
	}
}

func TestCompareAndSwap(t *testing.T) {
	s := open(t, t.TempDir(), "p", "c")
	for _, c := range []struct {
		old  []byte
		want error
	}{
		{[]byte{}, kv.ErrMismatch}, {nil, nil}, {nil, kv.ErrMismatch}, {[]byte("y"), kv.ErrMismatch}, {[]byte{}, nil},
	} {
		if err := s.CompareAndSwap("k", c.old, nil); err != c.want {
			t.Errorf("%v: %v, not %v", c.old, err, c.want)
		}
	}
	// Many count together and lose none.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				for {
					old, err := s.Get("n")
					if err != nil {
						t.Error(err)
						return
					}
					if err = s.CompareAndSwap("n", old, append(bytes.Clone(old), '+')); err == nil {
						break
					} else if err != kv.ErrMismatch {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if v, err := s.Get("n"); len(v) != 160 || err != nil {
		t.Errorf("%d, %v", len(v), err)
	}
}

// TestDamage finds a store as crashes and others may leave it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "p", "c")
	if err := s.Set("k", []byte("value")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	leftover := filepath.Join(filepath.Dir(files[0]), ".new-1")
	if err := os.WriteFile(leftover, []byte("astrid"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, open(t, dir, "p", "c"), "k", "value")
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a crash left unfinished: %v", err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		bad := bytes.Clone(whole)
		bad[n] ^= 0x40
		for _, b := range [][]byte{bad, whole[:n]} {
			if err := os.WriteFile(files[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
			if v, err := open(t, dir, "p", "c").Get("k"); err == nil {
				t.Fatalf("byte %d damaged: %q", n, v)
			}
		}
	}
}
