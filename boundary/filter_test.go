package boundary_test

import (
	"testing"
)

// TestFilter judges paths of a change set: by the rules, and by what is there.
func TestFilter(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "*.key\n/pub/no\n", "a.key": "secret", "pub/other": "== a.key", "pub/no/x": "", "pub/yes": "", "pub/twin": "== pub/yes",
		"pub/link": "-> ../a.key",
	}, lazily, func(v *view) {
		f := v.b.Filter()
		for _, c := range []struct {
			path  string
			isDir bool
			rule  string // "" not hidden, "-" hidden by none
		}{
			{"", true, ""}, {"a.key", false, "*.key"}, {"gone.key", false, "*.key"}, {"pub", true, ""}, {"pub/gone", false, ""}, {"pub/link", false, ""},
			{"pub/no", true, "/pub/no"}, {"pub/no/x", false, "/pub/no"}, {"pub/other", false, "-"}, {"pub/other/x", false, ""}, {"pub/twin", false, ""},
			{"pub/yes", false, ""}, {"none/x", false, ""},
		} {
			hides, rule, err := f.Hidden(v.ctx, c.path, c.isDir)
			if err != nil || hides != (c.rule != "") {
				t.Errorf("%q: hidden %v, %v", c.path, hides, err)
			}
			switch {
			case !hides:
			case c.rule == "-" && rule != nil, c.rule != "-" && (rule == nil || rule.Pattern != c.rule):
				t.Errorf("%q: hidden by %v, want %s", c.path, rule, c.rule)
			}
		}
	})
}
