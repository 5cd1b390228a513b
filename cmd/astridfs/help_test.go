package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// eachTopic calls fn for the program and every command that people see.
func eachTopic(app *cli.App, fn func(topic)) {
	fn(topicOfApp(app))
	var walk func(parent string, list []*cli.Command)
	walk = func(parent string, list []*cli.Command) {
		for _, c := range shown(list) {
			t := topicOf(parent, c)
			fn(t)
			walk(t.name, c.Subcommands)
		}
	}
	walk(app.Name, app.Commands)
}

// TestHelpIsWhole: every command has an example, every option that takes a value
// says what that is called, and all but the examples fits a terminal.
func TestHelpIsWhole(t *testing.T) {
	eachTopic(newApp(&env{}), func(topic topic) {
		text := topic.help()
		if len(topic.commands) == 0 && len(topic.examples) == 0 && topic.name != "astridfs version" {
			t.Errorf("%s: no example", topic.name)
		}
		for _, o := range topic.options {
			if o.usage == "" || strings.Contains(o.usage, "`") {
				t.Errorf("%s --%s: %q", topic.name, o.names[0], o.usage)
			}
			if flag := flagOf(newApp(&env{}).Flags, o.names[0]); flag != nil && o.arg == "" {
				if _, isBool := flag.(*cli.BoolFlag); !isBool {
					t.Errorf("%s --%s: its value has no name", topic.name, o.names[0])
				}
			}
		}
		examples := false // which are for the shell, as they are
		for line := range strings.Lines(text) {
			if examples = line == "Examples:\n" || examples && line != "\n"; examples {
				continue
			}
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
				t.Errorf("%s: %d columns: %s", topic.name, n, line)
			}
		}
	})
}

// TestManualIsWhole: the manual has every command and option.
func TestManualIsWhole(t *testing.T) {
	app := newApp(&env{})
	page := manual(app)
	eachTopic(app, func(topic topic) {
		if len(topic.commands) > 0 {
			return
		}
		if name := strings.TrimPrefix(topic.name, "astridfs "); !strings.Contains(page, `.SS "`+name) {
			t.Errorf("%s is not in the manual", name)
		}
		for _, o := range topic.options {
			if !strings.Contains(page, `\fB`+roff("--"+o.names[0])+`\fR`) {
				t.Errorf("%s --%s is not in the manual", topic.name, o.names[0])
			}
		}
	})
	if strings.Contains(page, completeName) {
		t.Error("the manual has the completion scripts' command")
	}
}

func TestClosest(t *testing.T) {
	names := []string{"status", "diff", "commit", "run", "unmount", "umount", "mount", "h"}
	for in, want := range map[string]string{
		"statsu": "status", "comit": "commit", "dif": "diff", "rnu": "run", "mouny": "mount", "frobnicate": "", "x": "", "": "",
	} {
		if got := closest(in, names); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestCompletion: what may stand where the last word is typed.
func TestCompletion(t *testing.T) {
	app := newApp(&env{})
	for in, want := range map[string]string{
		"sta":                           "status",
		"-":                             "--version --state-dir --quiet --log-level --log-format --help",
		"--state-dir /x mo":             "mount",
		"sessions ":                     "list show remove prune",
		"sessions rem":                  "remove",
		"sessions remove --f":           "--force",
		"mount --mode ":                 "overlay worktree host",
		"mount --mode = wo":             "worktree",
		"mount --mode=host ":            ":dirs",
		"mount a ":                      ":dirs",
		"run ":                          ":files",
		"run --timeout 3s --au":         "--audit --audit-key",
		"run x.wasm --au":               ":files",
		"diff -- -":                     ":files",
		"diff s a":                      ":files",
		"status s ":                     ":files",
		"sessions show s ":              "",
		"help sessions sh":              "show",
		"completion ":                   "bash zsh fish",
		"audit show --outcome d":        "denied",
		"nosuch ":                       "",
		"doctor ":                       "",
		"run --audit-key ":              ":files",
		"mount --log-level d --state-d": "--state-dir",
	} {
		var got []string
		for _, line := range completeWords(app, strings.Split(in, " ")).lines() {
			word, _, _ := strings.Cut(line, "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"status ", "diff --session ", "sessions remove s ", "unmount "} {
		if f := completeWords(app, strings.Split(in, " ")); !f.sessions {
			t.Errorf("%q: no sessions", in)
		}
	}
	if f := completeWords(app, []string{"--state-dir", "/x", "status", ""}); f.stateDir != "/x" {
		t.Errorf("state directory %q", f.stateDir)
	}
	if slices.ContainsFunc(completeWords(app, []string{"_"}).words, func(c candidate) bool { return c.word == completeName }) {
		t.Error("the scripts' own command is offered")
	}
}
