package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

func commitCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "commit",
		Usage:     "write changes to the workspace",
		ArgsUsage: "[S] [PATH…]",
		Description: `Changes at or below the paths, or all of them, go to the workspace and leave the
session. If the host's own copy of one was changed meanwhile, nothing is
written, the conflicts are named, and the exit code is 3. In a session of mode
worktree the changes become a git commit on its branch.

   astridfs commit --dry-run
   astridfs commit src docs/README.md
   astridfs commit --interactive`,
		Flags: []cli.Flag{
			sessionFlag(),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only tell what would be written"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "ask for each change"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite what was changed in the workspace meanwhile; mode worktree: let git run filters on the changes"},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "mode worktree: the git commit's `MESSAGE`"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			ch, paths, err := e.chooseWithPaths(c)
			if err != nil {
				return err
			}
			if c.IsSet("message") && ch.disk.File.Mode != store.Worktree {
				return fault.New(fault.Usage, "leave --message out", "a message is for git, and session %s has mode %s", ch.disk.File.Name, ch.disk.File.Mode)
			}
			req := session.CommitRequest{Paths: paths, DryRun: c.Bool("dry-run"), Force: c.Bool("force"), Message: c.String("message")}
			return e.with(ch, "commit", func(conn session.Conn) error {
				if c.Bool("interactive") {
					if req.Paths, err = e.pick(conn, paths, "commit"); err != nil || len(req.Paths) == 0 {
						return err
					}
				}
				return e.commit(ch, conn, req)
			})
		},
	}
}

func (e *env) commit(ch *chosen, conn session.Conn, req session.CommitRequest) error {
	done := "committed"
	if req.DryRun {
		done = "would be committed"
	}
	return e.steps(ch, "commit", done, []member{{"dry_run", req.DryRun}}, func(sink session.StepSink) (session.StepResult, error) {
		return conn.Commit(e.ctx, req, sink)
	})
}

// steps runs a commit or a discard, which verb says, and tells what was done.
func (e *env) steps(ch *chosen, verb, done string, head []member, do func(session.StepSink) (session.StepResult, error)) error {
	if e.json {
		doc, err := newDocument(e.stdout, "changes", append([]member{brief(ch)}, head...)...)
		if err != nil {
			return err
		}
		r, err := do(session.StepSink{Step: func(s session.Step) error { return doc.item(s) }})
		tail := []member{{"count", r.Steps}, {"conflicts", notNil(r.Conflicts)}, {"also", notNil(r.Also)}, {"left", notNil(r.Left)}}
		if r.Commit != "" {
			tail = append(tail, member{"commit", r.Commit})
		}
		return doc.end(err, tail...)
	}
	progress, end := e.progressBar(done)
	r, err := do(session.StepSink{Progress: progress, Step: func(s session.Step) error {
		end()
		if e.quiet {
			return nil
		}
		_, err := fmt.Fprintln(e.stdout, e.line(&session.Change{Path: s.Path, From: s.From, Status: s.Status, Type: s.Type}))
		return err
	}})
	end()
	if fault.Is(err, fault.Cancelled) {
		err = fault.New(fault.Cancelled, "repeat the command to go on", "interrupted: %s %s, the others stay in the session", plural(r.Steps, "change"), done)
	}
	for i := range r.Conflicts {
		fmt.Fprintln(e.stderr, e.line(&r.Conflicts[i]))
	}
	for _, n := range r.Also {
		e.note("also %s: %s", diff.Quote(string(n.Path)), n.Reason)
	}
	for _, n := range r.Left {
		fmt.Fprintf(e.stderr, "left %s: %s\n", diff.Quote(string(n.Path)), oneLine(n.Reason))
	}
	switch {
	case err == nil && r.Steps+len(r.Left) == 0:
		e.note("session %s: nothing to %s", ch.disk.File.Name, verb)
	case err == nil && r.Commit != "":
		e.note("session %s: %s %s, in git commit %.12s", ch.disk.File.Name, plural(r.Steps, "change"), done, r.Commit)
	case err == nil:
		e.note("session %s: %s %s", ch.disk.File.Name, plural(r.Steps, "change"), done)
	case r.Steps > 0 && !fault.Is(err, fault.Cancelled):
		e.note("session %s: %s %s, and then it stopped; the others stay in the session", ch.disk.File.Name, plural(r.Steps, "change"), done)
	}
	return err
}

// progressBar shows on a terminal how far something long is. end takes it away
// and may be called again.
func (e *env) progressBar(what string) (progress func(session.Progress), end func()) {
	if e.quiet || !isTerminal(e.stderr) {
		return nil, func() {}
	}
	var bar *progressbar.ProgressBar
	return func(p session.Progress) {
			if bar == nil {
				bar = progressbar.NewOptions(p.Total, progressbar.OptionSetWriter(e.stderr), progressbar.OptionSetDescription(what),
					progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
			}
			bar.Set(p.Done) // what cannot be drawn is no failure
		}, func() {
			if bar != nil {
				bar.Clear()
				bar = nil
			}
		}
}

func notNil[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// pick asks for each change whether it is meant.
func (e *env) pick(conn session.Conn, paths []store.Path, verb string) ([]store.Path, error) {
	var changes []session.Change
	err := conn.Status(e.ctx, session.StatusRequest{Paths: paths}, func(c session.Change) error {
		changes = append(changes, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(e.stdin)
	var picked []store.Path
	all := false
	for i := range changes {
		c := &changes[i]
		answer := "y"
		if !all {
			if answer, err = e.ask(in, fmt.Sprintf("%s\n%s this? [y]es, [n]o, [a]ll that follow, [q]uit: ", e.line(c), verb)); err != nil {
				return nil, err
			}
		}
		switch answer {
		case "a", "all":
			all = true
			fallthrough
		case "y", "yes":
			picked = append(picked, c.Path)
			if c.From != "" {
				picked = append(picked, c.From)
			}
		case "q", "quit":
			return picked, nil
		}
	}
	if len(picked) == 0 {
		e.note("nothing to %s", verb)
	}
	return picked, nil
}

// ask prints a question and returns the answer in lower case.
func (e *env) ask(in *bufio.Reader, question string) (string, error) {
	if _, err := io.WriteString(e.stderr, question); err != nil {
		return "", err
	}
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := in.ReadString('\n')
		got <- line{text, err}
	}()
	select {
	case l := <-got:
		if l.err != nil && l.text == "" {
			fmt.Fprintln(e.stderr)
			return "", fault.New(fault.Cancelled, "answer on a terminal, or name what is meant", "no answer: standard input has ended")
		}
		return strings.ToLower(strings.TrimSpace(l.text)), nil
	case <-e.ctx.Done():
		fmt.Fprintln(e.stderr) // the question stands there
		return "", fault.New(fault.Cancelled, "", "interrupted")
	}
}
