package overlay

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

const (
	baseName    = "base"
	baseNewName = "base.new"

	// baseCompactSize is the size, in bytes, below which garbage is left.
	baseCompactSize = 64 << 10
)

// baseLog keeps what the workspace's entries looked like when the overlay
// first diverged from them, in an append-only file of Options.State. Nothing
// of it is in memory but while a change set is made (load). Every record is
// one write, so it outlives the process as soon as record returns; sync makes
// it outlive the machine.
//
// Only the bottom layer is recorded: it is the one that others change and a
// commit writes to. Its methods may be called concurrently.
type baseLog struct {
	bottom int    // index of the bottom layer
	dev    uint64 // of its root

	mu       sync.Mutex // guards the rest, held for one write
	fd       int
	size     int64        // of the good records
	reserved int64        // up to where the file has its blocks; -1: it cannot have any in advance
	todo     []baseRecord // what a commit that was cut short left to finish
	bad      error        // why nothing can be appended any more
}

var _ baseRecorder = (*baseLog)(nil)

// openBase opens the log in the open directory stateDir, which it does not
// keep, cuts a torn tail, and compacts the file if it is mostly garbage. bottom
// is the index of the bottom layer, root what its root directory is.
func openBase(stateDir int, bottom int, root at.Ident) (*baseLog, error) {
	if err := at.Unlink(stateDir, baseNewName, 0); err != nil && err != syscall.ENOENT {
		return nil, fmt.Errorf("%s: %w", baseNewName, err)
	}
	fd, err := at.Open(stateDir, baseName, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", baseName, err)
	}
	l := &baseLog{bottom: bottom, dev: root.Dev, fd: fd}
	if err := l.recover(stateDir); err != nil {
		unix.Close(l.fd)
		return nil, fmt.Errorf("%s: %w", baseName, err)
	}
	return l, nil
}

// recover checks the file and makes it ready to be appended to.
func (l *baseLog) recover(stateDir int) error {
	var st unix.Stat_t
	if err := unix.Fstat(l.fd, &st); err != nil {
		return err
	}
	if st.Size < int64(len(baseMagic)) {
		// New, or killed while it was made: there is no record in it yet.
		if err := unix.Ftruncate(l.fd, 0); err != nil {
			return err
		}
		return l.write([]byte(baseMagic))
	}
	records := 0
	live := make(map[uint64]struct{}) // hashes: for the proportion alone
	seed := maphash.MakeSeed()
	good, err := readBase(l.fd, st.Size, func(r *baseRecord) {
		records++
		switch r.kind {
		case baseFirst, baseSet:
			live[maphash.String(seed, r.path)] = struct{}{}
		case baseClear:
			delete(live, maphash.String(seed, r.path))
		case baseMoving, baseTemp, baseDrop, baseTouching, baseDeleting, baseBegun:
			l.todo = append(l.todo, *r)
		case baseMove:
			l.moved(r)
		case baseDone:
			l.todo = nil
		}
	})
	if errors.Is(err, errBaseTorn) {
		err = unix.Ftruncate(l.fd, good)
	}
	if err != nil {
		return err
	}
	if l.size = good; good > baseCompactSize && len(l.todo) == 0 && records > 2*len(live) {
		return l.compact(stateDir)
	}
	return nil
}

// moved takes a move that was followed off what is to be finished; one to a
// stage directory stays, marked by a mode, since it may have to be undone.
func (l *baseLog) moved(r *baseRecord) {
	l.todo = slices.DeleteFunc(l.todo, func(t baseRecord) bool {
		return t.kind == baseMoving && t.path == r.path && t.to == r.to && !strings.HasPrefix(t.to, tempPrefix)
	})
	for i := range l.todo {
		if t := &l.todo[i]; t.kind == baseMoving && t.path == r.path && t.to == r.to {
			t.print.mode = followed
		}
	}
}

// followed is the mode of an announced move that needs no more but to be undone.
const followed = 1

