package at

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// What is read is the same wherever it goes to, and nothing around it is
// touched.
func TestPread(t *testing.T) {
	data := make([]byte, 5*bounceSize/2+1000)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	f := tempFile(t, data)
	fd := int(f.Fd())
	// One page more than is needed, so that any shift can be had.
	room := make([]byte, len(data)+3*4096)
	for _, off := range []int64{0, 1, 4096, 5000, bounceSize, int64(len(data)) - 1, int64(len(data)), int64(len(data)) + 10} {
		for _, size := range []int{0, 1, slowRead - 1, slowRead, bounceSize, bounceSize + 1, len(data), len(data) + 100} {
			for shift := range slowShift + 2 {
				clear(room)
				at := shiftOf(room, off, shift)
				n, err := Pread(fd, room[at:at+size], off)
				want := data[min(off, int64(len(data))):]
				want = want[:min(size, len(want))]
				if err != nil || n != len(want) || !bytes.Equal(room[at:at+n], want) {
					t.Fatalf("%d bytes at %d, shifted by %d: %d bytes, %v, the contents right: %v", size, off, shift, n, err, bytes.Equal(room[at:at+n], want))
				}
				if len(bytes.Trim(room[:at], "\x00")) > 0 || len(bytes.Trim(room[at+n:], "\x00")) > 0 {
					t.Fatalf("%d bytes at %d, shifted by %d: something beside them was written", size, off, shift)
				}
				if slow := shift > 0 && shift < slowShift && size >= slowRead; shifted(room[at:at+size], off) != slow {
					t.Fatalf("%d bytes at %d, shifted by %d: told to be slow: %v", size, off, shift, !slow)
				}
			}
		}
	}
	if _, err := Pread(-1, room[:10], 0); err == nil {
		t.Error("a descriptor that is none was read")
	}
	if _, err := Pread(-1, room[shiftOf(room, 0, 8):], 0); err == nil {
		t.Error("a descriptor that is none was read through a buffer")
	}
}

func tempFile(tb testing.TB, data []byte) *os.File {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "f")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		tb.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// shiftOf is where in room what is read at off comes to lie shift bytes behind
// where it is in its page.
func shiftOf(room []byte, off int64, shift int) int {
	for at := range 4096 {
		if pageShift(room[at:], off) == shift {
			return at
		}
	}
	panic("no such place")
}

// BenchmarkPread reads a file of 10 MiB to places that are shifted against its
// pages by as many bytes.
func BenchmarkPread(b *testing.B) {
	const size = 10 << 20
	fd := int(tempFile(b, make([]byte, size)).Fd())
	room := make([]byte, size+2*4096)
	for _, shift := range []int{0, 8, 16, slowShift, 1141} {
		p := room[shiftOf(room, 0, shift):][:size]
		b.Run(fmt.Sprint(shift), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if n, err := Pread(fd, p, 0); n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
