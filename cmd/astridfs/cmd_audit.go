package main

import (
	"bufio"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/auditlog/auditfs"
	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

func auditCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "show and verify what was done in a session",
		Subcommands: []*cli.Command{
			{
				Name: "show", Usage: "print the records, oldest first", ArgsUsage: "[S]",
				Description: `   astridfs audit show --outcome denied
   astridfs audit show --path src --op unlink,rename --since 2h
   astridfs audit show --actor lint --json`,
				Flags:  append(logFlags(), append(filterFlags(), jsonFlag())...),
				Action: func(c *cli.Context) error { return e.auditShow(c) },
			},
			{
				Name: "tail", Usage: "print the last records, and with -f those to come", ArgsUsage: "[S]",
				Description: `   astridfs audit tail -f --outcome denied`,
				Flags: append(logFlags(), append(filterFlags(),
					&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 10, Usage: "begin with the last `N`"},
					&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until interrupted"},
					&cli.BoolFlag{Name: "json", Usage: "print one JSON document a line, each a record"},
				)...),
				Action: func(c *cli.Context) error { return e.auditTail(c) },
			},
			{
				Name: "verify", Usage: "tell whether the log is as it was written", ArgsUsage: "[S]",
				Description: `Every record is held against the one before it, every checkpoint against the key
and the end of the log against the one that was signed. The exit code is 5, and
the first bad record is named, if anything was changed, taken out, moved, cut
off or put in. The key is the one that the session began its log with; what
somebody who can write to the state directory did to both, only --public-key
finds: note the key down elsewhere.

   astridfs audit verify
   astridfs audit verify --public-key 9f86d08188…`,
				Flags:  append(logFlags(), &cli.StringFlag{Name: "public-key", Usage: "trust this `KEY`, in hexadecimal, and no other"}, jsonFlag()),
				Action: func(c *cli.Context) error { return e.auditVerify(c) },
			},
			{
				Name: "export", Usage: "write the records for other programs", ArgsUsage: "[S]",
				Description: `jsonl is the log's own lines; otel is OpenTelemetry log data in JSON, as a
collector's file receiver takes it.

   astridfs audit export > audit.jsonl
   astridfs audit export --format otel --outcome denied`,
				Flags: append(logFlags(), append(filterFlags(),
					&cli.StringFlag{Name: "format", Value: "jsonl", Usage: "write `FORMAT`: jsonl or otel"})...),
				Action: func(c *cli.Context) error { return e.auditExport(c) },
			},
		},
	}
}

// auditFlag and auditKeyFlag are of the commands that open a session for work.
func auditFlag() cli.Flag {
	return &cli.StringFlag{Name: "audit", Usage: "record from now on `LEVEL`: off, mutations, opens or full (default: as the session has it; " + session.DefaultAudit.String() + " for a new one)"}
}

func auditKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "audit-key", Usage: "sign a new audit log with the key in `FILE` instead of one of its own: 32 bytes in hexadecimal, mode 0600"}
}

// takeAudit reads those flags.
func (e *env) takeAudit(c *cli.Context) error {
	if e.audit = c.String("audit"); c.IsSet("audit") {
		if err := oneOf("audit", e.audit, auditfs.Off.String(), auditfs.Mutations.String(), auditfs.Opens.String(), auditfs.Full.String()); err != nil {
			return err
		}
	}
	if c.IsSet("audit-key") {
		path, err := store.Abs(c.String("audit-key"))
		if err != nil {
			return err
		}
		e.auditKey = path
	}
	return nil
}

func logFlags() []cli.Flag {
	return []cli.Flag{sessionFlag(), &cli.StringFlag{Name: "dir", Usage: "the log that sessions remove --keep-audit left in `DIR`, instead of a session's"}}
}

func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "path", Usage: "only of `PATH` and below: of the workspace, or with its scheme; with *, ? or [ a pattern of a whole path with its scheme"},
		&cli.StringSliceFlag{Name: "op", Usage: "only operation `OP` (repeatable, or with commas)"},
		&cli.StringFlag{Name: "actor", Usage: "only of `WHO`: a capsule, principal, program, or pid"},
		&cli.StringFlag{Name: "outcome", Usage: "only of `OUTCOME`: ok, denied or failed"},
		&cli.StringFlag{Name: "since", Usage: "only from `TIME` on: 2h (ago), 2006-01-02, or RFC 3339"},
		&cli.StringFlag{Name: "until", Usage: "only before `TIME`"},
	}
}

