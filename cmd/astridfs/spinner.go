package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// compileWait is how long a capsule is compiled before it is said. Taking even
// a large one from the cache's directory is over sooner.
const compileWait = 500 * time.Millisecond

// spinner shows on a terminal that something is under way whose end cannot be
// told, with the seconds that have gone.
type spinner struct {
	w    io.Writer
	what string
	wait time.Duration // before anything is shown
}

// start begins with what has a size in bytes. done takes what was shown away
// and returns when nothing more is written; it may be called again.
func (s spinner) start(size int64) (done func()) {
	stop := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() { s.show(size, stop) })
	return sync.OnceFunc(func() {
		close(stop)
		shown.Wait()
	})
}

func (s spinner) show(size int64, stop <-chan struct{}) {
	select {
	case <-stop:
		return
	case <-time.After(s.wait):
	}
	// The library's own goroutine, which would turn it, cannot be waited for.
	text := shorten(fmt.Sprintf("%s (%.1f MB)", s.what, float64(size)/1e6), columns(s.w)-len("*   [1000s] "))
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(s.w), progressbar.OptionSetDescription(text),
		progressbar.OptionSpinnerType(14), progressbar.OptionSetSpinnerChangeInterval(0), progressbar.OptionSetElapsedTime(true))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		bar.Add(1) // what cannot be drawn is no failure
		select {
		case <-stop:
			bar.Clear()
			return
		case <-tick.C:
		}
	}
}

// shorten cuts s to at most width characters: what would take a second line of the
// terminal is not taken away again. Below 2 nothing is known of the terminal, or
// there is no room anyway.
func shorten(s string, width int) string {
	if r := []rune(s); width >= 2 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}
