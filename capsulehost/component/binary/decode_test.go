package binary

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// samples are the components of testdata.
func samples(tb testing.TB) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	for _, pattern := range []string{"../testdata/*.wasm", "../testdata/wat/*.wasm"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			tb.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				tb.Fatal(err)
			}
			out[filepath.Base(name)] = b
		}
	}
	if len(out) == 0 {
		tb.Fatal("there are no components in testdata")
	}
	return out
}

func TestDecode(t *testing.T) {
	for name, b := range samples(t) {
		if _, err := Decode(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTruncated cuts a component at every byte. What is left is an error, or
// ends between two sections and is a component too.
func TestTruncated(t *testing.T) {
	for name, b := range samples(t) {
		for n := range b {
			if n > 4096 && n%97 != 0 {
				continue
			}
			_, err := Decode(b[:n])
			var broken *FormatError
			if err != nil && (!errors.As(err, &broken) || broken.Offset < 0 || broken.Offset > int64(n)) {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		var broken *FormatError
		if err != nil && (!errors.As(err, &broken) || broken.Offset < 0 || broken.Offset > int64(len(b))) {
			t.Fatalf("%v", err)
		}
		if err == nil && c == nil {
			t.Fatal("no component and no error")
		}
	})
}

// TestMutated changes bytes of components at random, always the same ones.
func TestMutated(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, b := range samples(t) {
		broken := slices.Clone(b)
		for range 2000 {
			var at [4]int
			for i := range at {
				at[i] = rnd.IntN(len(b))
				if i%2 == 0 { // most of what is not code is at the ends
					at[i] = rnd.IntN(min(len(b), 4000))
				}
				broken[at[i]] = byte(rnd.Uint32())
			}
			_, err := Decode(broken)
			var format *FormatError
			if err != nil && (!errors.As(err, &format) || format.Offset < 0 || format.Offset > int64(len(b))) {
				t.Fatalf("%s: %v", name, err)
			}
			for _, i := range at {
				broken[i] = b[i]
			}
		}
	}
}
