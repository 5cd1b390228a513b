package ignore

import "math/bits"

// kind of an elem.
type kind uint8

const (
	kByte  kind = iota // the byte b, '/' too
	kAny               // any byte but '/'
	kClass             // a byte of set, which never holds '/'
	kStar              // any number of bytes but '/'
	kSkip              // any number of bytes
	kMaybe             // nothing, or what the next two elems match: kSkip and '/'
)

// elem is a part of a compiled pattern.
type elem struct {
	kind kind
	b    byte
	set  *charset
}

// compile compiles a pattern without its "!", leading and trailing slash. In an
// anchored one "**" may span directories; plain is how many bytes precede the
// first wildcard. It is false for a pattern that never matches.
func compile(p string, plain int, anchored bool) ([]elem, bool) {
	var out []elem
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '\\':
			if i++; i == len(p) {
				return nil, false
			}
			out = append(out, elem{kind: kByte, b: p[i]})
		case '?':
			out = append(out, elem{kind: kAny})
		case '[':
			set, n := parseClass(p[i:])
			if n == 0 {
				return nil, false
			}
			out = append(out, elem{kind: kClass, set: set})
			i += n - 1
		case '*':
			start := i
			for i+1 < len(p) && p[i+1] == '*' {
				i++
			}
			rest := p[i+1:]
			spans := anchored && i > start && (start == plain || p[start-1] == '/')
			switch {
			case spans && rest != "" && rest[0] == '/':
				out = append(out, elem{kind: kMaybe}, elem{kind: kSkip}, elem{kind: kByte, b: '/'})
				i++
			case spans && (rest == "" || len(rest) > 1 && rest[:2] == `\/`):
				out = append(out, elem{kind: kSkip})
			default:
				out = append(out, elem{kind: kStar})
			}
		default:
			out = append(out, elem{kind: kByte, b: c})
		}
	}
	return out, true
}

// literal returns what elems match if it is one string and nothing else.
func literal(elems []elem) (string, bool) {
	b := make([]byte, 0, len(elems))
	for _, e := range elems {
		if e.kind != kByte {
			return "", false
		}
		b = append(b, e.b)
	}
	return string(b), true
}

// oneComponent tells whether elems can match no slash.
func oneComponent(elems []elem) bool {
	for _, e := range elems {
		if e.kind == kSkip || e.kind == kMaybe || e.kind == kByte && e.b == '/' {
			return false
		}
	}
	return true
}

// one tells whether e, which is no star, matches the byte c of a name.
func (e *elem) one(c byte) bool {
	switch e.kind {
	case kByte:
		return c == e.b
	case kAny:
		return true
	default:
		return e.set.has(c)
	}
}

// glob matches one component. It is compiled to the literal bytes at its two
// ends and what is between them.
type glob struct {
	pre, suf string
	mid      []elem
	min      int // length of the shortest name that matches
	id       ruleID
}

func newGlob(elems []elem, id ruleID) *glob {
	g := &glob{id: id}
	for _, e := range elems {
		if e.kind != kStar {
			g.min++
		}
	}
	n := 0
	for n < len(elems) && elems[n].kind == kByte {
		n++
	}
	g.pre, _ = literal(elems[:n])
	elems = elems[n:]
	n = len(elems)
	for n > 0 && elems[n-1].kind == kByte {
		n--
	}
	g.suf, _ = literal(elems[n:])
	g.mid = elems[:n]
	return g
}

func (g *glob) match(name string) bool {
	if len(name) < g.min || name[:len(g.pre)] != g.pre || name[len(name)-len(g.suf):] != g.suf {
		return false
	}
	name = name[len(g.pre) : len(name)-len(g.suf)]
	mid := g.mid
	// After a mismatch only the last star is tried again: an earlier one that
	// took more would leave it less of the name. star is behind it, at where
	// what follows it begins.
	i, j := 0, 0
	star, at := -1, 0
	for j < len(name) {
		switch {
		case i < len(mid) && mid[i].kind == kStar:
			i++
			star, at = i, j
		case i < len(mid) && mid[i].one(name[j]):
			i++
			j++
		case star >= 0:
			at++
			i, j = star, at
		default:
			return false
		}
	}
	for i < len(mid) && mid[i].kind == kStar {
		i++
	}
	return i == len(mid)
}

// pathGlob matches several components. It runs as a nondeterministic automaton
// whose state i says that elems[:i] have matched; a state set is a bit set of
// words() words.
type pathGlob struct {
	elems []elem
	id    ruleID
}

func (g *pathGlob) words() int { return len(g.elems)/64 + 1 }

// enter adds state i to set, and the states that are reached without a byte.
func (g *pathGlob) enter(set []uint64, i int) {
	for {
		set[i/64] |= 1 << (i % 64)
		if i == len(g.elems) {
			return
		}
		switch g.elems[i].kind {
		case kMaybe:
			g.enter(set, i+3)
		case kStar, kSkip:
		default:
			return
		}
		i++
	}
}

// step makes next the states that follow those of set after the byte c.
func (g *pathGlob) step(next, set []uint64, c byte) (alive bool) {
	clear(next)
	for w, word := range set {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			if i == len(g.elems) {
				continue
			}
			e := &g.elems[i]
			switch {
			case e.kind == kMaybe: // its successors are in the set
				continue
			case e.kind == kSkip, e.kind == kStar && c != '/':
				g.enter(next, i)
			case e.kind == kByte && c == e.b, e.kind != kStar && c != '/' && e.one(c):
				g.enter(next, i+1)
			default:
				continue
			}
			alive = true
		}
	}
	return alive
}

// maxWords bounds the words of a state set, for arrays on the stack: a pattern
// has no more elems than bytes.
const maxWords = MaxPattern/64 + 1

// advance replaces set by the states after name, and a slash behind it if into
// is set. It is false if none are left.
func (g *pathGlob) advance(set []uint64, name string, into bool) bool {
	var buf [maxWords]uint64
	next := buf[:len(set)]
	for i := range len(name) {
		if !g.step(next, set, name[i]) {
			return false
		}
		copy(set, next)
	}
	if !into {
		return true
	}
	if !g.step(next, set, '/') {
		return false
	}
	copy(set, next)
	// Something follows a slash, so a match that ends at it is none.
	set[len(g.elems)/64] &^= 1 << (len(g.elems) % 64)
	for _, w := range set {
		if w != 0 {
			return true
		}
	}
	return false
}

// matches tells whether name completes a match from the states of set.
func (g *pathGlob) matches(set []uint64, name string) bool {
	var buf [maxWords]uint64
	cur := buf[:len(set)]
	copy(cur, set)
	return g.advance(cur, name, false) && cur[len(g.elems)/64]&(1<<(len(g.elems)%64)) != 0
}
