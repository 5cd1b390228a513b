package overlay

import (
	"cmp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// listing is the snapshot of a merged directory.
type listing struct {
	names   []byte
	entries []listed

	version, evictions uint64 // of dirState then
}

type listed struct {
	ino  uint64 // of the host, with the device's number; see upper
	off  uint64 // cookie; the entries are in its order
	at   uint32 // where the name begins in names
	size uint16 // of the name
	typ  uint8  // type bits shifted down as in d_type
	from uint8  // fromUpper or the place in dirState.lowers plus one
}

const fromUpper = 0

func (l *listing) name(e *listed) string { return string(l.names[e.at : e.at+uint32(e.size)]) }

func openForList(d *at.Dir) (int, error) {
	dfd, err := d.Acquire()
	if err != nil {
		return -1, gone(err)
	}
	defer d.Release()
	fd, err := at.Open(dfd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, 0)
	if err == syscall.EPERM {
		fd, err = at.Open(dfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	return fd, gone(err)
}

// temporary tells whether a commit under way has made an entry of this name in
// the workspace for a moment. It is none of the view's.
func (fs *FS) temporary(name string) bool {
	p := fs.temps.Load()
	return p != nil && strings.HasPrefix(name, *p)
}

// hiddenEntry tells whether an entry of the directory fd of one layer is a
// whiteout, or is not to be seen.
func (fs *FS) hiddenEntry(fd int, e *vfs.DirEntry, xwh bool) bool {
	switch {
	case fs.temporary(e.Name):
		return true
	case e.Type == unix.S_IFCHR, e.Type == 0:
		a, _, err := at.Stat(fd, e.Name)
		if err == nil {
			e.Type = a.Type()
		}
		return err == nil && isWhiteout(&a)
	case xwh && e.Type == unix.S_IFREG:
		white, err := fs.ly.xattrWhiteout(fd, e.Name)
		return err == nil && white
	}
	return false
}

// ownIno returns the number that an entry of an impure upper directory shows:
// that of its node if it is known, else what its mark says.
func (fs *FS) ownIno(n *node, fd int, name string, ino uint64) uint64 {
	if c := n.d.kid(name); c != nil {
		ino = c.ino.Load()
		fs.put(c)
		return ino
	}
	own, err := fs.shownIno(fd, name, ino)
	if err != nil {
		return ino
	}
	return own
}

// mergeLocked makes the snapshot; see walkMerged. d.mu is held, shared or not.
func (fs *FS) mergeLocked(d *dirState, whole bool) (*listing, error) {
	l := &listing{version: d.version, evictions: d.changes()}
	err := fs.walkMerged(d, whole, func(e *vfs.DirEntry, from int) bool {
		l.entries = append(l.entries, listed{
			ino: e.Ino, off: fs.nameCookie(e.Name), at: uint32(len(l.names)), size: uint16(len(e.Name)),
			typ: uint8(e.Type >> 12), from: uint8(min(from, 255)),
		})
		l.names = append(l.names, e.Name...)
		return len(l.names) < 1<<31
	})
	slices.SortFunc(l.entries, func(a, b listed) int {
		if c := cmp.Compare(a.off, b.off); c != 0 {
			return c
		}
		return strings.Compare(l.name(&a), l.name(&b))
	})
	for i := 1; i < len(l.entries); i++ {
		if e, before := &l.entries[i], l.entries[i-1].off; e.off <= before {
			e.off = before + cookieStep
		}
	}
	return l, err
}

// walkMerged calls fn for each entry that the directory shows, "." and ".."
// apart, until it returns false; from is fromUpper or the place in lowers plus
// one. Inode numbers are those of the host's inodes. A lower directory that the
// host has removed is an error if the listing is to be whole, and else one without
// entries. d.mu is held.
func (fs *FS) walkMerged(d *dirState, whole bool, fn func(e *vfs.DirEntry, from int) bool) error {
	dirs := make([]*at.Dir, 0, len(d.lowers)+1)
	xwh := make([]bool, 0, len(d.lowers)+1)
	first := 1
	if up := d.upper.Load(); up != nil {
		dirs, xwh, first = append(dirs, up), append(xwh, false), 0
	}
	for _, l := range d.lowers {
		dirs, xwh = append(dirs, l.at), append(xwh, l.xwh)
	}
	count := fs.moves.count.Load()
	lost := func(i int, err error) bool {
		return !whole && first+i > fromUpper && vanished(err) && !fs.moves.between(count)
	}
	var seen map[string]struct{} // by layers above, whiteouts too
	if len(dirs) > 1 {
		seen = make(map[string]struct{})
	}
	for i, dir := range dirs {
		fd, err := openForList(dir)
		if lost(i, err) {
			continue
		}
		if err != nil {
			return err
		}
		dev := fs.devs.id(dir.Ident().Dev) << devShift
		last := i == len(dirs)-1
		stop := false
		err = at.ReadDir(fd, 0, func(e vfs.DirEntry) bool {
			if e.Name == "." || e.Name == ".." {
				return true
			}
			if _, dup := seen[e.Name]; dup {
				return true
			}
			if !last {
				seen[e.Name] = struct{}{}
			}
			if fs.hiddenEntry(fd, &e, xwh[i]) {
				return true
			}
			e.Ino ^= dev
			stop = !fn(&e, first+i)
			return !stop
		})
		unix.Close(fd)
		if err != nil && !lost(i, err) || stop {
			return err
		}
	}
	return nil
}

// emptyLocked tells whether the directory shows no entry, as a removed one does.
// d.mu is held.
func (fs *FS) emptyLocked(d *dirState) (bool, error) {
	if d.dead {
		return true, nil // and maybe out of reach
	}
	empty := true
	err := fs.walkMerged(d, false, func(*vfs.DirEntry, int) bool {
		empty = false
		return false
	})
	return empty, err
}
