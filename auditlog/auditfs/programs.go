package auditfs

import (
	"bytes"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// programs tells the names of processes. It keeps the files open that it reads
// them from, as many as it has slots: reading one again costs a microsecond,
// opening it several. A file of a process that is gone reads ESRCH, also when
// another one got its number, and what is read is the name now, whatever the
// process has executed meanwhile.
type programs struct {
	slots [64]programSlot
}

// programSlot holds the file of one process whose number falls on it.
type programSlot struct {
	mu  sync.Mutex
	pid uint32 // 0: none; protected by mu
	fd  int    // of /proc/PID/comm; protected by mu
	was string // what was read last; protected by mu
}

// name returns what the kernel calls the thread pid: up to 15 bytes, which the
// program can set as it likes. "" if it is gone.
func (p *programs) name(pid uint32) string {
	s := &p.slots[pid%uint32(len(p.slots))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == pid {
		if name, ok := s.read(); ok {
			return name
		}
	}
	s.drop()
	var buf [32]byte
	path := append(strconv.AppendUint(append(buf[:0], "/proc/"...), uint64(pid), 10), "/comm"...)
	fd, err := unix.Open(string(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	s.pid, s.fd = pid, fd
	name, _ := s.read()
	return name
}

// read is called with s.mu held.
func (s *programSlot) read() (string, bool) {
	var buf [64]byte
	// What is read is in memory and nothing is waited for, so that the scheduler
	// need not know of it.
	n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(s.fd), uintptr(unsafe.Pointer(&buf)), uintptr(len(buf)), 0, 0, 0)
	if errno != 0 {
		return "", false
	}
	name := bytes.TrimSuffix(buf[:n], []byte("\n"))
	if string(name) != s.was {
		s.was = string(name)
	}
	return s.was, true
}

// drop is called with s.mu held, or before s is shared.
func (s *programSlot) drop() {
	if s.pid != 0 {
		unix.Close(s.fd) // read only: nothing can be lost
		s.pid = 0
	}
}

func (p *programs) close() {
	for i := range p.slots {
		s := &p.slots[i]
		s.mu.Lock()
		s.drop()
		s.mu.Unlock()
	}
}
