package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session/fault"
)

// helpWidth is how many columns help takes, and helpIndent where what an option
// does begins.
const (
	helpWidth  = 80
	helpIndent = 26
)

// topic is what help and the manual say of the program or one of its commands.
type topic struct {
	name     string // "astridfs sessions list"
	usage    string // in a line
	args     string
	prose    string   // paragraphs
	examples []string // command lines
	options  []option
	commands []*cli.Command
}

// option is a flag as it is documented.
type option struct {
	names  []string // without dashes, the long one first
	arg    string   // what its value is called; empty if it takes none
	usage  string
	def    string // the value where it is not given; empty if there is none
	common bool   // it is one of commonFlags
}

func topicOf(parent string, cmd *cli.Command) topic {
	t := topic{name: parent + " " + cmd.Name, usage: cmd.Usage, args: cmd.ArgsUsage, options: optionsOf(cmd.Flags), commands: shown(cmd.Subcommands)}
	t.prose, t.examples = parts(cmd.Description)
	return t
}

func topicOfApp(app *cli.App) topic {
	t := topic{name: app.Name, usage: app.Usage, args: "COMMAND [ARGUMENT…]", options: optionsOf(app.Flags), commands: shown(app.Commands)}
	t.prose, t.examples = parts(app.Description)
	return t
}

// shown leaves out what is no command for people.
func shown(list []*cli.Command) []*cli.Command {
	return slices.DeleteFunc(slices.Clone(list), func(c *cli.Command) bool { return c.Hidden })
}

// parts parts a description from the examples in it, which are indented.
func parts(text string) (prose string, examples []string) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "   ") {
			examples = append(examples, strings.TrimSpace(line))
			continue
		}
		b.WriteString(line)
	}
	return strings.TrimSpace(b.String()), examples
}

func optionsOf(flags []cli.Flag) []option {
	common := commonFlags()
	var list []option
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok || slices.Contains(f.Names(), "help") {
			continue
		}
		o := option{names: f.Names(), usage: d.GetUsage()}
		if before, rest, ok := strings.Cut(o.usage, "`"); ok && d.TakesValue() {
			arg, after, _ := strings.Cut(rest, "`")
			o.arg, o.usage = arg, before+arg+after
		}
		if s, ok := f.(cli.DocGenerationSliceFlag); d.TakesValue() && !(ok && s.IsSliceFlag()) {
			o.def = strings.Trim(d.GetDefaultText(), `"`)
		}
		o.common = slices.ContainsFunc(common, func(c cli.Flag) bool { return c.Names()[0] == o.names[0] })
		list = append(list, o)
	}
	return list
}

// head returns an option as it is given: "-s, --session S".
func (o *option) head() string {
	s := "    --" + o.names[0]
	if len(o.names) > 1 {
		s = "-" + o.names[1] + ", --" + o.names[0]
	}
	if o.arg != "" {
		s += " " + o.arg
	}
	return s
}

// text returns what an option does.
func (o *option) text() string {
	if o.def == "" {
		return o.usage
	}
	return o.usage + " (default: " + o.def + ")"
}

