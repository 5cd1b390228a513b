package session

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/astridfs/astridfs/session/fault"
)

// createWorktree makes the worktree and the branch of a new session in mode
// worktree, and returns git's directory for it. If that fails, the branch is not
// there either.
func createWorktree(ctx context.Context, workspace, tree, branch string) (gitDir string, err error) {
	const next = "mode worktree needs git, a git repository with a commit, and a branch name that is free: --branch"
	prefix, err := inRepository(ctx, workspace, "rev-parse", "--show-prefix").CombinedOutput()
	if err != nil {
		return "", fault.New(fault.Failed, next, "cannot make a worktree of %s on branch %s: %s", workspace, branch, firstLine(prefix, err))
	}
	if sub := strings.TrimSuffix(strings.TrimSuffix(string(prefix), "\n"), "/"); sub != "" {
		// The worktree would have all of the repository, which is more than was named.
		return "", fault.New(fault.Failed, "give the repository's root: "+strings.TrimSuffix(workspace, "/"+sub),
			"cannot make a worktree of %s: it is a directory inside a git repository", workspace)
	}
	taken := inRepository(ctx, workspace, "show-ref", "--verify", "--quiet", "refs/heads/"+branch).Run() == nil
	if out, err := inRepository(ctx, workspace, "worktree", "add", "--quiet", "-b", branch, "--", tree, "HEAD").CombinedOutput(); err != nil {
		err = fault.New(fault.Failed, next, "cannot make a worktree of %s on branch %s: %s", workspace, branch, firstLine(out, err))
		if !taken {
			forget := context.WithoutCancel(ctx)
			removeWorktree(forget, workspace, tree, "")                               // if it was made
			inRepository(forget, workspace, "branch", "-D", "-q", "--", branch).Run() // if it was
		}
		return "", err
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
