package auditlog

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a log's files and of what waits to be written.
const (
	DefaultRotate     = 64 << 20 // bytes in a file before the next one begins
	checkpointRecords = 1 << 16  // records between two checkpoints, at the most
	checkpointEvery   = time.Second
	groupDelay        = 10 * time.Millisecond
	maxPending        = 1 << 14 // records; Append waits beyond
	keepPending       = 1 << 12 // records; room that is kept for the next ones
	reserveBytes      = 256 << 10
)

// Options of a log.
type Options struct {
	// Session is the name that every record carries.
	Session string
	// Key signs the checkpoints. If it is nil, the log keeps one of its own in
	// the file "key" of its directory (mode 0600), made when the log is.
	Key ed25519.PrivateKey
	// Rotate is how many bytes a file holds before the next begins; 0 means
	// DefaultRotate.
	Rotate int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Log is an open log. One process has it open at a time, which the session's
// lock sees to. Its methods may be called concurrently.
type Log struct {
	dir *os.File
	opt Options
	key ed25519.PrivateKey

	mu      sync.Mutex
	queue   []Record // not yet written, in order of Seq
	nextSeq uint64
	written uint64 // last Seq handed to the kernel
	synced  uint64 // last Seq on stable storage
	urgent  uint64 // highest Seq that somebody waits to have synced
	closing bool
	err     error      // of the first write that failed for good; final
	full    error      // of the last write, if there was no room for it; nil when there is again
	tries   uint64     // how often the writer has tried to write
	spare   []Record   // the array of a batch that was written, for the queue
	moved   *sync.Cond // written, synced, err, full or tries changed, or the queue shrank
	wake    chan struct{}
	done    chan struct{}
	broken  atomic.Bool // err or full is set

	// Of the writer goroutine alone.
	file       *os.File
	first      uint64 // Seq of the first record that this process writes to file
	size       int64  // of the whole lines in file
	reserved   int64  // up to where file has its blocks; -1: it can't have any in advance
	prev       Hash
	last       uint64 // Seq of the last record in buf, or in file where buf is empty
	head       *head  // still to be written to the head file; nil if that is up to date
	sinceCheck int
	lastCheck  time.Time
	buf        []byte // lines that are not in file yet
}

// Open opens the log in dir, making it if there is none, cuts a torn last line
// off and appends a "start" record. The error is a *[BrokenError] if the end of
// the log is not as it was left.
func Open(dir string, opt Options) (*Log, error) {
	if opt.Rotate <= 0 {
		opt.Rotate = DefaultRotate
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	l := &Log{dir: d, opt: opt, key: opt.Key, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.moved = sync.NewCond(&l.mu)
	if err := l.start(); err != nil {
		d.Close()
		if l.file != nil {
			l.file.Close()
		}
		return nil, err
	}
	return l, nil
}

func (l *Log) start() error {
	if l.key == nil {
		key, err := loadKey(l.path(keyFile))
		if err != nil {
			return err
		}
		l.key = key
	}
	pub := l.key.Public().(ed25519.PublicKey)
	last, err := repairTail(l.dir.Name(), pub)
	if err != nil {
		return err
	}
	name := last.file
	if name == "" {
		// The head comes before the first record, so that a log without one was
		// tampered with.
		if err := writeHead(l.path(headFile), head{}, l.key); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		name = fileName(1)
	}
	if l.file, err = os.OpenFile(l.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if last.seq == 0 {
		if err := unix.Fsync(int(l.dir.Fd())); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	st, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	l.size, l.first, l.prev, l.lastCheck = st.Size(), last.seq+1, last.hash, l.opt.Now()
	l.nextSeq, l.written, l.synced, l.last = last.seq+1, last.seq, last.seq, last.seq
	go l.write()
	r := Record{Op: OpStart, Outcome: Allowed, Key: hex.EncodeToString(pub), Actor: self()}
	// Whoever opens a new log may rely on it from now on, also after a crash.
	if err := l.Append(r, last.seq == 0); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// self is this process, for the log's own records.
func self() Actor { return Actor{UID: uint32(os.Geteuid()), PID: uint32(os.Getpid())} }

func (l *Log) path(name string) string { return filepath.Join(l.dir.Name(), name) }

// PublicKey returns the key that verifies the log's signatures.
func (l *Log) PublicKey() ed25519.PublicKey { return l.key.Public().(ed25519.PublicKey) }

// Append adds r; Seq, Time, Session, Prev and Hash are filled in. With durable
// it returns when r is on stable storage, otherwise when r is queued. An error
// means that r may be missing from the log, and is what every later call gets;
// only while there is no room for the log (ENOSPC, EDQUOT), each call tries again.
func (l *Log) Append(r Record, durable bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) >= maxPending && l.err == nil && l.full == nil && !l.closing {
		l.moved.Wait()
	}
	if err := l.againLocked(); err != nil {
		return err
	}
	if l.closing {
		return errClosed
	}
	r.Seq, r.Session, r.Time = l.nextSeq, l.opt.Session, l.opt.Now()
	l.nextSeq++
	l.queue = append(l.queue, r)
	if durable {
		l.urgent = r.Seq
	}
	if durable || len(l.queue) == 1 || len(l.queue) == keepPending/2 {
		l.poke()
	}
	if durable {
		return l.waitLocked(r.Seq)
	}
	return nil
}

// waitLocked returns when all up to seq is on stable storage, or cannot be.
func (l *Log) waitLocked(seq uint64) error {
	for l.synced < seq && l.err == nil && l.full == nil {
		l.moved.Wait()
	}
	if l.synced >= seq {
		return nil
	}
	return errors.Join(l.err, l.full)
}

// againLocked tells whether the log can be written. If there was no room for it,
// it has the writer try once more first.
func (l *Log) againLocked() error {
	if l.full != nil && !l.closing {
		l.poke()
		for before := l.tries; l.full != nil && l.err == nil && l.tries == before && !l.closing; {
			l.moved.Wait()
		}
	}
	if l.err != nil {
		return l.err
	}
	return l.full
}

// Err returns what every call of Append would answer, because writing failed;
// nil while the log can be written, which it tells by an atomic load.
func (l *Log) Err() error {
	if !l.broken.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.againLocked()
}

// Flush returns when all that was appended before is on stable storage.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo := l.nextSeq - 1
	if l.synced < upTo {
		if err := l.againLocked(); err != nil {
			return err
		}
		l.urgent = max(l.urgent, upTo)
		l.poke()
	}
	return l.waitLocked(upTo)
}

// Close writes what is queued, a last checkpoint, and closes the files.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.done
		return errClosed
	}
	l.closing = true
	l.poke()
	l.mu.Unlock()
	<-l.done
	err := l.err
	if cerr := l.file.Close(); err == nil && cerr != nil {
		err = cerr
	}
	return errors.Join(err, l.dir.Close())
}

func (l *Log) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

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
		batch, closing, urgent := l.queue, l.closing, l.urgent > l.synced
		l.queue, l.spare = l.spare[:0], nil
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
		if l.spare == nil && cap(batch) <= keepPending {
			clear(batch) // lets go of the paths
			l.spare = batch[:0]
		}
		stop := l.err != nil || (closing && len(l.queue) == 0)
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
	now := l.closing || l.urgent > l.synced || len(l.queue) == 0
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
func (l *Log) writeBatch(batch []Record) error {
	var err error
	for i := range batch {
		r := &batch[i]
		r.Prev = l.prev
		l.buf, l.prev = r.appendLine(l.buf)
		l.last = r.Seq
		l.sinceCheck++
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
	batch := l.queue
	l.queue = nil
	seq := l.nextSeq
	l.nextSeq++
	l.mu.Unlock()
	if err := l.writeBatch(batch); err != nil {
		return err
	}
	r := Record{Seq: seq, Time: l.opt.Now(), Session: l.opt.Session, Op: OpCheckpoint, Actor: self(), Outcome: Allowed, Prev: l.prev,
		Signature: hex.EncodeToString(ed25519.Sign(l.key, checkpointMessage(l.prev)))}
	l.buf, l.prev = r.appendLine(l.buf)
	l.last = seq
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
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
