package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSpinner has something short show nothing, and something long its size
// and seconds, of which nothing is left.
func TestSpinner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := spinner{w: &out, what: "compiling tool.wasm", wait: time.Second}
		done := s.start(12_300_000)
		time.Sleep(time.Second / 2)
		done()
		done()
		if out.Len() > 0 {
			t.Errorf("something short shows %q", out.String())
		}
		done = s.start(12_300_000)
		time.Sleep(3*time.Second + time.Second/2)
		done()
		lines := strings.Split(out.String(), "\r")
		if first := lines[1]; !strings.Contains(first, "compiling tool.wasm (12.3 MB)") {
			t.Errorf("something long shows %q first", first)
		}
		if !strings.Contains(out.String(), "[2s]") {
			t.Errorf("no seconds in %q", out.String())
		}
		if last := lines[len(lines)-1]; strings.TrimSpace(last) != "" {
			t.Errorf("%q is left", last)
		}
	})
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"compiling ä.wasm", 16, "compiling ä.wasm"}, {"compiling ä.wasm", 15, "compiling ä.wa…"}, {"abc", 2, "a…"}, {"abc", 0, "abc"}} {
		if got := shorten(c.text, c.width); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
