// Package gate holds capsules to the capabilities they were granted: which
// paths they may read and which they may write.
//
// [Grants] is the set of granted paths. It does no I/O, is immutable once made
// and answers without allocating, whatever the number of grants. [New] wraps a
// filesystem so that a FUSE mount is held to the same grants as the capsule.
package gate

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/astridfs/astridfs/vfs"
)

// The schemes that a grant can name. "cwd" is another word for Workspace.
const (
	Workspace = "workspace"
	Home      = "home"
	Tmp       = "tmp"
)

// Grants is a set of granted paths. The zero value grants nothing.
type Grants struct {
	workspace, home, tmp tree
}

var _ vfs.Gate = (*Grants)(nil)

// tree is a node of a trie of path components.
type tree struct {
	grant    vfs.Access // granted for this path and all below
	children map[string]*tree
}

// Parse makes Grants of two lists of patterns, as a manifest or the command
// line gives them. A pattern is "*" (the whole workspace and nothing else),
// "workspace://p", "cwd://p", "home://p" or "tmp://p"; it grants p and all below
// it, by whole components. An error names the pattern and what is wrong in it.
func Parse(read, write []string) (*Grants, error) {
	g := new(Grants)
	for _, list := range []struct {
		patterns []string
		access   vfs.Access
	}{{read, vfs.Read}, {write, vfs.Write}} {
		for _, p := range list.patterns {
			if err := g.add(p, list.access); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

// Validate tells whether pattern is one that Parse accepts.
func Validate(pattern string) error { return new(Grants).add(pattern, vfs.Read) }

func (g *Grants) add(pattern string, access vfs.Access) error {
	scheme, path := Workspace, ""
	if pattern != "*" {
		var ok bool
		if scheme, path, ok = strings.Cut(pattern, "://"); !ok {
			return patternError(pattern, `want "*", or a path that begins with workspace://, cwd://, home:// or tmp://`)
		}
	}
	t := g.scheme(scheme)
	if t == nil {
		return patternError(pattern, fmt.Sprintf("unknown scheme %q", scheme))
	}
	if why := checkText(path); why != "" {
		return patternError(pattern, why)
	}
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case "":
			continue
		case ".", "..":
			return patternError(pattern, fmt.Sprintf("%q in a pattern", name))
		case "*", "**":
			return patternError(pattern, "no wildcards in paths: a pattern grants a path and all below it")
		}
		child := t.children[name]
		if child == nil {
			child = new(tree)
			if t.children == nil {
				t.children = make(map[string]*tree)
			}
			t.children[name] = child
		}
		t = child
	}
	t.grant |= access
	return nil
}

func checkText(path string) string {
	switch {
	case !utf8.ValidString(path):
		return "not UTF-8"
	case !norm.NFC.IsNormalString(path):
		return "not in Unicode normalisation form C"
	case strings.ContainsFunc(path, unicode.IsControl):
		return "a control character"
	}
	return ""
}

func patternError(pattern, why string) error {
	return fmt.Errorf("capability %q: %s", pattern, why)
}

func (g *Grants) scheme(name string) *tree {
	switch name {
	case Workspace, "cwd":
		return &g.workspace
	case Home:
		return &g.home
	case Tmp:
		return &g.tmp
	}
	return nil
}

// Check answers nil if all of want is granted for path, the resolved path below
// the root of scheme, and vfs.ErrCapability otherwise.
func (g *Grants) Check(scheme, path string, want vfs.Access) error {
	if granted, _ := g.find(scheme, path); granted&want == want {
		return nil
	}
	return vfs.ErrCapability
}

// Passes tells whether something is granted for path or below it, so that it can
// be walked through.
func (g *Grants) Passes(scheme, path string) bool {
	granted, leads := g.find(scheme, path)
	return granted != 0 || leads
}

// find returns what is granted for path, and whether something below it may be.
func (g *Grants) find(scheme, path string) (granted vfs.Access, leads bool) {
	t := g.scheme(scheme)
	if t == nil {
		return 0, false
	}
	granted = t.grant
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if t = t.children[name]; t == nil {
			return granted, false
		}
		granted |= t.grant
	}
	return granted, len(t.children) > 0
}