// compact writes the live records to a new file and puts it in the place of
// the old one.
func (l *baseLog) compact(stateDir int) error {
	tree, err := l.load()
	if err != nil {
		return err
	}
	fd, err := at.Open(stateDir, baseNewName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	fresh := &baseLog{fd: fd}
	buf := []byte(baseMagic)
	err = tree.each(func(path string, p *fingerprint) error {
		buf = appendBase(buf, &baseRecord{kind: baseFirst, path: path, print: *p})
		if len(buf) < 64<<10 {
			return nil
		}
		err := fresh.write(buf)
		buf = buf[:0]
		return err
	})
	if err == nil && len(buf) > 0 {
		err = fresh.write(buf)
	}
	if err == nil {
		err = unix.Fsync(fd)
	}
	if err == nil {
		err = unix.Renameat(stateDir, baseNewName, stateDir, baseName)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	unix.Close(l.fd)
	l.fd, l.size, l.reserved = fd, fresh.size, fresh.reserved
	return nil
}

// write appends b as a whole or not at all. The caller holds l.mu or is alone.
func (l *baseLog) write(b []byte) error {
	if l.bad != nil {
		return l.bad
	}
	l.reserve(l.size + int64(len(b)))
	for done := 0; done < len(b); {
		n, err := unix.Write(l.fd, b[done:])
		if n > 0 {
			done += n
		}
		if err == syscall.EINTR || err == nil && n > 0 {
			continue
		}
		if err == nil {
			err = syscall.EIO
		}
		l.reserved = min(l.reserved, 0)
		if terr := unix.Ftruncate(l.fd, l.size); terr != nil && done > 0 {
			// What would be appended now stood behind half a record.
			l.bad = fmt.Errorf("base log: %w", errors.Join(err, terr))
		}
		return fmt.Errorf("base log: %w", err)
	}
	l.size += int64(len(b))
	return nil
}

// reserve has the file keep blocks behind end, as far as the filesystem can do
// that: on a full one, what makes room there has to be recorded as well.
func (l *baseLog) reserve(end int64) {
	if l.reserved < 0 || end+baseReserve/2 <= l.reserved {
		return
	}
	switch err := unix.Fallocate(l.fd, unix.FALLOC_FL_KEEP_SIZE, l.size, end-l.size+baseReserve); err {
	case nil:
		l.reserved = end + baseReserve
	case syscall.EINTR, syscall.ENOSPC, syscall.EDQUOT:
	default:
		l.reserved = -1
	}
}

// baseReserve is how many bytes the log has blocks for in advance.
const baseReserve = 64 << 10

func (l *baseLog) append(rs ...baseRecord) error {
	var stack [512]byte
	b := stack[:0]
	for i := range rs {
		if max(len(rs[i].path), len(rs[i].to)) > baseMaxPath {
			return syscall.ENAMETOOLONG
		}
		b = appendBase(b, &rs[i])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(b)
}

// printOf makes the fingerprint of an entry.
func (l *baseLog) printOf(a *vfs.Attr, id at.Ident) fingerprint {
	p := fingerprint{mode: a.Mode, uid: a.UID, gid: a.GID, size: a.Size, mtime: a.Mtime, ctime: a.Ctime, ino: id.Ino, dev: id.Dev}
	if id.Dev == l.dev {
		p.dev = 0
	}
	return p
}

// record notes what path of a lower layer looks like, before the overlay
// diverges from it. The first record of a path counts until the path is
// cleared. Errors are those of writing the log.
func (l *baseLog) record(layer int, path string, attr vfs.Attr, id at.Ident) error {
	if layer != l.bottom {
		return nil
	}
	return l.append(baseRecord{kind: baseFirst, path: path, print: l.printOf(&attr, id)})
}

// set notes what a commit made of path, in place of what was recorded.
func (l *baseLog) set(path string, attr *vfs.Attr, id at.Ident) error {
	return l.append(baseRecord{kind: baseSet, path: path, print: l.printOf(attr, id)})
}

// clear forgets path; with tree, also all below it.
func (l *baseLog) clear(path string, tree bool) error {
	r := baseRecord{kind: baseClear, path: path}
	if tree {
		r.kind = baseClearTree
	}
	return l.append(r)
}

// move notes that the directory from, with all below it, is at the path to.
func (l *baseLog) move(from, to string) error {
	return l.append(baseRecord{kind: baseMove, path: from, to: to})
}

// load reads what has been recorded until now.
func (l *baseLog) load() (*baseTree, error) {
	tree := &baseTree{}
	l.mu.Lock()
	size := l.size
	l.mu.Unlock()
	if _, err := readBase(l.fd, size, tree.apply); err != nil {
		return nil, fmt.Errorf("base log: %w", err)
	}
	return tree, nil
}

// length returns how many bytes have been recorded until now.
func (l *baseLog) length() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// sync makes what was appended outlive a crash of the machine.
func (l *baseLog) sync() error {
	if err := unix.Fdatasync(l.fd); err != nil {
		return fmt.Errorf("base log: %w", err)
	}
	return nil
}

// close closes the file. Nothing may be called after it.
func (l *baseLog) close() error { return unix.Close(l.fd) }

// readBase calls fn for the records in the first limit bytes of a log, and returns where the good ones
// end; the error is errBaseTorn if something incomplete follows. The record is
// fn's only until it returns.
func readBase(fd int, limit int64, fn func(*baseRecord)) (good int64, err error) {
	buf := make([]byte, 64<<10)
	have, final := 0, false
	for pos := int64(0); ; {
		for have < len(buf) && !final {
			at := pos + int64(have)
			n, err := unix.Pread(fd, buf[have:min(int64(len(buf)), int64(have)+limit-at)], at)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return 0, err
			}
			have += n
			final = n == 0
		}
		at := 0
		if pos == 0 {
			if have < len(baseMagic) || string(buf[:len(baseMagic)]) != baseMagic {
				return 0, fmt.Errorf("%w: it is no log of this version", errBaseDamaged)
			}
			at = len(baseMagic)
		}
		for at < have {
			r, size, err := parseBase(buf[at:have], final)
			if err != nil {
				return pos + int64(at), fmt.Errorf("%w at byte %d", err, pos+int64(at))
			}
			if size == 0 {
				break
			}
			fn(&r)
			at += size
		}
		if at == have && final {
			return pos + int64(at), nil
		}
		if at == 0 {
			buf = append(buf, make([]byte, len(buf))...) // a record larger than it
		}
		copy(buf, buf[at:have])
		have -= at
		pos += int64(at)
	}
}
