package tests

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEscapeRaces swaps directories and files for links that lead out, for
// others that are hidden, and renames what is above them, all the time, on the
// mount and in the workspace, while every front reads and writes there. Nobody
// ever reads what is outside or hidden, and nothing is written there.
func TestEscapeRaces(t *testing.T) {
	for _, mode := range []string{"overlay", "host"} {
		t.Run(mode, func(t *testing.T) { escapeRaces(t, mode, raceTime(t)) })
	}
}

// raceTime is how long a race lasts, three seconds by default; ASTRIDFS_RACE_TIME
// sets another time.
func raceTime(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("ASTRIDFS_RACE_TIME")
	if s == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// swapper exchanges names all the time, until end.
type swapper struct {
	stop           atomic.Bool
	running        sync.WaitGroup
	swaps, refused atomic.Int64 // refused: a name was not there for a moment, or a rule forbids it
}

// exchange has a and b swapped over and over. refused is called when they could
// not be; it may be nil.
func (s *swapper) exchange(a, b string, refused func()) {
	s.running.Go(func() {
		for !s.stop.Load() {
			if unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
				s.swaps.Add(1)
				continue
			}
			s.refused.Add(1)
			if refused != nil {
				refused()
			}
		}
	})
}

func (s *swapper) end() {
	s.stop.Store(true)
	s.running.Wait()
}

func escapeRaces(t *testing.T, mode string, during time.Duration) {
	b := newBox(t)
	outside := filepath.Join(b.dir, "outside")
	write(t, filepath.Join(outside, "file"), outsideText)
	write(t, filepath.Join(b.ws, ".astridignore"), "hid\n/top/deep/anchored\n")
	for _, d := range []string{"race", "host"} {
		write(t, filepath.Join(b.ws, d, "dir/file"), "fine")
		write(t, filepath.Join(b.ws, d, "f"), "fine")
		write(t, filepath.Join(b.ws, d, "hid/file"), hiddenText)
		for name, target := range map[string]string{"evil": outside, "rel": "../../outside", "evilfile": "../../outside/file", "tohid": "hid", "hidfile": "hid/file"} {
			if err := os.Symlink(target, filepath.Join(b.ws, d, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(b.ws, "top/deep/anchored"), hiddenText)
	write(t, filepath.Join(b.ws, "top/deep/open"), "fine")
	before := manifest(t, outside)
	b.mount("--mode", mode)

	var sw swapper
	exchange := func(root, a, other string) {
		sw.exchange(filepath.Join(root, a), filepath.Join(root, other), nil)
	}
	exchange(b.mnt, "race/dir", "race/evil")
	exchange(b.mnt, "race/dir", "race/tohid")
	exchange(b.mnt, "race/f", "race/evilfile")
	exchange(b.ws, "host/dir", "host/rel")
	exchange(b.ws, "host/f", "host/hidfile")
	exchange(b.mnt, "top/deep", "race/dir")

	var acts []act
	for range 8 {
		for _, d := range []string{"race", "host"} {
			acts = append(acts, act{'r', d + "/dir/file", ""}, act{'w', d + "/dir/file", ""}, act{'w', d + "/dir/new", ""}, act{'r', d + "/f", ""},
				act{'a', d + "/f", ""}, act{'3', d + "/evil/file", ""}, act{'d', d + "/dir", ""}, act{'r', d + "/tohid/file", ""},
				act{'m', d + "/dir/sub", ""}, act{'h', d + "/dir/file", d + "/evil/linked"}, act{'n', d + "/dir/new", d + "/dir/newer"},
				act{'c', d + "/dir/../dir/file", d + "/evil/copied"}, act{'u', d + "/dir/newer", ""})
		}
		acts = append(acts, act{'r', "top/deep/anchored", ""}, act{'r', "race/dir/anchored", ""}, act{'w', "top/deep/anchored", ""})
	}
	var acting sync.WaitGroup
	var done atomic.Int64
	end := time.Now().Add(during)
	for _, f := range fronts(t) {
		acting.Add(1)
		go func() {
			defer acting.Done()
			for first := true; first || time.Now().Before(end); first = false {
				for i, answer := range f.do(t, b, acts) {
					noSecret(t, f.name+": "+acts[i].String(), answer)
					if strings.HasPrefix(answer, "ok") {
						done.Add(1)
					}
				}
				if t.Failed() {
					return
				}
			}
		}()
	}
	acting.Wait()
	sw.end()
	t.Logf("%d swaps, %d refused; %d operations found something", sw.swaps.Load(), sw.refused.Load(), done.Load())
	if sw.swaps.Load() == 0 || done.Load() == 0 {
		t.Error("nothing was raced")
	}
	sameTree(t, "the directory outside", manifest(t, outside), before)
	for _, path := range []string{"race/hid/file", "host/hid/file"} {
		if got := read(t, filepath.Join(b.ws, path)); got != hiddenText {
			t.Errorf("%s holds %q", path, got)
		}
	}
}
