package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay/diff"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// gitTree is a session in mode worktree. What git finds in the worktree was
// written by capsules, and a person looks at it before trusting it, so that
// looking runs nothing: no hook, and none of the filters (programs for the paths
// that an attribute file names) that the user has set up.
//
// Changes are listed from an index of our own, beside which lie the objects that
// it refers to: the user's repository gets what is committed and nothing else.
type gitTree struct {
	host  *hostfs.FS
	root  *os.Root // of the worktree
	guard *gitGuard
	git   git
	state string // where the index and objects are

	seed fileStamp // of git's own index, as it was when ours was made from it; protected by guard's hold
}

// fileStamp tells whether a file is the one that was seen.
type fileStamp struct {
	ino         uint64
	size        int64
	mtime, ctim unix.Timespec
}

// stampFile returns the zero value for a file that is not there.
func stampFile(path string) (fileStamp, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if err == unix.ENOENT {
		return fileStamp{}, nil
	}
	if err != nil {
		return fileStamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return fileStamp{st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

func openWorktree(ctx context.Context, disk *store.Session, kept func(hostfs.Kept)) (_ tree, err error) {
	if disk.File.GitDir == "" {
		return nil, fault.New(fault.Failed, "remove the session and make it again",
			"the worktree of session %s was not made to its end", disk.File.Name)
	}
	host, err := hostfs.Open(disk.Tree(), hostfs.Options{Stage: disk.Stage("workspace"), Kept: kept})
	if err != nil {
		return nil, fault.New(fault.Failed, "remove the session and make it again", "the worktree of session %s: %w", disk.File.Name, err)
	}
	t := &gitTree{host: host, git: git{dir: string(disk.File.GitDir), tree: disk.Tree()}, state: disk.State()}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.root, err = os.OpenRoot(disk.Tree()); err != nil {
		return nil, err
	}
	if t.guard, err = newGitGuard(ctx, host); err != nil {
		return nil, err
	}
	if err := t.clear(); err != nil {
		return nil, err
	}
	return t, os.Mkdir(t.nothing(), 0o700)
}

// clear removes what a killed owner and its git left: nobody else uses it.
func (t *gitTree) clear() error {
	entries, err := os.ReadDir(t.state)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name != "index" && name != "objects" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(t.state, name)))
		}
	}
	return err
}

func (t *gitTree) fs() vfs.FS { return t.guard }

func (t *gitTree) close() error {
	err := t.host.Close()
	if t.root != nil {
		err = errors.Join(err, t.root.Close())
	}
	return err
}

func (t *gitTree) index() string   { return filepath.Join(t.state, "index") }
func (t *gitTree) objects() string { return filepath.Join(t.state, "objects") }
func (t *gitTree) nothing() string { return filepath.Join(t.state, "empty") } // a directory

// ours is git on the index and objects of our own.
func (t *gitTree) ours(g git) git {
	g.env = []string{"GIT_INDEX_FILE=" + t.index(), "GIT_OBJECT_DIRECTORY=" + t.objects()}
	return g
}

// staged brings the index up to the worktree as it is now, and returns git on
// it. The caller holds the guard. With fresh set, what an earlier call found is
// not relied on: it may have read files through other filters.
func (t *gitTree) staged(ctx context.Context, g git, fresh bool) (git, error) {
	now, err := stampFile(filepath.Join(g.dir, "index"))
	if err != nil {
		return g, err
	}
	mine, err := stampFile(t.index())
	if err != nil {
		return g, err
	}
	if fresh || now != t.seed || mine == (fileStamp{}) {
		if err := t.reseed(ctx, g, now); err != nil {
			return g, err
		}
		t.seed = now
	}
	g = t.ours(g)
	args := []string{"add", "--all"}
	if sparse, err := g.config(ctx, "--type=bool", "--get", "core.sparseCheckout"); err != nil {
		return g, err
	} else if slices.Equal(sparse, []string{"true"}) {
		args = append(args, "--sparse")
	}
	if _, err = g.output(ctx, append(args, "--", ".")...); err != nil && ctx.Err() == nil {
		err = fault.New(fault.Failed, "see to it that git can read the file, take it away, or have git ignore it",
			"git cannot take what is in the worktree %s: %w", t.git.tree, err)
	}
	return g, err
}

