package ignore

import "strings"

// FileName is the name of an ignore file.
const FileName = ".astridignore"

// DenySource is how rules from Compile's deny patterns call their file.
const DenySource = "--deny"

// Set is the compiled rules of a whole tree. It is immutable and may be used by
// any number of goroutines.
type Set struct {
	deny *List
	root dirNode
	idle chan *matcher // some that are not in use
}

// dirNode is a directory that has an ignore file, or leads to one.
type dirNode struct {
	list     *List
	children map[string]*dirNode
}

func (n *dirNode) child(name string) *dirNode {
	if n == nil {
		return nil
	}
	return n.children[name]
}

func (n *dirNode) own() *List {
	if n == nil {
		return nil
	}
	return n.list
}

// Compile makes a Set of the contents of ignore files, by the path of the
// directory that each is in ("" for the root), and of deny patterns.
//
// Errors: *LimitError.
func Compile(files map[string][]byte, deny []string) (*Set, error) {
	s := &Set{idle: make(chan *matcher, idleMatchers)}
	var err error
	if s.deny, err = ParseDeny(DenySource, deny); err != nil {
		return nil, err
	}
	for dir, text := range files {
		file := FileName
		n := &s.root
		if dir != "" {
			file = dir + "/" + FileName
			for name := range strings.SplitSeq(dir, "/") {
				child := n.children[name]
				if child == nil {
					child = new(dirNode)
					if n.children == nil {
						n.children = make(map[string]*dirNode)
					}
					n.children[name] = child
				}
				n = child
			}
		}
		if n.list, err = Parse(file, text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Root returns the state of matching in the root. Entering a directory takes
// the list of its own file, which List returns.
func (s *Set) Root() *Dir { return NewDir(s.deny, s.root.list) }

// List returns the rules of the ignore file in the directory at path; nil if
// it has none.
func (s *Set) List(path string) *List {
	n := &s.root
	for name := range strings.SplitSeq(path, "/") {
		if path != "" {
			n = n.child(name)
		}
	}
	return n.own()
}

// Match tells whether the path is hidden, and which rule decided; nil if none
// has to do with it. The path is of names joined by '/'; the root, "", is never
// hidden. It does not allocate once warm, unless called by very many at once.
func (s *Set) Match(path string, isDir bool) (hidden bool, rule *Rule) {
	if path == "" {
		return false, nil
	}
	var m *matcher
	select {
	case m = <-s.idle:
	default:
		m = new(matcher)
	}
	defer func() {
		select {
		case s.idle <- m:
		default:
		}
	}()
	d, a := m.next()
	a.root(d, s.deny, s.root.list)
	n := &s.root
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return d.Match(name, isDir)
		}
		if hidden, rule = d.Match(name, true); hidden {
			return true, rule
		}
		n, path = n.child(name), rest
		sub, a := m.next()
		if d = a.enter(sub, d, name, n.own()); d != sub {
			m.turn ^= 1
		}
	}
}

// idleMatchers is how many matchers a Set keeps.
const idleMatchers = 16

// matcher goes down a path without allocating: two states take turns, with
// memory that is used again.
type matcher struct {
	dirs [2]Dir
	mem  [2]arena
	turn int
}

// next returns the state that is not in use, cleared, and its memory.
func (m *matcher) next() (*Dir, *arena) {
	m.turn ^= 1
	d, a := &m.dirs[m.turn], &m.mem[m.turn]
	d.deny, d.files = d.deny[:0], d.files[:0]
	a.deep, a.bits = a.deep[:0], a.bits[:0]
	return d, a
}
