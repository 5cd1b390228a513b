// Package wire is the form of what goes over a session's control socket.
//
// # Frames
//
// A frame is four bytes of payload length, most significant first, one byte of
// kind, and the payload, of at most [MaxPayload] bytes. JSON payloads are one
// value.
//
// # A conversation
//
// One connection carries one request; whoever wants several at once opens
// several. Each side begins with Hello, whose form no version changes, and the
// client sends its Request without waiting for the other's Hello. The server
// then sends any number of Stdout, Stderr, Item, Progress and Want frames, and
// ends with one Result or Fault. The client sends Data only as far as a Want
// asked for it, so that the server can always read on and sees a Cancel, or
// the end of the connection, at once; either cancels the request. A client that
// breaks these rules is cut off.
//
// What a capsule writes, the server sends only as far as OutputWindow goes: each
// frame of it takes [Cost] of that, which the client gives back by Wrote when its
// own reader has it. So a client whose output nobody reads can always read on
// too, and sees how the run ended.
package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Version is the version of the protocol that this program speaks. Both sides
// must speak the same.
const Version = 2

// MaxPayload is the length of the longest payload, in bytes.
const MaxPayload = 4 << 20

// Kind is what a frame is.
type Kind byte

// The kinds of frame.
const (
	Hello    Kind = 1  // both: JSON, HelloMessage
	Request  Kind = 2  // client: JSON
	Want     Kind = 3  // server: stream, and how many bytes of it (big-endian, 32 bits)
	Data     Kind = 4  // client: stream, and bytes of it
	End      Kind = 5  // client: stream, which has no more
	Cancel   Kind = 6  // client: stop
	Stdout   Kind = 7  // server: bytes
	Stderr   Kind = 8  // server: bytes
	Item     Kind = 9  // server: JSON, one of a list
	Progress Kind = 10 // server: JSON
	Result   Kind = 11 // server: JSON; the last frame
	Fault    Kind = 12 // server: JSON, a fault.Error; the last frame
	Wrote    Kind = 13 // client: how much of the window is free again (big-endian, 32 bits)
)

// HelloMessage opens a conversation.
type HelloMessage struct {
	Protocol int    `json:"astridfs_protocol"`
	Program  string `json:"program"` // version of the program, for messages
	PID      int    `json:"pid"`
}

// ErrTooLarge is what a frame over MaxPayload answers.
var ErrTooLarge = errors.New("frame too large")

// header is the length of what precedes a payload, in bytes.
const header = 5

// Conn reads and writes frames. One goroutine may read while others write.
type Conn struct {
	r   *bufio.Reader
	buf bytes.Buffer // the last payload; the reader's

	mu  sync.Mutex // protects w and out
	w   io.Writer
	out []byte
}

// NewConn makes a Conn on a connection.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{r: bufio.NewReaderSize(rw, 64<<10), w: rw}
}

// Read reads the next frame. The payload is valid until the next Read. io.EOF
// stands for an end between two frames, io.ErrUnexpectedEOF for one within; a
// length over MaxPayload is ErrTooLarge. Memory is taken as payload comes, not
// as a length announces it.
func (c *Conn) Read() (Kind, []byte, error) {
	var h [header]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[:4])
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
	}
	c.buf.Reset()
	if _, err := io.CopyN(&c.buf, c.r, int64(n)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Kind(h[4]), c.buf.Bytes(), nil
}

// Write writes one frame.
func (c *Conn) Write(k Kind, payload ...[]byte) error {
	n := 0
	for _, p := range payload {
		n += len(p)
	}
	if n > MaxPayload {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = binary.BigEndian.AppendUint32(c.out[:0], uint32(n))
	c.out = append(c.out, byte(k))
	for _, p := range payload {
		c.out = append(c.out, p...)
	}
	_, err := c.w.Write(c.out)
	if cap(c.out) > 256<<10 {
		c.out = nil
	}
	return err
}

// WriteJSON writes a frame of v as JSON.
func (c *Conn) WriteJSON(k Kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Write(k, b)
}

// Unmarshal reads a JSON payload strictly: one value, no unknown fields.
func Unmarshal(payload []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}

// Stream is one of the things that a client has and a server asks for.
type Stream byte

// The streams.
const (
	Stdin  Stream = 0
	Module Stream = 1
)

// MaxWant is the most that one Want asks for, in bytes.
const MaxWant = 256 << 10

// WriteWant asks for up to n bytes of s.
func (c *Conn) WriteWant(s Stream, n uint32) error {
	return c.Write(Want, binary.BigEndian.AppendUint32([]byte{byte(s)}, n))
}

// ParseWant reads a Want.
func ParseWant(payload []byte) (Stream, uint32, error) {
	if len(payload) != 5 {
		return 0, 0, errors.New("malformed want")
	}
	return Stream(payload[0]), binary.BigEndian.Uint32(payload[1:]), nil
}

// ParseData reads a Data or an End; of the latter, data is empty.
func ParseData(payload []byte) (Stream, []byte, error) {
	if len(payload) < 1 {
		return 0, nil, errors.New("malformed data")
	}
	return Stream(payload[0]), payload[1:], nil
}

// OutputWindow is how much of a capsule's output is on its way to a client's
// reader at most, by Cost. With it, there is room in a socket's buffer.
const OutputWindow = 2 * (maxChunk + frameCost)

// frameCost is what a frame takes beside its payload: the kernel's own record of
// it, above all.
const frameCost = 1 << 10

// Cost is what a frame with n bytes of output takes of the window.
func Cost(n int) int { return n + frameCost }

// MaxOutput is the most output that one frame holds, in bytes.
const MaxOutput = maxChunk

// WriteWrote gives n of the window back.
func (c *Conn) WriteWrote(n int) error {
	return c.Write(Wrote, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// ParseWrote reads a Wrote.
func ParseWrote(payload []byte) (int, error) {
	if len(payload) != 4 {
		return 0, errors.New("malformed wrote")
	}
	return int(binary.BigEndian.Uint32(payload)), nil
}

// Writer returns a writer that sends what is written to it as frames of kind k.
func (c *Conn) Writer(k Kind) io.Writer { return frameWriter{c, k} }

type frameWriter struct {
	c *Conn
	k Kind
}

// maxChunk keeps a frame of output small enough that others get their turn.
const maxChunk = 64 << 10

func (w frameWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, maxChunk)
		if err := w.c.Write(w.k, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
