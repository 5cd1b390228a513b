package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// env is what a command works with. It belongs to one run of the program.
type env struct {
	ctx            context.Context
	args           []string // of the process
	stdin          io.Reader
	stdout, stderr io.Writer
	log            *logrus.Logger

	command  string // its name, "sessions list" say; empty before it is known
	stateDir string
	quiet    bool
	json     bool

	audit, auditKey string // of session.Options
}

// run is the program: everything but the process. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	e := &env{ctx: ctx, args: args, stdin: stdin, stdout: stdout, stderr: stderr, log: logrus.New()}
	e.log.SetOutput(stderr)
	e.log.SetLevel(logrus.WarnLevel)
	e.log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true, DisableColors: !colourful(stderr)})
	if isHelper(args) {
		return e.mountHelper()
	}
	defer func() {
		if r := recover(); r != nil {
			e.log.Debugf("%s", stackTrace())
			fmt.Fprintf(stderr, "astridfs: internal error: %v\n  next: repeat it with --log-level debug and report what it says\n", r)
			code = exitFailed
		}
	}()
	app := newApp(e)
	args, err := permute(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	return e.report(err)
}

// report prints what is to be said of err and returns the exit code.
func (e *env) report(err error) int {
	var c *codeError
	if err == nil || errors.As(err, &c) {
		return exitCode(err)
	}
	f := fault.Of(err)
	if f.Kind == fault.Usage && f.Next == "" {
		next := *f
		next.Next = strings.TrimSpace("see: astridfs help " + e.command)
		f = &next
	}
	var said *told
	if (e.json || f.Kind == fault.Usage && slices.Contains(e.args, "--json")) && !errors.As(err, &said) {
		// What a program reads says the same; a failure to write it is the
		// reader's own doing.
		e.printJSON(member{"error", f})
	}
	fmt.Fprintf(e.stderr, "astridfs: %s\n", oneLine(f.What))
	if f.Next != "" {
		fmt.Fprintf(e.stderr, "  next: %s\n", oneLine(f.Next))
	}
	return codeOf(f.Kind)
}

// oneLine makes s fit for a line of a terminal, whatever names are in it. Errors
// that were joined stand behind each other; what several say is said once.
func oneLine(s string) string {
	var parts []string
	for part := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	s = strings.Join(parts, "; ")
	return strings.Map(func(r rune) rune {
		if fault.Unseen(r) {
			return '?'
		}
		return r
	}, s)
}

// newApp builds the command line.
func newApp(e *env) *cli.App {
	app := &cli.App{
		Name:  "astridfs",
		Usage: "let capsules work on a project without touching it",
		Description: `A session holds the changes that you and WebAssembly programs (capsules) make to
a workspace, until you commit or discard them. Arguments written [S] name a
session; without one it is found from the current directory, which lies in a
workspace or in a mount. Where paths may follow, the first argument is taken as
a session if there is one of that name, and as a path otherwise.

Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 conflict with the workspace,
4 denied, 5 verification failed, 6 busy, 130 interrupted; of run also the
capsule's own, 124 time-out, 125 astridfs failed, 126 cannot be run, 127 not
found. With --json a command prints one document with "version": 1.`,
		HideVersion:               true,
		HideHelpCommand:           true,
		Writer:                    e.stdout,
		ErrWriter:                 e.stderr,
		Reader:                    e.stdin,
		Flags:                     append([]cli.Flag{&cli.BoolFlag{Name: "version", Usage: "print the version"}, cli.HelpFlag}, commonFlags()...),
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageError,
		Before:                    e.configure,
		DisableSliceFlagSeparator: true,
		Commands: []*cli.Command{
			mountCommand(e), unmountCommand(e), runCommand(e), statusCommand(e), diffCommand(e),
			commitCommand(e), discardCommand(e), sessionsCommand(e), auditCommand(e), inspectCommand(e),
			doctorCommand(e), demoCommand(e), completionCommand(e), completeCommand(e), manCommand(e), versionCommand(e), helpCommand(e),
		},
		Action: func(c *cli.Context) error {
			switch {
			case c.Args().Present():
				return noCommand(c.App.Name, c.App.Commands, c.Args().First())
			case c.Bool("version"):
				return e.printVersion()
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, cmd := range app.Commands {
		prepare(e, app.Name, cmd)
	}
	t := topicOfApp(app)
	app.CustomAppHelpTemplate = literal(t.help())
	return app
}

// prepare gives a command and those below it what they all have.
func prepare(e *env, parent string, cmd *cli.Command) {
	cmd.OnUsageError = usageError
	cmd.HideHelpCommand = true
	defer func() {
		t := topicOf(parent, cmd)
		cmd.CustomHelpTemplate = literal(t.help())
	}()
	if len(cmd.Subcommands) > 0 {
		for _, sub := range cmd.Subcommands {
			prepare(e, parent+" "+cmd.Name, sub)
		}
		cmd.Action = func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(parent+" "+cmd.Name, cmd.Subcommands, c.Args().First())
			}
			var names []string
			for _, sub := range cmd.Subcommands {
				names = append(names, sub.Name)
			}
			return fault.New(fault.Usage, "see: astridfs help "+cmd.Name, "%s needs a command: %s", cmd.Name, strings.Join(names, ", "))
		}
		return
	}
	cmd.Flags = append(cmd.Flags, commonFlags()...)
	act := cmd.Action
	cmd.Action = func(c *cli.Context) error {
		if err := e.checkWords(c, cmd); err != nil {
			return err
		}
		return act(c)
	}
	for _, f := range cmd.Flags {
		if b, ok := f.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
	}
	cmd.Before = func(c *cli.Context) error {
		e.command = strings.TrimPrefix(parent+" "+cmd.Name, "astridfs ")
		return e.configure(c)
	}
}

// checkWords refuses arguments of a command that takes none, and what is empty:
// in a script that is a variable which was not set, and not to be taken for the
// session or directory that is meant where nothing is said.
func (e *env) checkWords(c *cli.Context, cmd *cli.Command) error {
	if cmd.Name == completeName {
		return nil
	}
	if cmd.ArgsUsage == "" && c.Args().Present() {
		return fault.New(fault.Usage, "", "%s takes no arguments, and %q is one", e.command, c.Args().First())
	}
	for i, arg := range c.Args().Slice() {
		if arg == "" && (cmd.Name != runName || i == 0) {
			return fault.New(fault.Usage, "give it a value; see: astridfs help "+e.command, "%s: argument %d is empty", e.command, i+1)
		}
	}
	for _, f := range cmd.Flags {
		name := f.Names()[0]
		if _, ok := f.(*cli.StringFlag); ok && name != "payload" && c.IsSet(name) && c.String(name) == "" {
			return fault.New(fault.Usage, "give it a value, or leave it out; see: astridfs help "+e.command, "%s: option --%s is empty", e.command, name)
		}
	}
	return nil
}

func usageError(c *cli.Context, err error, _ bool) error {
	next := "see: astridfs help"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != c.App.Name {
		next += " " + c.Command.Name
	}
	// The flag package names options with one dash.
	return fault.New(fault.Usage, next, "%s", strings.Replace(err.Error(), " for flag -", " for option --", 1)).By(err)
}

// await returns what f does, or that the command was interrupted meanwhile: f
// may wait for another program, as opening a pipe does.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, fault.New(fault.Cancelled, "", "interrupted")
	}
}