// auditOf is a log that a command line means.
type auditOf struct {
	dir  string
	ch   *chosen // nil with --dir
	name string  // for messages
}

// chooseLog finds the log, and has a live session write out what it has.
func (e *env) chooseLog(c *cli.Context) (*auditOf, error) {
	if dir := c.String("dir"); dir != "" {
		if c.NArg() > 0 || c.String("session") != "" {
			return nil, fault.New(fault.Usage, "give one of them", "both --dir and a session are given")
		}
		return &auditOf{dir: dir, name: "audit log " + dir}, nil
	}
	ch, err := e.choose(c, false)
	if err != nil {
		return nil, err
	}
	if _, used, err := ch.disk.InUse(); err != nil {
		return nil, err
	} else if used {
		conn, err := session.Dial(e.ctx, ch.disk, e.options("audit"))
		if err == nil {
			err = conn.Recorded(e.ctx)
		}
		if fault.Is(err, fault.Busy) || fault.Is(err, fault.Cancelled) {
			return nil, err
		}
		if err != nil {
			// It has just ended, or its log is broken: what is there can be read.
			e.log.WithError(err).Debug("the owner has not written out its audit log")
		}
	}
	return &auditOf{dir: ch.disk.Audit(), ch: ch, name: "audit log of session " + ch.disk.File.Name}, nil
}

// head is what documents say of the log that they are about.
func (a *auditOf) head() member {
	if a.ch == nil {
		return member{"dir", store.Path(a.dir)}
	}
	return brief(a.ch)
}

// fault says what is wrong with a log that could not be read.
func (a *auditOf) fault(err error) error {
	var broken *auditlog.BrokenError
	switch {
	case a.ch == nil && errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Failed, "give the directory that sessions remove --keep-audit has made", "%w", err)
	case !errors.As(err, &broken):
		return err
	}
	next := "keep a copy of " + a.dir + ": nothing from this record on can be trusted"
	return fault.New(fault.Verify, next, "%s: %w", a.name, err)
}

// filterOf makes the filter of the flags.
func (e *env) filterOf(c *cli.Context, a *auditOf) (auditlog.Filter, error) {
	f := auditlog.Filter{Actor: c.String("actor"), Outcome: auditlog.Outcome(c.String("outcome"))}
	if f.Outcome != "" {
		if err := oneOf("outcome", f.Outcome, auditlog.Allowed, auditlog.Denied, auditlog.Failed); err != nil {
			return f, err
		}
	}
	for _, op := range c.StringSlice("op") {
		f.Ops = append(f.Ops, strings.Split(op, ",")...)
	}
	if p := c.String("path"); strings.Contains(p, "://") || strings.HasPrefix(p, "*") {
		f.Path = p
	} else if p != "" {
		if a.ch != nil {
			var err error
			if p, err = a.ch.path(p); err != nil {
				return f, err
			}
		}
		f.Path = "workspace://" + p
	}
	var err error
	now := time.Now()
	if f.Since, err = pointInTime(c, "since", now); err != nil {
		return f, err
	}
	if f.Until, err = pointInTime(c, "until", now); err != nil {
		return f, err
	}
	if err := f.Validate(); err != nil {
		return f, fault.New(fault.Usage, "", "%w", err)
	}
	return f, nil
}

// pointInTime reads a flag that is a time, or how long ago it was.
func pointInTime(c *cli.Context, flag string, now time.Time) (time.Time, error) {
	s := c.String(flag)
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Usage, "give 2h, 2006-01-02, \"2006-01-02 15:04:05\" or 2006-01-02T15:04:05Z", "option --%s: %q is no time", flag, s)
}

