package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/wire"
)

// Bounds of an owner: how many clients it has at once, how many capsules it runs
// and how many other requests it works on, so that capsules keep nobody from
// looking or unmounting, and how long a client may take to say what it wants. One
// more client is refused; one more capsule or request waits for its turn.
const (
	maxClients  = 512
	maxRuns     = 256
	maxRequests = 64
	helloTime   = time.Minute
)

// request is what a Request frame holds.
type request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

// server answers requests on a control socket with what conn does.
type server struct {
	conn     Conn
	version  string
	log      logrus.FieldLogger
	listener *net.UnixListener

	clients, runs, requests chan struct{} // what is taken of each bound

	ctx  context.Context // of all requests
	stop func()          // cancels ctx
	wg   sync.WaitGroup  // the accepting goroutine and those of the requests

	mu     sync.Mutex
	active int        // protected by mu; connections
	idle   *sync.Cond // active is 0, or somebody waiting gives up
}

func serve(l *net.UnixListener, conn Conn, version string, log logrus.FieldLogger) *server {
	ctx, stop := context.WithCancelCause(context.Background())
	s := &server{conn: conn, version: version, log: log, listener: l, ctx: ctx,
		clients: make(chan struct{}, maxClients), runs: make(chan struct{}, maxRuns), requests: make(chan struct{}, maxRequests)}
	s.stop = func() { stop(errEnding) }
	s.idle = sync.NewCond(&s.mu)
	s.wg.Add(1)
	go s.accept()
	return s
}

// drain returns when nobody asks anything any more, or ctx ends. Requests that
// come meanwhile are answered.
func (s *server) drain(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.idle.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active > 0 && ctx.Err() == nil {
		s.idle.Wait()
	}
}

// serving counts connections.
func (s *server) serving(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active += n; s.active == 0 {
		s.idle.Broadcast()
	}
}

// close accepts no more requests and waits for those that run; when ctx ends,
// it cancels them.
func (s *server) close(ctx context.Context) error {
	err := s.listener.Close()
	release := context.AfterFunc(ctx, s.stop)
	s.wg.Wait()
	release()
	s.stop()
	return err
}

func (s *server) accept() {
	defer s.wg.Done()
	for {
		c, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, say: what runs will give some back.
			s.log.WithError(err).Warn("accepting a request")
			select {
			case <-time.After(50 * time.Millisecond):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		s.wg.Add(1)
		s.serving(1)
		go func() {
			defer s.wg.Done()
			defer s.serving(-1)
			defer c.Close()
			s.handle(c)
		}()
	}
}

func (s *server) handle(c *net.UnixConn) {
	uid, pid, err := wire.Peer(c)
	if err != nil || (uid != 0 && int(uid) != os.Geteuid()) {
		s.log.WithField("uid", uid).WithError(err).Warn("refused a request of another user")
		return
	}
	select {
	case s.clients <- struct{}{}:
		defer func() { <-s.clients }()
	default:
		reply(wire.NewConn(c), s.version, fault.New(fault.Busy, "try again", "the session's owner has %d requests already", maxClients))
		return
	}
	if err := c.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return
	}
	w := wire.NewConn(c)
	req, err := s.greet(w)
	if err != nil {
		s.log.WithError(err).Warn("refused a request")
		return
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(withPeer(s.ctx, peer{uid, pid}))
	defer cancel()
	cl := newCall(ctx, w)
	readerDone := make(chan struct{})
	go func() {
		defer close(readerDone)
		cl.receive(cancel)
	}()
	result, err := s.inTurn(ctx, cl, req)
	if r, ok := result.(RunResult); ctx.Err() != nil || ok && r.Outcome == OutcomeTimedOut {
		c.SetWriteDeadline(time.Now().Add(answerTime)) // whoever does not listen is not waited for
	}
	if err != nil {
		err = w.WriteJSON(wire.Fault, cancelled(ctx, err))
	} else {
		err = w.WriteJSON(wire.Result, result)
	}
	if err != nil && ctx.Err() == nil {
		s.log.WithError(err).WithField("request", req.Op).Warn("answering a request")
	}
	// The client has the answer when it closes; ending the reading first keeps
	// the kernel from throwing the answer away with unread input.
	c.CloseWrite()
	c.SetReadDeadline(time.Now().Add(time.Second))
	<-readerDone
}

func reply(w *wire.Conn, version string, f *fault.Error) {
	if w.WriteJSON(wire.Hello, wire.HelloMessage{Protocol: wire.Version, Program: version, PID: os.Getpid()}) == nil {
		w.WriteJSON(wire.Fault, f) // a client that is gone needs no answer
	}
}

// greet exchanges hellos and reads the request.
func (s *server) greet(w *wire.Conn) (request, error) {
	var req request
	k, p, err := w.Read()
	if err != nil {
		return req, err
	}
	var hello wire.HelloMessage
	if k != wire.Hello || json.Unmarshal(p, &hello) != nil {
		return req, errors.New("no hello")
	}
	if err := w.WriteJSON(wire.Hello, wire.HelloMessage{Protocol: wire.Version, Program: s.version, PID: os.Getpid()}); err != nil {
		return req, err
	}
	if hello.Protocol != wire.Version {
		// The client tells its user; it knows both versions now.
		return req, fmt.Errorf("the client speaks protocol %d (astridfs %s)", hello.Protocol, hello.Program)
	}
	if k, p, err = w.Read(); err != nil {
		return req, err
	}
	if k != wire.Request {
		return req, fmt.Errorf("frame of kind %d in place of a request", k)
	}
	return req, wire.Unmarshal(p, &req)
}

// inTurn answers a request when it is its turn.
func (s *server) inTurn(ctx context.Context, c *call, req request) (any, error) {
	slots := s.requests
	if req.Op == opRun {
		slots = s.runs
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
		return s.answer(ctx, c, req)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answer does what is asked. A fault of the program itself ends the request
// and not the owner.
func (s *server) answer(ctx context.Context, c *call, req request) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.WithField("request", req.Op).Errorf("panic: %v\n%s", r, debug.Stack())
			err = fault.New(fault.Failed, "the session's log has the details", "internal error in the session's owner")
		}
	}()
	return dispatch(ctx, s.conn, c, req)
}

