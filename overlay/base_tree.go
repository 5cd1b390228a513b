package overlay

import "strings"

// baseTree holds fingerprints by path while a change set is made. It is a tree
// of names, so that clearing or moving a directory costs its depth and not the
// size of the log. It is for one goroutine.
type baseTree struct {
	root  baseNode
	files map[fingerprint]*known // by each fingerprint that they had; nil before it is needed
}

// baseNode is a path of a baseTree and what is below.
type baseNode struct {
	known *known
	ours  bool // known is of what a commit made
	sub   map[string]*baseNode
}

// known is a state of an entry of the workspace. Once there is baseTree.files,
// all paths that were recorded in one state share it, as the names of one file:
// what a commit does to the file by one of them is noted for all at once.
type known struct {
	print fingerprint
	into  *known // what it became one with; then print says nothing
}

// now returns the one that counts.
func (k *known) now() *known {
	for k.into != nil {
		k = k.into
	}
	return k
}

// fingerprint returns what is recorded for the path itself, or nil.
func (n *baseNode) fingerprint() *fingerprint {
	if n == nil || n.known == nil {
		return nil
	}
	return &n.known.now().print
}

// find returns the node at path, or nil.
func (t *baseTree) find(path string) *baseNode {
	n := &t.root
	if path == "" {
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		if n = n.sub[name]; n == nil {
			return nil
		}
	}
	return n
}

// get returns the fingerprint recorded for path, or nil. It changes with the
// file, and is not the path's any more once another one is recorded.
func (t *baseTree) get(path string) *fingerprint { return t.find(path).fingerprint() }

// made tells whether what the workspace has at path, the inode ino, was made by
// a commit.
func (t *baseTree) made(path string, ino uint64) bool {
	n := t.find(path)
	p := n.fingerprint()
	return p != nil && n.ours && p.ino == ino
}

// make returns the node at path, growing the tree if need be.
func (t *baseTree) make(path string) *baseNode {
	n := &t.root
	if path == "" {
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		next := n.sub[name]
		if next == nil {
			next = &baseNode{}
			if n.sub == nil {
				n.sub = make(map[string]*baseNode)
			}
			n.sub[name] = next
		}
		n = next
	}
	return n
}

// take cuts off the node at path and returns it, or nil.
func (t *baseTree) take(path string) *baseNode {
	if path == "" {
		whole := t.root
		t.root = baseNode{}
		return &whole
	}
	dir, name := &t.root, path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = t.find(path[:i]), path[i+1:]
	}
	if dir == nil {
		return nil
	}
	cut := dir.sub[name]
	delete(dir.sub, name)
	return cut
}

// state returns what stands for all paths that are recorded as p.
func (t *baseTree) state(p *fingerprint) *known {
	if t.files == nil {
		return &known{print: *p}
	}
	k := t.files[*p]
	if k == nil {
		k = &known{print: *p}
		t.files[*p] = k
	}
	return k.now()
}

// index sees to it that there is files.
func (t *baseTree) index() {
	if t.files == nil {
		t.files = make(map[fingerprint]*known)
		t.root.index(t)
	}
}

func (n *baseNode) index(t *baseTree) {
	if n.known != nil {
		old := n.known
		if n.known = t.state(&old.print); n.known != old {
			old.into = n.known // for who has it in hand
		}
	}
	for _, sub := range n.sub {
		sub.index(t)
	}
}

// touched has all paths that are recorded as a file that was old follow what a
// commit did to it; those too that are recorded so only later, as somebody may
// who looked at it before.
func (t *baseTree) touched(old, now *fingerprint) {
	t.index()
	k := t.state(old)
	if next := t.files[*now]; next == nil {
		k.print, t.files[*now] = *now, k
	} else if next = next.now(); next != k {
		k.into = next
	}
}

// inode is what the fields of that name in a fingerprint say.
type inode struct{ ino, dev uint64 }

// inodes returns what is recorded by inode: of several states of one, that of
// the earliest change.
func (t *baseTree) inodes() map[inode]*known {
	out := make(map[inode]*known)
	t.root.inodes(out)
	return out
}

func (n *baseNode) inodes(out map[inode]*known) {
	if p := n.fingerprint(); p != nil {
		id := inode{p.ino, p.dev}
		if was := out[id]; was == nil || p.ctime.Time().Before(was.now().print.ctime.Time()) {
			out[id] = n.known
		}
	}
	for _, sub := range n.sub {
		sub.inodes(out)
	}
}

// apply does what a record says.
func (t *baseTree) apply(r *baseRecord) {
	switch r.kind {
	case baseFirst:
		if at := t.make(r.path); at.known == nil {
			at.known = t.state(&r.print)
		}
	case baseSet:
		at := t.make(r.path)
		at.known, at.ours = t.state(&r.print), true
	case baseTouched:
		t.touched(&r.print, &r.now)
	case baseClear:
		if at := t.find(r.path); at != nil {
			at.known, at.ours = nil, false
			if len(at.sub) == 0 {
				t.take(r.path)
			}
		}
	case baseClearTree:
		t.take(r.path)
	case baseMove:
		// What stood there is gone, whether anything is known of what came.
		moved := t.take(r.path)
		t.take(r.to)
		if moved != nil {
			*t.make(r.to) = *moved
		}
	}
}

// each calls fn for every path that has a fingerprint, in no order.
func (t *baseTree) each(fn func(path string, p *fingerprint) error) error {
	return t.root.visit(nil, fn)
}

func (n *baseNode) visit(path []byte, fn func(path string, p *fingerprint) error) error {
	if p := n.fingerprint(); p != nil {
		if err := fn(string(path), p); err != nil {
			return err
		}
	}
	if len(path) > 0 {
		path = append(path, '/')
	}
	for name, sub := range n.sub {
		if err := sub.visit(append(path, name...), fn); err != nil {
			return err
		}
	}
	return nil
}

// joinPath returns the path of name in the directory path.
func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}
