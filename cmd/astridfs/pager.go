package main

import (
	"errors"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// paged has f write to a pager if that is wanted and standard output is a
// terminal, and to standard output otherwise. The pager is $PAGER, or less,
// which shows what fits on the screen at once.
func (e *env) paged(wanted bool, f func(io.Writer) error) error {
	if !wanted || !isTerminal(e.stdout) {
		return f(e.stdout)
	}
	pager := os.Getenv("PAGER")
	if pager == "" {
		if _, err := exec.LookPath("less"); err != nil {
			return f(e.stdout)
		}
		pager = "less"
	}
	cmd := exec.Command("sh", "-c", "exec "+pager)
	cmd.Stdout, cmd.Stderr = e.stdout, e.stderr
	cmd.Env = os.Environ()
	if os.Getenv("LESS") == "" {
		cmd.Env = append(cmd.Env, "LESS=FRX")
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return f(e.stdout)
	}
	err = f(in)
	if errors.Is(err, unix.EPIPE) {
		err = nil // the reader has seen enough
	}
	in.Close()
	var exit *exec.ExitError
	if werr := cmd.Wait(); err == nil && !errors.As(werr, &exit) {
		err = werr
	}
	return err
}
