package fusefs

import (
	"fmt"
	"testing"
)

type collector []string

func (c *collector) Printf(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

// TestLogWriter: what go-fuse reports is passed on, except what is part of a
// mount's ordinary end.
func TestLogWriter(t *testing.T) {
	for msg, want := range map[string]string{
		"Failed to read from fuse conn: 103=software caused connection abort\n":         "",
		"Failed to read from fuse conn: 5=input/output error\n":                         "fuse: Failed to read from fuse conn: 5=input/output error",
		"writer: Write/Writev failed, err: 2=no such file or directory. opcode: READ\n": "",
		"writer: Write/Writev failed, err: 22=invalid argument. opcode: READDIRPLUS\n":  "fuse: writer: Write/Writev failed, err: 22=invalid argument. opcode: READDIRPLUS",
		"something else: 2=no such file or directory\n":                                 "fuse: something else: 2=no such file or directory",
	} {
		var got collector
		n, err := logWriter{&got}.Write([]byte(msg))
		if n != len(msg) || err != nil {
			t.Errorf("%q: Write returned %d, %v", msg, n, err)
		}
		if text := fmt.Sprint([]string(got)); text != fmt.Sprint([]string{want}) && !(want == "" && len(got) == 0) {
			t.Errorf("%q: passed on as %s, want %q", msg, text, want)
		}
	}
}
