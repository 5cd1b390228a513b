package at

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cache bounds how many directory descriptors a tree of [Dir] holds open. Its
// one mutex guards the cache and every Dir of it, and is never held during a
// system call.
type Cache struct {
	mu   sync.Mutex
	max  int
	ring []*Dir // those with an open descriptor, roots apart
	hand int    // of the clock: second chance before eviction
}

// NewCache returns a cache of at most limit descriptors, 2 at the least. More are
// open for as long as more are in use at once.
func NewCache(limit int) *Cache {
	return &Cache{max: max(limit, 2)}
}

// Dir is a directory of the host that is reached by its parent and a name, and
// whose O_PATH descriptor is open while it is in use or recently was. It costs
// no descriptor of its own: a million of them are fine.
type Dir struct {
	cache *Cache

	// Guarded by cache.mu.
	parent *Dir
	name   string
	moves  uint64 // how often Move was called
	ident  Ident  // what Acquire expects to find; zero until first opened
	fd     int    // -1 while closed
	pins   int    // uses of fd under way
	slot   int    // in cache.ring; -1 while not in it
	recent bool
	dead   bool
}

// Root makes the Dir of an open directory descriptor, which belongs to the Dir
// from then on and stays open until Drop.
func (c *Cache) Root(fd int) (*Dir, error) {
	_, id, err := Stat(fd, "")
	if err != nil {
		return nil, err
	}
	return &Dir{cache: c, fd: fd, slot: -1, ident: id}, nil
}

// Child returns a new Dir for name in d; nothing is opened. With an ident that
// is not zero, Acquire makes sure to reach that directory and no other.
func (d *Dir) Child(name string, id Ident) *Dir {
	return &Dir{cache: d.cache, parent: d, name: name, ident: id, fd: -1, slot: -1}
}

// Move records that the directory has been renamed. An open descriptor stays
// good. Whoever renames it keeps it acquired from before the rename until after
// Move: then an Acquire of d, or of a Dir below, that overlaps all this finds
// the directory in any case, by that descriptor or by the new name.
func (d *Dir) Move(parent *Dir, name string) {
	d.cache.mu.Lock()
	d.parent, d.name = parent, name
	d.moves++
	d.cache.mu.Unlock()
}

// Acquire returns d's descriptor (O_PATH), opening it if need be, and keeps it
// open until Release. Errnos: ENOENT, ENOTDIR, ELOOP and ESTALE when something
// else is there now, EMFILE, ENFILE, EACCES.
func (d *Dir) Acquire() (int, error) {
	for {
		fd, moves, err := d.acquire()
		if err == nil || !d.wasMoved(moves) {
			return fd, err
		}
	}
}

// wasMoved tells whether d was renamed since moves was read, or is now: a
// failure to open it by its name of then means nothing.
func (d *Dir) wasMoved(moves uint64) bool {
	c := d.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	return !d.dead && (d.fd >= 0 || d.moves != moves)
}

// acquire is Acquire without a second try. moves belongs to the name that was
// tried.
func (d *Dir) acquire() (fd int, moves uint64, err error) {
	c := d.cache
	c.mu.Lock()
	moves = d.moves
	if d.fd >= 0 {
		d.pins++
		d.recent = true
		fd := d.fd
		c.mu.Unlock()
		return fd, moves, nil
	}
	if d.dead || d.parent == nil {
		c.mu.Unlock()
		return -1, moves, syscall.ESTALE
	}
	parent, name, want := d.parent, d.name, d.ident
	c.mu.Unlock()

	pfd, err := parent.Acquire()
	if err != nil {
		return -1, moves, err
	}
	fd, err = Open(pfd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
	parent.Release()
	if err != nil {
		return -1, moves, err
	}
	_, got, err := Stat(fd, "")
	if err == nil && want != (Ident{}) && got != want {
		err = syscall.ESTALE
	}
	if err != nil {
		unix.Close(fd)
		return -1, moves, err
	}
	fd, err = d.install(fd, got)
	return fd, moves, err
}

// install makes fd d's descriptor, unless another goroutine was first.
func (d *Dir) install(fd int, id Ident) (int, error) {
	c := d.cache
	c.mu.Lock()
	drop, evicted := -1, -1
	switch {
	case d.dead:
		c.mu.Unlock()
		unix.Close(fd)
		return -1, syscall.ESTALE
	case d.fd >= 0:
		drop = fd
	default:
		evicted = c.evictLocked()
		d.fd, d.ident = fd, id
		d.slot = len(c.ring)
		c.ring = append(c.ring, d)
	}
	d.pins++
	d.recent = true
	fd = d.fd
	c.mu.Unlock()
	closeAll(drop, evicted)
	return fd, nil
}

// Adopt gives d an O_PATH descriptor that the caller already has of it, which
// saves the next Acquire an open. The descriptor belongs to d from then on.
func (d *Dir) Adopt(fd int, id Ident) {
	if _, err := d.install(fd, id); err == nil {
		d.Release()
	}
}

// Release ends one use of the descriptor that Acquire returned.
func (d *Dir) Release() {
	c := d.cache
	c.mu.Lock()
	d.pins--
	fd := -1
	// Above the limit, because many were in use at once, it is given up now.
	if d.pins == 0 && (d.dead || d.slot >= 0 && len(c.ring) > c.max) {
		fd = d.detachLocked()
	}
	c.mu.Unlock()
	closeAll(fd)
}

// Drop closes d for good, as soon as nothing uses its descriptor. The Dirs below
// d that are closed can't be opened any more.
func (d *Dir) Drop() {
	c := d.cache
	c.mu.Lock()
	d.dead = true
	fd := -1
	if d.pins == 0 {
		fd = d.detachLocked()
	}
	c.mu.Unlock()
	closeAll(fd)
}

// Ident returns which inode d is, or the zero Ident before it was first opened.
func (d *Dir) Ident() Ident {
	d.cache.mu.Lock()
	defer d.cache.mu.Unlock()
	return d.ident
}

// Open returns how many descriptors the cache holds open, roots apart.
func (c *Cache) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ring)
}

// detachLocked takes d's descriptor out of the ring and returns it, or -1.
func (d *Dir) detachLocked() int {
	fd := d.fd
	d.fd = -1
	if d.slot >= 0 {
		c := d.cache
		last := len(c.ring) - 1
		c.ring[d.slot] = c.ring[last]
		c.ring[d.slot].slot = d.slot
		c.ring[last] = nil
		c.ring = c.ring[:last]
		d.slot = -1
	}
	return fd
}

// evictLocked makes room for one descriptor and returns one to close, or -1.
func (c *Cache) evictLocked() int {
	if len(c.ring) < c.max {
		return -1
	}
	for range 2 * len(c.ring) {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		d := c.ring[c.hand]
		switch {
		case d.pins > 0:
		case d.recent:
			d.recent = false
		default:
			return d.detachLocked()
		}
		c.hand++
	}
	return -1 // all in use
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
