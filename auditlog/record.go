package auditlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Version is the format of the records that this package writes.
const Version = 1

// Outcome is how an operation ended.
type Outcome string

// Allowed: it was done. Denied: a rule, a capability or the root's edge stood
// in the way. Failed: it was allowed, and the filesystem answered an error.
const (
	Allowed Outcome = "ok"
	Denied  Outcome = "denied"
	Failed  Outcome = "failed"
)

// Operations of the log's own records. A log opens with a start; a checkpoint
// signs what stands before it.
const (
	OpStart      = "start"
	OpCheckpoint = "checkpoint"
)

// Actor is who did it: a capsule and the principal it acts for, or a process
// that used the mount.
type Actor struct {
	Capsule   string `json:"capsule,omitempty"`
	Principal string `json:"principal,omitempty"`
	UID       uint32 `json:"uid"`
	PID       uint32 `json:"pid,omitempty"`
	Program   string `json:"program,omitempty"`
}

// Hash is the SHA-256 of a record, which the next one repeats.
type Hash [sha256.Size]byte

// String returns h in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Record is one line of the log.
type Record struct {
	Seq     uint64    // 1, 2, 3 …, without a gap, over all files of a log
	Time    time.Time // UTC, to the nanosecond
	Session string
	Actor   Actor
	Op      string // what was asked for: "open", "rename" …; "checkpoint" and "start" are the log's own
	Path    string // scheme path, raw bytes; see EscapePath for how it is written
	To      string // second path of a rename, link or copy
	Flags   string // detail that decides about access: open mode, rename flags
	Read    uint64 // bytes read, in the record of a close
	Written uint64 // bytes written, in the record of a close
	Outcome Outcome
	Error   string // errno name or error kind, empty where Outcome is Allowed

	// Of the log's own records.
	Key       string // "start": public key in hexadecimal
	Signature string // "checkpoint": Ed25519 over Prev, in hexadecimal

	Prev Hash // hash of the record before; zero for the first
	Hash Hash // of this record
}

// wire is a record as JSON has it. The order of the fields is part of the
// format: a record is valid only if printing it gives the same bytes.
type wire struct {
	V         int     `json:"v"`
	Seq       uint64  `json:"seq"`
	Time      string  `json:"time"`
	Session   string  `json:"session"`
	Actor     Actor   `json:"actor"`
	Op        string  `json:"op"`
	Path      string  `json:"path,omitempty"`
	To        string  `json:"to,omitempty"`
	Flags     string  `json:"flags,omitempty"`
	Read      uint64  `json:"read,omitempty"`
	Written   uint64  `json:"written,omitempty"`
	Outcome   Outcome `json:"outcome"`
	Error     string  `json:"error,omitempty"`
	Key       string  `json:"key,omitempty"`
	Signature string  `json:"signature,omitempty"`
	Prev      string  `json:"prev"`
	Hash      string  `json:"hash"`
}

// appendLine appends r as one line and returns it with r's hash. It is written
// by hand because it runs once for every operation.
func (r *Record) appendLine(b []byte) ([]byte, Hash) {
	start := len(b)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, Version, 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, `,"time":"`...)
	b = r.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","session":`...)
	b = appendString(b, r.Session)
	b = append(b, `,"actor":{`...)
	b = appendField(b, `"capsule":`, r.Actor.Capsule)
	b = appendField(b, `"principal":`, r.Actor.Principal)
	b = append(b, `"uid":`...)
	b = strconv.AppendUint(b, uint64(r.Actor.UID), 10)
	if r.Actor.PID != 0 {
		b = append(b, `,"pid":`...)
		b = strconv.AppendUint(b, uint64(r.Actor.PID), 10)
	}
	if r.Actor.Program != "" {
		b = append(b, `,"program":`...)
		b = appendString(b, r.Actor.Program)
	}
	b = append(b, `},"op":`...)
	b = appendString(b, r.Op)
	b = append(b, ',')
	b = appendField(b, `"path":`, EscapePath(r.Path))
	b = appendField(b, `"to":`, EscapePath(r.To))
	b = appendField(b, `"flags":`, r.Flags)
	b = appendCount(b, `"read":`, r.Read)
	b = appendCount(b, `"written":`, r.Written)
	b = append(b, `"outcome":`...)
	b = appendString(b, string(r.Outcome))
	b = append(b, ',')
	b = appendField(b, `"error":`, r.Error)
	b = appendField(b, `"key":`, r.Key)
	b = appendField(b, `"signature":`, r.Signature)
	b = append(b, `"prev":"`...)
	b = hex.AppendEncode(b, r.Prev[:])
	b = append(b, '"')
	h := Hash(sha256.Sum256(b[start:]))
	b = append(b, `,"hash":"`...)
	b = hex.AppendEncode(b, h[:])
	return append(b, '"', '}', '\n'), h
}

