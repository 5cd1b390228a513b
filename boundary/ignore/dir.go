package ignore

import "slices"

// Dir is the state of matching in one directory: what the rules above and of it
// can still say of its entries and of what is below them. It is immutable.
type Dir struct {
	deny   []level // of the deny rules: one at most
	files  []level // of the ignore files, the root's first
	hidden *Rule   // hides the directory itself, and so all below
}

// level is one list that applies to a directory.
type level struct {
	list *List
	here *branch    // nil where no rule with a slash leads
	deep []residual // those that began in a directory above, or begin here
}

// residual is a pathGlob that has matched the way down to the directory.
type residual struct {
	glob *pathGlob
	set  []uint64
}

// NewDir returns the state of the root: deny applies from there, own is the list
// of its own ignore file. Either may be nil.
func NewDir(deny, own *List) *Dir {
	d := new(Dir)
	new(arena).root(d, deny, own)
	return d
}

// Hidden returns the rule that hides the directory itself, or nil.
func (d *Dir) Hidden() *Rule { return d.hidden }

// Empty tells whether no rule can hide anything in d or below it, as long as no
// further ignore file is found there.
func (d *Dir) Empty() bool { return d.hidden == nil && len(d.deny) == 0 && len(d.files) == 0 }

// Verdict is what rules say of a name: the rule that decides if it is a
// directory, and if it is anything else. Nil or a negated rule is visible.
type Verdict struct{ File, Dir *Rule }

// Hidden tells whether v hides a node of that type.
func (v Verdict) Hidden(isDir bool) bool {
	if isDir {
		return hides(v.Dir)
	}
	return hides(v.File)
}

// Visible tells whether v hides nothing of either type.
func (v Verdict) Visible() bool { return !hides(v.File) && !hides(v.Dir) }

func hides(r *Rule) bool { return r != nil && !r.Negated }

// Judge returns the verdict on an entry of d. It does not allocate.
func (d *Dir) Judge(name string) Verdict {
	if d.hidden != nil {
		return Verdict{d.hidden, d.hidden}
	}
	v := judge(d.files, name)
	if len(d.deny) > 0 {
		deny := judge(d.deny, name)
		if hides(deny.File) {
			v.File = deny.File
		}
		if hides(deny.Dir) {
			v.Dir = deny.Dir
		}
	}
	return v
}

// Match tells whether an entry of d is hidden, and which rule decided; nil if
// none has to do with it. It does not allocate.
func (d *Dir) Match(name string, isDir bool) (hidden bool, rule *Rule) {
	v := d.Judge(name)
	if rule = v.File; isDir {
		rule = v.Dir
	}
	return hides(rule), rule
}

func judge(levels []level, name string) (v Verdict) {
	for i := len(levels) - 1; i >= 0; i-- {
		lv := &levels[i]
		best := lv.match(name)
		if v.File == nil {
			v.File = lv.list.rule(best.file)
		}
		if v.Dir == nil {
			v.Dir = lv.list.rule(best.dir)
		}
		if v.File != nil && v.Dir != nil {
			break
		}
	}
	return v
}

func (lv *level) match(name string) last {
	best := lv.list.names.match(name, none)
	if lv.here != nil {
		best = lv.here.local.match(name, best)
	}
	for i := range lv.deep {
		r := &lv.deep[i]
		id := r.glob.id
		if id.index < best.file || id.dirOnly && id.index < best.dir {
			continue
		}
		if r.glob.matches(r.set, name) {
			best = best.with(id)
		}
	}
	return best
}

// Enter returns the state of the directory name in d, which has the ignore file
// own; nil if it has none. Where nothing changes on the way down it is d itself.
func (d *Dir) Enter(name string, own *List) *Dir {
	if d.hidden != nil {
		return d
	}
	if hidden, rule := d.Match(name, true); hidden {
		return &Dir{hidden: rule}
	}
	return new(arena).enter(new(Dir), d, name, own)
}

// Same tells whether d and e say the same of every name, and of everything that
// could be below it. It may be false where they do.
func (d *Dir) Same(e *Dir) bool {
	if d == e {
		return true
	}
	return (d.hidden == nil) == (e.hidden == nil) &&
		slices.EqualFunc(d.deny, e.deny, sameLevel) && slices.EqualFunc(d.files, e.files, sameLevel)
}

// sameLevel compares lists by their text, so that one that was compiled twice,
// or stands in two directories, is the same.
func sameLevel(a, b level) bool {
	return a.list.Equal(b.list) && a.here == b.here &&
		slices.EqualFunc(a.deep, b.deep, func(r, s residual) bool {
			return r.glob.id == s.glob.id && slices.Equal(r.set, s.set)
		})
}
