package ignore_test

import (
	"strings"
	"testing"

	"github.com/astridfs/astridfs/boundary/ignore"
)

func addSeeds(f *testing.F) {
	gen := newGen(4)
	for range 40 {
		rs := gen.set(2)
		for _, p := range rs.paths {
			f.Add(rs.files[""], p, rs.isDir[p])
		}
	}
	f.Add([]byte("/a/b**/c\n!**/[[:alpha:]-z]/\\*\r\n"), "a/bx/c", true)
}

// FuzzParse looks for rules that crash, or that are judged otherwise directory
// by directory than as a whole.
func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte, path string, isDir bool) {
		path = clean(path)
		if path == "" {
			return
		}
		set, err := ignore.Compile(map[string][]byte{"": text, parent(path): text}, strings.Split(path, "\n"))
		if err != nil {
			return
		}
		hidden, rule := set.Match(path, isDir)
		if h, r := incremental(set, path, isDir); h != hidden || r != rule {
			t.Fatalf("%q: hidden %v by %v, directory by directory %v by %v", path, hidden, rule, h, r)
		}
		if !hidden {
			for dir := parent(path); dir != ""; dir = parent(dir) {
				if h, r := set.Match(dir, true); h {
					t.Fatalf("%q is visible, but %q above it is hidden by %v", path, dir, r)
				}
			}
		}
	})
}

// FuzzAgainstGit asks git about one file and one path.
func FuzzAgainstGit(f *testing.F) {
	addSeeds(f)
	g := newGit(f)
	f.Fuzz(func(t *testing.T, text []byte, path string, isDir bool) {
		path = clean(path)
		if path == "" || len(text) > 4096 || strings.HasPrefix(path, ":") {
			return
		}
		if _, err := ignore.Parse("", text); err != nil {
			return
		}
		g := &git{t: t, dir: g.dir, n: g.n}
		g.compare(map[string]ruleSet{"s/": {files: map[string][]byte{"": text}, paths: []string{path}, isDir: map[string]bool{path: isDir}}})
	})
}
