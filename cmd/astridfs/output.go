package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
)

// schemaVersion is the version of the documents that --json prints. Members are
// added within a version and never removed or changed.
const schemaVersion = 1

// member is a member of an object, and object a JSON object in this order.
type (
	member struct {
		name  string
		value any
	}
	object []member
)

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		v, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, m.name), ':')
		b = append(b, v...)
	}
	return append(b, '}'), nil
}

// printJSON prints a document of these members.
func (e *env) printJSON(members ...member) error {
	b, err := marshal(append(object{{"version", schemaVersion}}, members...))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(e.stdout)
	return err
}

// document prints a JSON object that has a list, without holding the list.
type document struct {
	w     io.Writer
	items int
}

// newDocument begins with the members of head and the list called name.
func newDocument(w io.Writer, name string, head ...member) (*document, error) {
	b, err := marshal(append(object{{"version", schemaVersion}}, head...))
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(w, "%s,%q:[", bytes.TrimSuffix(b, []byte("}")), name)
	return &document{w: w}, err
}

func (d *document) item(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	sep := "\n"
	if d.items > 0 {
		sep = ",\n"
	}
	d.items++
	_, err = fmt.Fprintf(d.w, "%s%s", sep, b)
	return err
}

// end closes the list and adds the members of tail. An error of the command
// becomes the last member, so that the document is whole however it went.
func (d *document) end(err error, tail ...member) error {
	if err != nil {
		tail = append(tail, member{"error", fault.Of(err)})
	}
	b, merr := marshal(object(tail))
	if merr != nil {
		return errors.Join(err, merr)
	}
	if b = bytes.TrimPrefix(b, []byte("{")); len(tail) > 0 {
		b = append([]byte(","), b...)
	}
	if _, werr := fmt.Fprintf(d.w, "]%s\n", b); werr != nil {
		return errors.Join(err, werr)
	}
	if err != nil {
		return &told{err}
	}
	return nil
}

// told is an error that a document has told of already.
type told struct{ error }

func (t *told) Unwrap() error { return t.error }

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return noControls(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// noControls writes the control characters that JSON may have in a string, those
// from U+007F to U+009F, as escapes, so that none reaches a terminal.
func noControls(doc []byte) []byte {
	is := func(r rune) bool { return 0x7f <= r && r <= 0x9f }
	if bytes.IndexFunc(doc, is) < 0 {
		return doc
	}
	var out []byte
	for _, r := range string(doc) {
		if is(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// brief is what documents say of the session that they are about.
func brief(ch *chosen) member {
	f := &ch.disk.File
	return member{"session", object{{"name", f.Name}, {"id", f.ID}, {"workspace", f.Workspace}, {"mode", f.Mode}}}
}

// counts counts changes by status.
type counts struct {
	Added     int `json:"added"`
	Modified  int `json:"modified"`
	Deleted   int `json:"deleted"`
	Renamed   int `json:"renamed"`
	Retyped   int `json:"type_changed"`
	Conflicts int `json:"conflicts"`
}

func (n *counts) add(c *session.Change) {
	switch c.Status {
	case "A":
		n.Added++
	case "M":
		n.Modified++
	case "D":
		n.Deleted++
	case "R":
		n.Renamed++
	case "T":
		n.Retyped++
	}
	if c.Conflict != "" {
		n.Conflicts++
	}
}

func (n *counts) total() int { return n.Added + n.Modified + n.Deleted + n.Renamed + n.Retyped }

func (n *counts) String() string {
	if n.total() == 0 {
		return "no changes"
	}
	s := ""
	for _, p := range []struct {
		n    int
		word string
	}{
		{n.Added, "added"}, {n.Modified, "modified"}, {n.Deleted, "deleted"}, {n.Renamed, "renamed"},
		{n.Retyped, "type changed"}, {n.Conflicts, "in conflict"},
	} {
		if p.n > 0 {
			if s != "" {
				s += ", "
			}
			s += fmt.Sprintf("%d %s", p.n, p.word)
		}
	}
	return s
}

// Colours, for a terminal.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	bold   = "\x1b[1m"
	plain  = "\x1b[0m"
)

// paint returns s in a colour if standard output has colours.
func (e *env) paint(colour, s string) string {
	if !colourful(e.stdout) {
		return s
	}
	return colour + s + plain
}

// line returns a change as status prints it. Names are quoted as git quotes
// them, so that none can send control characters to a terminal.
func (e *env) line(c *session.Change) string {
	name := diff.Quote(string(c.Path))
	if c.From != "" {
		name = diff.Quote(string(c.From)) + " -> " + name
	}
	if c.Type == "directory" {
		name += "/"
	}
	colour := map[string]string{"A": green, "M": yellow, "D": red, "R": cyan, "T": cyan}[c.Status]
	s := e.paint(colour, c.Status) + " " + name
	if c.Status == "M" && len(c.Changed) > 0 && !slices.Contains(c.Changed, "content") {
		s += "  (" + strings.Join(c.Changed, ", ") + ")"
	}
	if c.Conflict != "" {
		s += "  " + e.paint(bold+red, "conflict: "+c.Conflict)
	}
	return s
}
