package overlay

import (
	"testing"
)

func (l *lab) commit(opt CommitOptions) Report {
	l.t.Helper()
	opt.NoSync = true
	r, err := l.fs.Commit(l.ctx, opt)
	if err != nil {
		l.t.Fatalf("commit: %v", err)
	}
	for _, n := range r.Left {
		l.t.Errorf("left: %q: %s", n.Path, n.Reason)
	}
	return r
}

// committed checks that the workspace is what the view was, that the view is
// the same, live and anew, and that nothing is left to commit.
func (l *lab) committed(want tree) { l.committedAs(want, func(t tree) tree { return t }) }

// committedAs is committed with only what form leaves of trees compared.
func (l *lab) committedAs(want tree, form func(tree) tree) {
	l.t.Helper()
	want = form(want)
	if d := diffTrees(want, form(hostTree(l.t, l.host()))); d != "" {
		l.t.Errorf("the view before and the workspace differ\n%s", d)
	}
	if d := diffTrees(want, form(l.view())); d != "" {
		l.t.Errorf("the view before and after differ\n%s", d)
	}
	l.wantStatus(ChangesOptions{})
	l.upperEmpty()
	l.reopen()
	if d := diffTrees(want, form(l.view())); d != "" {
		l.t.Errorf("the view before and after reopening differ\n%s", d)
	}
}

func TestCommitAll(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t).seed(s.seed...).open()
			l.must(s.do(l))
			want := l.view()
			l.commit(CommitOptions{})
			l.committed(want)
		})
	}
}
