// Gitclient is a small git on go-git: init, add, commit, status and log, as a
// program for the tests of guests. It works on the current directory.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gitclient:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("usage: gitclient init | add PATH… | commit MESSAGE UNIX-TIME | status | log")
	}
	if args[0] == "init" {
		_, err := git.PlainInit(".", false)
		return err
	}
	repo, err := git.PlainOpen(".")
	if err != nil {
		return err
	}
	switch args[0] {
	case "add":
		return add(repo, args[1:])
	case "commit":
		return commit(repo, args[1:], out)
	case "status":
		return status(repo, out)
	case "log":
		return log(repo, out)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

func add(repo *git.Repository, paths []string) error {
	tree, err := repo.Worktree()
	if err != nil {
		return err
	}
	for _, p := range paths {
		if p == "." {
			err = tree.AddWithOptions(&git.AddOptions{All: true})
		} else {
			_, err = tree.Add(p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// commit takes the time as an argument, so that the same tree gives the same
// commit anywhere.
func commit(repo *git.Repository, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: gitclient commit MESSAGE UNIX-TIME")
	}
	sec, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	tree, err := repo.Worktree()
	if err != nil {
		return err
	}
	who := &object.Signature{Name: "A Guest", Email: "guest@example.org", When: time.Unix(sec, 0).UTC()}
	hash, err := tree.Commit(args[0], &git.CommitOptions{Author: who, Committer: who})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, hash)
	return err
}

func status(repo *git.Repository, out io.Writer) error {
	tree, err := repo.Worktree()
	if err != nil {
		return err
	}
	st, err := tree.Status()
	if err != nil {
		return err
	}
	var lines []string
	for path, s := range st {
		if s.Staging != git.Unmodified || s.Worktree != git.Unmodified {
			lines = append(lines, fmt.Sprintf("%c%c %s", s.Staging, s.Worktree, path))
		}
	}
	sort.Strings(lines)
	for _, l := range lines {
		if _, err := fmt.Fprintln(out, l); err != nil {
			return err
		}
	}
	return nil
}

func log(repo *git.Repository, out io.Writer) error {
	iter, err := repo.Log(&git.LogOptions{})
	if err != nil {
		return err
	}
	defer iter.Close()
	return iter.ForEach(func(c *object.Commit) error {
		_, err := fmt.Fprintf(out, "%s %s %d %s", c.Hash, c.TreeHash, c.Author.When.Unix(), c.Message)
		if len(c.Message) == 0 || c.Message[len(c.Message)-1] != '\n' {
			_, err = fmt.Fprintln(out)
		}
		return err
	})
}
