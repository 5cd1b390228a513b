package ignore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/boundary/ignore"
)

func compile(t testing.TB, files map[string]string, deny ...string) *ignore.Set {
	t.Helper()
	m := map[string][]byte{}
	for dir, text := range files {
		m[dir] = []byte(text)
	}
	s, err := ignore.Compile(m, deny)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCorners holds the facts that the package comment tells.
func TestCorners(t *testing.T) {
	for _, c := range []struct {
		rules, path string // a trailing slash: a directory
		hidden      bool
	}{
		{"a\x00b\n", "a", true},
		{"a\r\nb\r\n", "a", true},
		{"a\r", "a", true},
		{"a\rb", "a\rb", true},
		{"\xef\xbb\xbfa", "a", true},
		{"b\n\xef\xbb\xbfa", "a", false},
		{"a  \n", "a", true},
		{"a\\ \n", "a ", true},
		{"a\\  \n", "a ", true},
		{"a\t\n", "a", false},
		{"a\\\n", "a", false},
		{"a\\\n", "a\\", false},
		{"[a\n", "[a", false},
		{"[[:no:]a]\n", "a", false},
		{"[[:space:]]\n", "\v", false},
		{"[é]\n", "é", false},
		{"[é][é]\n", "é", true},
		{"/a/b**/c", "a/bc", true},
		{"/a/b**/c", "a/b/x/y/c", true},
		{"/a/?b**/c", "a/xbc", false},
		{"/a/?b**/c", "a/xby/c", true},
		{"a/**", "a/", false},
		{"a/**", "a/b", true},
		{"a/**/b", "a/b", true},
		{"a/*/b", "a/b", false},
		{"**/a/b", "a/b", true},
		{"**/a/b", "x/y/a/b", true},
		{"a/b", "x/a/b", false},
		{"a/", "a", false},
		{"a/", "a/", true},
		{"a/", "a/x", true},
		{"A", "a", false},
		{"*\n!*/\n!*.go\n", "x/y/z.go", false},
		{"*\n!*/\n!*.go\n", "x/y/z.c", true},
		{"a\n!a/b\n", "a/b", true},
		{"#a\n", "#a", false},
		{"\\#a\n", "#a", true},
		{"\\!a\n", "!a", true},
		{"a?b", "a/b", false},
		{"a[/]b", "a/b", false},
	} {
		set := compile(t, map[string]string{"": c.rules})
		path, isDir := strings.CutSuffix(c.path, "/")
		if got, rule := set.Match(path, isDir); got != c.hidden {
			t.Errorf("%q on %q: hidden %v by %v", c.rules, c.path, got, rule)
		}
	}
}

func TestNestedFiles(t *testing.T) {
	set := compile(t, map[string]string{
		"":        "*.key\nbuild/\n",
		"a":       "!ok.key\n/b/secret\n",
		"a/b":     "secret2\n",
		"build":   "!*\n",
		"x/y/z/w": "*\n",
	})
	for path, want := range map[string]string{
		"ok.key":          ".astridignore:1: *.key",
		"a/ok.key":        "a/.astridignore:1: !ok.key",
		"a/b/c/ok.key":    "a/.astridignore:1: !ok.key",
		"a/no.key":        ".astridignore:1: *.key",
		"a/b/secret":      "a/.astridignore:2: /b/secret",
		"a/b/secret/x":    "a/.astridignore:2: /b/secret",
		"a/c/secret":      "",
		"a/b/q/secret2":   "a/b/.astridignore:1: secret2",
		"build/visible":   ".astridignore:2: build/",
		"x/y/z/w":         "",
		"x/y/z/w/q":       "x/y/z/w/.astridignore:1: *",
		"elsewhere/a/b/c": "",
		"":                "",
	} {
		_, rule := set.Match(path, false)
		if got := text(rule); got != want {
			t.Errorf("%q: rule %q, want %q", path, got, want)
		}
	}
}

func text(r *ignore.Rule) string {
	if r == nil {
		return ""
	}
	return r.String()
}

func TestDenyOnlyAdds(t *testing.T) {
	set := compile(t, map[string]string{"": "secret\n!open\n"}, "!secret", "/deny*", "!deny2", "open")
	for path, want := range map[string]string{
		"secret": ".astridignore:1: secret",
		"open":   "--deny:4: open",
		"deny1":  "--deny:2: /deny*",
		"deny2":  "",
		"a/deny": "",
	} {
		hidden, rule := set.Match(path, false)
		if !hidden {
			rule = nil
		}
		if got := text(rule); got != want {
			t.Errorf("%q: hidden by %q, want %q", path, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("a", ignore.MaxPattern)
	for _, c := range []struct {
		name, text string
		line       int // of the error; -1: none
	}{
		{"longest pattern", "x\n" + long + "\n", -1},
		{"longer pattern", "x\n" + long + "a\n", 2},
		{"longest of stars", strings.Repeat("?", ignore.MaxPattern-2) + "/x\n", -1},
		{"most rules", strings.Repeat("a\n", ignore.MaxRules), -1},
		{"more rules", "#\n" + strings.Repeat("a\n", ignore.MaxRules+1), ignore.MaxRules + 2},
		{"largest file", strings.Repeat("#\n", ignore.MaxFileSize/2), -1},
		{"larger file", strings.Repeat("#\n", ignore.MaxFileSize/2) + "a", 0},
	} {
		_, err := ignore.Compile(map[string][]byte{"d": []byte(c.text)}, nil)
		var le *ignore.LimitError
		switch {
		case c.line < 0:
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		case !errors.As(err, &le):
			t.Errorf("%s: error %v", c.name, err)
		case le.File != "d/.astridignore" || le.Line != c.line || !strings.HasPrefix(err.Error(), "d/.astridignore:"):
			t.Errorf("%s: error %v, want one of line %d", c.name, err, c.line)
		}
	}
	for _, p := range []string{long + "a", "a\nb", "a\x00b"} {
		if _, err := ignore.Compile(nil, []string{"x", p}); err == nil || !strings.HasPrefix(err.Error(), "--deny:2: ") {
			t.Errorf("deny pattern %.10q: error %v", p, err)
		}
	}
}

// TestNoPatternIsSlow runs patterns that make backtracking matchers explode.
func TestNoPatternIsSlow(t *testing.T) {
	name := strings.Repeat("a", 255)
	path := strings.Repeat("a/", 2000) + name
	for _, p := range []string{
		strings.Repeat("*a", 120) + "b",
		strings.Repeat("**/a/", 400) + "b",
		"x/../" + strings.Repeat("a*", 200) + "/b",
		strings.Repeat("*/**/", 200) + "b",
		strings.Repeat("?*", 2000),
	} {
		set := compile(t, map[string]string{"": p})
		if hidden, _ := set.Match(path, false); hidden {
			t.Errorf("%.20q matches", p)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	set := compile(t, map[string]string{
		"":    "a*\n*.o\n*x*y*\n/src/**/gen/*.go\nsrc/*/deep/**\nlit/e/ral\n!keep\nbuild/\n",
		"src": "/m/*/q\n**/z?/w\n",
	}, "/.git", "**/se*et/**")
	paths := []string{"src/m/n/q", "src/p/gen/file.go", "lit/e/ral", "zxzyz", "b.o", "src/1/2/3/4/5/6/7/8/zz/w", "plain/path/of/five/names"}
	dir := set.Root().Enter("src", set.List("src"))
	if n := testing.AllocsPerRun(200, func() {
		for _, p := range paths {
			set.Match(p, false)
		}
		dir.Match("file.go", false)
		dir.Judge("m")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSameSpeaksForAllBelow holds Same to its word: if it says that two
// directories are judged alike, every path below them is.
func TestSameSpeaksForAllBelow(t *testing.T) {
	gen := newGen(3)
	same := 0
	for range 4000 {
		rs := gen.set(12)
		set, err := ignore.Compile(rs.files, []string{strings.ReplaceAll(gen.plain(), "\n", "")})
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(rs.paths); i++ {
			a, b := enter(set, rs.paths[i-1]), enter(set, rs.paths[i])
			if !a.Same(b) {
				continue
			}
			same++
			for _, rest := range rs.paths {
				d, e := a, b
				for name := range strings.SplitSeq(rest, "/") {
					// The directories below have no files of their own here.
					vd, ve := d.Judge(name), e.Judge(name)
					if vd.Hidden(true) != ve.Hidden(true) || vd.Hidden(false) != ve.Hidden(false) {
						t.Fatalf("%q and %q are the same, but differ on %q below\nfiles %q", rs.paths[i-1], rs.paths[i], rest, rs.files)
					}
					d, e = d.Enter(name, nil), e.Enter(name, nil)
				}
			}
		}
	}
	if same < 1000 {
		t.Errorf("only %d were the same", same)
	}
}

func enter(set *ignore.Set, path string) *ignore.Dir {
	d := set.Root()
	at := ""
	for name := range strings.SplitSeq(path, "/") {
		at = strings.TrimPrefix(at+"/"+name, "/")
		d = d.Enter(name, set.List(at))
	}
	return d
}

func TestSame(t *testing.T) {
	set := compile(t, map[string]string{"": "*.key\n/a/secret\n/src/**/gen/x\n/r/*/t\n", "n": "z\n", "m": "z\n"})
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"x", "y", true},
		{"x/y/z", "w", true},
		{"a", "b", false},
		{"a/b", "b", true},
		{"src/p", "src/q", true},
		{"src/p", "src/p/q", true},
		{"src/p", "src/gen", false},
		{"src/p", "p", false},
		{"r/a", "r/b", true},
		{"r/a", "r", false},
		{"n", "x", false},
		{"n/a", "m/b", true}, // two files of one text
		{"x.key", "y.key", true},
		{"x.key", "y", false},
	} {
		if got := enter(set, c.a).Same(enter(set, c.b)); got != c.same {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
}

// benchRules is n rules of the kinds that ignore files hold.
func benchRules(n int) string {
	var b strings.Builder
	for i := range n {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "name%d\n", i)
		case 1:
			fmt.Fprintf(&b, "*.ext%d\n", i)
		case 2:
			fmt.Fprintf(&b, "/dir%d/sub/file\n", i)
		case 3:
			fmt.Fprintf(&b, "pre%d-*\n", i)
		case 4:
			fmt.Fprintf(&b, "build%d/\n", i)
		}
	}
	return b.String()
}

func BenchmarkDirMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			d := enter(compile(b, map[string]string{"": benchRules(n)}), "src/pkg")
			b.ReportAllocs()
			for b.Loop() {
				d.Match("handler_test.go", false)
			}
		})
	}
}

func BenchmarkDirMatchGlobs(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			var rules strings.Builder
			for i := range n {
				fmt.Fprintf(&rules, "*a%d*.[oc]\n", i)
			}
			d := enter(compile(b, map[string]string{"": rules.String()}), "src/pkg")
			b.ReportAllocs()
			for b.Loop() {
				d.Match("handler_test.go", false)
			}
		})
	}
}

func BenchmarkSetMatch(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			set := compile(b, map[string]string{"": benchRules(n) + "src/**/gen/*.go\n", "src": "*.tmp\n"})
			b.ReportAllocs()
			for b.Loop() {
				set.Match("src/cmd/internal/obj/handler_test.go", false)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte(benchRules(1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ignore.Parse("f", text); err != nil {
			b.Fatal(err)
		}
	}
}
