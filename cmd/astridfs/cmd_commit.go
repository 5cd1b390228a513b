package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

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
session. If the host's own copy of one was changed meanwhile, nothing is written,
the conflicts are named, and the exit code is 3. In a session of mode worktree
the changes become a git commit on its branch.

   astridfs commit --dry-run
   astridfs commit src docs/README.md
   astridfs commit --interactive`,
		Flags: []cli.Flag{
			sessionFlag(),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only tell what would be written"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "ask for each change"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite what was changed in the workspace meanwhile"},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "mode worktree: the git commit's `MESSAGE`"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			ch, err := e.choose(c, true)
			if err != nil {
				return err
			}
			paths, err := ch.paths()
			if err != nil {
				return err
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
	each := func(c session.Change) error {
		_, err := fmt.Fprintln(e.stdout, e.line(&c))
		return err
	}
	var doc *document
	if e.json {
		head := brief(ch)
		head["dry_run"] = req.DryRun
		var err error
		if doc, err = newDocument(e.stdout, head, "changes"); err != nil {
			return err
		}
		each = func(c session.Change) error { return doc.item(c) }
	} else if e.quiet {
		each = func(session.Change) error { return nil }
	}
	r, err := conn.Commit(e.ctx, req, each)
	if doc != nil {
		tail := map[string]any{"committed": r.Committed, "conflicts": notNil(r.Conflicts)}
		if err != nil {
			tail["error"] = fault.Of(err)
		}
		if derr := doc.end(tail); derr != nil {
			return errors.Join(err, derr)
		}
		e.json = false // the document has the error
		return err
	}
	if err != nil {
		for i := range r.Conflicts {
			fmt.Fprintln(e.stderr, e.line(&r.Conflicts[i]))
		}
		return err
	}
	what := "committed"
	if req.DryRun {
		what = "would be committed"
	}
	e.note("session %s: %s %s", ch.disk.File.Name, plural(r.Committed, "change"), what)
	for i := range r.Conflicts { // of a dry run, or overwritten by force
		e.note("%s", e.line(&r.Conflicts[i]))
	}
	return nil
}

func notNil(l []session.Change) []session.Change {
	if l == nil {
		return []session.Change{}
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
			return "", fault.New(fault.Cancelled, "", "no answer")
		}
		return strings.ToLower(strings.TrimSpace(l.text)), nil
	case <-e.ctx.Done():
		return "", fault.New(fault.Cancelled, "", "interrupted")
	}
}
