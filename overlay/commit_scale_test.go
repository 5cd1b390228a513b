package overlay

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

// counter counts what it is told of one node.
type counter struct {
	node vfs.NodeID
	told atomic.Int64
}

func (c *counter) EntryChanged(context.Context, vfs.NodeID, string) {}

func (c *counter) NodeChanged(_ context.Context, n vfs.NodeID, _ bool) {
	if n == c.node {
		c.told.Add(1)
	}
}

// TestCommitLeavesOthersAlone: what a commit of many directories, new ones and
// renamed ones, has to do does not grow with what else is in use.
func TestCommitLeavesOthersAlone(t *testing.T) {
	l := newLab(t).seed("u/x=1", "u/deep/er/y=2")
	const n = 10
	for i := range n {
		l.seed(fmt.Sprintf("old%d/sub/f=%d", i, i), fmt.Sprintf("covered%d/f=%d", i, i))
	}
	l.open()
	for i := range n {
		l.must(l.mkdir(fmt.Sprintf("new%d", i)))
		l.must(l.write(fmt.Sprintf("new%d/f", i), "new"))
		l.must(l.mv(fmt.Sprintf("old%d", i), fmt.Sprintf("moved%d", i)))
		l.must(l.rmAll(fmt.Sprintf("covered%d", i)))
		l.must(l.mkdir(fmt.Sprintf("covered%d", i)))
		l.must(l.write(fmt.Sprintf("covered%d/g", i), "new"))
	}
	want := l.view()
	renamed := l.fs.renamedYet()
	l.must(l.node("u/deep/er/y", func(node vfs.NodeID) error {
		c := &counter{node: node}
		defer l.fs.Watch(c)()
		l.commit(CommitOptions{})
		if told := c.told.Load(); told > 0 {
			t.Errorf("it was looked at %d times", told)
		}
		return nil
	}))
	// Which has the whole upper layer looked through before the next deletion.
	if n := l.fs.renamedYet() - renamed; n > 0 {
		t.Errorf("it counted as %d renames", n)
	}
	l.committed(want)
}

// TestCommitNamesTogether: the new files of a directory get their names in the
// workspace together, so that everything is frozen once for many.
func TestCommitNamesTogether(t *testing.T) {
	l := newLab(t).seed("d/x=1")
	var first int
	l.opt.step = func(step string) {
		if step == "commit.placed" && first == 0 {
			list, err := os.ReadDir(l.host("d"))
			l.must(err)
			first = len(list)
		}
	}
	l.open()
	for i := range syncBatch {
		l.must(l.write(fmt.Sprintf("d/f%02d", i), "new"))
	}
	want := l.view()
	l.commit(CommitOptions{})
	if first != syncBatch+1 {
		t.Errorf("%d files are there when the first one has its name", first)
	}
	l.committed(want)
}
