package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// UmaskVariable names the environment variable that holds the user's umask, in
// octal. The process that owns a session has none itself: what is made in a
// session gets exactly the mode that was asked for.
const UmaskVariable = "ASTRIDFS_UMASK"

// gitEnds is how long a git command that is to stop may take for it: it removes
// its lock files, which would be in the way of the next.
const gitEnds = 5 * time.Second

// gitCommand makes a git command that has the user's umask, as files that git
// checks out and its own must, and that no environment leads elsewhere.
func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	umask, err := strconv.ParseUint(os.Getenv(UmaskVariable), 8, 9)
	if err != nil {
		umask = 0o022
	}
	script := fmt.Sprintf(`umask %04o && exec git "$@"`, umask)
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, "git"}, args...)...)
	cmd.Env = gitEnv(os.Environ())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = gitEnds
	return cmd
}

// gitEnv returns env for git. It keeps what says who the user is and how git is
// set up, and leaves out every other GIT_ variable: those of a hook or an alias
// that astridfs was run from name another repository, index or object store, and
// some change what is printed.
func gitEnv(env []string) []string {
	kept := []string{"GIT_CONFIG_", "GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_TRACE", "GIT_EXEC_PATH=", "GIT_TEMPLATE_DIR=",
		"GIT_SSH", "GIT_SSL_", "GIT_ASKPASS=", "GIT_PROXY_", "GIT_ALLOW_PROTOCOL="}
	out := slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return strings.HasPrefix(v, "GIT_") && !slices.ContainsFunc(kept, func(k string) bool { return strings.HasPrefix(v, k) })
	})
	return append(out, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
}

// git runs git on one worktree, whose files capsules write: git is told where
// its own directory is instead of looking for it there, and runs no hook, no
// fsmonitor and no external diff.
type git struct {
	dir  string   // its .git directory
	tree string   // the worktree
	env  []string // further variables
	off  []string // options that turn filters off
}

func (g *git) command(ctx context.Context, args ...string) *exec.Cmd {
	safe := []string{
		"--git-dir=" + g.dir, "--work-tree=" + g.tree, "--literal-pathspecs", "--no-optional-locks",
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false",
		"-c", "core.safecrlf=false", "-c", "diff.ignoreSubmodules=dirty",
	}
	cmd := gitCommand(ctx, slices.Concat(safe, g.off, args)...)
	cmd.Dir = g.tree
	cmd.Env = append(cmd.Env, g.env...)
	return cmd
}

func (g *git) output(ctx context.Context, args ...string) ([]byte, error) {
	return g.feed(ctx, nil, args...)
}

// feed is output with something to read.
func (g *git) feed(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := g.run(ctx, bytes.NewReader(in), &out, args...)
	return out.Bytes(), err
}

func (g *git) run(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	cmd := g.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("git %s: %w", args[0], &gitError{firstLine(stderr.Bytes(), err), err})
	}
	return nil
}

// gitError is what git said on failing.
type gitError struct {
	said string
	error
}

func (e *gitError) Error() string { return e.said }
func (e *gitError) Unwrap() error { return e.error }

// firstLine returns what a program said on failing, in a line.
func firstLine(out []byte, err error) string {
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Preparing worktree") {
			return strings.TrimPrefix(line, "fatal: ")
		}
	}
	return err.Error()
}

// exitCode returns the exit code of a git command that failed; -1 if it did not
// get that far.
func exitCode(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

// config returns what git's configuration has at keys that match a pattern: the
// keys alone, or keys and values as they are printed with -z.
func (g *git) config(ctx context.Context, args ...string) ([]string, error) {
	out, err := g.output(ctx, append([]string{"config", "-z"}, args...)...)
	if err != nil && exitCode(err) == 1 {
		return nil, nil // nothing is set
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// filters returns the names of the filters that git is set up with. Each is a
// program that git would run, in the worktree, for paths that an attribute file
// gives it to.
func (g *git) filters(ctx context.Context) ([]string, error) {
	keys, err := g.config(ctx, "--name-only", "--get-regexp", `^filter\..*\.(clean|smudge|process)$`)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, key := range keys {
		name := key[len("filter."):strings.LastIndexByte(key, '.')]
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// without returns g with filters turned off.
func (g *git) without(filters []string) (git, error) {
	off := *g
	off.off = nil
	for _, name := range filters {
		if strings.ContainsAny(name, "=\n") {
			return off, fmt.Errorf("git: the filter %q cannot be turned off: its name has a character that git takes for something else", name)
		}
		for _, key := range []string{"clean=", "smudge=", "process=", "required=false"} {
			off.off = append(off.off, "-c", "filter."+name+"."+key)
		}
	}
	return off, nil
}

// filtered returns the first path that one of the filters is for, and which one;
// "" if there is none. With cached set, the attribute files are those of the
// index, otherwise those in the worktree.
func (g *git) filtered(ctx context.Context, filters []string, paths []string, cached bool) (path, filter string, err error) {
	if len(filters) == 0 || len(paths) == 0 {
		return "", "", nil
	}
	args := []string{"check-attr", "-z", "--stdin"}
	if cached {
		args = append(args, "--cached")
	}
	out, err := g.feed(ctx, lines(paths), append(args, "filter")...)
	if err != nil {
		return "", "", err
	}
	f := strings.Split(string(out), "\x00") // path, "filter", value
	for i := 0; i+2 < len(f); i += 3 {
		if slices.Contains(filters, f[i+2]) {
			return f[i], f[i+2], nil
		}
	}
	return "", "", nil
}

// lines returns names as git reads them with -z.
func lines(names []string) []byte {
	var b []byte
	for _, n := range names {
		b = append(append(b, n...), 0)
	}
	return b
}
