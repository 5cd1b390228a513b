package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/astridfs/astridfs/session/fault"
)

const worktreeNext = "mode worktree needs git, a git repository with a commit, and a branch name that is free: --branch"

// checkRepository tells whether a session in mode worktree can be of the
// workspace, on a new branch of that name.
func checkRepository(ctx context.Context, workspace, branch string) error {
	prefix, err := inRepository(ctx, workspace, "rev-parse", "--show-prefix").CombinedOutput()
	if err != nil {
		return fault.New(fault.Failed, worktreeNext, "cannot make a worktree of %s on branch %s: %s", workspace, branch, firstLine(prefix, err))
	}
	if sub := strings.TrimSuffix(strings.TrimSuffix(string(prefix), "\n"), "/"); sub != "" {
		// The worktree would have all of the repository, which is more than was named.
		return fault.New(fault.Failed, "give the repository's root: "+strings.TrimSuffix(workspace, "/"+sub),
			"cannot make a worktree of %s: it is a directory inside a git repository", workspace)
	}
	if inRepository(ctx, workspace, "show-ref", "--verify", "--quiet", "refs/heads/"+branch).Run() == nil {
		return fault.New(fault.Failed, worktreeNext, "cannot make a worktree of %s: there is a branch %s", workspace, branch)
	}
	return nil
}

// createWorktree makes the worktree and the branch of a new session in mode
// worktree, for which checkRepository found nothing in the way, and returns git's
// directory for it. If that fails, the branch is not there either.
func createWorktree(ctx context.Context, workspace, tree, branch string) (gitDir string, err error) {
	if out, err := inRepository(ctx, workspace, "worktree", "add", "--quiet", "-b", branch, "--", tree, "HEAD").CombinedOutput(); err != nil {
		err = fault.New(fault.Failed, worktreeNext, "cannot make a worktree of %s on branch %s: %s", workspace, branch, firstLine(out, err))
		return "", errors.Join(err, forgetWorktree(context.WithoutCancel(ctx), workspace, tree, branch))
	}
	out, err := gitCommand(ctx, "-C", tree, "rev-parse", "--absolute-git-dir").Output()
	if err != nil {
		return "", fmt.Errorf("git rev-parse: %w", err)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// removeBranch takes away a branch that createWorktree made.
func removeBranch(ctx context.Context, workspace, branch string) error {
	if out, err := inRepository(ctx, workspace, "branch", "-D", "-q", "--", branch).CombinedOutput(); err != nil {
		return fmt.Errorf("git branch -D: %s", firstLine(out, err))
	}
	return nil
}

// forgetWorktree takes away what there is of a worktree that was not made to its
// end, and of its branch, unless that has come to hold commits of its own.
func forgetWorktree(ctx context.Context, workspace, tree, branch string) error {
	if err := removeWorktree(ctx, workspace, tree, ""); err != nil {
		return err
	}
	if branch != "" {
		inRepository(ctx, workspace, "branch", "-d", "-q", "--", branch).Run() // there may be none
	}
	return nil
}

// inRepository makes a git command for the user's own repository.
func inRepository(ctx context.Context, workspace string, args ...string) *exec.Cmd {
	return gitCommand(ctx, append([]string{"-C", workspace, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"}, args...)...)
}

// removeWorktree has git forget a session's worktree, and takes it away; its
// branch stays. One that git knows nothing of any more is no error. gitDir is
// empty if it was not made to its end.
func removeWorktree(ctx context.Context, workspace, tree, gitDir string) error {
	if _, err := os.Stat(workspace); err != nil {
		return nil // the repository is gone, and what it knew with it
	}
	list, err := inRepository(ctx, workspace, "worktree", "list", "--porcelain").Output()
	if err == nil && !strings.Contains("\n"+string(list), "\nworktree "+tree+"\n") {
		return nil
	}
	args := []string{"worktree", "remove", "--force"}
	if gitDir == "" {
		args = append(args, "--force") // it is locked while it is being made
	}
	out, err := inRepository(ctx, workspace, append(args, "--", tree)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("git worktree remove: %s", firstLine(out, err))
	}
	return nil
}
