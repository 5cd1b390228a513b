package boundary

import (
	"time"

	"github.com/astridfs/astridfs/vfs"
)

// maxNews bounds the directories that poll is told to look at; when there are
// more, their ignore files wait for the next use of the directory.
const maxNews = 1 << 10

// news has poll look at the ignore file of the directory dir.
func (f *FS) news(dir vfs.NodeID) {
	f.mu.Lock()
	if len(f.noticed) < maxNews {
		f.noticed[dir] = true
	}
	f.mu.Unlock()
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// poll finds out while there are watchers that ignore files changed: what a
// kernel was told, it does not ask for again. It ends with f.ctx.
func (f *FS) poll() {
	defer f.tellers.Done()
	var tick <-chan time.Time
	if f.fresh > 0 {
		t := time.NewTicker(time.Duration(f.fresh))
		defer t.Stop()
		tick = t.C
	}
	for {
		all := false
		select {
		case <-f.ctx.Done():
			return
		case <-f.kick:
		case <-tick:
			all = true
		}
		if f.watching.Load() > 0 {
			f.look(all)
		}
	}
}

// look looks at the ignore files of directories of which there was news, and
// with all set, at all that are in use. What has changed takes effect and is
// told of by that; what cannot be looked at waits for its next use.
func (f *FS) look(all bool) {
	f.mu.Lock()
	dirs := f.noticed
	f.noticed = make(map[vfs.NodeID]bool)
	f.mu.Unlock()
	for dir := range dirs {
		f.dir(f.ctx, dir)
	}
	if !all {
		return
	}
	lists := f.rules.Load().lists()
	lists[""] = nil
	for path := range lists {
		if f.ctx.Err() != nil {
			return
		}
		f.descend(f.ctx, f.rules.Load(), path)
	}
}