func (e *env) auditShow(c *cli.Context) error {
	a, err := e.chooseLog(c)
	if err != nil {
		return err
	}
	f, err := e.filterOf(c, a)
	if err != nil {
		return err
	}
	if e.json {
		out := bufio.NewWriter(e.stdout)
		doc, err := newDocument(out, "records", a.head())
		if err != nil {
			return err
		}
		err = auditlog.Read(e.ctx, a.dir, f, func(r auditlog.Record) error { return doc.item(r) })
		return errors.Join(doc.end(a.fault(err)), out.Flush())
	}
	found := false
	err = e.paged(true, func(w io.Writer) error {
		out := bufio.NewWriter(w)
		err := auditlog.Read(e.ctx, a.dir, f, func(r auditlog.Record) error {
			found = true
			_, err := fmt.Fprintln(out, e.recordLine(&r))
			return err
		})
		return errors.Join(a.fault(err), out.Flush())
	})
	if err == nil && !found {
		e.noSuchOp(a, &f)
	}
	return err
}

// noSuchOp says, where a filter found nothing, which of the operations that it
// names the log does not have at all: one may be mistyped.
func (e *env) noSuchOp(a *auditOf, f *auditlog.Filter) {
	if len(f.Ops) == 0 || e.quiet {
		return
	}
	ops := map[string]bool{}
	err := auditlog.Read(e.ctx, a.dir, auditlog.Filter{}, func(r auditlog.Record) error {
		ops[r.Op] = true
		return nil
	})
	if err != nil {
		return // it has been read just now
	}
	known := strings.Join(slices.Sorted(maps.Keys(ops)), ", ")
	for _, op := range f.Ops {
		if !ops[op] {
			e.note("%s: no record is of the operation %q; there are: %s", a.name, op, known)
		}
	}
}

// recordLine returns a record as it is printed.
func (e *env) recordLine(r *auditlog.Record) string {
	colour := map[auditlog.Outcome]string{auditlog.Denied: bold + red, auditlog.Failed: yellow}[r.Outcome]
	outcome := fmt.Sprintf("%-6s", r.Outcome)
	if colour != "" {
		outcome = e.paint(colour, outcome)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s %s", r.Seq, r.Time.Local().Format("2006-01-02 15:04:05.000"), outcome, actorText(&r.Actor), r.Op)
	for i, p := range []string{r.Path, r.To} {
		if p == "" {
			continue
		}
		if i == 1 && r.Path != "" {
			b.WriteString(" ->")
		}
		b.WriteString(" " + diff.Quote(p))
	}
	if r.Flags != "" {
		b.WriteString(" [" + oneLine(r.Flags) + "]")
	}
	if r.Read > 0 || r.Written > 0 {
		fmt.Fprintf(&b, " (%d read, %d written)", r.Read, r.Written)
	}
	if r.Error != "" {
		b.WriteString(": " + oneLine(r.Error))
	}
	return b.String()
}

// actorText returns who did it: "capsule/principal", or "program(pid)@uid".
func actorText(a *auditlog.Actor) string {
	switch {
	case a.Capsule != "":
		return oneLine(a.Capsule + "/" + a.Principal)
	case a.PID == 0:
		return fmt.Sprintf("uid %d", a.UID)
	}
	return oneLine(fmt.Sprintf("%s(%d)@%d", a.Program, a.PID, a.UID))
}

func (e *env) auditTail(c *cli.Context) error {
	a, err := e.chooseLog(c)
	if err != nil {
		return err
	}
	f, err := e.filterOf(c, a)
	if err != nil {
		return err
	}
	n := c.Int("lines")
	if n < 0 {
		return fault.New(fault.Usage, "give 0 or more", "option --lines cannot be %d", n)
	}
	last, seen, err := auditlog.Tail(e.ctx, a.dir, f, n)
	if err != nil {
		return a.fault(err)
	}
	print := func(r auditlog.Record) error {
		line := e.recordLine(&r)
		if e.json {
			b, err := r.MarshalJSON()
			if err != nil {
				return err
			}
			line = string(b)
		}
		_, err := fmt.Fprintln(e.stdout, line)
		return err
	}
	for _, r := range last {
		if err := print(r); err != nil {
			return err
		}
	}
	if !c.Bool("follow") {
		if len(last) == 0 && n > 0 && !e.json {
			e.noSuchOp(a, &f)
		}
		return nil
	}
	return a.fault(auditlog.Follow(whileRead(e.ctx, e.stdout), a.dir, f, seen, print))
}

func (e *env) auditExport(c *cli.Context) error {
	format := c.String("format")
	if err := oneOf("format", format, "jsonl", "otel"); err != nil {
		return err
	}
	write := auditlog.WriteJSONL
	if format == "otel" {
		write = auditlog.WriteOTel
	}
	a, err := e.chooseLog(c)
	if err != nil {
		return err
	}
	f, err := e.filterOf(c, a)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(e.stdout)
	return errors.Join(a.fault(write(e.ctx, a.dir, f, out)), out.Flush())
}

// publicKey returns the key that a log is to be verified with; nil for the one
// that its first record names.
func (a *auditOf) publicKey(given string) (ed25519.PublicKey, error) {
	if given != "" {
		key, err := hex.DecodeString(strings.TrimSpace(given))
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, fault.New(fault.Usage, "give the 64 hexadecimal digits that verify prints", "option --public-key: %q is no key", given)
		}
		return key, nil
	}
	if a.ch == nil {
		return nil, nil
	}
	return session.AuditKey(a.ch.disk)
}

