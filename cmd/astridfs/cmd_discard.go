package main

import (
	"bufio"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
)

func discardCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "discard",
		Usage:     "throw changes away",
		ArgsUsage: "[S] [PATH…]",
		Description: `Changes at or below the paths, or all of them, are lost, and the workspace's own
state shows again. It asks first unless told --yes.

   astridfs discard src/generated
   astridfs discard --yes project-1a2b3c4d`,
		Flags: []cli.Flag{
			sessionFlag(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			ch, paths, err := e.chooseWithPaths(c)
			if err != nil {
				return err
			}
			req := session.DiscardRequest{Paths: paths}
			return e.with(ch, "discard", func(conn session.Conn) error {
				if !c.Bool("yes") {
					if sure, err := e.sure(ch, conn, req); err != nil || !sure {
						return err
					}
				}
				return e.discard(ch, conn, req)
			})
		},
	}
}

// sure shows what would be lost and asks. Where nothing would be, and nobody reads
// documents, that is all there is to say.
func (e *env) sure(ch *chosen, conn session.Conn, req session.DiscardRequest) (bool, error) {
	terminal := isTerminal(e.stdin)
	var n counts
	err := conn.Status(e.ctx, session.StatusRequest{Paths: req.Paths, Hidden: true}, func(c session.Change) error {
		n.add(&c)
		if !terminal {
			return nil
		}
		_, err := fmt.Fprintln(e.stderr, e.line(&c))
		return err
	})
	switch {
	case err != nil:
		return false, err
	case n.total() == 0 && !e.json:
		e.note("session %s: nothing to discard", ch.disk.File.Name)
		return false, nil
	case !terminal:
		return false, fault.New(fault.Usage, "repeat it with --yes if you are sure", "discard asks first, and there is no terminal to ask on")
	}
	answer, err := e.ask(bufio.NewReader(e.stdin), fmt.Sprintf("Throw %s away (%s)? [y/N] ", plural(n.total(), "change"), n.String()))
	return answer == "y" || answer == "yes", err
}

func (e *env) discard(ch *chosen, conn session.Conn, req session.DiscardRequest) error {
	return e.steps(ch, "discard", "thrown away", nil, func(sink session.StepSink) (session.StepResult, error) {
		return conn.Discard(e.ctx, req, sink)
	})
}
