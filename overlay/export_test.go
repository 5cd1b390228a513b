package overlay

// Pinned tells whether the upper file at path is in use.
func (fs *FS) Pinned(path string) bool { return fs.pinned(path) }

// SetStep has f called at the points between two states on disk.
func (o *Options) SetStep(f func(string)) { o.step = f }

// NodesHeld returns how many nodes are in memory, and how many of them callers
// hold a reference to or have open.
func (fs *FS) NodesHeld() (all, held int) {
	fs.nodes.each(fs.put, func(n *node) {
		all++
		if n.lookups.Load() > 0 || n.opens.Load() > 0 {
			held++
		}
	})
	return all, held
}

// HostWatches returns how many lower directories are watched.
func HostWatches(fs *FS) int {
	fs.host.mu.Lock()
	defer fs.host.mu.Unlock()
	return len(fs.host.nodes)
}