// help returns the text of help.
func (t *topic) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n\nUsage: %s", t.name, t.usage, t.name)
	own, common := t.parted()
	switch {
	case len(t.commands) > 0 && t.args == "":
		b.WriteString(" COMMAND")
	case len(t.options) > 0 && t.args != "COMMAND [ARGUMENT…]":
		b.WriteString(" [OPTION…]")
	}
	if t.args != "" {
		b.WriteString(" " + t.args)
	}
	b.WriteString("\n")
	if t.prose != "" {
		fmt.Fprintf(&b, "\n%s\n", t.prose)
	}
	if len(t.commands) > 0 {
		b.WriteString("\nCommands:\n")
		for _, c := range t.commands {
			fmt.Fprintf(&b, "  %-12s %s\n", c.Name, c.Usage)
		}
	}
	if len(t.examples) > 0 {
		fmt.Fprintf(&b, "\nExamples:\n  %s\n", strings.Join(t.examples, "\n  "))
	}
	if len(own) > 0 {
		b.WriteString("\nOptions:\n")
		for i := range own {
			writeOption(&b, &own[i])
		}
	}
	switch {
	case t.args == "COMMAND [ARGUMENT…]":
		b.WriteString("\nOptions of every command:\n")
		for i := range common {
			writeOption(&b, &common[i])
		}
		b.WriteString("\nMore of a command: astridfs help COMMAND\n")
	case len(common) > 0:
		b.WriteString("\nOptions of every command (astridfs help):\n ")
		for i := range common {
			b.WriteString(" --" + strings.TrimSpace(common[i].names[0]+" "+common[i].arg))
		}
		b.WriteString("\n")
	case len(t.commands) > 0:
		fmt.Fprintf(&b, "\nMore of a command: astridfs help %s COMMAND\n", strings.TrimPrefix(t.name, "astridfs "))
	}
	return b.String()
}

// parted returns the options of a topic alone, and those that all commands have.
func (t *topic) parted() (own, common []option) {
	for _, o := range t.options {
		if o.common {
			common = append(common, o)
		} else {
			own = append(own, o)
		}
	}
	return own, common
}

func writeOption(b *strings.Builder, o *option) {
	head := "  " + o.head()
	b.WriteString(head)
	col := utf8.RuneCountInString(head)
	if col > helpIndent-2 {
		b.WriteString("\n")
		col = 0
	}
	for _, line := range fill(o.text(), helpWidth-helpIndent) {
		fmt.Fprintf(b, "%*s%s\n", helpIndent-col, "", line)
		col = 0
	}
}

// fill breaks text into lines of at most width columns.
func fill(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// literal makes a template of text that stands for itself.
func literal(text string) string { return "{{`" + strings.ReplaceAll(text, "`", "'") + "`}}" }

func helpCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Aliases:   []string{"h"},
		Usage:     "tell how a command is used",
		ArgsUsage: "[COMMAND [COMMAND]]",
		Description: `   astridfs help
   astridfs help sessions remove`,
		Action: func(c *cli.Context) error {
			t := topicOfApp(c.App)
			commands := c.App.Commands
			for _, name := range c.Args().Slice() {
				i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
				if i < 0 {
					return noCommand(t.name, commands, name)
				}
				t = topicOf(t.name, commands[i])
				commands = commands[i].Subcommands
			}
			_, err := io.WriteString(e.stdout, t.help())
			return err
		},
	}
}

// noCommand says that a command has none of that name below it.
func noCommand(parent string, commands []*cli.Command, name string) error {
	var names []string
	for _, c := range shown(commands) {
		names = append(names, c.Names()...)
	}
	next := seeHelp(parent)
	if like := closest(name, names); like != "" {
		next = "did you mean " + like + "? " + next
	}
	return fault.New(fault.Usage, next, "no command %q", strings.TrimPrefix(parent+" "+name, "astridfs "))
}

// closest returns which of names is meant by one that is mistyped; "" if none is
// like it.
func closest(name string, names []string) string {
	best, found := 3, ""
	if len(name) <= 4 {
		best = 2
	}
	for _, n := range names {
		if len(n) < 2 {
			continue
		}
		if d := distance(name, n); d < best {
			best, found = d, n
		}
	}
	return found
}

// distance returns how many letters must be added, taken away, changed or
// exchanged with the next to make b of a.
func distance(a, b string) int {
	var last, row []int
	next := make([]int, len(b)+1)
	for j := range next {
		next[j] = j
	}
	for i := 1; i <= len(a); i++ {
		last, row = row, next
		next = make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(next[j-1]+1, row[j]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], last[j-2]+1)
			}
		}
	}
	return next[len(b)]
}