// broken is what a document says of the first bad record.
type broken struct {
	Seq  uint64          `json:"seq"`
	Kind auditlog.Damage `json:"kind"`
	File string          `json:"file"`
	Line int             `json:"line,omitempty"`
	Why  string          `json:"why"`
}

func (e *env) auditVerify(c *cli.Context) error {
	a, err := e.chooseLog(c)
	if err != nil {
		return err
	}
	key, err := a.publicKey(c.String("public-key"))
	if err != nil {
		return err
	}
	rep, err := auditlog.Verify(e.ctx, a.dir, key)
	if a.ch != nil && errors.Is(err, fs.ErrNotExist) {
		err = nil // a session that has recorded nothing has none
	}
	switch none := err == nil && rep.Records == 0; {
	case none && key != nil:
		err = &auditlog.BrokenError{File: a.dir, Seq: 1, Kind: auditlog.Truncated, Why: "there is no record, but a log was begun with this key"}
	case none && a.ch == nil: // nobody can tell this from a log that was emptied
		err = &auditlog.BrokenError{File: a.dir, Seq: 1, Kind: auditlog.Truncated, Why: "there is no record"}
	}
	if e.json {
		return e.verifyJSON(a, &rep, err)
	}
	if err != nil {
		return a.fault(err)
	}
	if rep.Records == 0 {
		e.note("%s: nothing was recorded yet", a.name)
		return nil
	}
	signed := "all is signed"
	switch n := rep.Records - rep.Signed - 1; { // a checkpoint is the signature of what stands before it
	case rep.Checkpoints == 0:
		signed = "nothing is signed yet"
	case n > 0:
		signed = fmt.Sprintf("signed up to record %d and not yet behind it,", rep.Signed)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: whole\n%s in %s, from %s to %s\n%s, %s with key %x\n",
		a.name, plural(int(rep.Records), "record"), plural(rep.Files, "file"),
		rep.First.Local().Format(time.DateTime), rep.Last.Local().Format(time.DateTime),
		plural(rep.Checkpoints, "checkpoint"), signed, []byte(rep.Key))
	if rep.Torn > 0 {
		e.note("the last line is not finished (%d bytes): the process that wrote it died, or is writing it; the next that uses the log cuts it off", rep.Torn)
	}
	if c.String("public-key") == "" && a.ch == nil {
		e.note("the key is the one that the log itself names; --public-key names another")
	}
	return err
}

func (e *env) verifyJSON(a *auditOf, rep *auditlog.Report, err error) error {
	audit := object{{"ok", err == nil}, {"records", rep.Records}, {"files", rep.Files}, {"checkpoints", rep.Checkpoints}, {"signed", rep.Signed}, {"torn_bytes", rep.Torn}}
	if rep.Records > 0 {
		audit = append(audit, member{"first", rep.First}, member{"last", rep.Last})
	}
	if rep.Key != nil {
		audit = append(audit, member{"public_key", hex.EncodeToString(rep.Key)})
	}
	var b *auditlog.BrokenError
	if errors.As(err, &b) {
		audit = append(audit, member{"broken", broken{b.Seq, b.Kind, b.File, b.Line, b.Why}})
	}
	doc := []member{a.head(), {"audit", audit}}
	if err = a.fault(err); err != nil {
		doc = append(doc, member{"error", fault.Of(err)})
	}
	if perr := e.printJSON(doc...); perr != nil {
		return errors.Join(err, perr)
	}
	if err != nil {
		return &told{err}
	}
	return nil
}