// MarshalJSON implements json.Marshaler: a record's line.
func (r Record) MarshalJSON() ([]byte, error) {
	b, _ := r.appendLine(nil)
	return bytes.TrimSuffix(b, []byte{'\n'}), nil
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return append(appendString(append(b, name...), value), ',')
}

func appendCount(b []byte, name string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return append(strconv.AppendUint(append(b, name...), n, 10), ',')
}

// appendString appends s as a JSON string. What is not UTF-8 becomes U+FFFD, so
// that a line is always JSON; paths are escaped before and lose nothing.
func appendString(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	plain := 0 // bytes that stand for themselves
	for plain < len(s) && s[plain] >= 0x20 && s[plain] < 0x7f && s[plain] != '"' && s[plain] != '\\' {
		plain++
	}
	b = append(b, s[:plain]...)
	for i := plain; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// EscapePath returns path with each byte that is no part of printable UTF-8
// text, and each '%', written as %XX, as a URI does. UnescapePath undoes it.
func EscapePath(path string) string {
	clean := true
	for i := 0; i < len(path) && clean; i++ {
		c := path[i]
		clean = c >= 0x20 && c < 0x7f && c != '%'
	}
	if clean {
		return path
	}
	var b []byte
	for i := 0; i < len(path); {
		r, n := utf8.DecodeRuneInString(path[i:])
		if (r == utf8.RuneError && n == 1) || r < 0x20 || r == 0x7f || r == '%' {
			b = fmt.Appendf(b, "%%%02X", path[i])
			i++
			continue
		}
		b = append(b, path[i:i+n]...)
		i += n
	}
	return string(b)
}

// UnescapePath returns the bytes that EscapePath was given.
func UnescapePath(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+3 > len(s) {
			return "", fmt.Errorf("cut escape at the end of %q", s)
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("bad escape %q", s[i:i+3])
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), nil
}

// MaxLine is the length of the longest record in bytes, newline included: two
// paths of 4 KiB, each byte escaped, and the rest.
const MaxLine = 64 << 10

// ParseRecord reads one line, with or without its newline. It accepts exactly
// what this package writes: printing the result gives the same bytes, and the
// hash in it is right. It says nothing about the record's place in a chain.
func ParseRecord(line []byte) (Record, error) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	if len(line) >= MaxLine {
		return Record{}, fmt.Errorf("a line of %d bytes", len(line))
	}
	var fast Record
	if parseFast(line, &fast) {
		again, h := fast.appendLine(make([]byte, 0, len(line)+1))
		if bytes.Equal(again[:len(again)-1], line) && h == fast.Hash {
			return fast, nil
		}
	}
	var w wire
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return Record{}, fmt.Errorf("not a record: %w", err)
	}
	if w.V != Version {
		return Record{}, fmt.Errorf("format version %d; this program knows %d", w.V, Version)
	}
	r := Record{
		Seq: w.Seq, Session: w.Session, Actor: w.Actor, Op: w.Op, Flags: w.Flags, Read: w.Read, Written: w.Written,
		Outcome: w.Outcome, Error: w.Error, Key: w.Key, Signature: w.Signature,
	}
	var err error
	if r.Time, err = time.Parse(time.RFC3339Nano, w.Time); err != nil {
		return Record{}, fmt.Errorf("time: %w", err)
	}
	if r.Path, err = UnescapePath(w.Path); err != nil {
		return Record{}, err
	}
	if r.To, err = UnescapePath(w.To); err != nil {
		return Record{}, err
	}
	for _, f := range []struct {
		text string
		hash *Hash
	}{{w.Prev, &r.Prev}, {w.Hash, &r.Hash}} {
		if n, err := hex.Decode(f.hash[:], []byte(f.text[:min(len(f.text), 2*len(f.hash))])); err != nil || n != len(f.hash) || len(f.text) != 2*len(f.hash) {
			return Record{}, fmt.Errorf("bad hash %q", f.text)
		}
	}
	again, h := r.appendLine(nil)
	if !bytes.Equal(bytes.TrimSuffix(again, []byte{'\n'}), line) {
		if h != r.Hash {
			return Record{}, errHash
		}
		return Record{}, fmt.Errorf("not as this program writes it")
	}
	return r, nil
}
