package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
)

func diffCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "show what changed, as a patch",
		ArgsUsage: "[S] [PATH…]",
		Description: `The patch is git's: "git apply" takes it. What a patch cannot hold (directories,
owners, times, special files) is in status.

   astridfs diff src
   astridfs diff --stat
   astridfs diff project-1a2b3c4d --patch > work.patch`,
		Flags: []cli.Flag{
			sessionFlag(),
			&cli.BoolFlag{Name: "stat", Usage: "count lines for each file"},
			&cli.BoolFlag{Name: "name-only", Usage: "print names alone"},
			&cli.BoolFlag{Name: "name-status", Usage: "print letters and names, separated by tabs"},
			&cli.BoolFlag{Name: "patch", Aliases: []string{"p"}, Usage: "print the patch, never in colour"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			forms := 0
			for _, f := range []string{"stat", "name-only", "name-status", "patch", "json"} {
				if c.Bool(f) {
					forms++
				}
			}
			if forms > 1 {
				return fault.New(fault.Usage, "", "give one of --stat, --name-only, --name-status, --patch and --json")
			}
			ch, paths, err := e.chooseWithPaths(c)
			if err != nil {
				return err
			}
			req := session.DiffRequest{Paths: paths}
			return e.with(ch, "diff", func(conn session.Conn) error {
				switch {
				case c.Bool("json"):
					return e.diffJSON(ch, conn, req)
				case c.Bool("stat"):
					return e.diffStat(conn, req)
				case c.Bool("name-only"):
					return conn.Status(e.ctx, session.StatusRequest{Paths: paths}, func(ch session.Change) error {
						_, err := fmt.Fprintln(e.stdout, diff.Quote(string(ch.Path)))
						return err
					})
				case c.Bool("name-status"):
					return conn.Status(e.ctx, session.StatusRequest{Paths: paths}, func(ch session.Change) error {
						return diff.NameStatus(e.stdout, ch.Status[0], string(ch.From), string(ch.Path))
					})
				}
				plain := c.Bool("patch")
				return e.paged(!plain, func(w io.Writer) error {
					if plain || !isTerminal(e.stdout) {
						return conn.Diff(e.ctx, req, patchSink{w})
					}
					screen := &screenWriter{w: w, colour: colourful(e.stdout)}
					return errors.Join(conn.Diff(e.ctx, req, patchSink{screen}), screen.flush())
				})
			})
		},
	}
}

// patchSink prints the patch as it comes.
type patchSink struct{ io.Writer }

func (patchSink) File(session.DiffFile) error { return nil }

type statSink struct {
	io.Writer
	stats []diff.Stat
}

func (s *statSink) File(f session.DiffFile) error {
	s.stats = append(s.stats, f.Stat())
	return nil
}

func (e *env) diffStat(conn session.Conn, req session.DiffRequest) error {
	req.StatOnly = true
	s := &statSink{Writer: io.Discard}
	if err := conn.Diff(e.ctx, req, s); err != nil {
		return err
	}
	return diff.WriteStat(e.stdout, s.stats, columns(e.stdout))
}

// fileSink collects the patch of one file at a time.
type fileSink struct {
	bytes.Buffer
	doc *document
}

func (s *fileSink) File(f session.DiffFile) error {
	v := struct {
		session.DiffFile
		Patch       string `json:"patch,omitempty"`
		PatchBase64 []byte `json:"patch_base64,omitempty"` // where the patch is not UTF-8
	}{DiffFile: f}
	if p := s.String(); strings.ToValidUTF8(p, "") == p {
		v.Patch = p
	} else {
		v.PatchBase64 = s.Bytes()
	}
	err := s.doc.item(v)
	s.Reset()
	return err
}

func (e *env) diffJSON(ch *chosen, conn session.Conn, req session.DiffRequest) error {
	doc, err := newDocument(e.stdout, "files", brief(ch))
	if err != nil {
		return err
	}
	return doc.end(conn.Diff(e.ctx, req, &fileSink{doc: doc}))
}

// screenWriter makes a patch fit for a terminal: it colours the lines, and shows
// what would do something there instead of sending it, for the contents of files
// are a capsule's: control characters, and those that turn the direction of text.
type screenWriter struct {
	w      io.Writer
	colour bool
	line   []byte // an incomplete line
	out    bytes.Buffer
}

func (c *screenWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			c.line = append(c.line, p...)
			break
		}
		c.print(append(c.line, p[:i]...))
		c.out.WriteByte('\n')
		c.line, p = c.line[:0], p[i+1:]
	}
	_, err := c.out.WriteTo(c.w)
	return n, err
}

func (c *screenWriter) flush() error {
	if len(c.line) > 0 {
		c.print(c.line)
	}
	_, err := c.out.WriteTo(c.w)
	return err
}

// print adds a line in the colour of what it begins with.
func (c *screenWriter) print(line []byte) {
	colour := ""
	switch {
	case !c.colour:
	case bytes.HasPrefix(line, []byte("+++")), bytes.HasPrefix(line, []byte("---")),
		bytes.HasPrefix(line, []byte("diff ")), bytes.HasPrefix(line, []byte("index ")):
		colour = bold
	case bytes.HasPrefix(line, []byte("+")):
		colour = green
	case bytes.HasPrefix(line, []byte("-")):
		colour = red
	case bytes.HasPrefix(line, []byte("@@")):
		colour = cyan
	}
	c.out.WriteString(colour)
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch b := line[0]; {
		case r == '\t':
			c.out.WriteByte(b)
		case r < 0x80 && unicode.IsControl(r):
			c.out.Write([]byte{'^', b ^ 0x40})
		case r == utf8.RuneError && n == 1 && b < 0xa0: // a control character of an 8-bit terminal
			fmt.Fprintf(&c.out, "<%02X>", b)
		case fault.Unseen(r):
			fmt.Fprintf(&c.out, "<U+%04X>", r)
		default:
			c.out.Write(line[:n])
		}
		line = line[n:]
	}
	if colour != "" {
		c.out.WriteString(plain)
	}
}
