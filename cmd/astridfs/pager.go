package main

import (
	"context"
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

// whileRead returns a context that ends with ctx, and when nobody reads the pipe w
// any more: who waits for something to write would not find that out.
func whileRead(ctx context.Context, w io.Writer) context.Context {
	f, ok := w.(*os.File)
	if !ok {
		return ctx
	}
	if st, err := f.Stat(); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		return ctx
	}
	ctx, end := context.WithCancel(ctx)
	go func() { // it ends with the process
		defer end()
		pipe := []unix.PollFd{{Fd: int32(f.Fd())}} // an error is told without being asked for
		for {
			if n, err := unix.Poll(pipe, -1); n != 0 || err != unix.EINTR {
				return
			}
		}
	}()
	return ctx
}
