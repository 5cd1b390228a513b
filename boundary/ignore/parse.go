package ignore

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Limits of one ignore file. Beyond them it is an error and not a rule that is
// left out.
const (
	MaxFileSize = 8 << 20 // bytes
	MaxPattern  = 4096    // bytes of one line
	MaxRules    = 1 << 18
)

// A Rule is one line of an ignore file.
type Rule struct {
	File    string // the path of the file, as it was given to Parse
	Line    int    // from 1
	Pattern string // the line without what git drops at its end
	Negated bool   // "!": what matches is visible
	DirOnly bool   // a trailing slash: only directories match
}

func (r *Rule) String() string { return fmt.Sprintf("%s:%d: %s", r.File, r.Line, r.Pattern) }

// A LimitError is an ignore file that goes beyond a limit.
type LimitError struct {
	File string
	Line int // 0: the file as a whole
	What string
}

func (e *LimitError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.What
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What)
}

// Parse compiles the contents of the ignore file of one directory. file is its
// name in rules and errors. A list without a rule that can match is nil.
//
// Errors: *LimitError.
func Parse(file string, text []byte) (*List, error) {
	if len(text) > MaxFileSize {
		return nil, &LimitError{File: file, What: fmt.Sprintf("longer than %d bytes", MaxFileSize)}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	l := &List{text: string(text)}
	lineNo := 0
	for rest := l.text; rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		lineNo++
		if line == "" || line[0] == '#' {
			continue
		}
		pattern := trimLine(line)
		if len(pattern) > MaxPattern {
			return nil, &LimitError{file, lineNo, fmt.Sprintf("a pattern of more than %d bytes", MaxPattern)}
		}
		if err := l.add(file, lineNo, pattern); err != nil {
			return nil, err
		}
	}
	if len(l.rules) == 0 {
		return nil, nil
	}
	l.rules = slices.Clip(l.rules)
	return l, nil
}

// ParseDeny compiles deny rules, one pattern each. source is their name in rules
// and errors, in which the line is the number of the pattern, from 1. A pattern
// is the text of a line and means what it would mean in an ignore file at the
// root, except that a newline in it is an error.
//
// Errors: *LimitError.
func ParseDeny(source string, patterns []string) (*List, error) {
	for i, p := range patterns {
		if strings.ContainsAny(p, "\n\x00") {
			return nil, &LimitError{source, i + 1, "a newline or NUL in a pattern"}
		}
	}
	return Parse(source, []byte(strings.Join(patterns, "\n")))
}

// trimLine drops what git drops at the end of a line, which has no newline.
func trimLine(line string) string {
	line = strings.TrimSuffix(line, "\r")
	line, _, _ = strings.Cut(line, "\x00")
	end := len(line) // of what is not a space at the end
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			if end == len(line) {
				end = i
			}
		case '\\':
			if i++; i == len(line) {
				return line
			}
			end = len(line)
		default:
			end = len(line)
		}
	}
	return line[:end]
}

// add compiles one pattern. What can never match is dropped.
func (l *List) add(file string, lineNo int, pattern string) error {
	r := Rule{File: file, Line: lineNo, Pattern: pattern}
	p := pattern
	if strings.HasPrefix(p, "!") {
		r.Negated, p = true, p[1:]
	}
	if strings.HasSuffix(p, "/") {
		r.DirOnly, p = true, p[:len(p)-1]
	}
	anchored := strings.IndexByte(p, '/') >= 0
	plain := strings.IndexAny(p, `*?[\`) // bytes before the first wildcard
	if plain < 0 {
		plain = len(p)
	}
	if strings.HasPrefix(p, "/") {
		p, plain = p[1:], plain-1
	}
	elems, ok := compile(p, plain, anchored)
	if !ok || len(elems) == 0 {
		return nil
	}
	if len(l.rules) == MaxRules {
		return &LimitError{file, lineNo, fmt.Sprintf("more than %d rules", MaxRules)}
	}
	id := ruleID{int32(len(l.rules)), r.DirOnly}
	l.rules = append(l.rules, r)
	if !anchored {
		l.names.add(elems, id)
		return nil
	}
	l.addPath(elems, id)
	return nil
}
