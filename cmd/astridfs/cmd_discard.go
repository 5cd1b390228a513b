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
			if !c.Bool("yes") && !isTerminal(e.stdin) {
				return fault.New(fault.Usage, "repeat it with --yes if you are sure", "discard asks first, and there is no terminal to ask on")
			}
			req := session.DiscardRequest{Paths: paths}
			return e.with(ch, "discard", func(conn session.Conn) error {
				if !c.Bool("yes") {
					if sure, err := e.sure(conn, req); err != nil || !sure {
						return err
					}
				}
				return e.discard(ch, conn, req)
			})
		},
	}
}

// sure shows what would be lost and asks.
func (e *env) sure(conn session.Conn, req session.DiscardRequest) (bool, error) {
	var n counts
	err := conn.Status(e.ctx, session.StatusRequest{Paths: req.Paths, Hidden: true}, func(c session.Change) error {
		n.add(&c)
		_, err := fmt.Fprintln(e.stderr, e.line(&c))
		return err
	})
	if err != nil {
		return false, err
	}
	if n.total() == 0 {
		e.note("no changes")
		return false, nil
	}
	answer, err := e.ask(bufio.NewReader(e.stdin), fmt.Sprintf("Throw %s away (%s)? [y/N] ", plural(n.total(), "change"), n.String()))
	return answer == "y" || answer == "yes", err
}

func (e *env) discard(ch *chosen, conn session.Conn, req session.DiscardRequest) error {
	return e.steps(ch, "thrown away", nil, func(sink session.StepSink) (session.StepResult, error) {
		return conn.Discard(e.ctx, req, sink)
	})
}