// commonFlags are what every command takes, before or after its name.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "state-dir", Usage: "keep sessions in `DIR` (default: $ASTRIDFS_STATE_DIR, $XDG_STATE_HOME/astridfs, for root /var/lib/astridfs)"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print results and errors only"},
		&cli.StringFlag{Name: "log-level", Usage: "report what is at least `LEVEL`: error, warn, info or debug"},
		&cli.StringFlag{Name: "log-format", Usage: "report as `FORMAT`: text or json"},
	}
}

// jsonFlag is what every command that prints takes.
func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print one JSON document"}
}

// setting returns a flag's value wherever on the command line it stands.
func setting(c *cli.Context, name string) (string, bool) {
	for _, l := range c.Lineage() {
		if l.Command != nil && l.IsSet(name) {
			return l.String(name), true
		}
	}
	return "", false
}

// configure takes the common flags. It runs for the program and again for the
// command.
func (e *env) configure(c *cli.Context) error {
	if v, ok := setting(c, "state-dir"); ok {
		if v == "" {
			return fault.New(fault.Usage, "name a directory, or leave it out", "--state-dir is empty")
		}
		e.stateDir = v
	}
	e.quiet = e.quiet || c.Bool("quiet")
	e.json = e.json || c.Bool("json")
	if v, ok := setting(c, "log-level"); ok {
		level, err := logrus.ParseLevel(v) // which knows some more names
		if err != nil {
			return oneOf("log-level", v, "error", "warn", "info", "debug")
		}
		e.log.SetLevel(level)
	}
	if v, ok := setting(c, "log-format"); ok {
		if err := oneOf("log-format", v, "text", "json"); err != nil {
			return err
		}
		if v == "json" {
			e.log.SetFormatter(&logrus.JSONFormatter{})
		}
	}
	return nil
}

// openStore opens the state directory and clears away dead mounts, which it
// says on standard error.
func (e *env) openStore() (*store.Store, error) {
	st, err := e.stateStore()
	if err != nil {
		return nil, err
	}
	if _, err := e.recover(st); err != nil {
		return nil, err
	}
	return st, nil
}

func (e *env) stateStore() (*store.Store, error) {
	dir := e.stateDir
	if dir == "" {
		dir = os.Getenv("ASTRIDFS_STATE_DIR")
	}
	if dir == "" {
		var err error
		if dir, err = store.DefaultDir(os.Getenv, os.Geteuid()); err != nil {
			return nil, err
		}
	}
	return store.Open(dir)
}

func (e *env) recover(st *store.Store) ([]session.Recovered, error) {
	dead, err := session.Recover(st)
	for _, d := range dead {
		e.recovered(d)
	}
	return dead, err
}

// recovered says that a dead mount was taken away.
func (e *env) recovered(d session.Recovered) {
	fmt.Fprintf(e.stderr, "astridfs: %s\n", oneLine(d.String()))
}

// options returns who opens a session.
func (e *env) options(command string) session.Options {
	return session.Options{
		Command: command, Version: version, Log: e.log, Recovered: e.recovered, Audit: e.audit, AuditKey: e.auditKey,
		Compiler: []string{e.args[0], compileName},
	}
}

// note says something that is neither a result nor an error.
func (e *env) note(format string, args ...any) {
	if !e.quiet {
		fmt.Fprintf(e.stderr, format+"\n", args...)
	}
}

// colourful tells whether w is a terminal that wants colours.
func colourful(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

// columns returns how wide a terminal is; 0 of anything else.
func columns(v any) int {
	f, ok := v.(*os.File)
	if !ok || !isTerminal(v) {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// isTerminal tells whether v is a file that is a terminal.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
