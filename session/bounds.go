package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// bounds are the layers that keep what deny rules hide out of a session: of
// both front ends, of its changes, and of what a commit writes.
type bounds struct {
	mounts   *boundary.FS
	capsules *boundary.FS // the same, but in mode worktree without git's own files
}

// openBounds puts the layers on a tree. The rules are the files' in the tree,
// those of the session, and in mode worktree also those of the workspace's own
// root, where the file need not be part of the repository.
func openBounds(t tree, disk *store.Session, report func(error)) (*bounds, error) {
	deny := disk.File.Deny
	if disk.File.Mode == store.Worktree {
		lines, err := rootRules(string(disk.File.Workspace))
		if err != nil {
			return nil, boundsFault(disk, err)
		}
		deny = slices.Concat(lines, deny)
	}
	b := &bounds{}
	var err error
	if b.mounts, err = boundary.New(t.fs(), boundary.Options{Deny: deny, Report: report}); err != nil {
		return nil, boundsFault(disk, err)
	}
	b.capsules = b.mounts
	if disk.File.Mode != store.Worktree {
		return b, nil
	}
	// What is unusable is reported once.
	b.capsules, err = boundary.New(t.fs(), boundary.Options{Deny: append(deny[:len(deny):len(deny)], ".git")})
	if err != nil {
		return nil, errors.Join(boundsFault(disk, err), b.mounts.Close())
	}
	return b, nil
}

func boundsFault(disk *store.Session, err error) error {
	return fault.New(fault.Failed, "correct it: without its rules nobody is let in", "deny rules of session %s: %w", disk.File.Name, err)
}

// rootRules reads the lines of the ignore file at the root of a workspace.
func rootRules(workspace string) ([]string, error) {
	// Not by a link, and without waiting for who writes to a pipe.
	f, err := os.OpenFile(filepath.Join(workspace, ignore.FileName), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s: not a regular file", ignore.FileName)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", ignore.FileName)
	}
	text, err := io.ReadAll(io.LimitReader(f, ignore.MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > ignore.MaxFileSize {
		return nil, fmt.Errorf("%s: longer than %d bytes", ignore.FileName, ignore.MaxFileSize)
	}
	lines := strings.Split(strings.TrimPrefix(string(text), "\xef\xbb\xbf"), "\n")
	for i, line := range lines {
		lines[i], _, _ = strings.Cut(line, "\x00") // as git does
	}
	return lines, nil
}

// checkDeny tells whether the deny rules of a command line can be used. One that
// can match nothing is a mistake, which in a file git passes over.
func checkDeny(rules []string) error {
	const next = "a rule is a line of an ignore file, as git has them"
	if _, err := ignore.ParseDeny(ignore.DenySource, rules); err != nil {
		return fault.New(fault.Usage, next, "%w", err)
	}
	for _, rule := range rules {
		if l, err := ignore.ParseDeny(ignore.DenySource, []string{rule}); err == nil && l.Len() == 0 {
			return fault.New(fault.Usage, next, "--deny %q matches nothing: it is empty, a comment, or ends too soon", rule)
		}
	}
	return nil
}

// close ends the layers' own work.
func (b *bounds) close() error {
	if b.capsules == b.mounts {
		return b.mounts.Close()
	}
	return errors.Join(b.mounts.Close(), b.capsules.Close())
}

// expire has the rules looked at again: what is below was changed.
func (b *bounds) expire() {
	b.mounts.Expire()
	b.capsules.Expire()
}

// sieve leaves out of a listing of changes what is hidden. It is for one
// goroutine and one listing.
type sieve struct {
	ctx    context.Context
	filter *boundary.Filter
}

func (b *bounds) sieve(ctx context.Context) *sieve { return &sieve{ctx, b.mounts.Filter()} }

// why tells what hides a path; "" if nothing does.
func (s *sieve) why(path string, isDir bool) (string, error) {
	hides, rule, err := s.filter.Hidden(s.ctx, path, isDir)
	switch {
	case err != nil:
		return "", err
	case !hides:
		return "", nil
	case rule == nil:
		return "another name of a hidden file", nil
	}
	return "hidden by the rule " + rule.String(), nil
}

// change tells what hides a change, under either of its names and as what it
// was and is; "" if nothing does.
func (s *sieve) change(c *Change) (string, error) {
	isDir := []bool{c.Type == "directory"}
	if c.Status == "T" {
		isDir = []bool{false, true} // either of them was there
	}
	for _, path := range []store.Path{c.Path, c.From} {
		for _, d := range isDir {
			if why, err := s.why(string(path), d); why != "" || err != nil {
				return why, err
			}
		}
	}
	return "", nil
}
