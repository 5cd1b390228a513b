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
	werr := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err != nil:
		return err
	case !errors.As(werr, &exit):
		return werr
	case exit.ExitCode() == 126 || exit.ExitCode() == 127: // the shell's: it did not run
		e.note("astridfs: the pager %q cannot be run; see PAGER", pager)
		return f(e.stdout)
	}
	return nil
}
