package fusefs

import (
	"fmt"
	"testing"
)

type collector []string

func (c *collector) Printf(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

// TestLogWriter: what go-fuse reports is passed on, a line at a time.
func TestLogWriter(t *testing.T) {
	var got collector
	for _, msg := range []string{"something: 2=no such file or directory\n", "without an end"} {
		if n, err := (logWriter{&got}).Write([]byte(msg)); n != len(msg) || err != nil {
			t.Errorf("%q: Write returned %d, %v", msg, n, err)
		}
	}
	if text := fmt.Sprintf("%q", []string(got)); text != `["fuse: something: 2=no such file or directory" "fuse: without an end"]` {
		t.Errorf("passed on as %s", text)
	}
}
