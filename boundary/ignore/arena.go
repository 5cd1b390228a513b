package ignore

import "slices"

// arena is the memory of one Dir's residuals. Growing it leaves in place what it
// handed out.
type arena struct {
	deep []residual
	bits []uint64
}

// root makes d, which is empty, the state of the root.
func (a *arena) root(d *Dir, deny, own *List) {
	if deny != nil {
		d.deny = append(d.deny, a.begin(level{list: deny, here: deny.paths}, 0))
	}
	if own != nil {
		d.files = append(d.files, a.begin(level{list: own, here: own.paths}, len(a.deep)))
	}
}

// enter makes sub, which is empty, the state of the directory name in d, which
// is not hidden there, and returns it; or d, where nothing changes.
func (a *arena) enter(sub, d *Dir, name string, own *List) *Dir {
	if own == nil && steady(d.deny) && steady(d.files) {
		return d
	}
	sub.deny = a.descend(sub.deny, d.deny, name)
	sub.files = a.descend(sub.files, d.files, name)
	if own != nil {
		sub.files = append(sub.files, a.begin(level{list: own, here: own.paths}, len(a.deep)))
	}
	return sub
}

// steady tells whether levels are the same in every directory below.
func steady(levels []level) bool {
	return !slices.ContainsFunc(levels, func(lv level) bool { return lv.here != nil || len(lv.deep) > 0 })
}

// descend appends to out the levels that still have something to say in the
// directory name.
func (a *arena) descend(out, levels []level, name string) []level {
	for i := range levels {
		lv := &levels[i]
		sub := level{list: lv.list}
		first := len(a.deep)
		for _, r := range lv.deep {
			n := len(a.bits)
			set := a.set(r.glob)
			copy(set, r.set)
			if r.glob.advance(set, name, true) {
				a.deep = append(a.deep, residual{r.glob, set})
			} else {
				a.bits = a.bits[:n]
			}
		}
		if lv.here != nil {
			sub.here = lv.here.children[name]
		}
		sub = a.begin(sub, first)
		if sub.here != nil || len(sub.deep) > 0 || !lv.list.names.empty() {
			out = append(out, sub)
		}
	}
	return out
}

// begin starts the globs of the branch that lv has come to, behind those from
// first on that it has already, and gives lv all of them.
func (a *arena) begin(lv level, first int) level {
	if lv.here != nil {
		for _, g := range lv.here.deep {
			set := a.set(g)
			g.enter(set, 0)
			a.deep = append(a.deep, residual{g, set})
		}
	}
	lv.deep = a.deep[first:len(a.deep):len(a.deep)]
	return lv
}

// set returns an empty state set for g.
func (a *arena) set(g *pathGlob) []uint64 {
	n := len(a.bits)
	for range g.words() {
		a.bits = append(a.bits, 0)
	}
	return a.bits[n:len(a.bits):len(a.bits)]
}
