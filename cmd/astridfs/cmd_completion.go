package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session/fault"
)

func completionCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a shell's completion script",
		ArgsUsage: "bash|zsh|fish",
		Description: `   source <(astridfs completion bash)
   source <(astridfs completion zsh)
   astridfs completion fish | source`,
		Action: func(c *cli.Context) error {
			var script string
			var err error
			switch c.Args().First() {
			case "bash":
				script = bashCompletion(c.App)
			case "zsh":
				// zsh runs the same function by its own means.
				script = "autoload -U +X bashcompinit && bashcompinit\n" + bashCompletion(c.App)
			case "fish":
				script, err = c.App.ToFishCompletion()
			default:
				return fault.New(fault.Usage, "name bash, zsh or fish", "completion for which shell?")
			}
			if err != nil {
				return err
			}
			_, err = io.WriteString(e.stdout, script)
			return err
		},
	}
}

// bashCompletion completes commands, their flags, names of sessions and files.
func bashCompletion(app *cli.App) string {
	var cases strings.Builder
	var names []string
	for _, cmd := range app.Commands {
		names = append(names, cmd.Name)
		words := flagWords(cmd.Flags)
		for _, sub := range cmd.Subcommands {
			fmt.Fprintf(&cases, "    %q) words=%q ;;\n", cmd.Name+" "+sub.Name, flagWords(sub.Flags))
			words = strings.TrimSpace(words + " " + sub.Name)
		}
		fmt.Fprintf(&cases, "    %q) words=%q ;;\n", cmd.Name, words)
	}
	return fmt.Sprintf(`_astridfs() {
  local cur="${COMP_WORDS[COMP_CWORD]}" cmd="" words="" w
  for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$w" in -*) ;; *) [ "$cmd" = "${cmd%%%% *}" ] && cmd="${cmd:+$cmd }$w" ;; esac
  done
  case "$cmd" in
    "") words=%q ;;
%s    *) cmd="${cmd%%%% *}"
       case "$cmd" in
%s       esac ;;
  esac
  case "$cmd" in
    status|diff|commit|discard|unmount|"sessions show"|"sessions remove"|sessions|"audit show"|"audit tail"|"audit verify"|"audit export")
      words="$words $(astridfs sessions list --quiet 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur") $(compgen -f -- "$cur"))
}
complete -o filenames -F _astridfs astridfs
`, strings.Join(names, " "), cases.String(), cases.String())
}

func flagWords(flags []cli.Flag) string {
	var words []string
	for _, f := range flags {
		words = append(words, "--"+f.Names()[0])
	}
	return strings.Join(words, " ")
}

func manCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page",
		Description: `   astridfs man > astridfs.8
   man <(astridfs man)`,
		Action: func(c *cli.Context) error {
			page, err := c.App.ToManWithSection(8)
			if err != nil {
				return err
			}
			_, err = io.WriteString(e.stdout, page)
			return err
		},
	}
}
