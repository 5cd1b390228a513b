package fusefs

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// conn is the connection of a mount to the kernel. It reads requests, has
// go-fuse decode them and call rawFS, and writes the answers.
//
// go-fuse's own server lets several threads wait in read(2). To the Go runtime
// each is a system call that takes long: it takes the processor away from it and
// gives it back for the next request, which costs more than most requests do. So
// here one goroutine waits, for a moment by looking (spin.go) and then in poll(2),
// and serves what it reads by itself: one alone may keep its processor meanwhile,
// if nobody else needs it. (If that is the only one, it waits in the runtime's
// poller, which would wait for other descriptors no sooner than the monitor sees
// that nobody does.) Others read
//
//   - in its place, when it is about to serve a kind of request that took long
//     lately, or when it turns out to have been serving one for a while (see
//     watch): a request may wait for the disk, or for another request;
//   - beside it, while requests come faster than it serves them and there are
//     processors left.
type conn struct {
	file  *os.File // of /dev/fuse, not blocking
	raw   syscall.RawConn
	fd    int // file's, for those whom serve waits for
	proto *fuse.ProtocolServer
	log   Logger

	single bool // there is one processor

	offer  fuse.InitIn // the kernel's
	agreed uint64      // capabilities

	soon spinner       // of the goroutine that waits for requests
	turn chan struct{} // has a goroutine with nothing to do wait for requests
	idle atomic.Int32  // how many have
	// serving numbers the request that the goroutine which waits for requests
	// serves itself; 0 if none. Who sets it to 0 decides who waits next: that
	// goroutine itself, or watch.
	serving atomic.Uint64
	served  atomic.Uint64 // numbers given
	helpers atomic.Int32  // goroutines that read beside it
	many    atomic.Int32  // requests in a row after which one more does

	cost [64]atomic.Int64 // of a request, by opcode: nanoseconds, about the median of the last ones

	watched atomic.Bool   // watch is at work
	begun   chan struct{} // wakes it
	ended   chan struct{} // the kernel has let go
	running sync.WaitGroup

	mu      sync.Mutex
	workers map[*worker]bool // that read or serve; protected by mu
	spare   sync.Pool        // of *worker
}

const (
	// patience is how long who waits for requests may serve one itself before
	// another takes its place: up to twice that.
	patience = 2 * time.Millisecond
	// quiet is after how many patiences without a request watch sleeps.
	quiet = 5
	// slowAfter is from what cost on a request is served after another took
	// over; costStep is by how much one moves the cost of its kind up or down.
	slowAfter = 256 * time.Microsecond
	costStep  = 32 * time.Microsecond
	// manyMin and manyMax bound how many requests in a row that were there
	// already make another goroutine read as well: more if the last that did
	// found less than worthwhile.
	manyMin    = 16
	manyMax    = 4096
	worthwhile = 16
	// idleMax bounds the goroutines with nothing to do.
	idleMax = 4
)

// Opcodes of the protocol that are told apart here.
const (
	opRead        = 15
	opGetXattr    = 22
	opListXattr   = 23
	opReadDir     = 28
	opInterrupt   = 36
	opIoctl       = 39
	opReadDirPlus = 44
)

const (
	headerSize = int(unsafe.Sizeof(fuse.InHeader{}))
	replySize  = int(unsafe.Sizeof(fuse.OutHeader{}))
	// requestMax is the largest request: data to write, and what stands before.
	requestMax = maxWrite + 4096
	// fixedMax is more than any answer holds besides data, the target of a
	// symbolic link included.
	fixedMax = 8192
)

// worker is what a goroutine needs to read and serve requests.
type worker struct {
	in     []byte
	out    []byte
	ins    [1][]byte // in and out as go-fuse takes them
	outs   [1][]byte
	unique atomic.Uint64 // of the request it serves; 0: none
	try    func(fd uintptr) bool
	n      int // bytes read, if errno is 0
	errno  syscall.Errno
	waited bool // for the request
	inARow int  // requests that it had not to wait for
}

