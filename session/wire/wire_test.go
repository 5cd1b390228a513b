package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

type duplex struct {
	io.Reader
	io.Writer
}

func frames(t testing.TB, write func(*Conn) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(NewConn(duplex{nil, &b})); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFramesInPieces(t *testing.T) {
	big := bytes.Repeat([]byte("x"), MaxPayload)
	raw := frames(t, func(c *Conn) error {
		return errors.Join(c.Write(Stdout, []byte("one")), c.Write(Cancel), c.Write(Item, big), c.WriteWant(Module, 7))
	})
	// A frame need not arrive in one read.
	c := NewConn(duplex{iotest.OneByteReader(bytes.NewReader(raw)), nil})
	for _, want := range []struct {
		kind    Kind
		payload []byte
	}{{Stdout, []byte("one")}, {Cancel, nil}, {Item, big}, {Want, []byte{1, 0, 0, 0, 7}}} {
		k, p, err := c.Read()
		if err != nil || k != want.kind || !bytes.Equal(p, want.payload) {
			t.Fatalf("read kind %d, %d bytes, %v; want kind %d, %d bytes", k, len(p), err, want.kind, len(want.payload))
		}
	}
	if _, _, err := c.Read(); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}

func TestFrameBounds(t *testing.T) {
	c := NewConn(duplex{strings.NewReader("\xff\xff\xff\xff\x01"), io.Discard})
	if _, _, err := c.Read(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a length over the bound: %v", err)
	}
	if err := c.Write(Stdout, make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("writing over the bound: %v", err)
	}
	raw := frames(t, func(c *Conn) error { return c.Write(Stdout, []byte("abc")) })
	for n := 1; n < len(raw); n++ {
		c := NewConn(duplex{bytes.NewReader(raw[:n]), nil})
		if _, _, err := c.Read(); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestWritersInParallel(t *testing.T) {
	r, w := io.Pipe()
	c := NewConn(duplex{nil, w})
	var wg sync.WaitGroup
	for _, k := range []Kind{Stdout, Stderr} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 50 {
				if _, err := c.Writer(k).Write(bytes.Repeat([]byte{byte(k)}, maxChunk+1)); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	go func() { wg.Wait(); w.Close() }()
	in, n := NewConn(duplex{r, nil}), 0
	for {
		k, p, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.Trim(p, string(byte(k)))) != 0 {
			t.Fatal("frames of two writers are mixed")
		}
		n += len(p)
	}
	if n != 100*(maxChunk+1) {
		t.Errorf("%d bytes arrived", n)
	}
}

func TestSocketInDeepDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120), strings.Repeat("e", 120))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds the first one's socket
		l, err := Listen(dir, "sock")
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(filepath.Join(dir, "sock")); err != nil || st.Mode().Perm() != 0o600 {
			t.Fatalf("mode %v, %v", st.Mode(), err)
		}
		done := make(chan error, 1)
		go func() {
			c, err := l.AcceptUnix()
			if err == nil {
				var uid uint32
				if uid, _, err = Peer(c); err == nil && int(uid) != os.Getuid() {
					err = errors.New("wrong uid")
				}
				c.Close()
			}
			done <- err
		}()
		c, err := Dial(t.Context(), dir, "sock")
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
	if err := Remove(dir, "sock"); err != nil {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), dir, "sock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dialling no socket: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(frames(f, func(c *Conn) error { return c.WriteJSON(Hello, HelloMessage{Protocol: 1}) }))
	f.Add(frames(f, func(c *Conn) error { return c.WriteWant(Stdin, 3) }))
	f.Add([]byte("\x00\x3f\xff\xff\x04abc"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := NewConn(duplex{bytes.NewReader(raw), nil})
		var again bytes.Buffer
		out := NewConn(duplex{nil, &again})
		for {
			k, p, err := c.Read()
			if err != nil {
				break
			}
			if len(p) > len(raw) {
				t.Fatal("more payload than input")
			}
			var v HelloMessage
			Unmarshal(p, &v)
			ParseWant(p)
			ParseData(p)
			if err := out.Write(k, p); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(raw, again.Bytes()) {
			t.Fatal("a frame read and written again differs")
		}
		if again.Len() >= header && binary.BigEndian.Uint32(again.Bytes()) > MaxPayload {
			t.Fatal("an oversized frame got through")
		}
	})
}
