package main

import (
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session/fault"
)

func stackTrace() []byte { return debug.Stack() }

// permute moves flags in front of a command's other arguments, so that they may
// stand anywhere, as with git. Behind "--" nothing is a flag. The arguments of
// run behind the capsule are the capsule's own.
func permute(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	out := args[:1:1]
	rest := args[1:]
	flags, commands := app.Flags, app.Commands
	var cmd *cli.Command
	name := app.Name
	for {
		n, err := leadingFlags(name, flags, rest)
		if err != nil {
			return args, err
		}
		if cmd == nil || len(commands) > 0 {
			out = append(out, rest[:n]...)
			rest = rest[n:]
		}
		if len(rest) == 0 || len(commands) == 0 {
			break
		}
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			return append(out, rest...), nil // help, or nothing known: urfave's to answer
		}
		cmd = commands[i]
		name += " " + cmd.Name
		flags, commands = cmd.Flags, cmd.Subcommands
		out, rest = append(out, rest[0]), rest[1:]
	}
	if cmd == nil {
		return append(out, rest...), nil
	}
	var given, positional []string
	for len(rest) > 0 {
		if rest[0] == "--" {
			positional = append(positional, rest[1:]...)
			break
		}
		n, err := leadingFlags(name, flags, rest)
		if err != nil {
			return args, err
		}
		if n > 0 {
			given, rest = append(given, rest[:n]...), rest[n:]
			continue
		}
		if cmd.Name == runName {
			positional = append(positional, rest...)
			break
		}
		positional, rest = append(positional, rest[0]), rest[1:]
	}
	out = append(out, given...)
	if len(positional) > 0 {
		out = append(append(out, "--"), positional...)
	}
	return out, nil
}

// leadingFlags returns how many of args are flags and their values, up to the
// first that is neither. One that the command does not have is a fault.
func leadingFlags(command string, flags []cli.Flag, args []string) (int, error) {
	n := 0
	for n < len(args) {
		a := args[n]
		if len(a) < 2 || a[0] != '-' || a == "--" {
			break
		}
		n++
		name, _, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		flag := flagOf(flags, name)
		switch _, isBool := flag.(*cli.BoolFlag); {
		case flag == nil && name != "help" && name != "h":
			return 0, noOption(command, flags, a)
		case flag == nil || isBool || joined:
		case n == len(args):
			return 0, fault.New(fault.Usage, seeHelp(command), "option %s needs a value", a)
		default:
			n++
		}
	}
	return n, nil
}

// oneOf refuses an option's value that is none of those it takes.
func oneOf[T ~string](option string, given T, known ...T) error {
	if slices.Contains(known, given) {
		return nil
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	next := "use " + names[len(names)-1]
	if len(names) > 1 {
		next = "use " + strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	}
	if like := closest(string(given), names); like != "" {
		next = "did you mean " + like + "? " + next
	}
	return fault.New(fault.Usage, next, "option --%s cannot be %q", option, given)
}

func flagOf(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func seeHelp(command string) string {
	return strings.TrimSpace("see: astridfs help" + strings.TrimPrefix(command, "astridfs"))
}

// noOption says that a command has no such option.
func noOption(command string, flags []cli.Flag, arg string) error {
	next := seeHelp(command)
	if !strings.Contains(command, " ") {
		next = "options of a command stand behind its name; " + next
	}
	given, _, _ := strings.Cut(arg, "=")
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	if like := closest(strings.TrimLeft(given, "-"), names); like != "" {
		next = "did you mean --" + like + "? " + next
	}
	return fault.New(fault.Usage, next, "%s has no option %s", command, given)
}
