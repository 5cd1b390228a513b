package ignore

import "slices"

// List is the compiled rules of one ignore file. It is immutable; nil is a list
// without rules.
type List struct {
	text  string // of the file; rules share its memory
	rules []Rule
	names nameIndex // rules without a slash: for names at any depth
	paths *branch   // rules with a slash; nil without any
}

// Len returns how many rules of l can match something.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.rules)
}

// Equal tells whether l and m are of the same text.
func (l *List) Equal(m *List) bool { return l == m || l != nil && m != nil && l.text == m.text }

func (l *List) rule(i int32) *Rule {
	if i < 0 {
		return nil
	}
	return &l.rules[i]
}

// ruleID is the place of a rule in its list.
type ruleID struct {
	index   int32
	dirOnly bool
}

// last is the last rule that matches a name, by index, for a name that is no
// directory and for one that is; -1 is none. dir is never less than file.
type last struct{ file, dir int32 }

var none = last{-1, -1}

func (l last) with(id ruleID) last {
	l.dir = max(l.dir, id.index)
	if !id.dirOnly {
		l.file = max(l.file, id.index)
	}
	return l
}

func (l last) merge(m last) last { return last{max(l.file, m.file), max(l.dir, m.dir)} }

// nameIndex finds the rules that match a name by what they look like.
type nameIndex struct {
	exact          map[string]last
	prefix, suffix []affix // "literal*" and "*literal", by length
	globs          []*glob // all others, in the order of the file
}

// affix is the literals of one length.
type affix struct {
	n   int
	has map[string]last
}

func (x *nameIndex) empty() bool {
	return len(x.exact) == 0 && len(x.prefix) == 0 && len(x.suffix) == 0 && len(x.globs) == 0
}

func (x *nameIndex) add(elems []elem, id ruleID) {
	if s, ok := literal(elems); ok {
		addTo(&x.exact, s, id)
		return
	}
	n := len(elems) - 1
	if s, ok := literal(elems[1:]); ok && elems[0].kind == kStar {
		addTo(affixOf(&x.suffix, n), s, id)
	} else if s, ok := literal(elems[:n]); ok && elems[n].kind == kStar {
		addTo(affixOf(&x.prefix, n), s, id)
	} else {
		x.globs = append(x.globs, newGlob(elems, id))
	}
}

func addTo(m *map[string]last, s string, id ruleID) {
	if *m == nil {
		*m = make(map[string]last)
	}
	old, ok := (*m)[s]
	if !ok {
		old = none
	}
	(*m)[s] = old.with(id)
}

func affixOf(list *[]affix, n int) *map[string]last {
	i, ok := slices.BinarySearchFunc(*list, n, func(a affix, n int) int { return a.n - n })
	if !ok {
		*list = slices.Insert(*list, i, affix{n: n})
	}
	return &(*list)[i].has
}

// match returns the later of best and the rules that match name.
func (x *nameIndex) match(name string, best last) last {
	if len(x.exact) > 0 {
		if l, ok := x.exact[name]; ok {
			best = best.merge(l)
		}
	}
	for i := range x.suffix {
		a := &x.suffix[i]
		if a.n > len(name) {
			break
		}
		if l, ok := a.has[name[len(name)-a.n:]]; ok {
			best = best.merge(l)
		}
	}
	for i := range x.prefix {
		a := &x.prefix[i]
		if a.n > len(name) {
			break
		}
		if l, ok := a.has[name[:a.n]]; ok {
			best = best.merge(l)
		}
	}
	for i := len(x.globs) - 1; i >= 0; i-- {
		g := x.globs[i]
		if g.id.index < best.file {
			break // and so are all before it
		}
		if g.id.dirOnly && g.id.index < best.dir {
			continue
		}
		if g.match(name) {
			best = best.with(g.id)
		}
	}
	return best
}

// branch is what rules with a slash say of one directory, reached from the
// list's own by names without wildcards.
type branch struct {
	children map[string]*branch
	local    nameIndex // for the entries of this directory
	deep     []*pathGlob
}

// addPath files a rule with a slash under the directory that its leading
// components without wildcards name.
func (l *List) addPath(elems []elem, id ruleID) {
	// "**/name" from the top is "name".
	if elems[0].kind == kMaybe && len(elems) > 3 && oneComponent(elems[3:]) {
		l.names.add(elems[3:], id)
		return
	}
	if l.paths == nil {
		l.paths = new(branch)
	}
	b := l.paths
	for {
		n := slices.IndexFunc(elems, func(e elem) bool { return e.kind != kByte || e.b == '/' })
		if n < 0 || elems[n].kind != kByte {
			break
		}
		name, _ := literal(elems[:n])
		child := b.children[name]
		if child == nil {
			child = new(branch)
			if b.children == nil {
				b.children = make(map[string]*branch)
			}
			b.children[name] = child
		}
		b, elems = child, elems[n+1:]
	}
	switch {
	case len(elems) == 0: // "name//": a name that is empty
	case oneComponent(elems):
		b.local.add(elems, id)
	default:
		b.deep = append(b.deep, &pathGlob{elems, id})
	}
}
