package view

import (
	"math"
	"sync/atomic"
	"syscall"
)

// NoLimit is the bound of a quota that is none.
const NoLimit = math.MaxUint64

// Quota counts what capsules write. Bytes are cumulative: what was written
// stays counted when it is overwritten or removed. Files are the names that
// were made less those that were removed, never below zero. A Quota may be
// shared by several runs and used by any number of goroutines. A nil *Quota
// allows everything.
type Quota struct {
	bytes, files       atomic.Uint64
	maxBytes, maxFiles uint64
}

// NewQuota returns a quota of maxBytes written bytes and maxFiles made names.
func NewQuota(maxBytes, maxFiles uint64) *Quota {
	return &Quota{maxBytes: maxBytes, maxFiles: maxFiles}
}

// TakeBytes counts n bytes that are about to be written. It answers EDQUOT, and
// counts nothing, if fewer are left.
func (q *Quota) TakeBytes(n uint64) error {
	if q == nil {
		return nil
	}
	return take(&q.bytes, n, q.maxBytes)
}

// GiveBytes takes back n counted bytes that were not written after all.
func (q *Quota) GiveBytes(n uint64) {
	if q != nil {
		give(&q.bytes, n)
	}
}

// TakeFile counts a name that is about to be made: of a file, a directory or a
// link. It answers EDQUOT, and counts nothing, if none is left.
func (q *Quota) TakeFile() error {
	if q == nil {
		return nil
	}
	return take(&q.files, 1, q.maxFiles)
}

// GiveFile takes back a counted name that was not made after all, or was
// removed.
func (q *Quota) GiveFile() {
	if q != nil {
		give(&q.files, 1)
	}
}

// Used returns the bytes and names counted so far.
func (q *Quota) Used() (bytes, files uint64) {
	if q == nil {
		return 0, 0
	}
	return q.bytes.Load(), q.files.Load()
}

func take(c *atomic.Uint64, n, limit uint64) error {
	for {
		old := c.Load()
		if n > limit || old > limit-n {
			return syscall.EDQUOT
		}
		if c.CompareAndSwap(old, old+n) {
			return nil
		}
	}
}

func give(c *atomic.Uint64, n uint64) {
	for {
		old := c.Load()
		if c.CompareAndSwap(old, old-min(n, old)) {
			return
		}
	}
}
