package main

import (
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

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
	for cmd == nil || len(commands) > 0 {
		given, behind, err := leadingFlags(name, flags, rest)
		if err != nil {
			return args, err
		}
		out, rest = append(out, given...), behind
		if len(rest) == 0 {
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
	var positional []string
	for len(rest) > 0 {
		given, behind, err := leadingFlags(name, flags, rest)
		if err != nil {
			return args, err
		}
		out, rest = append(out, given...), behind
		switch {
		case len(rest) == 0:
		case rest[0] == "--":
			positional, rest = append(positional, rest[1:]...), nil
		case cmd.Name == runName:
			positional, rest = append(positional, rest...), nil
		default:
			positional, rest = append(positional, rest[0]), rest[1:]
		}
	}
	if len(positional) > 0 {
		out = append(append(out, "--"), positional...)
	}
	return out, nil
}

// leadingFlags parts args at the first that is neither a flag nor the value of one.
// Short flags that stand together are taken apart: -fn5 is -f -n 5. A flag that
// the command does not have, or a value that is none, is a fault.
func leadingFlags(command string, flags []cli.Flag, args []string) (given, rest []string, err error) {
	for rest = args; len(rest) > 0; {
		a := rest[0]
		if len(a) < 2 || a[0] != '-' || a == "--" {
			break
		}
		rest = rest[1:]
		name, value, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		flag := flagOf(flags, name)
		if flag == nil && len(a) > 2 && a[1] != '-' {
			if first := flagOf(flags, a[1:2]); isBool(first) {
				given, rest = append(given, a[:2]), slices.Concat([]string{"-" + a[2:]}, rest)
				continue
			} else if first != nil {
				flag, value, joined, a = first, a[2:], true, a[:2]+"="+a[2:]
			}
		}
		given = append(given, a)
		if flag == nil {
			if name == "help" || name == "h" {
				continue
			}
			return nil, nil, noOption(command, flags, a)
		}
		if !joined && !isBool(flag) {
			if len(rest) == 0 {
				return nil, nil, fault.New(fault.Usage, seeHelp(command), "option %s needs a value", a)
			}
			value, joined = rest[0], true
			given, rest = append(given, value), rest[1:]
		}
		if joined {
			if err := checkValue(flag, value); err != nil {
				return nil, nil, err
			}
		}
	}
	return given, rest, nil
}

func isBool(flag cli.Flag) bool {
	_, ok := flag.(*cli.BoolFlag)
	return ok
}

// checkValue refuses what is no value of a flag's type.
func checkValue(flag cli.Flag, value string) error {
	var err error
	next := "give a whole number"
	switch flag.(type) {
	case *cli.BoolFlag:
		_, err = strconv.ParseBool(value)
		next = "give it without a value"
	case *cli.IntFlag:
		_, err = strconv.Atoi(value)
	case *cli.Uint64Flag:
		_, err = strconv.ParseUint(value, 10, 64)
		next = "give a whole number that is not negative"
	case *cli.DurationFlag:
		_, err = time.ParseDuration(value)
		next = "give a time with its unit: 30s, 5m or 1h"
	}
	if err == nil {
		return nil
	}
	return fault.New(fault.Usage, next, "option --%s cannot be %q", flag.Names()[0], value)
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
