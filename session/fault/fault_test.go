package fault

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// TestKinds: an errno tells of permissions, and what to do where nobody did.
func TestKinds(t *testing.T) {
	denied := &os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}
	for _, c := range []struct {
		err  error
		kind Kind
		next string
	}{
		{denied, Denied, nexts[syscall.EACCES]},
		{New(Failed, "", "state: %w", denied), Denied, nexts[syscall.EACCES]},
		{New(Failed, "do this", "state: %w", denied), Failed, "do this"},
		{New(Busy, "", "state: %w", denied), Busy, nexts[syscall.EACCES]},
		{fmt.Errorf("opening: %w", New(Conflict, "look", "x")), Conflict, "look"},
		{errors.Join(errors.New("a"), syscall.ENOSPC), Failed, nexts[syscall.ENOSPC]},
		{New(Failed, "", "no session").By(denied), Failed, ""},
		{errors.New("plain"), Failed, ""},
	} {
		if f := Of(c.err); f.Kind != c.kind || f.Next != c.next || f.What != c.err.Error() {
			t.Errorf("%v: %+v", c.err, f)
		}
	}
	if e := New(Failed, "", "no session").By(denied); !errors.Is(e, syscall.EACCES) || e.Error() != "no session" {
		t.Errorf("By: %v", e)
	}
}

// TestArg: what is printed can be pasted into a shell.
func TestArg(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/a/b.txt", "", "a b", "it's", "$HOME", "a\nb", "\x1b[2J'\\x", "ünï", "\xff", "~", "*", "a\\b", "\xffab'c", "a\u0085b", "a\u202eb"} {
		quoted := Arg(path)
		out, err := exec.Command(bash, "-c", "printf %s "+quoted).Output()
		if err != nil || string(out) != path {
			t.Errorf("%q as %s is read as %q, %v", path, quoted, out, err)
		}
		if !utf8.ValidString(quoted) || strings.ContainsFunc(quoted, Unseen) {
			t.Errorf("%q holds what a terminal does not show", quoted)
		}
	}
	if got := Arg("/home/u/x-1.2_y"); got != "/home/u/x-1.2_y" {
		t.Errorf("nothing to quote: %s", got)
	}
}
