package fusefs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/vfs"
)

// waiting has lookups of names that begin with "wait" wait for one of "go", or
// until nobody waits for the answer. For each there is a file "state NAME", and
// "given up" is there once one was.
type waiting struct {
	vfs.FS
	dir  string
	gone chan struct{}
	once *sync.Once
}

func makeWaiting(dirs []string) (vfs.FS, func() error, error) {
	fs, done, err := makeHost(dirs)
	return waiting{fs, dirs[0], make(chan struct{}), new(sync.Once)}, done, err
}

func (w waiting) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	switch {
	case strings.HasPrefix(name, "wait"):
		if err := os.WriteFile(filepath.Join(w.dir, "state "+name), nil, 0o644); err != nil {
			return vfs.Entry{}, err
		}
		select {
		case <-w.gone:
		case <-ctx.Done():
			return vfs.Entry{}, os.WriteFile(filepath.Join(w.dir, "given up"), nil, 0o644)
		}
	case name == "go":
		w.once.Do(func() { close(w.gone) })
	}
	return w.FS.Lookup(ctx, parent, name)
}

// startWaiting mounts a waiting filesystem and has n processes wait for names.
func startWaiting(t *testing.T, n int) (m *serve.Mount, callers []*exec.Cmd) {
	t.Helper()
	dir := t.TempDir()
	// The kernel lets nothing be made where a lookup is under way.
	if err := os.Mkdir(filepath.Join(dir, "elsewhere"), 0o755); err != nil {
		t.Fatal(err)
	}
	m = serve.Start(t, serve.Config{FS: "waiting", Dirs: []string{dir}})
	for i := range n {
		c := exec.Command("stat", filepath.Join(m.Mountpoint, fmt.Sprint("wait", i)))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		callers = append(callers, c)
	}
	eventually(t, fmt.Sprint(n, " requests wait at a time"), func() bool {
		l, err := filepath.Glob(filepath.Join(dir, "state *"))
		return err == nil && len(l) == n
	})
	return m, callers
}

// Requests that wait for another hold up nobody, the one that they wait for least
// of all, however many there are and of a kind that took no time before.
func TestWaitingRequestsHoldUpNobody(t *testing.T) {
	m, callers := startWaiting(t, 40)
	for i := range 100 {
		name := filepath.Join(m.Mountpoint, "elsewhere", fmt.Sprint(i))
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, name, read(t, name), []byte("x"))
	}
	if _, err := os.Stat(filepath.Join(m.Mountpoint, "go")); !errorIs(err, syscall.ENOENT) {
		t.Error(err)
	}
	for _, c := range callers {
		if err := c.Wait(); err == nil {
			t.Errorf("%v: found", c.Args)
		}
	}
	if _, err := os.Stat(filepath.Join(m.Dirs[0], "given up")); err == nil {
		t.Error("a caller that waited was given up")
	}
}

// That the caller was killed is told to who serves its request.
func TestKilledCaller(t *testing.T) {
	m, callers := startWaiting(t, 1)
	if err := callers[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request of a killed process is given up", func() bool {
		_, err := os.Stat(filepath.Join(m.Dirs[0], "given up"))
		return err == nil
	})
	callers[0].Wait()
}

// An abort ends what is under way.
func TestAbortGivesUpWhatWaits(t *testing.T) {
	fusectl(t)
	m, callers := startWaiting(t, 10)
	m.Must(serve.Request{Op: "abort"})
	for _, c := range callers {
		c.Wait()
	}
	eventually(t, "all is given back", func() bool {
		st := m.Do(serve.Request{Op: "stats"}).Stats
		return st.Handles == 0 && st.Nodes == 0
	})
	eventually(t, "what waited is given up", func() bool {
		_, err := os.Stat(filepath.Join(m.Dirs[0], "given up"))
		return err == nil
	})
}

// Many at once get each its own answer.
func TestManyCallersAtOnce(t *testing.T) {
	dir := t.TempDir()
	const files, callers = 64, 16
	content := func(i int) []byte { return []byte(strings.Repeat(fmt.Sprint(i, " "), 500*i)) }
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content(i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := serve.Config{FS: "hostfs", Dirs: []string{dir}}
	c.Options.VolatileTimeout = -1
	m := serve.Start(t, c)
	var wg sync.WaitGroup
	for k := range callers {
		wg.Go(func() {
			for i := range 3 * files {
				i = (i*7 + k) % files
				name := filepath.Join(m.Mountpoint, fmt.Sprint(i))
				got, err := os.ReadFile(name)
				if err != nil || string(got) != string(content(i)) {
					t.Errorf("%d: %d bytes, %v", i, len(got), err)
					return
				}
				mine := fmt.Sprint(name, " ", k)
				target := strings.Repeat("x", 1+(i*k*4)%4000)
				if err := os.Symlink(target, mine); err != nil {
					t.Error(err)
					return
				}
				if got, err := os.Readlink(mine); got != target || err != nil {
					t.Errorf("a link to a name of %d bytes: %d, %v", len(target), len(got), err)
				}
				if err := os.Remove(mine); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
