package auditlog

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// noRoom tells whether a write failed for want of space, which may come again.
func noRoom(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// write is the goroutine that owns the file, until Close or the first error that
// is not for want of space.
func (l *Log) write() {
	defer close(l.done)
	timer := time.NewTimer(checkpointEvery)
	defer timer.Stop()
	for {
		select {
		case <-l.wake:
		case <-timer.C:
		}
		l.gather()
		l.mu.Lock()
		batch, closing, urgent := l.queue.take(), l.closing, l.urgent > l.synced
		l.moved.Broadcast()
		l.mu.Unlock()

		idle := len(batch) == 0
		err := l.writeBatch(batch)
		if err == nil && l.head != nil {
			err = l.updateHead()
		}
		due := l.sinceCheck > 0 && (closing || l.size >= l.opt.Rotate || l.sinceCheck >= checkpointRecords || l.opt.Now().Sub(l.lastCheck) >= checkpointEvery)
		if err == nil && due {
			err = l.checkpoint()
		} else if err == nil && urgent {
			err = l.sync()
		}
		synced := err == nil && (due || urgent)

		l.mu.Lock()
		l.full = nil
		l.tries++
		if err != nil {
			err = fmt.Errorf("the audit log can't be written: %w", err)
			if noRoom(err) && !closing {
				l.full = err
			} else {
				l.err = err
			}
		}
		l.broken.Store(err != nil)
		if len(l.buf) == 0 {
			l.written = l.last
		}
		if synced {
			l.synced = l.written
		}
		l.queue.reuse(batch)
		stop := l.err != nil || (closing && l.queue.n == 0)
		l.moved.Broadcast()
		l.mu.Unlock()
		if stop {
			return
		}
		if !idle || l.sinceCheck > 0 || l.head != nil {
			timer.Reset(checkpointEvery)
		}
		if closing {
			l.poke()
		}
	}
}

// gather waits a little for more records to come, unless somebody waits.
func (l *Log) gather() {
	l.mu.Lock()
	now := l.closing || l.urgent > l.synced || l.queue.n == 0
	l.mu.Unlock()
	if now {
		return
	}
	t := time.NewTimer(groupDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.wake:
	}
}

// writeBatch writes the batch behind what could not be written before.
func (l *Log) writeBatch(batch []*block) error {
	var err error
	for _, b := range batch {
		for i := range b.records[:b.n] {
			r := &b.records[i]
			r.Prev = l.prev
			l.buf, l.prev = r.appendLine(l.buf)
			l.last = r.Seq
			l.sinceCheck++
		}
		if len(l.buf) >= 1<<20 && err == nil {
			if err = l.flush(); err != nil && !noRoom(err) {
				return err
			}
		}
	}
	if err != nil {
		return err // the rest waits with what had no room
	}
	return l.flush()
}

// flush writes buf. Lines that there was no room for stay in it, and nothing of
// them in the file.
func (l *Log) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	l.reserve()
	n, err := l.file.Write(l.buf)
	if err != nil && n > 0 {
		l.reserved = min(l.reserved, 0)
		if terr := l.file.Truncate(l.size); terr != nil {
			return terr
		}
	}
	if err != nil {
		return err
	}
	l.size += int64(n)
	l.buf = l.buf[:0]
	return nil
}

// reserve has the file keep blocks for what comes, as far as the filesystem can
// do that, so that what makes room on a full one can still be put on record. It
// stays when the log is closed, for those who open it then.
func (l *Log) reserve() {
	if end := l.size + int64(len(l.buf)); l.reserved < 0 || end+reserveBytes/2 <= l.reserved {
		return
	}
	switch err := unix.Fallocate(int(l.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, l.size, int64(len(l.buf))+reserveBytes); {
	case err == nil:
		l.reserved = l.size + int64(len(l.buf)) + reserveBytes
	case err != unix.EINTR && !noRoom(err):
		l.reserved = -1
	}
}

// checkpoint signs the chain as it stands, makes it durable and records it in
// the head file; then it begins a new file if this one is full. The checkpoint's
// sequence number comes from the same counter as everybody's, so it is taken
// only while nothing is queued: the records that came meanwhile go first.
func (l *Log) checkpoint() error {
	l.mu.Lock()
	batch := l.queue.take()
	seq := l.nextSeq
	l.nextSeq++
	l.mu.Unlock()
	err := l.writeBatch(batch)
	if err != nil && !noRoom(err) {
		return err
	}
	// Also without room: its number is taken, so that it waits with the others.
	r := Record{Seq: seq, Time: l.opt.Now(), Session: l.opt.Session, Op: OpCheckpoint, Actor: self(), Outcome: Allowed, Prev: l.prev,
		Signature: hex.EncodeToString(ed25519.Sign(l.key, checkpointMessage(l.prev)))}
	l.buf, l.prev = r.appendLine(l.buf)
	l.last = seq
	if err == nil {
		err = l.flush()
	}
	if err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	l.head = &head{Seq: seq, Hash: l.prev}
	l.sinceCheck, l.lastCheck = 0, l.opt.Now()
	if err := l.updateHead(); err != nil || l.size < l.opt.Rotate {
		return err
	}
	if err := l.rotate(seq + 1); !noRoom(err) {
		return err
	}
	return nil // the file goes on, and the next checkpoint tries again
}

// updateHead writes the head file. One that is behind for want of space says
// less than it could and nothing wrong, so that this is no reason to stop.
func (l *Log) updateHead() error {
	err := writeHead(l.path(headFile), *l.head, l.key)
	if noRoom(err) {
		return nil
	}
	l.head = nil
	return err
}

// sync returns when what was written is on stable storage, in the file of that
// name: what is written to one that somebody took away, or cuts, is on no record.
//
// Errors: *BrokenError.
func (l *Log) sync() error {
	if err := l.file.Sync(); err != nil {
		return err
	}
	own, err := l.file.Stat()
	if err != nil {
		return err
	}
	name := filepath.Base(l.file.Name())
	named, err := os.Lstat(l.file.Name())
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(own, named):
		return &BrokenError{File: name, Seq: l.first, Kind: Truncated, Why: "the file was taken away while it was being written"}
	case err != nil:
		return err
	case own.Size() < l.size:
		return &BrokenError{File: name, Seq: l.first, Kind: Truncated, Why: "the file was cut while it was being written"}
	case own.Size() > l.size:
		return &BrokenError{File: name, Seq: l.first, Kind: Changed, Why: "something else writes to the file"}
	}
	return nil
}

// rotate begins the file whose first record is first.
func (l *Log) rotate(first uint64) error {
	f, err := os.OpenFile(l.path(fileName(first)), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Fsync(int(l.dir.Fd())); err != nil {
		// Not kept: a file is named after its first record.
		if rerr := errors.Join(f.Close(), os.Remove(f.Name())); rerr != nil {
			return rerr
		}
		return err
	}
	old, size := l.file, l.size
	l.file, l.first, l.size, l.reserved = f, first, 0, min(l.reserved, 0)
	return errors.Join(old.Truncate(size), old.Close()) // gives back what is reserved
}
