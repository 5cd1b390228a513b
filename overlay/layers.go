package overlay

import (
	"strings"
	"sync/atomic"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// layers is the host's side of an overlay: its directories and how marks are
// written in them. It is immutable once the overlay is open.
type layers struct {
	marks
	dirs   *at.Cache // of every Dir below
	upper  *at.Dir
	lowers []*ldir // roots, the topmost first

	scratch int // descriptor of Work/work: objects in the making
	index   int // of Work/index: one name for each copied-up inode with several
	links   int // of Work/links: what else must be known of lower hard links
	inos    int // of Work/inos: inodes kept so that their number is not given out again

	privileged bool // root: may use what anybody owns
	allUsers   bool // may set any owner: root with CAP_CHOWN, and not of a user namespace
	tmpfile    bool // Work can hold files without a name
}

// ldir is a directory of a lower layer. It is immutable, but for watch.
type ldir struct {
	at    *at.Dir
	up    *ldir  // nil for a layer's root
	name  string // in up
	layer int    // index in layers.lowers
	xwh   bool   // may hold xattr whiteouts

	watch atomic.Int32 // see hostWatch
}

// path returns where the directory is in its layer, "" for the root.
func (l *ldir) path() string {
	if l.up == nil {
		return ""
	}
	var names []string
	for d := l; d.up != nil; d = d.up {
		names = append(names, d.name)
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(names[i])
	}
	return b.String()
}

// join returns the path of name in the directory.
func (l *ldir) join(name string) string {
	if p := l.path(); p != "" {
		return p + "/" + name
	}
	return name
}

// baseRecorder keeps what a lower entry looked like when the overlay first
// diverged from it. record is called before the change takes effect, possibly
// more than once for one entry, and is safe for concurrent use; its error
// stops the change.
type baseRecorder interface {
	record(layer int, path string, attr vfs.Attr, id at.Ident) error
}

// noBase records nothing.
type noBase struct{}

func (noBase) record(int, string, vfs.Attr, at.Ident) error { return nil }
