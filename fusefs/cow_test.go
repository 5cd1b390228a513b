package fusefs_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/vfs"
)

// cow is copy-on-write for the contents of regular files, as small as it can be:
// names and attributes are those of a lower directory, which is only read; the
// first write of a file copies it to the upper directory, where it is called by
// its node id.
type cow struct {
	stable
	upper string

	mu   sync.Mutex
	file map[vfs.NodeID]*os.File // of copied files
}

func makeCow(dirs []string) (vfs.FS, func() error, error) {
	fs, done, err := makeHost(dirs)
	return &cow{stable: stable{fs}, upper: dirs[1], file: map[vfs.NodeID]*os.File{}}, done, err
}

func (c *cow) up(id vfs.NodeID) *os.File {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file[id]
}

// copyUp copies what the lower handle reads.
func (c *cow) copyUp(ctx context.Context, lower vfs.Handle) (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := lower.Node()
	if f := c.file[id]; f != nil {
		return f, nil
	}
	f, err := os.Create(filepath.Join(c.upper, strconv.FormatUint(uint64(id), 10)))
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	for off := int64(0); ; {
		n, err := lower.ReadAt(ctx, buf, off)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		if _, err := f.WriteAt(buf[:n], off); err != nil {
			return nil, err
		}
		off += int64(n)
	}
	c.file[id] = f
	return f, nil
}

func (c *cow) attr(a vfs.Attr, err error, id vfs.NodeID) (vfs.Attr, error) {
	if f := c.up(id); f != nil && err == nil {
		fi, err := f.Stat()
		if err != nil {
			return a, err
		}
		a.Size, a.Mtime = fi.Size(), vfs.TimespecOf(fi.ModTime())
	}
	return a, err
}

func (c *cow) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	e, err := c.stable.Lookup(ctx, parent, name)
	if err == nil {
		e.Attr, err = c.attr(e.Attr, err, e.Node)
	}
	return e, err
}

func (c *cow) GetAttr(ctx context.Context, id vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	a, err := c.stable.GetAttr(ctx, id, nil)
	return c.attr(a, err, id)
}

func (c *cow) SetAttr(ctx context.Context, id vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	if in.Valid&vfs.SetSize != 0 {
		o, err := c.Open(ctx, id, unix.O_RDWR)
		if err != nil {
			return vfs.Attr{}, err
		}
		defer o.Close()
		f, err := c.copyUp(ctx, o.(*cowHandle).Handle)
		if err == nil {
			err = f.Truncate(in.Size)
		}
		if err != nil {
			return vfs.Attr{}, err
		}
	}
	return c.GetAttr(ctx, id, nil)
}

