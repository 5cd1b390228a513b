package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// gitTree is a session in mode worktree. Its contents are written by capsules,
// so git is told where its own directory is instead of looking for it there,
// and runs no hook and no program that it was not told of.
type gitTree struct {
	host  *hostfs.FS
	guard *gitGuard
	git   git
	index string // an index of our own, so that listing changes leaves the user's alone
}

// git runs git on one worktree.
type git struct {
	dir   string   // its .git directory
	tree  string   // the worktree
	umask int      // for the files that it makes
	env   []string // further variables
}

// UmaskVariable names the environment variable that holds the user's umask, in
// octal. The process that owns a session has none itself: what is made in a
// session gets exactly the mode that was asked for.
const UmaskVariable = "ASTRIDFS_UMASK"

// gitCommand makes a git command that has the user's umask, as files that git
// checks out and its own must.
func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	umask, err := strconv.ParseUint(os.Getenv(UmaskVariable), 8, 9)
	if err != nil {
		umask = 0o022
	}
	script := fmt.Sprintf(`umask %04o && exec git "$@"`, umask)
	return exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, "git"}, args...)...)
}

// createWorktree makes the worktree and the branch of a new session in mode
// worktree, and returns git's directory for it.
func createWorktree(ctx context.Context, workspace, tree, branch string) (gitDir string, err error) {
	add := gitCommand(ctx, "-C", workspace, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "-b", branch, "--", tree, "HEAD")
	if out, err := add.CombinedOutput(); err != nil {
		next := "mode worktree needs git, a git repository with a commit, and a branch name that is free: --branch"
		return "", fault.New(fault.Failed, next, "cannot make a worktree of %s on branch %s: %s", workspace, branch, firstLine(out, err))
	}
	out, err := gitCommand(ctx, "-C", tree, "rev-parse", "--absolute-git-dir").Output()
	if err != nil {
		return "", fmt.Errorf("git rev-parse: %w", err)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// removeWorktree forgets a session's worktree; its branch stays.
func removeWorktree(ctx context.Context, workspace, tree string) error {
	if _, err := os.Stat(workspace); err != nil {
		return nil // the repository is gone, and what it knew with it
	}
	out, err := gitCommand(ctx, "-C", workspace, "worktree", "remove", "--force", "--", tree).CombinedOutput()
	if err != nil {
		return fmt.Errorf("git worktree remove: %s", firstLine(out, err))
	}
	return nil
}

// firstLine returns what a program said on failing, in a line.
func firstLine(out []byte, err error) string {
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Preparing worktree") {
			return strings.TrimPrefix(line, "fatal: ")
		}
	}
	return err.Error()
}

func openWorktree(ctx context.Context, disk *store.Session, umask int) (tree, error) {
	host, err := hostfs.Open(disk.Tree(), hostfs.Options{})
	if err != nil {
		return nil, fault.New(fault.Failed, "remove the session and make it again", "the worktree of session %s: %w", disk.File.Name, err)
	}
	guard, err := newGitGuard(ctx, host)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	t := &gitTree{host: host, guard: guard, git: git{dir: string(disk.File.GitDir), tree: disk.Tree(), umask: umask}}
	t.index = filepath.Join(disk.State(), "index")
	return t, nil
}

func (t *gitTree) fs() vfs.FS { return t.guard }

func (t *gitTree) close() error { return t.host.Close() }

// command makes a git command that runs in the worktree.
func (g *git) command(ctx context.Context, args ...string) *exec.Cmd {
	safe := []string{
		"--git-dir=" + g.dir, "--work-tree=" + g.tree, "--literal-pathspecs", "--no-optional-locks",
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false",
		"-c", "diff.ignoreSubmodules=all", "-c", "commit.gpgSign=false",
	}
	cmd := gitCommand(ctx, append(safe, args...)...)
	cmd.Dir = g.tree
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
	cmd.Env = append(cmd.Env, g.env...)
	return cmd
}

func (g *git) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := g.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %s", args[0], firstLine(stderr.Bytes(), err))
	}
	return out, nil
}

// staged returns git with an index that holds the worktree as it is now.
func (t *gitTree) staged(ctx context.Context) (git, error) {
	g := t.git
	g.env = []string{"GIT_INDEX_FILE=" + t.index}
	if _, err := os.Stat(t.index); errors.Is(err, os.ErrNotExist) {
		if _, err := g.output(ctx, "read-tree", "HEAD"); err != nil {
			return g, err
		}
	}
	_, err := g.output(ctx, "add", "--all", "--", ".")
	return g, err
}

// pathspec returns the arguments that end a git command on these paths.
func pathspec(paths []store.Path) []string {
	args := []string{"--"}
	for _, p := range paths {
		if p == "" {
			return []string{"--", "."}
		}
		args = append(args, string(p))
	}
	return args
}

// look returns what differs from the branch's last commit, and git on an index
// that holds it.
func (t *gitTree) look(ctx context.Context, paths []store.Path) (git, []Change, error) {
	g, err := t.staged(ctx)
	if err != nil {
		return g, nil, err
	}
	list, err := t.changes(ctx, g, paths)
	return g, list, err
}

