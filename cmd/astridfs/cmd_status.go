package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session"
)

func statusCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "list what differs from the workspace",
		ArgsUsage: "[S] [PATH…]",
		Description: `A added, M modified, D deleted, R renamed, T type changed. In parentheses stands
what differs of a file or directory whose contents do not. What the host changed
meanwhile in its own copy is marked as a conflict.

   astridfs status
   astridfs status src
   astridfs status project-1a2b3c4d --json`,
		Flags: []cli.Flag{sessionFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			ch, paths, err := e.chooseWithPaths(c)
			if err != nil {
				return err
			}
			req := session.StatusRequest{Paths: paths}
			return e.with(ch, "status", func(conn session.Conn) error { return e.status(ch, conn, req) })
		},
	}
}

func (e *env) status(ch *chosen, conn session.Conn, req session.StatusRequest) error {
	var n counts
	if e.json {
		doc, err := newDocument(e.stdout, "changes", brief(ch))
		if err != nil {
			return err
		}
		err = conn.Status(e.ctx, req, func(c session.Change) error {
			n.add(&c)
			return doc.item(c)
		})
		return doc.end(err, member{"counts", n})
	}
	err := conn.Status(e.ctx, req, func(c session.Change) error {
		n.add(&c)
		_, err := fmt.Fprintln(e.stdout, e.line(&c))
		return err
	})
	if err != nil {
		return err
	}
	e.note("session %s: %s", ch.disk.File.Name, n.String())
	if ch.disk.File.Mode == "host" {
		e.note("(mode host: changes go to the workspace directly)")
	}
	return nil
}