func (c *cow) Open(ctx context.Context, id vfs.NodeID, flags int) (vfs.Handle, error) {
	h, err := c.stable.Open(ctx, id, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &cowHandle{Handle: h, c: c, atOpen: c.up(id)}, nil
}

// cowHandle is the lower file until there is an upper one. The lower one's
// descriptor is never offered.
type cowHandle struct {
	vfs.Handle
	c      *cow
	atOpen *os.File
}

func (h *cowHandle) PassthroughFD() (int, bool) {
	if h.atOpen == nil {
		return -1, false
	}
	return int(h.atOpen.Fd()), true
}

func (h *cowHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f := h.c.up(h.Node())
	if f == nil {
		return h.Handle.ReadAt(ctx, p, off)
	}
	n, err := f.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (h *cowHandle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	f, err := h.c.copyUp(ctx, h.Handle)
	if err != nil {
		return 0, err
	}
	return f.WriteAt(p, off)
}

// A reader holds a lower file open, and mapped, while a writer changes it. The
// lower file stays as it is; whoever reads afterwards, also through what was
// open before, reads the change; and once the file is an upper one, passthrough
// may begin only when the old readers are gone.
func TestLowerFileIsNeverWritten(t *testing.T) {
	for _, noPass := range []bool{false, true} {
		t.Run("NoPassthrough="+strconv.FormatBool(noPass), func(t *testing.T) {
			lower, upper := t.TempDir(), t.TempDir()
			old := make([]byte, 3*4096)
			copy(old, "old")
			if err := os.WriteFile(filepath.Join(lower, "f"), old, 0o644); err != nil {
				t.Fatal(err)
			}
			c := serve.Config{FS: "cow", Dirs: []string{lower, upper}}
			c.Options.NoPassthrough = noPass
			m := serve.Start(t, c)
			cowTrap(t, m, filepath.Join(m.Mountpoint, "f"), old)
			wantBytes(t, "lower file", read(t, filepath.Join(lower, "f")), old)
		})
	}
}

func cowTrap(t *testing.T, m *serve.Mount, path string, old []byte) {
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := unix.Mmap(int(reader.Fd()), 0, len(old), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte(nil), old...)
	check := func(when string) {
		t.Helper()
		buf := make([]byte, len(want)+100)
		n, _ := reader.ReadAt(buf, 0)
		wantBytes(t, when+", open before", buf[:n], want)
		wantBytes(t, when+", mapped before", shared, want[:len(shared)])
		wantBytes(t, when+", opened now", read(t, path), want)
		wantBytes(t, when+", beside the mount", m.Must(serve.Request{Op: "read", Path: "f"}).Data, want)
		if fi, err := os.Stat(path); err != nil || fi.Size() != int64(len(want)) {
			t.Fatalf("%s: %v, %v", when, fi, err)
		}
	}
	check("at first")

	// First a writer that opened before the copy-up, then one after it while
	// the readers are still there.
	before, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	check("open for writing, not written")
	put := func(f *os.File, s string, off int64) {
		t.Helper()
		if _, err := f.WriteAt([]byte(s), off); err != nil {
			t.Fatal(err)
		}
		want = append(want, make([]byte, max(0, int(off)+len(s)-len(want)))...)
		copy(want[off:], s)
	}
	put(before, "first", 4096)
	check("written")
	after, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(after, "second", 100)
	put(after, "longer", int64(len(want)))
	check("written after the copy-up")
	put(before, "third", 0)
	check("written by who opened before it")
	if n := m.Do(serve.Request{Op: "stats"}).Stats.Passthrough; n != 0 {
		t.Errorf("passthrough began beside a cached reader")
	}

	for _, f := range []*os.File{before, after} {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Munmap(shared); err != nil {
		t.Fatal(err)
	}
	reader.Close()

	// Now it may, as soon as the kernel has told that the files were closed; and a
	// reader that comes meanwhile follows.
	wanted := !m.Options.NoPassthrough && direct(t)
	began := func() bool { return m.Do(serve.Request{Op: "stats"}).Stats.Passthrough != 0 }
	for i, end := 0, time.Now().Add(time.Minute); i < 3 || wanted && !began() && time.Now().Before(end); i++ {
		direct := openEventually(t, path)
		if reader, err = os.Open(path); err != nil {
			t.Fatal(err)
		}
		put(direct, "direct"+strconv.Itoa(i), 8192)
		if shared, err = unix.Mmap(int(reader.Fd()), 0, len(old), unix.PROT_READ, unix.MAP_SHARED); err != nil {
			t.Fatal(err)
		}
		put(direct, "and on"+strconv.Itoa(i), 9000)
		check("written directly")
		direct.Close() // the reader is the last one to close
		check("written directly, writer closed")
		reader.Close()
		if err := unix.Munmap(shared); err != nil {
			t.Fatal(err)
		}
	}
	wantBytes(t, "at last", read(t, path), want)
	if wanted && !began() {
		t.Errorf("passthrough never began")
	}
}

func openEventually(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A file goes to and fro between the two modes while many open it at random: no
// open may fail, and no byte may be lost.
func TestModesOfOneFile(t *testing.T) {
	m := serve.Start(t, serve.Config{FS: "stable", Dirs: []string{t.TempDir()}})
	path := filepath.Join(m.Mountpoint, "f")
	if err := os.WriteFile(path, make([]byte, 16*8), 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			mine := int64(w) * 8
			for i := range 500 {
				flags := []int{os.O_RDONLY, os.O_RDWR, os.O_RDONLY, os.O_WRONLY}[(i+w)%4]
				f, err := os.OpenFile(path, flags, 0)
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				buf := make([]byte, 8)
				if flags != os.O_RDONLY {
					if _, err := f.WriteAt(strconv.AppendInt(make([]byte, 0, 8), int64(10000000+i), 10), mine); err != nil {
						t.Errorf("write: %v", err)
					}
				}
				f.Close()
				got, err := os.ReadFile(path)
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				copy(buf, got[mine:])
				if flags != os.O_RDONLY && string(buf) != strconv.Itoa(10000000+i) {
					t.Errorf("worker %d wrote %d and read %q", w, 10000000+i, buf)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The kernel writes with the credentials of the serving process; a setuid bit
// must fall nevertheless where POSIX says so.
func TestWritesClearSetuid(t *testing.T) {
	for _, noPass := range []bool{false, true} {
		c := serve.Config{FS: "stable", Dirs: []string{t.TempDir()}}
		c.Options.NoPassthrough, c.Options.AllowOther = noPass, os.Geteuid() == 0
		c.Mountpoint = filepath.Join(t.TempDir(), "m")
		if err := os.MkdirAll(c.Mountpoint, 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Dir(filepath.Dir(c.Mountpoint)), 0o755)
		os.Chmod(filepath.Dir(c.Mountpoint), 0o755)
		m := serve.Start(t, c)
		os.Chmod(m.Mountpoint, 0o777)
		path := filepath.Join(m.Mountpoint, "f")
		for _, how := range []string{"write", "truncate", "open truncating"} {
			if err := os.WriteFile(path, []byte("data"), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := unix.Chmod(path, 0o6777); err != nil {
				t.Fatal(err)
			}
			asUser(t, 65534, func() error {
				switch how {
				case "truncate":
					return unix.Truncate(path, 1)
				case "write":
					fd, err := unix.Open(path, unix.O_WRONLY, 0)
					if err != nil {
						return err
					}
					defer unix.Close(fd)
					_, err = unix.Write(fd, []byte("x"))
					return err
				}
				fd, err := unix.Open(path, unix.O_WRONLY|unix.O_TRUNC, 0)
				if err != nil {
					return err
				}
				return unix.Close(fd)
			})
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil || st.Mode&07777 != 0o777 {
				t.Errorf("%s (NoPassthrough %v): mode %o, %v", how, noPass, st.Mode&07777, err)
			}
		}
	}
}

// asUser runs f with another effective user id, on a thread that ends with it; for
// somebody who is an ordinary user already, with that one's.
func asUser(t *testing.T, uid int, f func() error) {
	t.Helper()
	if os.Geteuid() != 0 {
		uid = os.Geteuid()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if _, _, e := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			done <- e
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A large file that was read keeps its pages when it is opened for writing, and
// what is written to it is right all the same; a new one goes directly.
func TestLargeCachedFile(t *testing.T) {
	m := serve.Start(t, serve.Config{FS: "stable", Dirs: []string{t.TempDir()}})
	path := filepath.Join(m.Mountpoint, "f")
	want := make([]byte, 9<<20)
	for i := range want {
		want[i] = byte(i >> 8)
	}
	began := func() uint64 { return m.Must(serve.Request{Op: "stats"}).Stats.Passthrough }
	if err := os.WriteFile(path, want, 0o644); err != nil {
		t.Fatal(err)
	}
	if direct(t) && began() != 1 {
		t.Errorf("the new file was not written directly")
	}
	for i := range 3 {
		wantBytes(t, "before", read(t, path), want)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		f.Close()
		want = strconv.AppendInt(want, int64(i), 10)
		wantBytes(t, "after", read(t, path), want)
		wantBytes(t, "beside", m.Must(serve.Request{Op: "read", Path: "f"}).Data, want)
	}
	if n := began(); n > 1 {
		t.Errorf("%d opens with passthrough, want the first alone", n)
	}
}
