package auditlog

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"time"
)

// cursor reads a line as appendLine writes it. What it does not know (escaped
// characters, anything out of place) makes it fail, and is left to the JSON
// reader of ParseRecord, which also says what is wrong.
type cursor struct {
	rest []byte
	bad  bool
}

// parseFast reads a line without escaped characters into r; false if it is none.
// It is several times as fast as the JSON reader, for verifying long logs. Its
// caller prints r again, so it need not notice everything.
func parseFast(line []byte, r *Record) bool {
	c := cursor{rest: line}
	c.skip(`{"v":` + strconv.Itoa(Version) + `,"seq":`)
	r.Seq = c.number()
	c.skip(`,"time":`)
	at, err := time.Parse(time.RFC3339Nano, c.text())
	r.Time = at
	c.skip(`,"session":`)
	r.Session = c.text()
	c.skip(`,"actor":{`)
	r.Actor.Capsule = c.field(`"capsule":`)
	r.Actor.Principal = c.field(`"principal":`)
	c.skip(`"uid":`)
	r.Actor.UID = uint32(c.number())
	if c.has(`,"pid":`) {
		r.Actor.PID = uint32(c.number())
	}
	if c.has(`,"program":`) {
		r.Actor.Program = c.text()
	}
	c.skip(`},"op":`)
	r.Op = c.text()
	c.skip(`,`)
	path, to := c.field(`"path":`), c.field(`"to":`)
	r.Flags = c.field(`"flags":`)
	r.Read = c.count(`"read":`)
	r.Written = c.count(`"written":`)
	c.skip(`"outcome":`)
	r.Outcome = Outcome(c.text())
	c.skip(`,`)
	r.Error = c.field(`"error":`)
	r.Key = c.field(`"key":`)
	r.Signature = c.field(`"signature":`)
	c.skip(`"prev":`)
	c.hash(&r.Prev)
	c.skip(`,"hash":`)
	c.hash(&r.Hash)
	c.skip(`}`)
	if c.bad || err != nil || len(c.rest) > 0 {
		return false
	}
	var perr, terr error
	r.Path, perr = UnescapePath(path)
	r.To, terr = UnescapePath(to)
	return perr == nil && terr == nil
}

// has skips s if it comes next.
func (c *cursor) has(s string) bool {
	if len(c.rest) < len(s) || string(c.rest[:len(s)]) != s {
		return false
	}
	c.rest = c.rest[len(s):]
	return true
}

func (c *cursor) skip(s string) {
	if !c.has(s) {
		c.bad = true
	}
}

func (c *cursor) number() uint64 {
	n := 0
	for n < len(c.rest) && '0' <= c.rest[n] && c.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(c.rest[:n]), 10, 64)
	c.bad = c.bad || err != nil
	c.rest = c.rest[n:]
	return v
}

// quoted returns what stands between quotation marks.
func (c *cursor) quoted() []byte {
	if !c.has(`"`) {
		c.bad = true
		return nil
	}
	n := bytes.IndexByte(c.rest, '"')
	if n < 0 {
		c.bad = true
		return nil
	}
	s := c.rest[:n]
	c.rest = c.rest[n+1:]
	if bytes.IndexByte(s, '\\') >= 0 {
		c.bad = true
	}
	return s
}

func (c *cursor) text() string { return string(c.quoted()) }

// field is a member that may be missing, with the comma behind it.
func (c *cursor) field(name string) string {
	if !c.has(name) {
		return ""
	}
	s := c.text()
	c.skip(`,`)
	return s
}

func (c *cursor) count(name string) uint64 {
	if !c.has(name) {
		return 0
	}
	n := c.number()
	c.skip(`,`)
	return n
}

func (c *cursor) hash(h *Hash) {
	s := c.quoted()
	if len(s) != hex.EncodedLen(len(h)) {
		c.bad = true
		return
	}
	if _, err := hex.Decode(h[:], s); err != nil {
		c.bad = true
	}
}
