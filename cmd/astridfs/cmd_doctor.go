package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session"
)

func doctorCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "tell what this machine has and lacks, and what to do about it",
		Description: `The exit code is 1 if something is missing without which sessions or mounts do
not work.

   astridfs doctor --json`,
		Flags:  []cli.Flag{jsonFlag()},
		Action: func(*cli.Context) error { return e.doctor() },
	}
}

func (e *env) doctor() error {
	st, err := e.openStore()
	if err != nil {
		return err
	}
	checks := session.Doctor(st)
	failed := false
	for _, c := range checks {
		failed = failed || c.State == session.CheckMissing
	}
	if e.json {
		err = e.printJSON(member{"ok", !failed}, member{"checks", checks})
	} else {
		err = e.printChecks(checks)
	}
	if err == nil && failed {
		err = &codeError{exitFailed}
	}
	return err
}

func (e *env) printChecks(checks []session.Check) error {
	for _, c := range checks {
		colour := map[string]string{session.CheckOK: green, session.CheckLimited: yellow, session.CheckMissing: red}[c.State]
		if _, err := fmt.Fprintf(e.stdout, "%s %-18s %s\n", e.paint(colour, fmt.Sprintf("%-8s", c.State)), c.Name, oneLine(c.Detail)); err != nil {
			return err
		}
		if c.Next == "" || c.State == session.CheckOK {
			continue
		}
		if _, err := fmt.Fprintf(e.stdout, "%27s -> %s\n", "", oneLine(c.Next)); err != nil {
			return err
		}
	}
	return nil
}
