package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func manCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page",
		Description: `   astridfs man > astridfs.1
   man <(astridfs man)`,
		Action: func(c *cli.Context) error {
			_, err := io.WriteString(e.stdout, manual(c.App))
			return err
		},
	}
}

// manual returns the manual page, in the man macros: what help says, and what
// all commands share.
func manual(app *cli.App) string {
	m := &manPage{}
	t := topicOfApp(app)
	m.macro(".TH", "ASTRIDFS", "1", "", "astridfs", "User Commands")
	m.macro(".SH", "NAME")
	m.text(t.name + " - " + t.usage)
	m.macro(".SH", "SYNOPSIS")
	m.line(`.B ` + roff(t.name))
	m.line(`.I COMMAND`)
	m.line(`.RI [ OPTION \|.\|.\|.]`)
	m.line(`.RI [ ARGUMENT \|.\|.\|.]`)
	m.macro(".SH", "DESCRIPTION")
	m.text(t.prose)
	own, common := t.parted()
	m.macro(".SH", "OPTIONS")
	m.options(own)
	m.line(".PP")
	m.text("Every command takes:")
	m.options(common)
	m.macro(".SH", "COMMANDS")
	m.commands(t.name, app.Commands)
	m.macro(".SH", "EXIT STATUS")
	for _, c := range exitMeanings {
		m.item(c.codes, c.meaning)
	}
	m.macro(".SH", "ENVIRONMENT")
	for _, v := range variables {
		m.item(v.name, v.meaning)
	}
	m.macro(".SH", "FILES")
	m.item("/var/lib/astridfs, ~/.local/state/astridfs", "the state directory of root and of other users: a directory for each session, with its changes, its audit log and its own log")
	m.item(".astridignore", "in a workspace: what sessions hide, in the syntax of gitignore(5)")
	m.item("Capsule.toml", "a capsule's manifest: what it may read and write")
	m.macro(".SH", "SEE ALSO")
	m.line(`.BR fusermount3 (1),`)
	m.line(`.BR gitignore (5),`)
	m.line(`.BR mount (8)`)
	return m.String()
}

// exitMeanings is the table of exit codes, for people.
var exitMeanings = [...]struct{ codes, meaning string }{
	{"0", "fine"},
	{"1", "failed; run: the capsule was stopped by a trap"},
	{"2", "wrong usage"},
	{"3", "conflict: the workspace changed underneath"},
	{"4", "denied"},
	{"5", "verification failed"},
	{"6", "busy: somebody else has the session"},
	{"124", "run: the time-out struck"},
	{"125, 126, 127", "run: astridfs itself failed, the capsule cannot be run, the capsule was not found; otherwise run ends with the capsule's own code"},
	{"130", "interrupted"},
}

// variables is what of the environment counts.
var variables = [...]struct{ name, meaning string }{
	{"ASTRIDFS_STATE_DIR", "the state directory, where --state-dir is not given"},
	{"XDG_STATE_HOME", "where the state directory is, as astridfs, otherwise"},
	{"NO_COLOR", "if it is not empty, nothing is printed in colour"},
	{"PAGER", "what shows long output on a terminal (default: less)"},
}

// manPage collects a page.
type manPage struct{ strings.Builder }

func (m *manPage) line(s string) { fmt.Fprintln(m, s) }

func (m *manPage) macro(name string, args ...string) {
	m.WriteString(name)
	for _, a := range args {
		fmt.Fprintf(m, ` "%s"`, strings.ReplaceAll(roff(a), `"`, `\(dq`))
	}
	m.WriteString("\n")
}

// text writes paragraphs.
func (m *manPage) text(s string) {
	for i, p := range strings.Split(s, "\n\n") {
		if i > 0 {
			m.line(".PP")
		}
		for line := range strings.Lines(p) {
			m.line(guard(roff(strings.TrimSpace(line))))
		}
	}
}

func (m *manPage) item(head, text string) {
	m.line(".TP")
	m.line(`.B ` + roff(head))
	m.text(text)
}

func (m *manPage) options(list []option) {
	for i := range list {
		o := &list[i]
		m.line(".TP")
		head := `\fB` + roff("--"+o.names[0]) + `\fR`
		if len(o.names) > 1 {
			head = `\fB` + roff("-"+o.names[1]) + `\fR, ` + head
		}
		if o.arg != "" {
			head += ` \fI` + roff(o.arg) + `\fR`
		}
		m.line(head)
		m.text(o.text())
	}
}

func (m *manPage) commands(parent string, list []*cli.Command) {
	for _, c := range shown(list) {
		t := topicOf(parent, c)
		if len(t.commands) > 0 {
			m.commands(t.name, c.Subcommands)
			continue
		}
		m.macro(".SS", strings.TrimSpace(strings.TrimPrefix(t.name, "astridfs ")+" "+t.args))
		m.text(strings.ToUpper(t.usage[:1]) + t.usage[1:] + ".")
		if t.prose != "" {
			m.line(".PP")
			m.text(t.prose)
		}
		own, _ := t.parted()
		m.options(own)
		if len(t.examples) == 0 {
			continue
		}
		m.line(".PP")
		m.line(".EX")
		for _, ex := range t.examples {
			m.line(guard("    " + roff(ex)))
		}
		m.line(".EE")
	}
}

// roff makes text stand for itself.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, "…", `\|.\|.\|.`).Replace(s)
}

// guard keeps a line from being taken for a request.
func guard(line string) string {
	if strings.HasPrefix(line, ".") {
		return `\&` + line
	}
	return line
}
