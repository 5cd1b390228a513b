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
	keepPending       = 1 << 12 // records; room that is kept for the next ones
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
	err     error      // of the first write that failed; final
	spare   []Record   // the array of a batch that was written, for the queue
	moved   *sync.Cond // written, synced or err changed, or the queue shrank
	wake    chan struct{}
	done    chan struct{}
	broken  atomic.Bool // err is set

	// Of the writer goroutine alone.
	file       *os.File
	size       int64
	prev       Hash
	sinceCheck int
	lastCheck  time.Time
	buf        []byte
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
	l.size, l.prev, l.lastCheck = st.Size(), last.hash, l.opt.Now()
	l.nextSeq, l.written, l.synced = last.seq+1, last.seq, last.seq
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
// means that r may be missing from the log, and is what every later call gets.
func (l *Log) Append(r Record, durable bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) >= maxPending && l.err == nil && !l.closing {
		l.moved.Wait()
	}
	if l.err != nil {
		return l.err
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
	for durable && l.synced < r.Seq && l.err == nil {
		l.moved.Wait()
	}
	if durable && l.synced < r.Seq {
		return l.err
	}
	return nil
}

// Err returns what every call of Append answers from now on, because writing
// failed; nil while the log can be written. It costs an atomic load.
func (l *Log) Err() error {
	if !l.broken.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Flush returns when all that was appended before is on stable storage.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo := l.nextSeq - 1
	if l.synced < upTo && l.err == nil {
		l.urgent = upTo
		l.poke()
	}
	for l.synced < upTo && l.err == nil {
		l.moved.Wait()
	}
	if l.synced < upTo {
		return l.err
	}
	return nil
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

// write is the goroutine that owns the file, until Close or the first error.
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
		due := l.sinceCheck > 0 && (closing || l.size >= l.opt.Rotate || l.sinceCheck >= checkpointRecords || l.opt.Now().Sub(l.lastCheck) >= checkpointEvery)
		if err == nil && due {
			err = l.checkpoint()
		} else if err == nil && urgent {
			err = l.file.Sync()
		}
		synced := err == nil && (due || urgent)

		l.mu.Lock()
		if err != nil && l.err == nil {
			l.err = fmt.Errorf("the audit log can't be written: %w", err)
			l.broken.Store(true)
		}
		if len(batch) > 0 && err == nil {
			l.written = max(l.written, batch[len(batch)-1].Seq)
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
		if !idle || l.sinceCheck > 0 {
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

func (l *Log) writeBatch(batch []Record) error {
	l.buf = l.buf[:0]
	for i := range batch {
		r := &batch[i]
		r.Prev = l.prev
		l.buf, l.prev = r.appendLine(l.buf)
		l.sinceCheck++
		if len(l.buf) >= 1<<20 {
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	return l.flush()
}

func (l *Log) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	n, err := l.file.Write(l.buf)
	l.size += int64(n)
	l.buf = l.buf[:0]
	return err
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
	l.buf, l.prev = r.appendLine(l.buf[:0])
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	if err := writeHead(l.path(headFile), head{Seq: seq, Hash: l.prev}, l.key); err != nil {
		return err
	}
	l.mu.Lock()
	l.written = seq
	l.mu.Unlock()
	l.sinceCheck, l.lastCheck = 0, l.opt.Now()
	if l.size < l.opt.Rotate {
		return nil
	}
	return l.rotate(seq + 1)
}

// rotate begins the file whose first record is first.
func (l *Log) rotate(first uint64) error {
	f, err := os.OpenFile(l.path(fileName(first)), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Fsync(int(l.dir.Fd())); err != nil {
		return errors.Join(err, f.Close())
	}
	old := l.file
	l.file, l.size = f, 0
	return old.Close()
}
