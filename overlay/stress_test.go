package overlay_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// TestStress has many goroutines do random operations on one tree, through open
// files as well, with caches so small that everything is evicted all the time,
// and by way of a mount.
// Afterwards the live view, an overlay opened anew and the kernel show the same
// tree, and nothing is left over.
func TestStress(t *testing.T) {
	seconds := stressTime(t)
	for _, idle := range []int{1, 100000} {
		t.Run(fmt.Sprintf("Idle%d", idle), func(t *testing.T) {
			stress(t, seconds, 2, idle, func(fs *overlay.FS) (subject, func()) { return view{fs}, func() {} })
		})
	}
	t.Run("Mounted", func(t *testing.T) {
		if os.Geteuid() != 0 && !vfstest.UsersMount() {
			vfstest.Skip(t, vfstest.NoFuse)
		}
		stress(t, seconds, 2, 1, func(fs *overlay.FS) (subject, func()) { return mounted(t, fs) })
	})
}

// TestCommitStress is the same while what the workers do is committed all the
// time, in parts and as a whole. A conflict, which nobody outside can have caused,
// is a failure.
func TestCommitStress(t *testing.T) {
	for _, idle := range []int{1, 100000} {
		t.Run(fmt.Sprintf("Idle%d", idle), func(t *testing.T) {
			stress(t, stressTime(t), 1, idle, func(fs *overlay.FS) (subject, func()) { return view{fs}, committing(t, fs) })
		})
	}
}

// committing commits again and again until stop is called.
func committing(t *testing.T, fs *overlay.FS) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		r := rand.New(rand.NewPCG(11, 11))
		for k := 0; ; k++ {
			select {
			case <-end:
				return
			default:
			}
			opt := overlay.CommitOptions{NoSync: true}
			if k%4 != 3 {
				opt.Paths = []string{randomPath(r)}
			}
			_, err := fs.Commit(bg, opt)
			if err != nil {
				t.Errorf("commit %v: %v", opt.Paths, err)
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
	}
}

// stressTime is how long a stress test lasts, 2 s by default; ASTRIDFS_STRESS
// sets another time.
func stressTime(t *testing.T) time.Duration {
	s := os.Getenv("ASTRIDFS_STRESS")
	if s == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mounted is the filesystem by way of the kernel, until it is unmounted.
func mounted(t *testing.T, fs vfs.FS) (s subject, unmount func()) {
	t.Helper()
	dir := t.TempDir()
	m, err := fusefs.Mount(fs, dir, fusefs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.UnmountLazy() }) // where the test ended early
	return hostDir(dir), func() {
		if err := m.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
		if st := m.Stats(); st.Panics > 0 || st.Dropped > 0 {
			t.Errorf("%d panics, %d changes that the kernel was not told of", st.Panics, st.Dropped)
		}
	}
}

// removeAll removes p and what is below it, which others change meanwhile.
func removeAll(s subject, p string) error {
	err := s.unlink(p)
	if err != syscall.EISDIR {
		return err
	}
	list, err := s.list(p)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name == "." || e.Name == ".." {
			continue
		}
		switch err := removeAll(s, p+"/"+e.Name); err {
		case syscall.ESTALE, syscall.EIO:
			return err
		}
	}
	return s.rmdir(p)
}

func stress(t *testing.T, length time.Duration, lowers, idle int, front func(*overlay.FS) (s subject, close func())) {
	vfstest.CheckLeaks(t)
	opt := layers(t, lowers)
	for i := range opt.Lower {
		seedTree(t, rand.New(rand.NewPCG(5, uint64(i))), opt.Lower[i], true)
	}
	opt.IdleNodes, opt.DirFDs = idle, 8
	fs, err := overlay.Open(bg, opt)
	if err != nil {
		t.Fatal(err)
	}
	sub, closeFront := front(fs)
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			s := &state{subject: sub}
			for k := 1; time.Now().Before(end); k++ {
				o := randomOp(r)
				if k%200 == 0 {
					// Renames put directories where no random path leads any more:
					// without this the tree grows deeper and deeper.
					p := opNames[r.IntN(len(opNames))]
					o = op{"remove all of " + p, func(s *state) string { return outcome(removeAll(s, p)) }}
				}
				switch out := o.do(s); {
				case strings.HasPrefix(out, "ESTALE"), strings.HasPrefix(out, "EIO"):
					t.Errorf("%s: %s", o.what, out)
				}
			}
			for _, f := range s.files {
				if f != nil {
					f.close()
				}
			}
		})
	}
	wg.Wait()
	closeFront = sync.OnceFunc(closeFront)
	if lowers == 1 {
		closeFront() // the commits end first
	}
	if d := differences(dump(t, view{fs}), dump(t, sub)); d != "" {
		t.Errorf("the view and what the workers see of it:\n%s", d)
	}
	closeFront()
	live := dump(t, view{fs})
	if n, held := fs.NodesHeld(); held != 0 || idle == 1 && n > 64 { // one for each shard of the table
		t.Errorf("%d idle nodes in memory, %d held", n, held)
	}
	if err := fs.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, opt)
	if d := differences(live, dump(t, view{again})); d != "" {
		t.Errorf("the live view and one opened again:\n%s", d)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		dir, unmount := kernelMount(t, opt, "index=on")
		kernel := dump(t, hostDir(dir), "nolinks")
		unmount()
		if d := differences(dump(t, view{open(t, opt)}, "nolinks"), kernel); d != "" {
			t.Errorf("the overlay and the kernel over the same layers:\n%s", d)
		}
	}
}
