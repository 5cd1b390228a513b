package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Report is what Verify found in a log that is whole.
type Report struct {
	Records     uint64
	Files       int
	Checkpoints int
	Signed      uint64 // the last record that a signature covers
	Torn        int    // bytes of an unfinished last line, as a crash leaves it
	Key         ed25519.PublicKey
	First, Last time.Time
}

// Verify reads a log from end to end and holds every record against its place
// in the chain, every checkpoint against the key, and the end of the log against
// the signed head. pub is the key to trust; nil trusts the one that the log's
// first record names, which finds everything but a log replaced as a whole.
// The log may be in use meanwhile. Memory does not depend on its length.
//
// The error is a *[BrokenError] that names the first bad record, or one of I/O.
func Verify(ctx context.Context, dir string, pub ed25519.PublicKey) (Report, error) {
	v := verifier{pub: pub}
	// The head is read first: records may be added while the rest is read, but
	// none that it covers may be missing.
	var h head
	var headErr error
	if pub != nil {
		h, headErr = readHead(filepath.Join(dir, headFile), pub)
	}
	err := scan(ctx, dir, func(l line) error { return v.check(l) })
	if err != nil {
		return v.report, err
	}
	if pub == nil && v.pub != nil {
		h, headErr = readHead(filepath.Join(dir, headFile), v.pub)
	}
	if headErr != nil {
		return v.report, headErr
	}
	if v.report.Records < h.Seq {
		return v.report, &BrokenError{File: headFile, Seq: v.report.Records + 1,
			Why: fmt.Sprintf("missing: the log ends here, but record %d was written and signed", h.Seq)}
	}
	if h.Seq > 0 && pub != nil && v.atHead(h) != nil {
		return v.report, v.atHead(h)
	}
	v.report.Key = v.pub
	return v.report, nil
}

type verifier struct {
	pub     ed25519.PublicKey
	session string
	prev    Hash
	report  Report
}

// atHead is an error where the head names the last record and another hash.
func (v *verifier) atHead(h head) error {
	if h.Seq == v.report.Records && h.Hash != v.prev {
		return &BrokenError{File: headFile, Seq: h.Seq, Why: "the last record is not the one that was signed"}
	}
	return nil
}

func (v *verifier) check(l line) error {
	want := v.report.Records + 1
	broken := func(why string) error {
		return &BrokenError{File: l.file, Line: l.number, Seq: want, Why: why}
	}
	if l.torn {
		v.report.Torn = len(l.bytes)
		return nil
	}
	r, err := ParseRecord(l.bytes)
	switch {
	case errors.Is(err, errHash):
		return broken("changed: " + err.Error())
	case err != nil:
		return broken(err.Error())
	case r.Seq > want:
		return broken(fmt.Sprintf("missing: record %d stands here", r.Seq))
	case r.Seq < want:
		return broken(fmt.Sprintf("out of order or doubled: record %d stands here", r.Seq))
	case r.Prev != v.prev:
		return broken("changed: it does not follow from the record before it")
	case want == 1 && r.Op != "start":
		return broken("foreign: the first record does not start a log")
	}
	if want == 1 {
		v.session, v.report.First = r.Session, r.Time
	}
	if r.Session != v.session {
		return broken(fmt.Sprintf("foreign: of session %q in the log of %q", r.Session, v.session))
	}
	switch r.Op {
	case "start":
		key, err := hex.DecodeString(r.Key)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return broken("its key is none")
		}
		if v.pub == nil {
			v.pub = key
		}
		if !bytes.Equal(key, v.pub) {
			return broken("foreign: started with another key")
		}
	case "checkpoint":
		sig, err := hex.DecodeString(r.Signature)
		if err != nil || !ed25519.Verify(v.pub, checkpointMessage(r.Prev), sig) {
			return broken("foreign: the checkpoint's signature does not fit")
		}
		v.report.Checkpoints++
		v.report.Signed = want - 1
	}
	if l.number == 1 {
		v.report.Files++
	}
	v.prev, v.report.Records, v.report.Last = r.Hash, want, r.Time
	return nil
}

// line is one line of a log's file.
type line struct {
	file   string
	number int // from 1
	bytes  []byte
	torn   bool // the last of the last file, without its newline
}

// scan calls fn for each line of the log in dir, in order. The bytes are good
// until fn returns.
func scan(ctx context.Context, dir string, fn func(line) error) error {
	names, err := files(dir)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	for i, name := range names {
		if err := scanFile(ctx, dir, name, i == len(names)-1, fn); err != nil {
			return err
		}
	}
	return nil
}

func scanFile(ctx context.Context, dir, name string, last bool, fn func(line) error) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, MaxLine)
	for number := 1; ; number++ {
		if number&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := r.ReadSlice('\n')
		switch {
		case err == io.EOF && len(b) == 0:
			return nil
		case err == io.EOF && !last:
			return &BrokenError{File: name, Line: number, Why: "cut short, though another file follows"}
		case errors.Is(err, bufio.ErrBufferFull):
			return &BrokenError{File: name, Line: number, Why: "a line longer than any record"}
		case err != nil && err != io.EOF:
			return fmt.Errorf("audit log %s: %w", name, err)
		}
		if ferr := fn(line{name, number, b, err == io.EOF}); ferr != nil {
			return ferr
		}
	}
}
