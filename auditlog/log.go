package auditlog

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
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
	manyPending       = 1 << 11 // records that are reason to write before groupDelay is over
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
	queue   queue // not yet written
	nextSeq uint64
	written uint64 // last Seq handed to the kernel
	synced  uint64 // last Seq on stable storage
	urgent  uint64 // highest Seq that somebody waits to have synced
	closing bool
	err     error      // of the first write that failed for good; final
	full    error      // of the last write, if there was no room for it; nil when there is again
	tries   uint64     // how often the writer has tried to write
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
// self is who writes the log.
func self() Actor {
	return Actor{UID: uint32(os.Geteuid()), PID: uint32(os.Getpid()), Program: filepath.Base(os.Args[0])}
}

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
	for l.queue.n >= maxPending && l.err == nil && l.full == nil && !l.closing {
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
	l.queue.push(&r)
	if durable {
		l.urgent = r.Seq
	}
	if durable || l.queue.n == 1 || l.queue.n == manyPending {
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