func newWorker() any {
	w := &worker{in: make([]byte, requestMax), out: make([]byte, replySize+fixedMax)}
	w.try = func(fd uintptr) bool {
		if w.read(fd); w.errno == syscall.EAGAIN {
			w.waited = true
			return false
		}
		return true
	}
	return w
}

// read reads a request if there is one, EAGAIN if not. It never blocks, so the
// runtime need not know of the system call.
func (w *worker) read(fd uintptr) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(w.in))), uintptr(len(w.in)))
	w.n, w.errno = int(n), e
}

// newConn takes over fd, a descriptor of /dev/fuse that is mounted, and agrees
// with the kernel on how to talk.
func newConn(fs fuse.RawFileSystem, fd int, opt *fuse.MountOptions, log Logger) (*conn, error) {
	c := &conn{
		fd: fd, proto: fuse.NewProtocolServer(fs, opt), log: log, single: runtime.GOMAXPROCS(0) < 2 || runtime.NumCPU() < 2,
		turn: make(chan struct{}), begun: make(chan struct{}, 1), ended: make(chan struct{}), workers: make(map[*worker]bool),
	}
	c.soon.off = c.single
	// The runtime's poller takes files that do not block, and this one only if it is to.
	err := syscall.SetNonblock(fd, c.single)
	c.file = os.NewFile(uintptr(fd), devFuse)
	if err = errors.Join(err, syscall.SetNonblock(fd, true)); err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	c.spare.New = newWorker
	c.many.Store(manyMin)
	if err := c.init(); err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	return c, nil
}

// init answers the first request.
func (c *conn) init() (err error) {
	if c.raw, err = c.file.SyscallConn(); err != nil {
		return err
	}
	w := newWorker().(*worker)
	if !c.next(w, false) {
		return fmt.Errorf("read: %w", w.errno)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c.offer)), unsafe.Sizeof(c.offer)), w.in[:w.n])
	n, st := c.serve(w)
	if !st.Ok() || n < replySize {
		return fmt.Errorf("the kernel's first request: %w", syscall.Errno(st))
	}
	if e := (*fuse.OutHeader)(unsafe.Pointer(&w.out[0])).Status; e != 0 {
		return fmt.Errorf("the kernel's protocol, version %d.%d: %w", c.offer.Major, c.offer.Minor, syscall.Errno(-e))
	}
	var answer fuse.InitOut
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&answer)), unsafe.Sizeof(answer)), w.out[replySize:n])
	c.agreed = answer.Flags64()
	if e := c.write(w.out[:n]); e != 0 {
		return fmt.Errorf("write: %w", e)
	}
	return nil
}

// run serves until the kernel lets go of the connection and all that was under
// way is done.
func (c *conn) run() {
	c.running.Add(2)
	go c.watch()
	go c.lead()
	<-c.ended
	done := make(chan struct{})
	go func() {
		c.running.Wait()
		close(done)
	}()
	// Nobody waits for what is under way, so it need not wait for others.
	for again := time.NewTicker(100 * time.Millisecond); ; {
		c.interruptAll()
		select {
		case <-again.C:
		case <-done:
			again.Stop()
			if err := c.file.Close(); err != nil {
				c.log.Printf("fusefs: closing the connection: %v", err)
			}
			return
		}
	}
}

// lead waits for requests, as the one goroutine that does.
func (c *conn) lead() {
	defer c.running.Done()
	w := c.worker()
	defer c.done(w)
	for answered := false; c.next(w, answered); {
		if w.waited {
			w.inARow = 0
		} else if w.inARow++; w.inARow >= int(c.many.Load()) {
			w.inARow = 0
			c.askHelp()
		}
		if c.slow(w) {
			c.pass()
			c.answer(w)
		} else {
			stamp := c.served.Add(1)
			c.serving.Store(stamp)
			if !c.watched.Load() && c.watched.CompareAndSwap(false, true) {
				c.begun <- struct{}{}
			}
			c.answer(w)
			if answered = c.serving.CompareAndSwap(stamp, 0); answered {
				continue
			}
		}
		answered = false
		if !c.await() {
			return
		}
	}
}

