package diff

import "testing"

func TestRenamed(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"a", "b", "a => b"},
		{"d/a", "d/b", "d/{a => b}"},
		{"a/f", "b/f", "{a => b}/f"},
		{"x/a/f", "x/b/f", "x/{a => b}/f"},
		{"x/f", "x/y/f", "x/{ => y}/f"},
		{"x/y/f", "x/f", "x/{y => }/f"},
		{"a/b", "c/d", "a/b => c/d"},
		{"f", "d/f", "f => d/f"},
		{"a\n", "b", `"a\n" => b`},
	} {
		if got := renamed(c.from, c.to); got != c.want {
			t.Errorf("%q to %q: got %q, want %q", c.from, c.to, got, c.want)
		}
	}
}
