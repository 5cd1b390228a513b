package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session/fault"
)

// commit commits to the session's branch. There can be no conflict: the branch
// is the session's own. What a filter of the user is for, is committed only with
// Force set, which has the filters run.
func (t *gitTree) commit(ctx context.Context, req CommitRequest, s *sieve, sink StepSink) (StepResult, error) {
	l, err := t.look(ctx, req.Paths, req.Force)
	if err != nil {
		return StepResult{}, err
	}
	var r StepResult
	if l.list, err = through(s, l.list, &r); err != nil || len(l.list) == 0 {
		return r, err
	}
	if !req.Force {
		path, filter, err := l.user.filtered(ctx, l.filters, names(l.list), false)
		if err != nil {
			return r, err
		}
		if path != "" {
			return r, fault.New(fault.Failed, "look at the changes, then repeat it with --force, which runs the filter, or name other paths",
				"nothing was committed: %s goes through the git filter %q, a program that reads what a capsule wrote", diff.Quote(path), filter)
		}
	}
	if !req.DryRun {
		if r.Commit, err = t.record(ctx, req.Message, &l); err != nil {
			return r, err
		}
	}
	r.Steps = len(l.list)
	return r, tellSteps(l.list, sink)
}

// through returns the changes that the sieve lets through, and notes the others.
func through(s *sieve, list []gitChange, r *StepResult) (in []gitChange, err error) {
	for _, c := range list {
		why, err := s.change(&c.Change)
		switch {
		case err != nil:
			return nil, err
		case why == "":
			in = append(in, c)
		case len(r.Left) < maxNotes:
			r.Left = append(r.Left, Note{c.Path, why})
		}
	}
	return in, nil
}

// DefaultMessage is the message of a git commit for which none was given.
const DefaultMessage = "Changes of an astridfs session"

// record commits the listed changes exactly as they were looked at: nothing is
// read from the worktree again, and no path but theirs is in the commit,
// whatever else is staged. It answers the commit's name, once there is one also
// with an error.
func (t *gitTree) record(ctx context.Context, message string, l *gitLook) (string, error) {
	for _, doing := range []string{"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"} {
		if _, err := os.Stat(filepath.Join(t.git.dir, doing)); !errors.Is(err, os.ErrNotExist) {
			return "", fault.New(fault.Failed, "end it there first, with git", "something was begun with git in %s and not ended: %s", t.git.tree, doing)
		}
	}
	if err := t.keep(ctx, l); err != nil {
		return "", err
	}
	g := l.user
	g.env = t.identity(ctx, &g)
	g, end, err := t.headIndex(ctx, g, l.list)
	if err != nil {
		return "", err
	}
	defer end()
	tree, err := g.output(ctx, "write-tree")
	if err != nil {
		return "", err
	}
	parent, err := g.output(ctx, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return "", err
	}
	if message = strings.TrimSpace(message); message == "" {
		message = DefaultMessage
	}
	commit, err := g.feed(ctx, []byte(message+"\n"), "commit-tree", "-p", word(parent), "-F", "-", word(tree))
	if err != nil {
		return "", err
	}
	subject, _, _ := strings.Cut(message, "\n")
	if _, err := g.output(ctx, "update-ref", "-m", "commit: "+subject, "HEAD", word(commit), word(parent)); err != nil {
		return "", err
	}
	// The user's own index is to have it too.
	if _, err := l.user.feed(ctx, indexInfo(l.list), "update-index", "-z", "--index-info"); err != nil {
		return word(commit), err
	}
	release, err := t.guard.hold(ctx)
	if err != nil {
		return word(commit), err
	}
	defer release()
	_, err = l.user.output(ctx, "update-index", "-q", "--refresh")
	if exitCode(err) == 1 {
		err = nil // something has changed again already
	}
	return word(commit), err
}

// word returns a line's text.
func word(line []byte) string { return string(bytes.TrimSpace(line)) }

// keep puts the objects of the listed changes into the user's repository.
func (t *gitTree) keep(ctx context.Context, l *gitLook) error {
	var objects []byte
	for _, c := range l.list {
		if c.mode != "000000" && c.mode != "160000" {
			objects = append(append(objects, c.object...), '\n')
		}
	}
	if objects == nil {
		return nil
	}
	pack, err := os.CreateTemp(t.state, "pack-")
	if err != nil {
		return err
	}
	err = l.ours.run(ctx, bytes.NewReader(objects), pack, "pack-objects", "--stdout", "-q")
	if err == nil {
		_, err = pack.Seek(0, 0)
	}
	if err == nil {
		err = l.user.run(ctx, pack, nil, "unpack-objects", "-q")
	}
	return errors.Join(err, pack.Close(), os.Remove(pack.Name()))
}

// indexInfo returns the changes as git update-index reads them: first what goes,
// since a directory may take the place of a file.
func indexInfo(list []gitChange) []byte {
	var b []byte
	for _, c := range list {
		nothing := "0 " + strings.Repeat("0", len(c.object)) // as long as a hash of the repository
		if c.From != "" {
			b = fmt.Appendf(b, "%s\t%s\x00", nothing, c.From)
		}
		if c.Status == "D" {
			b = fmt.Appendf(b, "%s\t%s\x00", nothing, c.Path)
		}
	}
	for _, c := range list {
		if c.Status != "D" {
			b = fmt.Appendf(b, "%s %s\t%s\x00", c.mode, c.object, c.Path)
		}
	}
	return b
}

// identity returns variables for whose commits they are if the user has told git
// nowhere who he is.
func (t *gitTree) identity(ctx context.Context, g *git) []string {
	if email, err := g.config(ctx, "--get", "user.email"); err != nil || email != nil || os.Getenv("EMAIL") != "" {
		return nil
	}
	var env []string
	for _, who := range []string{"GIT_AUTHOR_", "GIT_COMMITTER_"} {
		if os.Getenv(who+"EMAIL") == "" {
			env = append(env, who+"NAME=astridfs", who+"EMAIL=astridfs@localhost")
		}
	}
	return env
}
