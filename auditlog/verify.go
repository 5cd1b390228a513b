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
	Session     string
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
	h, err := readHead(filepath.Join(dir, headFile))
	if err != nil {
		return v.report, err
	}
	v.head = h.Seq
	if err := scan(ctx, dir, v.check); err != nil {
		var b *BrokenError
		if errors.As(err, &b) {
			if b.Seq == 0 {
				b.Seq = v.report.Records + 1
			}
			if b.Kind == Missing && standsLater(ctx, dir, b.Seq) {
				b.Kind, b.Why = Reordered, "it stands further on: "+b.Why
			}
		}
		return v.report, err
	}
	v.report.Key = v.pub
	if v.pub != nil {
		if err := h.check(v.pub); err != nil {
			return v.report, err
		}
	}
	broken := func(seq uint64, kind Damage, why string) (Report, error) {
		return v.report, &BrokenError{File: headFile, Seq: seq, Kind: kind, Why: why}
	}
	switch n := v.report.Records; {
	case !h.present && n > 0:
		return broken(n+1, Truncated, "what the signed end of the log was cannot be told: the head file is gone")
	case n < h.Seq:
		return broken(n+1, Truncated, cutWhy(h.Seq))
	case n == h.Seq && v.prev != h.Hash, v.atHead != h.Hash && n > h.Seq:
		return broken(h.Seq, Changed, headWhy)
	}
	return v.report, nil
}

// standsLater tells whether a whole record with this number is in the log.
func standsLater(ctx context.Context, dir string, seq uint64) bool {
	found := false
	err := scan(ctx, dir, func(l line) error {
		if r, err := ParseRecord(l.bytes); err == nil && !l.torn && r.Seq == seq {
			found = true
			return errEnough
		}
		return nil
	})
	return found && errors.Is(err, errEnough)
}

type verifier struct {
	pub     ed25519.PublicKey
	session string
	prev    Hash
	head    uint64 // of which record atHead is to be
	atHead  Hash
	report  Report
}

func (v *verifier) check(l line) error {
	want := v.report.Records + 1
	broken := func(kind Damage, why string) error {
		return &BrokenError{File: l.file, Line: l.number, Seq: want, Kind: kind, Why: why}
	}
	if l.torn {
		v.report.Torn = len(l.bytes)
		return nil
	}
	r, err := ParseRecord(l.bytes)
	switch {
	case err != nil:
		return broken(Changed, err.Error())
	case want > 1 && r.Session != v.session:
		return broken(Foreign, fmt.Sprintf("a record of session %q in the log of %q", r.Session, v.session))
	case r.Seq > want:
		return broken(Missing, fmt.Sprintf("record %d stands in its place", r.Seq))
	case r.Seq < want:
		return broken(Reordered, fmt.Sprintf("record %d stands here, out of order or doubled", r.Seq))
	case want == 1 && r.Op != OpStart:
		return broken(Foreign, "the first record does not start a log")
	case r.Prev != v.prev:
		return broken(Changed, "it does not follow from the record before it")
	}
	if want == 1 {
		v.session, v.report.First, v.report.Session = r.Session, r.Time, r.Session
	}
	switch r.Op {
	case OpStart:
		key, err := hex.DecodeString(r.Key)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return broken(Changed, "its key is none")
		}
		if v.pub == nil {
			v.pub = key
		}
		if !bytes.Equal(key, v.pub) {
			return broken(Foreign, "started with another key")
		}
	case OpCheckpoint:
		sig, err := hex.DecodeString(r.Signature)
		if err != nil || !ed25519.Verify(v.pub, checkpointMessage(r.Prev), sig) {
			return broken(Foreign, "the checkpoint's signature does not fit the key")
		}
		v.report.Checkpoints++
		v.report.Signed = want - 1
	}
	if l.number == 1 {
		v.report.Files++
	}
	if want == v.head {
		v.atHead = r.Hash
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
		at := position{name: name}
		if err := at.scan(ctx, dir, i == len(names)-1, fn); err != nil {
			return err
		}
	}
	return nil
}

// parse reads the line.
//
// Errors: *BrokenError.
func (l *line) parse() (Record, error) {
	r, err := ParseRecord(l.bytes)
	if err != nil {
		return r, &BrokenError{File: l.file, Line: l.number, Seq: r.Seq, Kind: Changed, Why: err.Error()}
	}
	return r, nil
}

// position is where reading a log goes on: behind so many bytes and lines of one
// file.
type position struct {
	name  string
	bytes int64
	lines int
}

// scan calls fn for each line of the file from p on, and for what stands behind
// the last one, and has p be behind the lines for which fn answered nil.
func (p *position) scan(ctx context.Context, dir string, last bool, fn func(line) error) error {
	f, err := os.Open(filepath.Join(dir, p.name))
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	if p.bytes > 0 {
		st, err := f.Stat()
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		if st.Size() < p.bytes {
			return &BrokenError{File: p.name, Line: p.lines, Kind: Truncated, Why: "the file was cut while it was read"}
		}
		if _, err := f.Seek(p.bytes, io.SeekStart); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	r := bufio.NewReaderSize(f, MaxLine)
	for {
		number := p.lines + 1
		if number&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := r.ReadSlice('\n')
		switch {
		case err == io.EOF && len(b) == 0:
			return nil
		case err == io.EOF && !last:
			return &BrokenError{File: p.name, Line: number, Kind: Truncated, Why: "the file is cut short, though another file follows"}
		case errors.Is(err, bufio.ErrBufferFull):
			return &BrokenError{File: p.name, Line: number, Kind: Changed, Why: "a line longer than any record"}
		case err != nil && err != io.EOF:
			return fmt.Errorf("audit log %s: %w", p.name, err)
		}
		if ferr := fn(line{p.name, number, b, err == io.EOF}); ferr != nil || err == io.EOF {
			return ferr
		}
		p.lines, p.bytes = number, p.bytes+int64(len(b))
	}
}
