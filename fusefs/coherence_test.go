package fusefs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
)

func errorIs(err, target error) bool { return errors.Is(err, target) }

// rounds is how often a test of the caches goes round: for long in the two ways
// that are used most.
func rounds(m *serve.Mount) int {
	switch {
	case testing.Short() || raceEnabled:
		return 300
	case m.FS == "stable" && !m.Options.NoPassthrough, m.FS == "overlay":
		return 10000
	}
	return 1000
}

// modes are the ways in which a mount is run by the tests of its caches.
func modes(t *testing.T, f func(t *testing.T, m *serve.Mount)) {
	for _, mode := range []struct {
		name, fs string
		pass     bool
	}{
		{"passthrough", "stable", true},
		{"page cache", "stable", false},
		{"volatile", "hostfs", false},
		{"overlay", "overlay static", true},
		{"volatile overlay", "overlay", true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			c := serve.Config{FS: mode.fs, Dirs: overlayDirs(t)}
			c.Options.NoPassthrough = !mode.pass
			f(t, serve.Start(t, c))
		})
	}
}

// What a caller beside the mount writes is on the mount at the next call.
func TestChangesBesideTheMountShowAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, m *serve.Mount) {
		file := filepath.Join(m.Mountpoint, "f")
		m.Must(serve.Request{Op: "write", Path: "f", Data: []byte("0")})
		open, err := os.Open(file) // its pages are cached all the time
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		for i := range rounds(m) {
			data := fmt.Appendf(nil, "%0*d", 1+i%5000, i)
			m.Must(serve.Request{Op: "truncate", Path: "f", Size: 0})
			m.Must(serve.Request{Op: "write", Path: "f", Data: data})
			fi, err := os.Stat(file)
			if err != nil || fi.Size() != int64(len(data)) {
				t.Fatalf("round %d: stat: %v, %v, want size %d", i, fi, err, len(data))
			}
			buf := make([]byte, 8192)
			n, _ := open.ReadAt(buf, 0)
			wantBytes(t, fmt.Sprintf("round %d: open file", i), buf[:n], data)
			if i%4 == 0 {
				wantBytes(t, fmt.Sprintf("round %d: file", i), read(t, file), data)
			}
		}
	})
}

// Names that come, go and move beside the mount do so on it, and in listings.
func TestNamesBesideTheMountShowAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, m *serve.Mount) {
		dir := filepath.Join(m.Mountpoint, "d")
		m.Must(serve.Request{Op: "mkdir", Path: "d"})
		list := func() []string {
			t.Helper()
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names
		}
		for i := range rounds(m) {
			a, b := fmt.Sprintf("a%d", i%7), fmt.Sprintf("b%d", i%5)
			if _, err := os.Lstat(filepath.Join(dir, a)); !errorIs(err, syscall.ENOENT) {
				t.Fatalf("round %d: before: %v", i, err)
			}
			m.Must(serve.Request{Op: "write", Path: "d/" + a, Data: []byte("x")})
			if _, err := os.Lstat(filepath.Join(dir, a)); err != nil {
				t.Fatalf("round %d: made: %v", i, err)
			}
			if got := list(); !slices.Equal(got, []string{a}) {
				t.Fatalf("round %d: made %s, listed %q", i, a, got)
			}
			m.Must(serve.Request{Op: "rename", Path: "d/" + a, Path2: "d/" + b})
			if _, err := os.Lstat(filepath.Join(dir, a)); !errorIs(err, syscall.ENOENT) {
				t.Fatalf("round %d: moved, old name: %v", i, err)
			}
			if got := list(); !slices.Equal(got, []string{b}) {
				t.Fatalf("round %d: moved to %s, listed %q", i, b, got)
			}
			m.Must(serve.Request{Op: "unlink", Path: "d/" + b})
			if got := list(); len(got) != 0 {
				t.Fatalf("round %d: removed, listed %q", i, got)
			}
		}
	})
}

// What is written on the mount is what a caller beside it reads next.
func TestChangesOnTheMountShowBesideAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, m *serve.Mount) {
		file := filepath.Join(m.Mountpoint, "f")
		for i := range rounds(m) {
			data := fmt.Appendf(nil, "%0*d", 1+i%5000, i)
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, fmt.Sprintf("round %d", i), m.Must(serve.Request{Op: "read", Path: "f"}).Data, data)
			if i%10 == 0 {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				if r := m.Do(serve.Request{Op: "stat", Path: "f"}); r.Errno != syscall.ENOENT {
					t.Fatalf("round %d: removed: %v %s", i, r.Errno, r.Error)
				}
			}
		}
	})
}

// Both sides append to one file in turns; nothing is lost, and both see it all.
func TestAppendsFromBothSides(t *testing.T) {
	modes(t, func(t *testing.T, m *serve.Mount) {
		file := filepath.Join(m.Mountpoint, "log")
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var want []byte
		for i := range 2000 {
			a, b := fmt.Appendf(nil, "mount %d\n", i), fmt.Appendf(nil, "beside %d\n", i)
			if _, err := f.Write(a); err != nil {
				t.Fatal(err)
			}
			m.Must(serve.Request{Op: "write", Path: "log", Data: b, Off: -1})
			want = append(append(want, a...), b...)
			if i%50 == 0 {
				wantBytes(t, "on the mount", read(t, file), want)
			}
		}
		wantBytes(t, "on the mount", read(t, file), want)
		wantBytes(t, "beside", m.Must(serve.Request{Op: "read", Path: "log"}).Data, want)
	})
}

// Changes beside the mount while it is busy with the same nodes: after the last
// change, what the mount shows is the truth.
func TestChangesBesideABusyMount(t *testing.T) {
	modes(t, func(t *testing.T, m *serve.Mount) {
		file := filepath.Join(m.Mountpoint, "f")
		m.Must(serve.Request{Op: "write", Path: "f", Data: []byte("0")})
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for _, f := range []func(i int){
			func(int) { os.Stat(file) },
			func(int) { os.ReadFile(file) },
			func(int) { os.ReadDir(m.Mountpoint) },
			func(i int) { os.Chmod(file, os.FileMode(0o600|i&0o77)) },
			func(int) { syscall.Access(filepath.Join(m.Mountpoint, "none"), 0) },
		} {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						f(i)
					}
				}
			})
		}
		for i := range 200 {
			data := fmt.Appendf(nil, "%0*d", 1+(i*37)%9000, i)
			m.Must(serve.Request{Op: "truncate", Path: "f", Size: int64(len(data))})
			m.Must(serve.Request{Op: "write", Path: "f", Data: data})
			fi, err := os.Stat(file)
			if err != nil || fi.Size() != int64(len(data)) {
				t.Errorf("round %d: stat: %v, %v, want size %d", i, fi, err, len(data))
				break
			}
			wantBytes(t, fmt.Sprintf("round %d", i), read(t, file), data)
			m.Must(serve.Request{Op: "write", Path: "none", Data: nil})
			if _, err := os.Stat(filepath.Join(m.Mountpoint, "none")); err != nil {
				t.Errorf("round %d: made: %v", i, err)
				break
			}
			m.Must(serve.Request{Op: "unlink", Path: "none"})
			if _, err := os.Stat(filepath.Join(m.Mountpoint, "none")); !errorIs(err, syscall.ENOENT) {
				t.Errorf("round %d: removed: %v", i, err)
				break
			}
		}
		close(stop)
		wg.Wait()
	})
}
