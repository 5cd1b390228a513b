package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestScreen shows a patch whose contents would do something to a terminal.
func TestScreen(t *testing.T) {
	text := "diff --git a/x b/x\n+\x1b[31;8mhid\x1b[0m\tden\r\n-\u009b2J\u202eevil\u2066\x7f\n \xff\x9b\xc2\u00e9\u20ac\n+last"
	want := "diff --git a/x b/x\n+^[[31;8mhid^[[0m\tden^M\n-<U+009B>2J<U+202E>evil<U+2066>^?\n \xff<9B>\xc2\u00e9\u20ac\n+last"
	for _, step := range []int{1, 7, len(text)} {
		var out bytes.Buffer
		w := &screenWriter{w: &out}
		for rest := text; rest != ""; rest = rest[min(step, len(rest)):] {
			if _, err := w.Write([]byte(rest[:min(step, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("in steps of %d:\n%q, want\n%q", step, out.String(), want)
		}
	}
	var out bytes.Buffer
	w := &screenWriter{w: &out, colour: true}
	w.Write([]byte("+\x1b[0m\n")) // a buffer takes all
	if want := green + "+^[[0m" + plain + "\n"; out.String() != want {
		t.Errorf("coloured: %q, want %q", out.String(), want)
	}
}

func TestNoControls(t *testing.T) {
	for _, s := range []string{"plain \u20ac \\ \"q\"", "\u009b31m\x7f\x1b\n\u0080\u00a0"} {
		b, err := marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(string(b), func(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 }); i >= 0 {
			t.Errorf("%q holds a control character", b)
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != s {
			t.Errorf("%q reads as %q, %v", b, back, err)
		}
	}
	if got := oneLine("a\x1b[2Jb\u009b\u202ec\nd"); got != "a?[2Jb??c; d" {
		t.Errorf("one line: %q", got)
	}
}