func (t *gitTree) changes(ctx context.Context, g git, paths []store.Path) ([]Change, error) {
	args := append([]string{"diff", "--cached", "--raw", "-z", "-M", "--abbrev=40", "HEAD"}, pathspec(paths)...)
	out, err := g.output(ctx, args...)
	if err != nil {
		return nil, err
	}
	var list []Change
	f := strings.Split(string(out), "\x00")
	for i := 0; i+1 < len(f); i += 2 {
		meta := strings.Fields(f[i])
		if len(meta) != 5 {
			return nil, fmt.Errorf("git diff: unexpected %q", f[i])
		}
		c := Change{Path: store.Path(f[i+1]), Status: meta[4][:1], Type: "file"}
		if c.Status == "R" || c.Status == "C" {
			i++
			c.From, c.Path = c.Path, store.Path(f[i+1])
		}
		if c.Status == "C" {
			c.Status, c.From = "A", ""
		}
		mode := meta[1]
		if c.Status == "D" {
			mode = strings.TrimPrefix(meta[0], ":")
		}
		if mode == "120000" {
			c.Type = "symlink"
		}
		if st, err := os.Lstat(filepath.Join(t.git.tree, string(c.Path))); err == nil && c.Status != "D" {
			c.Size = st.Size()
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return list, nil
}

func (t *gitTree) status(ctx context.Context, req StatusRequest, fn func(Change) error) error {
	_, list, err := t.look(ctx, req.Paths)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

func (t *gitTree) diff(ctx context.Context, req DiffRequest, s *sieve, sink DiffSink) error {
	g, list, err := t.look(ctx, req.Paths)
	if err != nil {
		return err
	}
	for _, c := range list {
		if why, err := s.change(&c); err != nil {
			return err
		} else if why != "" {
			continue
		}
		f := DiffFile{Change: c, NewSize: c.Size}
		spec := []store.Path{c.Path}
		if c.From != "" {
			spec = append(spec, c.From)
		}
		base := []string{"diff", "--cached", "-M", "--no-color", "--no-ext-diff", "--no-textconv"}
		out, err := g.output(ctx, append(append(slices.Clone(base), "--numstat", "HEAD"), pathspec(spec)...)...)
		if err != nil {
			return err
		}
		added, deleted, _ := strings.Cut(string(out), "\t")
		deleted, _, _ = strings.Cut(deleted, "\t")
		f.Binary = added == "-"
		if !f.Binary && added != "" {
			if f.Added, err = strconv.Atoi(added); err != nil {
				return fmt.Errorf("git diff --numstat: %w", err)
			}
			if f.Deleted, err = strconv.Atoi(deleted); err != nil {
				return fmt.Errorf("git diff --numstat: %w", err)
			}
		}
		if !req.StatOnly {
			if err := g.stream(ctx, sink, append(append(slices.Clone(base), "HEAD"), pathspec(spec)...)...); err != nil {
				return err
			}
		}
		if err := sink.File(f); err != nil {
			return err
		}
	}
	return nil
}

func (g *git) stream(ctx context.Context, w io.Writer, args ...string) error {
	cmd := g.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("git %s: %s", args[0], firstLine(stderr.Bytes(), err))
	}
	return nil
}

// commit commits to the session's branch. There can be no conflict: the branch
// is the session's own.
func (t *gitTree) commit(ctx context.Context, req CommitRequest, s *sieve, sink StepSink) (StepResult, error) {
	_, list, err := t.look(ctx, req.Paths)
	if err != nil {
		return StepResult{}, err
	}
	var r StepResult
	list, err = s.through(list, func(c Change, why string) {
		if len(r.Left) < maxNotes {
			r.Left = append(r.Left, Note{c.Path, why})
		}
	})
	if err != nil || len(list) == 0 {
		return r, err
	}
	if !req.DryRun {
		if err := t.record(ctx, req.Message, list); err != nil {
			return r, err
		}
	}
	r.Steps = len(list)
	return r, tellSteps(list, sink)
}

func tellSteps(list []Change, sink StepSink) error {
	for _, c := range list {
		if err := sink.Step(Step{Path: c.Path, From: c.From, Status: c.Status}); err != nil {
			return err
		}
	}
	return nil
}

// record makes the commit of the listed changes with the worktree's own index.
func (t *gitTree) record(ctx context.Context, message string, list []Change) error {
	g := t.git
	if _, err := g.output(ctx, "config", "user.email"); err != nil {
		g.env = []string{"GIT_AUTHOR_NAME=astridfs", "GIT_AUTHOR_EMAIL=astridfs@localhost", "GIT_COMMITTER_NAME=astridfs", "GIT_COMMITTER_EMAIL=astridfs@localhost"}
	}
	var paths []store.Path
	for _, c := range list {
		paths = append(paths, c.Path)
		if c.From != "" {
			paths = append(paths, c.From)
		}
	}
	if _, err := g.output(ctx, append([]string{"add", "--all"}, pathspec(paths)...)...); err != nil {
		return err
	}
	if message == "" {
		message = "Changes of an astridfs session"
	}
	_, err := g.output(ctx, append([]string{"commit", "--quiet", "--no-verify", "-m", message}, pathspec(paths)...)...)
	return err
}

// discard takes the listed changes back to the branch's last commit.
func (t *gitTree) discard(ctx context.Context, req DiscardRequest, sink StepSink) (StepResult, error) {
	g, list, err := t.look(ctx, req.Paths)
	if err != nil {
		return StepResult{}, err
	}
	for i, c := range list {
		// The index of our own has the added ones, so that restoring removes them.
		spec := []store.Path{c.Path}
		if c.From != "" {
			spec = append(spec, c.From)
		}
		if _, err := g.output(ctx, append([]string{"restore", "--source=HEAD", "--staged", "--worktree"}, pathspec(spec)...)...); err != nil {
			return StepResult{Steps: i}, errors.Join(err, tellSteps(list[:i], sink))
		}
	}
	return StepResult{Steps: len(list)}, tellSteps(list, sink)
}
