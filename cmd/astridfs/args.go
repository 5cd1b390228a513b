package main

import (
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
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
	for {
		n := leadingFlags(flags, rest)
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
		if n := leadingFlags(flags, rest); n > 0 {
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
// first that is neither.
func leadingFlags(flags []cli.Flag, args []string) int {
	n := 0
	for n < len(args) {
		a := args[n]
		if len(a) < 2 || a[0] != '-' || a == "--" {
			break
		}
		n++
		name := strings.TrimLeft(a, "-")
		if strings.Contains(name, "=") || !takesValue(flags, name) {
			continue
		}
		if n < len(args) {
			n++
		}
	}
	return n
}

func takesValue(flags []cli.Flag, name string) bool {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}
