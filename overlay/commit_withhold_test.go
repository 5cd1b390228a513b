package overlay

import (
	"slices"
	"strings"
	"testing"
)

// TestCommitWithhold withholds each changed path of each scenario in turn: the
// workspace has the same there afterwards, the view does not change, and a later
// commit that withholds nothing finishes the work.
func TestCommitWithhold(t *testing.T) {
	for _, s := range scenarios() {
		l := newLab(t).seed(s.seed...).open()
		l.must(s.do(l))
		var paths []string
		moved := false
		for c, err := range l.fs.Changes(l.ctx, ChangesOptions{Expand: true}) {
			l.must(err)
			paths = append(paths, c.Path)
			moved = moved || c.Kind == Renamed && c.New.IsDir()
		}
		slices.Sort(paths)
		for _, path := range slices.Compact(paths) {
			t.Run(s.name+"/"+strings.ReplaceAll(path, "/", "∕"), func(t *testing.T) {
				l := newLab(t).seed(s.seed...).open()
				l.must(s.do(l))
				view, host := l.view(), hostTree(t, l.host())
				rep, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true, Withhold: func(p string, _ bool) (string, error) {
					if within(p, path) {
						return "a test keeps it", nil
					}
					return "", nil
				}})
				l.must(err)
				if d := diffTrees(view, l.view()); d != "" {
					t.Errorf("the view before and after differ\n%s", d)
				}
				// What lies in a renamed directory may go along.
				if d := diffTrees(only(host, path), only(hostTree(t, l.host()), path)); d != "" && !moved {
					t.Errorf("the workspace before and after differ\n%s", d)
				}
				if len(rep.Left) == 0 && !moved {
					t.Error("nothing was left")
				}
				for _, step := range rep.Steps {
					if within(step.Path, path) {
						t.Errorf("step %v", step)
					}
				}
				l.commit(CommitOptions{})
				l.committed(view)
			})
		}
	}
}

// only returns what a tree has at and below path, without times and link counts,
// which change with what is beside it.
func only(all tree, path string) tree {
	some := tree{}
	for p, text := range all {
		if within(p, path) {
			some[p] = text
		}
	}
	return some
}
