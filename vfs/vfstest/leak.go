package vfstest

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// CheckLeaks fails t if, when it and all its cleanups registered later are done,
// this process has descriptors open that it does not have now. Tests that open
// files at the same time must not run.
func CheckLeaks(t *testing.T) {
	before := openFiles(t)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		var extra map[string]int
		// A file that only a finalizer closes, or a goroutine that is about to
		// end, gets time for it, which may be long on a busy machine.
		for wait := time.Millisecond; wait < 16*time.Second; wait *= 2 { // 16 s in all
			extra = map[string]int{}
			for target, n := range openFiles(t) {
				if n > before[target] {
					extra[target] = n - before[target]
				}
			}
			if len(extra) == 0 {
				return
			}
			runtime.GC()
			time.Sleep(wait)
		}
		t.Errorf("descriptors left open: %v", extra)
	})
}

// openFiles counts this process's descriptors by what they are of.
func openFiles(t *testing.T) map[string]int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]int{}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		switch {
		case err != nil: // the descriptor of the listing itself
		case strings.HasPrefix(target, "anon_inode:"): // the Go runtime's poller
		default:
			open[target]++
		}
	}
	return open
}
