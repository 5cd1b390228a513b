package wasip1

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// stream is standard input, output or error.
type stream struct {
	ftype filetype
	w     io.Writer // of an output

	// Of an input. A read is done by a goroutine of its own into a buffer of
	// its own, because an io.Reader can't be polled and can't be interrupted:
	// the guest waits for it, or stops waiting, and what came in is there for
	// its next read. At most one is under way.
	r       io.Reader
	mu      sync.Mutex
	arrived chan struct{} // closed when the read under way is done; nil without one
	buf     []byte        // what came in and was not taken yet
	err     error         // what comes after buf; io.EOF at the end
}

// inputChunk bounds how far ahead of the guest an input is read.
const inputChunk = 64 << 10

func newInput(r io.Reader) *stream {
	s := &stream{r: r, ftype: typeOf(r)}
	if r == nil {
		s.err = io.EOF
	}
	return s
}

func newOutput(w io.Writer) *stream {
	s := &stream{w: w, ftype: typeOf(w)}
	if w == nil {
		s.w = io.Discard
	}
	return s
}

// typeOf is the type of a stream. Only a terminal is a character device: it is
// what programs take one for.
func typeOf(v any) filetype {
	f, ok := v.(interface{ Stat() (os.FileInfo, error) })
	if !ok {
		return typeUnknown
	}
	fi, err := f.Stat()
	if err != nil {
		return typeUnknown
	}
	switch m := fi.Mode(); {
	case m&os.ModeCharDevice != 0:
		return typeCharacterDevice
	case m.IsRegular():
		return typeRegular
	case m&os.ModeSocket != 0:
		return typeSocketStream
	}
	return typeUnknown
}

// request makes sure that a read of up to n bytes is under way or done, and
// returns what to wait on; nil if there is something to take, or the end.
func (s *stream) request(n int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buf) > 0 || s.err != nil {
		return nil
	}
	if s.arrived == nil {
		s.arrived = make(chan struct{})
		go s.fill(s.arrived, min(n, inputChunk))
	}
	return s.arrived
}

// fill is the read under way. A reader may return nothing and no error; it is
// asked again.
func (s *stream) fill(arrived chan struct{}, n int) {
	buf := make([]byte, n)
	var err error
	for n = 0; n == 0 && err == nil; {
		n, err = s.r.Read(buf)
	}
	s.mu.Lock()
	s.buf, s.err, s.arrived = buf[:n], err, nil
	s.mu.Unlock()
	close(arrived)
}

// read takes what has come in, waiting for something unless nonblock is set. At
// the end of the input it answers 0.
func (s *stream) read(ctx context.Context, p []byte, nonblock bool) (int, Errno) {
	if len(p) == 0 {
		return 0, Success
	}
	for {
		wait := s.request(len(p))
		if wait == nil {
			break
		}
		if nonblock {
			select {
			case <-wait:
			default:
				return 0, EAGAIN
			}
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, EINTR
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	if n == 0 && s.err != nil && s.err != io.EOF {
		err := s.err
		s.err = nil // told once; the next read tries again
		return 0, streamErrno(err)
	}
	return n, Success
}

// pending is how much can be read without waiting.
func (s *stream) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buf)
}

// write hands p to the writer.
func (s *stream) write(p []byte) (int, Errno) {
	n, err := s.w.Write(p)
	if n < 0 || n > len(p) { // a broken writer
		return 0, EIO
	}
	if n > 0 {
		return n, Success
	}
	return 0, streamErrno(err)
}

// streamErrno is the errno of a stream's error. What the other side closed is
// EPIPE.
func streamErrno(err error) Errno {
	switch {
	case err == nil: // a writer that takes nothing and says nothing
		return EIO
	case errors.Is(err, io.ErrClosedPipe), errors.Is(err, os.ErrClosed):
		return EPIPE
	}
	return errnoOf(err)
}