// pass has another goroutine wait for requests.
func (c *conn) pass() {
	select {
	case c.turn <- struct{}{}:
	default:
		c.running.Add(1)
		go c.lead()
	}
}

// await returns when it is the caller's turn to wait for requests. It is false if
// there are enough who could, or there will be no more.
func (c *conn) await() bool {
	defer c.idle.Add(-1)
	if c.idle.Add(1) > idleMax {
		return false
	}
	select {
	case <-c.turn:
		return true
	case <-c.ended:
		return false
	}
}

// askHelp has another goroutine read requests as long as there are some.
func (c *conn) askHelp() {
	if int(c.helpers.Add(1)) >= runtime.GOMAXPROCS(0) {
		c.helpers.Add(-1)
		return
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		defer c.helpers.Add(-1)
		w := c.worker()
		defer c.done(w)
		for found := 0; ; {
			switch w.read(uintptr(c.fd)); w.errno {
			case 0:
				found++
				c.answer(w)
			case syscall.ENOENT, syscall.EINTR:
			default: // none is there, or there will be none
				many := c.many.Load()
				if found < worthwhile {
					c.many.Store(min(2*many, manyMax))
				} else {
					c.many.Store(max(many/2, manyMin))
				}
				return
			}
		}
	}()
}

// watch sees to it that somebody waits for requests though who did serves one
// that takes long.
func (c *conn) watch() {
	defer c.running.Done()
	for {
		select {
		case <-c.begun:
		case <-c.ended:
			return
		}
		var last uint64
		for calm := 0; calm < quiet; calm++ {
			time.Sleep(patience)
			now := c.serving.Load()
			if now != 0 {
				calm = 0
			}
			if now != 0 && now == last && c.serving.CompareAndSwap(now, 0) {
				c.pass()
			}
			last = now
		}
		c.watched.Store(false)
		if c.serving.Load() != 0 && c.watched.CompareAndSwap(false, true) {
			c.begun <- struct{}{} // it began before it could see that
		}
	}
}

// next waits for a request; one may come soon if the last one was just answered, and
// not while its answer is being made. It is false at the end of the connection.
func (c *conn) next(w *worker, answered bool) bool {
	fd := uintptr(c.fd)
	for {
		w.waited = false
		for ok := w.try(fd) || answered && c.soon.wait(func() bool { return w.try(fd) }); !ok; {
			ok = c.sleep(w)
		}
		switch w.errno {
		case 0:
			if w.n >= headerSize {
				return true
			}
			w.errno = syscall.EIO
		case syscall.ENOENT, syscall.EINTR: // who asked did not wait
			continue
		case syscall.ENODEV, syscall.ECONNABORTED:
		default:
			c.log.Printf("fusefs: reading a request: %v", w.errno)
		}
		c.end()
		return false
	}
}

// sleep waits until there may be a request, or the end of the connection, and tells
// whether w has read it.
func (c *conn) sleep(w *worker) bool {
	var err error
	if c.single {
		if err = c.raw.Read(w.try); err == nil {
			return true
		}
	} else {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, -1)
	}
	ok := w.try(uintptr(c.fd))
	if !ok && err != nil && err != syscall.EINTR {
		time.Sleep(patience) // short of memory
	}
	return ok
}

// end is called once the kernel has let go.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ended:
	default:
		close(c.ended)
	}
}

// worker returns one for a goroutine; done takes it back.
func (c *conn) worker() *worker {
	w := c.spare.Get().(*worker)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers[w] = true
	return w
}

func (c *conn) done(w *worker) {
	c.mu.Lock()
	delete(c.workers, w)
	c.mu.Unlock()
	c.spare.Put(w)
}