// reseed makes our index anew, from git's own, which tells by their times which
// files need not be read. The copy has its time: git holds it against theirs.
func (t *gitTree) reseed(ctx context.Context, g git, own fileStamp) error {
	if err := os.RemoveAll(t.objects()); err != nil {
		return err
	}
	info := filepath.Join(t.objects(), "info")
	if err := os.MkdirAll(info, 0o700); err != nil {
		return err
	}
	shared, err := g.output(ctx, "rev-parse", "--git-path", "objects")
	if err != nil {
		return err
	}
	shared = shared[:max(len(shared)-1, 0)]
	if err := os.WriteFile(filepath.Join(info, "alternates"), []byte(diff.Quote(string(shared))+"\n"), 0o600); err != nil {
		return err
	}
	if own == (fileStamp{}) {
		if err := os.Remove(t.index()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		g = t.ours(g)
		_, err := g.output(ctx, "read-tree", "HEAD")
		return err
	}
	data, err := os.ReadFile(filepath.Join(g.dir, "index"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(t.index(), data, 0o600); err != nil {
		return err
	}
	times := []unix.Timespec{own.mtime, own.mtime}
	return unix.UtimesNanoAt(unix.AT_FDCWD, t.index(), times, 0)
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

// gitChange is a change, and what there is to commit of it.
type gitChange struct {
	Change
	mode, object string // mode "000000" for nothing
}

// names returns the paths of changes, those that they come from too.
func names(list []gitChange) []string {
	var all []string
	for _, c := range list {
		if c.From != "" {
			all = append(all, string(c.From))
		}
		all = append(all, string(c.Path))
	}
	return all
}

// committed returns the paths of changes that the last commit has.
func committed(list []gitChange) []string {
	var all []string
	for _, c := range list {
		switch {
		case c.From != "":
			all = append(all, string(c.From))
		case c.Status != "A":
			all = append(all, string(c.Path))
		}
	}
	return all
}

// gitLook is what differs from the branch's last commit.
type gitLook struct {
	ours    git // on an index that holds it
	show    git // the same, away from the worktree: git would sooner read a file there than an object
	user    git // on the user's own index and objects
	filters []string
	list    []gitChange
}

// look finds out what has changed at or below paths. With filters set, files are
// read through the user's filters.
func (t *gitTree) look(ctx context.Context, paths []store.Path, filters bool) (l gitLook, err error) {
	if l.filters, err = t.git.filters(ctx); err != nil {
		return l, err
	}
	l.user = t.git
	if !filters {
		if l.user, err = t.git.without(l.filters); err != nil {
			return l, err
		}
	}
	release, err := t.guard.hold(ctx)
	if err != nil {
		return l, err
	}
	l.ours, err = t.staged(ctx, l.user, filters && len(l.filters) > 0)
	release()
	if err == nil {
		l.show = l.ours
		l.show.tree = t.nothing()
		l.list, err = t.changes(ctx, l.show, paths)
	}
	return l, err
}

// asked returns those of the paths at or below which something has changed.
func (l *gitLook) asked(paths []store.Path) []string {
	var in []string
	for _, p := range paths {
		if p != "" && slices.ContainsFunc(l.list, func(c gitChange) bool { return within("/"+string(c.Path), "/"+string(p)) }) {
			in = append(in, string(p))
		} else if p == "" {
			return []string{"."}
		}
	}
	if len(paths) == 0 {
		return []string{"."}
	}
	return in
}

func (t *gitTree) changes(ctx context.Context, g git, paths []store.Path) ([]gitChange, error) {
	args := append([]string{"diff", "--cached", "--raw", "-z", "-M", "--no-abbrev", "--no-relative", "-O/dev/null", "HEAD"}, pathspec(paths)...)
	out, err := g.output(ctx, args...)
	if err != nil {
		return nil, err
	}
	var list []gitChange
	f := strings.Split(string(out), "\x00")
	for i := 0; i+1 < len(f); i += 2 {
		meta := strings.Fields(f[i])
		if len(meta) != 5 {
			return nil, fmt.Errorf("git diff: unexpected %q", f[i])
		}
		c := gitChange{Change{Path: store.Path(f[i+1]), Status: meta[4][:1], Type: "file"}, meta[1], meta[3]}
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
		if st, err := t.root.Lstat(string(c.Path)); err == nil && c.Status != "D" {
			c.Size = st.Size()
		}
		list = append(list, c)
	}
	return list, nil
}

// headIndex returns g on an index of its own, which holds the branch's last
// commit and the listed changes, until end is called.
func (t *gitTree) headIndex(ctx context.Context, g git, list []gitChange) (_ git, end func(), err error) {
	f, err := os.CreateTemp(t.state, "index-")
	if err != nil {
		return g, nil, err
	}
	end = func() { os.Remove(f.Name()) } // git has made it anew, or it is gone
	// Git wants an index or nothing there.
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return g, nil, err
	}
	g.env = append(slices.Clone(g.env), "GIT_INDEX_FILE="+f.Name())
	_, err = g.output(ctx, "read-tree", "HEAD")
	if err == nil && len(list) > 0 {
		_, err = g.feed(ctx, indexInfo(list), "update-index", "-z", "--index-info")
	}
	if err != nil {
		end()
	}
	return g, end, err
}

func (t *gitTree) status(ctx context.Context, req StatusRequest, fn func(Change) error) error {
	l, err := t.look(ctx, req.Paths, false)
	if err != nil {
		return err
	}
	for _, c := range l.list {
		if err := fn(c.Change); err != nil {
			return err
		}
	}
	return nil
}

// discard takes the listed changes back to the branch's last commit.
func (t *gitTree) discard(ctx context.Context, req DiscardRequest, sink StepSink) (StepResult, error) {
	l, err := t.look(ctx, req.Paths, false)
	if err != nil || len(l.list) == 0 {
		return StepResult{}, err
	}
	// What a commit has behind a filter is not what was in the worktree.
	if len(l.filters) > 0 {
		head, end, err := t.headIndex(ctx, l.user, nil)
		if err != nil {
			return StepResult{}, err
		}
		defer end()
		path, filter, err := head.filtered(ctx, l.filters, committed(l.list), true)
		if err != nil {
			return StepResult{}, err
		}
		if path != "" {
			return StepResult{}, fault.New(fault.Failed, fmt.Sprintf("take it back with git, in %s, and repeat this", t.git.tree),
				"%s goes through the git filter %q, which is not run here", diff.Quote(path), filter)
		}
	}
	release, err := t.guard.hold(ctx)
	if err != nil {
		return StepResult{}, err
	}
	// The index of our own has the added ones, so that restoring removes them. Git
	// is told the paths that were asked for and not each change's: one that another
	// takes the place of it would not find.
	_, err = l.ours.feed(ctx, lines(l.asked(req.Paths)), "restore", "--source=HEAD", "--staged", "--worktree", "--ignore-skip-worktree-bits",
		"--pathspec-from-file=-", "--pathspec-file-nul")
	release()
	// Not while the guard is held: the kernel, which is told, may have a rename
	// that waits for it.
	t.rewritten(ctx, names(l.list))
	if err != nil {
		return StepResult{}, err
	}
	return StepResult{Steps: len(l.list)}, tellSteps(l.list, sink)
}

// rewritten has those who look at the worktree through the view look again at
// paths, and at what is above them, which git has written to.
func (t *gitTree) rewritten(ctx context.Context, paths []string) {
	told := make(map[string]bool)
	for _, path := range paths {
		node := vfs.RootID
		for i := 0; i < len(path); i++ {
			end := len(path)
			if n := strings.IndexByte(path[i:], '/'); n >= 0 {
				end = i + n
			}
			name := path[i:end]
			if i = end; !told[path[:end]] {
				told[path[:end]] = true
				t.host.EntryChanged(ctx, node, name)
				t.host.NodeChanged(ctx, node, true)
			}
			e, err := t.host.Lookup(ctx, node, name)
			if node != vfs.RootID {
				t.host.Forget(node, 1)
			}
			if node = vfs.RootID; err != nil {
				break
			}
			node = e.Node
			t.host.NodeChanged(ctx, node, true)
		}
		if node != vfs.RootID {
			t.host.Forget(node, 1)
		}
	}
}

func tellSteps(list []gitChange, sink StepSink) error {
	for _, c := range list {
		if err := sink.Step(Step{Path: c.Path, From: c.From, Status: c.Status, Type: c.Type}); err != nil {
			return err
		}
	}
	return nil
}
