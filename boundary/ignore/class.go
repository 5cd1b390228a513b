package ignore

import "strings"

// charset is a set of bytes.
type charset [4]uint64

func (s *charset) has(c byte) bool { return s[c/64]&(1<<(c%64)) != 0 }

func (s *charset) add(c byte) { s[c/64] |= 1 << (c % 64) }

func (s *charset) addRange(lo, hi byte) {
	for c := int(lo); c <= int(hi); c++ {
		s.add(byte(c))
	}
}

// parseClass compiles the bracket expression that p begins with and returns how
// many bytes of p it is; 0 where it is unclosed or names a class that is none.
// A "]" right after the opening, or after "!" or "^" there, is a member.
func parseClass(p string) (*charset, int) {
	set := new(charset)
	i := 1
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}
	var prev byte // the member that a '-' would begin a range with; 0 if none
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0
		}
		c := p[i]
		switch {
		case c == ']' && !first:
			if negated {
				for w := range set {
					set[w] = ^set[w]
				}
			}
			set['/'/64] &^= 1 << ('/' % 64)
			return set, i + 1
		case c == '-' && prev != 0 && i+1 < len(p) && p[i+1] != ']':
			if i++; p[i] == '\\' {
				if i++; i == len(p) {
					return nil, 0
				}
			}
			set.addRange(prev, p[i])
			prev = 0
		case c == '[' && i+1 < len(p) && p[i+1] == ':':
			end := strings.IndexByte(p[i+2:], ']')
			if end < 0 {
				return nil, 0
			}
			if end == 0 || p[i+1+end] != ':' {
				set.add('[') // no ":]" ends it: an ordinary member
				prev = '['
				break
			}
			if !set.addNamed(p[i+2 : i+1+end]) {
				return nil, 0
			}
			i += 2 + end
			prev = 0
		case c == '\\':
			if i++; i == len(p) {
				return nil, 0
			}
			c = p[i]
			fallthrough
		default:
			set.add(c)
			prev = c
		}
		i++
	}
}

// addNamed adds the ASCII characters of a POSIX class, as git counts them.
func (s *charset) addNamed(name string) bool {
	switch name {
	case "alnum":
		return s.addNamed("alpha") && s.addNamed("digit")
	case "alpha":
		return s.addNamed("lower") && s.addNamed("upper")
	case "blank":
		s.add(' ')
		s.add('\t')
	case "cntrl":
		s.addRange(0, 31)
		s.add(127)
	case "digit":
		s.addRange('0', '9')
	case "graph":
		s.addRange('!', '~')
	case "lower":
		s.addRange('a', 'z')
	case "print":
		s.addRange(' ', '~')
	case "punct":
		s.addRange('!', '/')
		s.addRange(':', '@')
		s.addRange('[', '`')
		s.addRange('{', '~')
	case "space":
		for _, c := range []byte(" \t\n\r") {
			s.add(c)
		}
	case "upper":
		s.addRange('A', 'Z')
	case "xdigit":
		s.addRange('0', '9')
		s.addRange('a', 'f')
		s.addRange('A', 'F')
	default:
		return false
	}
	return true
}
