package overlay

import "strings"

// baseTree holds fingerprints by path while a change set is made. It is a tree
// of names, so that clearing or moving a directory costs its depth and not the
// size of the log. It is for one goroutine.
type baseTree struct {
	print *fingerprint
	ours  bool // print is of what a commit made
	sub   map[string]*baseTree
}

// find returns the tree at path, or nil.
func (t *baseTree) find(path string) *baseTree {
	if path == "" {
		return t
	}
	for name := range strings.SplitSeq(path, "/") {
		if t = t.sub[name]; t == nil {
			return nil
		}
	}
	return t
}

// get returns the fingerprint recorded for path, or nil.
func (t *baseTree) get(path string) *fingerprint {
	if t = t.find(path); t == nil {
		return nil
	}
	return t.print
}

// made tells whether what the workspace has at path, the inode ino, was made by
// a commit.
func (t *baseTree) made(path string, ino uint64) bool {
	t = t.find(path)
	return t != nil && t.print != nil && t.ours && t.print.ino == ino
}

// make returns the tree at path, growing it if need be.
func (t *baseTree) make(path string) *baseTree {
	if path == "" {
		return t
	}
	for name := range strings.SplitSeq(path, "/") {
		next := t.sub[name]
		if next == nil {
			next = &baseTree{}
			if t.sub == nil {
				t.sub = make(map[string]*baseTree)
			}
			t.sub[name] = next
		}
		t = next
	}
	return t
}

// take cuts off the tree at path and returns it, or nil.
func (t *baseTree) take(path string) *baseTree {
	if path == "" {
		whole := *t
		*t = baseTree{}
		return &whole
	}
	dir, name := t, path
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

// apply does what a record says.
func (t *baseTree) apply(r *baseRecord) {
	switch r.kind {
	case baseFirst:
		if at := t.make(r.path); at.print == nil {
			p := r.print
			at.print = &p
		}
	case baseSet:
		p, at := r.print, t.make(r.path)
		at.print, at.ours = &p, true
	case baseClear:
		if at := t.find(r.path); at != nil {
			at.print, at.ours = nil, false
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

// all returns the fingerprints in no order.
func (t *baseTree) all() []*fingerprint {
	var out []*fingerprint
	if t.print != nil {
		out = append(out, t.print)
	}
	for _, sub := range t.sub {
		out = append(out, sub.all()...)
	}
	return out
}

// each calls fn for every fingerprint at and below t, whose own path is path.
func (t *baseTree) each(path string, fn func(path string, p *fingerprint) error) error {
	return t.visit([]byte(path), fn)
}

func (t *baseTree) visit(path []byte, fn func(path string, p *fingerprint) error) error {
	if t.print != nil {
		if err := fn(string(path), t.print); err != nil {
			return err
		}
	}
	if len(path) > 0 {
		path = append(path, '/')
	}
	for name, sub := range t.sub {
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
