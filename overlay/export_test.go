package overlay

import (
	"fmt"
	"slices"
)

// Pinned tells whether the upper file at path is in use.
func (fs *FS) Pinned(path string) bool { return fs.pinned(path) }

// SetStep has f called at the points between two states on disk.
func (o *Options) SetStep(f func(string)) { o.step = f }

// NodesHeld returns how many nodes are in memory that nothing refers to, not
// even an entry below, and how many callers hold a reference to or have open.
func (fs *FS) NodesHeld() (idle, held int) {
	fs.nodes.each(fs.put, func(n *node) {
		if n.refs.Load() == 1 { // the one that each took
			idle++
		}
		if n.lookups.Load() > 0 || n.opens.Load() > 0 {
			held++
		}
	})
	return idle, held
}

// HostWatches returns how many lower directories are watched.
func HostWatches(fs *FS) int {
	fs.host.mu.Lock()
	defer fs.host.mu.Unlock()
	return len(fs.host.nodes)
}

// LimitHostWatches sets how many lower directories may be watched.
func LimitHostWatches(fs *FS, n int) {
	fs.host.mu.Lock()
	defer fs.host.mu.Unlock()
	fs.host.max = n
}

// Differences says in what two trees differ, given as a line for each path: a
// sorted list.
func Differences(a, b map[string]string) (out []string) {
	for path, x := range a {
		if y, ok := b[path]; !ok {
			out = append(out, fmt.Sprintf("only in the first: %q %s", path, x))
		} else if x != y {
			out = append(out, fmt.Sprintf("%q:\n\t%s\n\t%s", path, x, y))
		}
	}
	for path, y := range b {
		if _, ok := a[path]; !ok {
			out = append(out, fmt.Sprintf("only in the second: %q %s", path, y))
		}
	}
	slices.Sort(out)
	return out
}
