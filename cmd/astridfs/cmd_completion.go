package main

import (
	"fmt"
	"io"
	"slices"
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
			script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Args().First()]
			if script == "" || c.NArg() > 1 {
				return fault.New(fault.Usage, "name bash, zsh or fish", "completion for which shell?")
			}
			_, err := io.WriteString(e.stdout, script)
			return err
		},
	}
}

// The scripts ask the program what may follow, by completeName.
const (
	bashCompletion = `_astridfs() {
  local line kind= cur=${COMP_WORDS[COMP_CWORD]}
  [ "$cur" = "=" ] && cur=
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :*) kind=${line#:} ;;
      *) COMPREPLY+=("${line%%$'\t'*}") ;;
    esac
  done < <("${COMP_WORDS[0]/#\~/$HOME}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  [ -n "$kind" ] && compopt -o filenames 2>/dev/null
  case $kind in
    files) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") ;;
    dirs) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur") ;;
  esac
}
complete -F _astridfs astridfs
`
	zshCompletion = `#compdef astridfs
_astridfs() {
  local line about kind=
  local -a found
  for line in "${(@f)$("${(Q)words[1]/#\~/$HOME}" __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :*) kind=${line#:} ;;
      ?*) about=${line#*$'\t'} found+=("${${line%%$'\t'*}//:/\\:}${about:+:$about}") ;;
    esac
  done
  (( $#found )) && _describe -t astridfs astridfs found
  case $kind in
    files) _files ;;
    dirs) _files -/ ;;
  esac
}
if [ "$funcstack[1]" = _astridfs ]; then
  _astridfs "$@"
else
  compdef _astridfs astridfs
fi
`
	fishCompletion = `function __astridfs_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    for line in (command $words[1] __complete -- $words[2..-1] "$cur" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path "$cur"
            case :dirs
                __fish_complete_directories "$cur" ''
            case '*'
                echo $line
        end
    end
end
complete -c astridfs -f -a '(__astridfs_complete)'
`
)

// completeName is the command that the scripts call: the words of a command line
// without the first, up to the one that is being typed. It prints what that may
// become, a line each, with a tab and a description; ":files" or ":dirs" says
// that names of files or directories may stand there too.
const completeName = "__complete"

func completeCommand(e *env) *cli.Command {
	return &cli.Command{
		Name: completeName, Hidden: true, ArgsUsage: "WORD…",
		Usage: "tell completion scripts what may follow",
		Action: func(c *cli.Context) error {
			f := completeWords(c.App, c.Args().Slice())
			if f.stateDir != "" {
				e.stateDir = f.stateDir
			}
			if f.sessions {
				f.add(e.sessionNames()...)
			}
			for _, line := range f.lines() {
				if _, err := fmt.Fprintln(e.stdout, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// sessionNames returns the names of all sessions; none where they cannot be
// listed, which completion is not the place to say.
func (e *env) sessionNames() []candidate {
	st, err := e.stateStore()
	if err != nil {
		return nil
	}
	names, err := st.Names()
	if err != nil {
		return nil
	}
	var list []candidate
	for _, name := range names {
		if disk, err := st.Load(name); err == nil {
			list = append(list, candidate{name, "session of " + oneLine(string(disk.File.Workspace))})
		}
	}
	return list
}

// candidate is a word that may stand there, and what it means.
type candidate struct{ word, about string }

// following is what may follow on a command line.
type following struct {
	words    []candidate
	kind     string // "files", "dirs" or empty
	sessions bool   // names of sessions too

	cur      string // what is typed of it
	stateDir string // of the command line
}

func (f *following) add(list ...candidate) { f.words = append(f.words, list...) }

// lines returns what completeName prints.
func (f *following) lines() []string {
	var out []string
	for _, c := range f.words {
		if strings.HasPrefix(c.word, f.cur) {
			out = append(out, c.word+"\t"+c.about)
		}
	}
	if f.kind != "" {
		out = append(out, ":"+f.kind)
	}
	return out
}

// completeWords tells what may stand where the last word is being typed.
func completeWords(app *cli.App, words []string) *following {
	// bash takes "--mode=x" for three words.
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "=" })
	if len(words) == 0 {
		words = []string{""}
	}
	f := &following{cur: words[len(words)-1]}
	flags, commands := app.Flags, app.Commands
	var cmd *cli.Command
	args := 0
	rest := words[:len(words)-1]
	for i := 0; i < len(rest); i++ {
		w := rest[i]
		switch {
		case cmd != nil && cmd.Name == runName && args > 0, w == "--":
			f.kind = "files"
			return f
		case strings.HasPrefix(w, "-"):
			name, value, joined := strings.Cut(strings.TrimLeft(w, "-"), "=")
			flag := flagOf(flags, name)
			if _, isBool := flag.(*cli.BoolFlag); flag == nil || isBool {
				continue
			}
			if !joined {
				if i++; i == len(rest) {
					f.ofOption(flag)
					return f
				}
				value = rest[i]
			}
			if name == "state-dir" {
				f.stateDir = value
			}
		case len(commands) > 0:
			n := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(w) })
			if n < 0 {
				return f
			}
			if cmd = commands[n]; cmd.Name == "help" {
				flags = nil // the rest are names of commands
				continue
			}
			flags, commands = cmd.Flags, cmd.Subcommands
		default:
			args++
		}
	}
	switch {
	case strings.HasPrefix(f.cur, "-") && !(cmd != nil && cmd.Name == runName && args > 0):
		for _, o := range optionsOf(flags) {
			f.add(candidate{"--" + o.names[0], o.usage})
		}
		f.add(candidate{"--help", "show help"})
	case len(commands) > 0:
		for _, c := range shown(commands) {
			f.add(candidate{c.Name, c.Usage})
		}
	case cmd != nil:
		f.ofArgument(cmd.ArgsUsage, args)
	}
	return f
}

// ofOption adds what the value of an option may be.
func (f *following) ofOption(flag cli.Flag) {
	var values string
	switch flag.Names()[0] {
	case "session":
		f.sessions = true
	case "state-dir", "workspace", "dir", "keep-audit":
		f.kind = "dirs"
	case "capsule", "audit-key", "payload":
		f.kind = "files"
	case "mode":
		values = "overlay worktree host"
	case "view":
		values = "workspace home tmp all"
	case "audit":
		values = "off mutations opens full"
	case "log-level":
		values = "error warn info debug"
	case "log-format":
		values = "text json"
	case "format":
		values = "jsonl otel"
	case "outcome":
		values = "ok denied failed"
	case "entry":
		values = "run install upgrade"
	}
	for _, v := range strings.Fields(values) {
		f.add(candidate{word: v})
	}
}

// ofArgument adds what argument n of a command may be, by its ArgsUsage.
func (f *following) ofArgument(usage string, n int) {
	switch {
	case usage == "":
	case strings.HasPrefix(usage, "[S]"):
		f.sessions = n == 0
		if strings.Contains(usage, "PATH") {
			f.kind = "files"
		}
	case usage == "S…":
		f.sessions = true
	case usage == "MOUNTPOINT|SESSION":
		f.sessions, f.kind = true, "dirs"
	case usage == "WORKSPACE MOUNTPOINT":
		f.kind = "dirs"
	case strings.HasPrefix(usage, "CAPSULE"):
		f.kind = "files"
	case strings.Contains(usage, "|"):
		for _, v := range strings.Split(usage, "|") {
			f.add(candidate{word: v})
		}
	}
}
