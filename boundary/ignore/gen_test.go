package ignore_test

import (
	"math/rand/v2"
	"strings"
)

// ruleSet is a generated tree: ignore files by directory, and paths to judge,
// which are directories or not.
type ruleSet struct {
	files map[string][]byte
	paths []string
	isDir map[string]bool
}

// gen makes rule sets. What it makes is small and of few letters, so that rules
// and paths meet, and leans to the corners of the syntax.
type gen struct{ *rand.Rand }

func newGen(seed uint64) gen { return gen{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))} }

func (g gen) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g gen) one(in int) bool { return g.IntN(in) == 0 }

// atom is a piece of a pattern.
func (g gen) atom() string {
	switch g.IntN(22) {
	case 0, 1, 2, 3, 4, 5:
		return g.pick("a", "b", "c", "ab", "ba", "A")
	case 6, 7, 8:
		return "*"
	case 9, 10:
		return "**"
	case 11:
		return g.pick("***", "****", "?", "?")
	case 12, 13:
		return "?"
	case 14, 15, 16:
		return g.class()
	case 17:
		return `\` + g.pick("a", "b", "*", "?", "[", "]", `\`, "!", "#", " ", "/", "é")
	case 18:
		return g.pick(" ", "  ", "\t", "#", "!", "-", "]", "[", "^", ".", ".c", "\r", ":", "é", "\xff", "\x01", "\x7f", "\v")
	case 19:
		return g.pick("/", "/", "/", "//", "./", "/.", "/**/", "**/", "/**")
	case 20:
		return g.pick("/", "/", "/*", "*/", "?/", "/?")
	default:
		return "."
	}
}

func (g gen) class() string {
	var b strings.Builder
	b.WriteByte('[')
	b.WriteString(g.pick("", "", "", "!", "^", "!^", "]", "!]", "-"))
	for range 1 + g.IntN(3) {
		switch g.IntN(10) {
		case 0, 1, 2, 3:
			b.WriteString(g.pick("a", "b", "c", "A", "é", "\xff", "!", "^", "/", "*", "?", ".", " "))
		case 4, 5, 6:
			b.WriteString(g.pick("a-c", "b-b", "c-a", "A-z", "--a", "a-", "-a", "!-~", `\--b`, `a-\c`, "+--", ".-0", "\x01-\xff"))
		case 7, 8:
			b.WriteString("[:" + g.pick("alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit", "nope", "", "Alpha") + ":]")
		default:
			b.WriteString(g.pick(`\]`, `\a`, `\\`, "[", "[:", "[:a", ":]", "[a", "[.a.]", "[=a=]", `\-`))
		}
	}
	if !g.one(12) {
		b.WriteByte(']')
	}
	return b.String()
}

// pattern is one line.
func (g gen) pattern() string {
	var b strings.Builder
	if g.one(4) {
		b.WriteString(g.pick("!", "!", "!", "!!", `\!`, "#", `\#`, " "))
	}
	if g.one(3) {
		b.WriteString(g.pick("/", "/", "/", "//", "**/", "/**/", "*/"))
	}
	for range 1 + g.IntN(5) {
		b.WriteString(g.atom())
	}
	if g.one(4) {
		b.WriteString(g.pick("/", "/", "/", "//", "/**", "/*", "/**/", "**"))
	}
	if g.one(12) {
		b.WriteString(g.pick(" ", "  ", `\ `, `\  `, ` \ `, `\`, `\\`, `\\ `, " \t", "\t ", "\r", "\x00", "\x00a", " \x00"))
	}
	return b.String()
}

// plain is a pattern of the kinds that people write.
func (g gen) plain() string {
	s := g.pick("", "", "/", "!", "**/", "!/") + g.name()
	for range g.IntN(3) {
		s += "/" + g.pick(g.name(), g.name(), "*", "**", "*."+g.pick("a", "c"))
	}
	if g.one(3) {
		s = "*" + g.pick(".a", ".c", "b", "")
	}
	return s + g.pick("", "", "", "/", "/*", "/**")
}

func (g gen) file() []byte {
	var b strings.Builder
	if g.one(20) {
		b.WriteString(g.pick("\xef\xbb\xbf", "\xef\xbb", "\xef\xbb\xbf\xef\xbb\xbf", "\r\n", "\n\n"))
	}
	eol := g.pick("\n", "\n", "\n", "\n", "\r\n")
	for range 1 + g.IntN(8) {
		if g.one(3) {
			b.WriteString(g.plain())
		} else {
			b.WriteString(g.pattern())
		}
		if g.one(30) {
			eol = g.pick("\n", "\r\n", "\n\r", "\r\r\n")
		}
		b.WriteString(eol)
	}
	s := b.String()
	if g.one(4) {
		s = strings.TrimRight(s, "\r\n")
	}
	return []byte(s)
}

func (g gen) name() string {
	switch g.IntN(8) {
	case 0, 1, 2, 3:
		return g.pick("a", "b", "c", "ab", "ba", "abc", "a.c", "b.a", "A")
	case 4, 5:
		return g.pick("a", "b", "é", "aa", "bb", "cab") + g.pick("", "a", "b", ".a", ".c", "-", "c")
	case 6:
		return g.pick("!", "#", " a", "a ", "a  ", "[", "]", "[a]", "*", "**", "?", `\`, `a\`, "^", "-", ":", "\xff", "\x01", "\x7f", "\v", "\t", "\r", "a\r", "a\nb", ".a", "...")
	default:
		n := 1 + g.IntN(3)
		b := make([]byte, n)
		for i := range b {
			for b[i] == 0 || b[i] == '/' {
				b[i] = byte(g.IntN(256))
			}
		}
		if s := string(b); s != "." && s != ".." {
			return s
		}
		return "x"
	}
}

// matching makes a path that the pattern could match: its wildcards filled in.
func (g gen) matching(pattern string) string {
	p := strings.TrimLeft(strings.TrimRight(pattern, "\r\n /"), "!/")
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '*':
			if i+1 < len(p) && p[i+1] == '*' {
				i++
				b.WriteString(g.pick("", "a", "a/b", "/", "b/a/c", "c"))
			} else {
				b.WriteString(g.pick("", "a", "ab", "c.a"))
			}
		case '?':
			b.WriteString(g.pick("a", "b", "é", "."))
		case '[':
			if end := strings.IndexByte(p[i:], ']'); end > 0 {
				b.WriteString(g.pick("a", "b", "c", "A", "1", "-", "]", p[i+1:i+2]))
				i += end
			} else {
				b.WriteByte(c)
			}
		case '\\':
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// clean makes s a path of proper names, or "".
func clean(s string) string {
	var names []string
	for name := range strings.SplitSeq(s, "/") {
		if name != "" && name != "." && name != ".." && !strings.Contains(name, "\x00") && len(name) < 100 && !strings.EqualFold(name, ".git") {
			names = append(names, name)
		}
	}
	return strings.Join(names[:min(len(names), 8)], "/")
}

func (g gen) path() string {
	s := g.name()
	for range g.IntN(4) {
		s += "/" + g.name()
	}
	return clean(s)
}

// set makes a rule set with n paths.
func (g gen) set(n int) ruleSet {
	rs := ruleSet{files: map[string][]byte{"": g.file()}, isDir: map[string]bool{}}
	for range g.IntN(3) {
		dir := g.pick("a", "b", "a/b", "c", g.path())
		if dir != "" {
			rs.files[dir] = g.file()
		}
	}
	var patterns []string
	var dirs []string
	for dir, text := range rs.files {
		for line := range strings.SplitSeq(string(text), "\n") {
			patterns, dirs = append(patterns, line), append(dirs, dir)
		}
	}
	seen := map[string]bool{}
	parents := map[string]bool{}
	for dir := range rs.files {
		for ; dir != ""; dir = parent(dir) {
			parents[dir] = true
		}
	}
	for range n {
		p := g.path()
		if !g.one(4) {
			i := g.IntN(len(patterns))
			p = g.matching(patterns[i])
			if g.one(2) {
				p = dirs[i] + "/" + p
			}
			if g.one(4) {
				p = g.path() + "/" + p
			}
			if g.one(4) {
				p += "/" + g.path()
			}
			p = clean(p)
		}
		if p == "" || seen[p] {
			continue
		}
		seen[p] = true
		rs.paths = append(rs.paths, p)
		for dir := parent(p); dir != ""; dir = parent(dir) {
			parents[dir] = true
		}
	}
	for _, p := range rs.paths {
		rs.isDir[p] = parents[p] || g.one(3)
	}
	return rs
}

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}
