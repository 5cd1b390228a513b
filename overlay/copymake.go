package overlay

import (
	"context"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// copied is a finished copy in the work directory.
type copied struct {
	scratch
	low  *ldir    // of the lower object; nil for a file without a name
	from string   // its name there
	attr vfs.Attr // of it
	id   at.Ident
	idx  string // the index name, if it has several links

	parted []link // names of the node that do not stand for the copy; see partLocked
}

// sourceLocked returns where the lower object of n is: its directory and name.
// n.mu is held.
func (n *node) sourceLocked() (*ldir, string) {
	if n.d == nil {
		return n.low, n.name
	}
	l := n.d.lowers[0]
	return l.up, l.name
}

// source is the lower object of a node, open for being copied.
type source struct {
	low   *ldir  // nil for a file without a name
	name  string // in low
	dirfd int    // of low
	fd    int    // of the object, -1 if it is no regular file, directory or link
	attr  vfs.Attr
	id    at.Ident
}

// openSource opens the lower object of n. ESTALE if the host has put something
// else in its place.
func (fs *FS) openSource(n *node) (_ *source, err error) {
	s := &source{dirfd: -1, fd: -1}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	n.mu.RLock()
	real, held := n.real, n.orphan >= 0
	if held {
		s.fd, err = at.Reopen(n.orphan, unix.O_RDONLY)
	} else {
		s.low, s.name = n.sourceLocked()
	}
	n.mu.RUnlock()
	if !held {
		err = s.open(n.typ)
	}
	if err != nil {
		return nil, gone(err)
	}
	if s.attr, s.id, err = s.stat(); err != nil {
		return nil, gone(err)
	}
	if s.id != real || s.attr.Type() != n.typ {
		return nil, syscall.ESTALE
	}
	return s, nil
}

// open opens the object, whose type should be typ, by its name.
func (s *source) open(typ uint32) error {
	if s.low == nil {
		return syscall.ESTALE
	}
	fd, err := s.low.at.Acquire()
	if err != nil {
		s.low = nil
		return err
	}
	s.dirfd = fd
	switch typ {
	case unix.S_IFREG:
		// O_NONBLOCK: it may have become a fifo.
		s.fd, err = openLower(s.dirfd, s.name, unix.O_RDONLY|unix.O_NONBLOCK)
	case unix.S_IFDIR, unix.S_IFLNK:
		s.fd, err = at.Open(s.dirfd, s.name, unix.O_PATH, 0)
	}
	return err
}

func (s *source) stat() (vfs.Attr, at.Ident, error) {
	if s.fd >= 0 {
		return at.Stat(s.fd, "")
	}
	return at.Stat(s.dirfd, s.name)
}

func (s *source) close() {
	closeFD(s.fd)
	if s.low != nil {
		s.low.at.Release()
	}
}

// errTorn says that the host wrote to a lower file while it was copied. After
// maxTorn further attempts the copy-up fails with it, rather than to keep a file
// that never was.
var errTorn = fmt.Errorf("the lower file changes while it is copied: %w", syscall.EIO)

const maxTorn = 3

// makeCopy copies the lower object of n to the work directory and makes it
// durable. It has the lower base recorded first.
func (fs *FS) makeCopy(ctx context.Context, n *node, limit int64) (_ *copied, err error) {
	src, err := fs.openSource(n)
	if err != nil {
		return nil, err
	}
	defer src.close()
	if src.low != nil { // else it covers nothing
		if err := fs.diverge(src.low, src.name, src.attr, src.id); err != nil {
			return nil, err
		}
	}
	c := &copied{low: src.low, from: src.name, attr: src.attr, id: src.id}
	if c.scratch, err = fs.makeScratch(n.typ, src.fd, c.attr.Rdev); err != nil {
		return nil, err
	}
	fs.step("copyup.made")
	if err := fs.fillCopy(ctx, n, c, src, limit); err != nil {
		c.close(fs)
		return nil, err
	}
	fs.step("copyup.synced")
	return c, nil
}

// fillCopy gives the copy everything that the lower object has, and its marks.
func (fs *FS) fillCopy(ctx context.Context, n *node, c *copied, src *source, limit int64) error {
	data := n.typ == unix.S_IFREG && limit != 0 && c.attr.Size > 0
	if data {
		size := c.attr.Size
		if limit >= 0 {
			size = min(size, limit)
		}
		if err := copyData(ctx, src.fd, c.fd, c.attr.Size, size); err != nil {
			return err
		}
		now, _, err := src.stat()
		if err != nil {
			return err
		}
		if now.Size != c.attr.Size || now.Mtime != c.attr.Mtime {
			return errTorn
		}
	}
	fs.step("copyup.data")
	if err := fs.copyMeta(src.dirfd, src.name, src.fd, c.scratch, &c.attr); err != nil {
		return err
	}
	fd, name := c.target(fs)
	if limit >= 0 && limit < c.attr.Size {
		// The copy is the truncated file already, its time too.
		if err := at.SetTimes(fd, name, nil, &unix.Timespec{Nsec: unix.UTIME_NOW}); err != nil {
			return err
		}
	}
	n.mu.RLock()
	idx, adj := n.idx, n.nlAdj
	n.mu.RUnlock()
	if err := fs.ly.setIno(fd, name, n.ino.Load()); err != nil {
		return err
	}
	if n.typ != unix.S_IFDIR && c.attr.Nlink > 1 && c.low != nil {
		if c.idx = idx; c.idx == "" {
			c.idx = fs.indexName(c.low, src.dirfd, c.from, &c.attr, c.id)
		}
		if err := fs.markIndexed(c, src.dirfd, adj); err != nil {
			return err
		}
	}
	if data {
		return syncFile(c.fd)
	}
	return nil
}

// markIndexed has the copy carry its index name, the kernel's origin and the
// link count, which are the same for all names. An object that cannot carry
// marks is not indexed: its other names stay the lower file.
//
// A copy of a file with one name carries no origin: a commit of a part may have
// the lower file show under another name, beside the copy, and the kernel would
// take the two for one.
func (fs *FS) markIndexed(c *copied, dirfd int, adj int32) error {
	fd, name := c.target(fs)
	err := fs.ly.set(fd, name, markIndex, c.idx)
	if err == syscall.EPERM || err == syscall.EOPNOTSUPP {
		c.idx = ""
		return nil
	}
	if err != nil {
		return err
	}
	if fb := fs.kernelHandle(c.low, dirfd, c.from, c.id); fb != nil {
		if err := fs.ly.set(fd, name, markOrigin, string(fb)); err != nil {
			return err
		}
	}
	return fs.ly.set(fd, name, markNlink, nlinkMark('L', adj))
}
