package fusefs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
)

// What others do to a directory of the host underneath shows within the
// lifetime of what is volatile, in files that are open all the time, too.
func TestHostChangesShowInTime(t *testing.T) {
	c := serve.Config{FS: "hostfs", Dirs: []string{t.TempDir()}}
	c.Options.VolatileTimeout = 50 * time.Millisecond
	c.Options.NoPassthrough = true
	m := serve.Start(t, c)
	host, path := filepath.Join(c.Dirs[0], "f"), filepath.Join(m.Mountpoint, "f")
	if err := os.WriteFile(host, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new file", func() bool { b, _ := os.ReadFile(path); return string(b) == "one" })
	open, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	want := []byte("one")
	for i := range 20 {
		f, err := os.OpenFile(host, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		more := fmt.Appendf(nil, " and %d", i)
		if _, err := f.Write(more); err != nil {
			t.Fatal(err)
		}
		f.Close()
		want = append(want, more...)
		eventually(t, "appended", func() bool {
			buf := make([]byte, 4096)
			n, _ := open.ReadAt(buf, 0)
			return bytes.Equal(buf[:n], want)
		})
	}
	if err := os.WriteFile(filepath.Join(c.Dirs[0], "g"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in the listing", func() bool { l, _ := os.ReadDir(m.Mountpoint); return len(l) == 2 })
	if err := os.Remove(host); err != nil {
		t.Fatal(err)
	}
	eventually(t, "removed", func() bool { l, _ := os.ReadDir(m.Mountpoint); return len(l) == 1 })
}

// A lower file with several names cannot be watched. What the host writes to it
// shows in a file that stays open, too, once its attributes are asked for.
func TestHostWritesToHardLink(t *testing.T) {
	dirs := overlayDirs(t)
	host := filepath.Join(lowerOf(dirs), "f")
	if err := os.WriteFile(host, []byte("data 00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(host, filepath.Join(lowerOf(dirs), "g")); err != nil {
		t.Fatal(err)
	}
	c := serve.Config{FS: "overlay", Dirs: dirs}
	c.Options.VolatileTimeout = 50 * time.Millisecond
	m := serve.Start(t, c)
	open, err := os.Open(filepath.Join(m.Mountpoint, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	shows := func(want string) func() bool {
		return func() bool {
			fi, err := open.Stat()
			buf := make([]byte, 100)
			n, _ := open.ReadAt(buf, 0)
			return err == nil && string(buf[:n]) == want && fi.Size() == int64(len(want))
		}
	}
	eventually(t, "at first", shows("data 00"))
	for i := range 10 {
		want := fmt.Sprintf("data %02d", i+1) // of the same size
		if i%3 == 2 {
			want += " and more"
		}
		if err := os.WriteFile(host, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		eventually(t, want, shows(want))
	}
}

// What is stored through a shared mapping is beside the mount after msync, and
// after munmap and close; with passthrough at once.
func TestSharedMapping(t *testing.T) {
	modes(t, func(t *testing.T, m *serve.Mount) {
		path := filepath.Join(m.Mountpoint, "f")
		if err := os.WriteFile(path, make([]byte, 8192), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		mem, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		copy(mem, "synced")
		if err := unix.Msync(mem, unix.MS_SYNC); err != nil {
			t.Fatal(err)
		}
		beside := func() []byte { return m.Must(serve.Request{Op: "read", Path: "f"}).Data }
		wantBytes(t, "after msync", beside()[:6], []byte("synced"))
		m.Must(serve.Request{Op: "write", Path: "f", Data: []byte("beside"), Off: 4096})
		wantBytes(t, "written beside, mapped here", mem[4096:4102], []byte("beside"))
		copy(mem[100:], "closed")
		f.Close()
		if err := unix.Munmap(mem); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "after munmap", beside()[100:106], []byte("closed"))
	})
}

// Nothing is left open after much came and went.
func TestNothingLeaks(t *testing.T) {
	m := serve.Start(t, serve.Config{FS: "stable", Dirs: []string{t.TempDir()}})
	before := m.Must(serve.Request{Op: "stats"})
	for i := range 300 {
		dir := filepath.Join(m.Mountpoint, "d")
		if err := os.MkdirAll(filepath.Join(dir, "e"), 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 3 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(j)), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		d, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		// A listing that is begun and never ended.
		if _, err := d.Readdirnames(1 + i%3); err != nil {
			t.Fatal(err)
		}
		d.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all given back", func() bool {
		now := m.Must(serve.Request{Op: "stats"})
		return now.Stats.Handles == 0 && now.Stats.Nodes <= 2 && now.FDs <= before.FDs+4
	})
}

// However much is walked, the kernel is made to forget, and forgets nothing that
// is open.
func TestNodesAreBounded(t *testing.T) {
	c := serve.Config{FS: "stable", Dirs: []string{t.TempDir()}}
	const dirs, files = 40, 250
	for i := range dirs {
		dir := mkdir(t, c.Dirs[0], fmt.Sprint(i))
		for j := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(j)), fmt.Appendf(nil, "%d/%d", i, j), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Options.MaxNodes = 1000
	m := serve.Start(t, c)
	open, err := os.Open(filepath.Join(m.Mountpoint, "0", "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for range 3 {
		n := 0
		err := filepath.Walk(m.Mountpoint, func(path string, fi os.FileInfo, err error) error {
			if err == nil && fi.Mode().IsRegular() {
				n++
			}
			return err
		})
		if err != nil || n != dirs*files {
			t.Fatalf("walked %d files: %v", n, err)
		}
		if !kernel(t, 6, 18) {
			continue // it cannot be asked to forget
		}
		eventually(t, "forgotten", func() bool { return m.Must(serve.Request{Op: "stats"}).Stats.Nodes <= 1000 })
	}
	buf := make([]byte, 10)
	if n, err := open.ReadAt(buf, 0); string(buf[:n]) != "0/0" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}