// header is that of the request in w.
func (w *worker) header() *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&w.in[0])) }

// slow tells whether requests such as w's took long lately.
func (c *conn) slow(w *worker) bool {
	return c.cost[w.header().Opcode%uint32(len(c.cost))].Load() > int64(slowAfter)
}

// count notes what a request cost. A single one of which the processor was taken
// away counts no more than any other.
func (c *conn) count(opcode uint32, d time.Duration) {
	cost := &c.cost[opcode%uint32(len(c.cost))]
	old := cost.Load() // others may add theirs meanwhile, which does not matter
	switch {
	case int64(d) > old:
		cost.Store(min(old+int64(costStep), int64(2*slowAfter)))
	case old > 0:
		cost.Store(old - int64(costStep))
	}
}

// answer serves the request in w and writes what came of it.
func (c *conn) answer(w *worker) {
	h, begun := *w.header(), time.Now()
	w.unique.Store(h.Unique)
	n, st := c.serve(w)
	w.unique.Store(0)
	c.count(h.Opcode, time.Since(begun))
	if st.Ok() && n == 0 {
		return // a forget
	}
	e := syscall.EINVAL
	if st.Ok() {
		e = c.write(w.out[:n])
	}
	switch e {
	case 0, syscall.ENOENT, syscall.ENODEV, syscall.ECONNABORTED: // who asked is gone, or all is
	default:
		// Somebody waits for an answer, whatever is wrong with this one.
		c.log.Printf("fusefs: answering a request of kind %d: %v", h.Opcode, e)
		*(*fuse.OutHeader)(unsafe.Pointer(&w.out[0])) = fuse.OutHeader{Length: uint32(replySize), Status: -int32(syscall.EIO), Unique: h.Unique}
		c.write(w.out[:replySize])
	}
}

// serve has the request in w served and returns the length of the answer in
// w.out.
func (c *conn) serve(w *worker) (int, fuse.Status) {
	if need := replySize + fixedMax + w.payload(); need > len(w.out) {
		w.out = make([]byte, need)
	}
	w.ins[0], w.outs[0] = w.in[:w.n], w.out
	return c.proto.HandleRequest(w.ins[:], w.outs[:])
}

// payload is how many bytes of data the answer to w's request may hold.
func (w *worker) payload() int {
	var size uint32
	switch op := w.header().Opcode; {
	case (op == opRead || op == opReadDir || op == opReadDirPlus) && w.n >= int(unsafe.Sizeof(fuse.ReadIn{})):
		size = (*fuse.ReadIn)(unsafe.Pointer(&w.in[0])).Size
	case (op == opGetXattr || op == opListXattr) && w.n >= int(unsafe.Sizeof(fuse.GetXAttrIn{})):
		size = (*fuse.GetXAttrIn)(unsafe.Pointer(&w.in[0])).Size
	case op == opIoctl && w.n >= int(unsafe.Sizeof(fuse.IoctlIn{})):
		size = (*fuse.IoctlIn)(unsafe.Pointer(&w.in[0])).OutSize
	}
	return int(size)
}

// write hands an answer to the kernel, which copies it and does not wait.
func (c *conn) write(b []byte) syscall.Errno {
	if len(b) > 64<<10 { // long enough for the runtime to know
		_, _, e := syscall.Syscall(syscall.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		return e
	}
	_, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return e
}

// interruptAll has every request under way see that nobody waits for it, as
// the kernel does for one by a request that names it.
func (c *conn) interruptAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]byte, replySize+fixedMax)
	for w := range c.workers {
		u := w.unique.Load()
		if u == 0 {
			continue
		}
		in := fuse.InterruptIn{InHeader: fuse.InHeader{Opcode: opInterrupt}, Unique: u}
		in.Length = uint32(unsafe.Sizeof(in))
		c.proto.HandleRequest([][]byte{unsafe.Slice((*byte)(unsafe.Pointer(&in)), unsafe.Sizeof(in))}, [][]byte{out})
	}
}
