package gate

import (
	"errors"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/vfs"
)

func TestCheck(t *testing.T) {
	g, err := Parse(
		[]string{"cwd://", "home://notes/"},
		[]string{"workspace://src", "cwd:///docs//api", "tmp://"},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		scheme, path string
		want         vfs.Access
		ok           bool
	}{
		{Workspace, "", vfs.Read, true},
		{Workspace, "any/thing", vfs.Read, true},
		{Workspace, "", vfs.Write, false},
		{Workspace, "src", vfs.Write, true},
		{Workspace, "src/a/b", vfs.Write, true},
		{Workspace, "src/a/b", vfs.Read | vfs.Write, true},
		{Workspace, "src-evil", vfs.Write, false},
		{Workspace, "sr", vfs.Write, false},
		{Workspace, "docs", vfs.Write, false},
		{Workspace, "docs/api/x", vfs.Write, true},
		{Home, "", vfs.Read, false},
		{Home, "notes", vfs.Read, true},
		{Home, "notes/a", vfs.Read, true},
		{Home, "notes/a", vfs.Write, false},
		{Tmp, "", vfs.Write, true},
		{Tmp, "", vfs.Read, false},
		{"other", "", vfs.Read, false},
	} {
		err := g.Check(c.scheme, c.path, c.want)
		if (err == nil) != c.ok {
			t.Errorf("Check(%s, %q, %d) = %v, want ok %v", c.scheme, c.path, c.want, err, c.ok)
		}
		if err != nil && !errors.Is(err, vfs.ErrCapability) {
			t.Errorf("Check(%s, %q): %v is not ErrCapability", c.scheme, c.path, err)
		}
	}
}

func TestStarIsTheWorkspaceAlone(t *testing.T) {
	g, err := Parse([]string{"*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check(Workspace, "a/b", vfs.Read); err != nil {
		t.Error(err)
	}
	for _, scheme := range []string{Home, Tmp} {
		if g.Check(scheme, "", vfs.Read) == nil {
			t.Errorf(`"*" grants %s`, scheme)
		}
	}
}

func TestPasses(t *testing.T) {
	g, err := Parse([]string{"cwd://a/b/c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"": true, "a": true, "a/b": true, "a/b/c": true, "a/b/c/d": true, "x": false, "a/x": false} {
		if got := g.Passes(Workspace, path); got != want {
			t.Errorf("Passes(%q) = %v", path, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for pattern, why := range map[string]string{
		"":                "begins with",
		"src":             "begins with",
		"/src":            "begins with",
		"**":              "begins with",
		"ftp://x":         `unknown scheme "ftp"`,
		"cwd://a/../b":    `".."`,
		"cwd://./a":       `"."`,
		"cwd://*":         "wildcards",
		"cwd://a/**":      "wildcards",
		"cwd://a\x00b":    "control",
		"cwd://a\nb":      "control",
		"cwd://\xff":      "UTF-8",
		"cwd://e\u0301":   "normalisation",
		"home:/x":         "begins with",
		"WORKSPACE://src": "unknown scheme",
	} {
		_, err := Parse([]string{pattern}, nil)
		if err == nil {
			t.Errorf("%q: accepted", pattern)
		} else if !strings.Contains(err.Error(), why) {
			t.Errorf("%q: error %q does not say %q", pattern, err, why)
		}
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	g, err := Parse([]string{"cwd://a/b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(100, func() {
		if g.Check(Workspace, "a/b/c/d", vfs.Read) != nil || g.Check(Workspace, "a/c", vfs.Read) == nil {
			t.Error("wrong answer")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a check", n)
	}
}

// FuzzParse compares the trie with the rule as it is told: whole components.
func FuzzParse(f *testing.F) {
	f.Add("cwd://src", "src/a")
	f.Add("*", "x")
	f.Add("workspace://a//b/", "a/b")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		g, err := Parse([]string{pattern}, nil)
		if err != nil {
			return
		}
		for _, c := range strings.Split(path, "/") {
			if vfs.CheckName(c) != nil {
				return // not a resolved path
			}
		}
		prefix := ""
		scheme, p, _ := strings.Cut(pattern, "://")
		switch {
		case pattern == "*":
		case scheme != "cwd" && scheme != Workspace:
			if g.Check(Workspace, path, vfs.Read) == nil {
				t.Fatalf("%q grants workspace path %q", pattern, path)
			}
			return
		default:
			prefix = strings.Join(strings.FieldsFunc(p, func(r rune) bool { return r == '/' }), "/")
		}
		want := prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/")
		if got := g.Check(Workspace, path, vfs.Read) == nil; got != want {
			t.Fatalf("%q on %q: granted %v, want %v", pattern, path, got, want)
		}
	})
}