// dispatch reads the arguments of a request and calls the method of conn.
func dispatch(ctx context.Context, conn Conn, c *call, req request) (any, error) {
	args := func(v any) error {
		if err := wire.Unmarshal(req.Args, v); err != nil {
			return fault.New(fault.Usage, "", "request %q: %w", req.Op, err)
		}
		return nil
	}
	type none struct{}
	switch req.Op {
	case opInfo:
		return conn.Info(ctx)
	case opStatus:
		var a StatusRequest
		if err := args(&a); err != nil {
			return nil, err
		}
		return none{}, conn.Status(ctx, a, item[Change](c))
	case opDiff:
		var a DiffRequest
		if err := args(&a); err != nil {
			return nil, err
		}
		return none{}, conn.Diff(ctx, a, diffFrames{c.w.Writer(wire.Stdout), item[DiffFile](c)})
	case opCommit:
		var a CommitRequest
		if err := args(&a); err != nil {
			return nil, err
		}
		return stepsDone(ctx)(conn.Commit(ctx, a, steps(c)))
	case opDiscard:
		var a DiscardRequest
		if err := args(&a); err != nil {
			return nil, err
		}
		return stepsDone(ctx)(conn.Discard(ctx, a, steps(c)))
	case opRun:
		var a RunRequest
		if err := args(&a); err != nil {
			return nil, err
		}
		return conn.Run(ctx, a, RunIO{
			Stdin: c.stream(wire.Stdin), Stdout: outlet{c, wire.Stdout}, Stderr: outlet{c, wire.Stderr},
			Module: func() (io.ReadCloser, error) { return io.NopCloser(c.stream(wire.Module)), nil },
			Compiling: func(size int64) func() {
				// A client that is gone needs none.
				c.w.WriteJSON(wire.Progress, compiling{Size: size})
				return func() { c.w.WriteJSON(wire.Progress, compiling{Size: size, Done: true}) }
			},
		})
	case opRecorded:
		return none{}, conn.Recorded(ctx)
	case opUnmount:
		var a UnmountRequest
		if err := args(&a); err != nil {
			return nil, err
		}
		return none{}, conn.Unmount(ctx, a)
	}
	return nil, fault.New(fault.Usage, "", "the session's owner knows no request %q", req.Op)
}

// The requests.
const (
	opInfo    = "info"
	opStatus  = "status"
	opDiff    = "diff"
	opCommit  = "commit"
	opDiscard = "discard"
	opRun     = "run"
	opUnmount = "unmount"

	opRecorded = "recorded"
)

// stepReply is the result of a commit or discard, which also counts where there
// was a fault.
type stepReply struct {
	Result StepResult   `json:"result"`
	Fault  *fault.Error `json:"fault,omitempty"`
}

func stepsDone(ctx context.Context) func(StepResult, error) (any, error) {
	return func(r StepResult, err error) (any, error) {
		reply := stepReply{Result: r}
		if err != nil {
			reply.Fault = cancelled(ctx, err)
		}
		return reply, nil
	}
}

// progressPause is the least time between two reports of progress.
const progressPause = 100 * time.Millisecond

// steps sends what a commit or discard tells.
func steps(c *call) StepSink {
	var last time.Time
	return StepSink{Step: item[Step](c), Progress: func(p Progress) {
		if time.Since(last) < progressPause {
			return
		}
		last = time.Now()
		c.w.WriteJSON(wire.Progress, p) // a client that is gone needs none
	}}
}

func item[T any](c *call) func(T) error {
	return func(v T) error { return c.w.WriteJSON(wire.Item, v) }
}

type diffFrames struct {
	io.Writer
	file func(DiffFile) error
}

func (d diffFrames) File(f DiffFile) error { return d.file(f) }

// errEnding is why an owner gives up requests that it works on.
var errEnding = errors.New("the session was told to end by another command or a signal")

// cancelled makes the fault of a request that was given up.
func cancelled(ctx context.Context, err error) *fault.Error {
	switch {
	case ctx.Err() == nil || fault.Is(err, fault.Cancelled):
		return fault.Of(err)
	case context.Cause(ctx) == errEnding:
		return fault.New(fault.Cancelled, "", "%w", errEnding)
	case errors.Is(err, context.Canceled), errors.Is(err, unix.EINTR):
		return fault.New(fault.Cancelled, "", "interrupted").By(err)
	}
	return fault.New(fault.Cancelled, "", "interrupted: %w", err)
}
