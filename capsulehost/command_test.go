package capsulehost_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/astridfs/astridfs/capsulehost"
)

func TestCommands(t *testing.T) {
	h := newHost(t, capsulehost.Options{})
	m := compile(t, h, goGuest(t, "command", false))
	v, _ := newView(t)
	run := func(cfg capsulehost.RunConfig, args ...string) (string, capsulehost.Result, error) {
		t.Helper()
		var out bytes.Buffer
		cfg.View, cfg.Args, cfg.Stdout, cfg.Stderr = v, append([]string{"command"}, args...), &out, &out
		res, err := h.Run(context.Background(), m, cfg)
		return out.String(), res, err
	}
	before := descriptors(t)
	for _, code := range []string{"0", "3", "255"} {
		if _, res, err := run(capsulehost.RunConfig{}, "exit", code); err != nil || res.Entry != capsulehost.EntryStart {
			t.Errorf("%s: %+v, %v", code, res, err)
		}
	}
	if _, res, err := run(capsulehost.RunConfig{}, "exit", "3"); err != nil || res.ExitCode != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	out, _, err := run(capsulehost.RunConfig{Stdin: strings.NewReader("in"), Env: []string{"GREETING=hello"}}, "echo")
	if err != nil || out != "in|command echo|hello|<nil>" {
		t.Errorf("%q, %v", out, err)
	}
	out, res, err := run(capsulehost.RunConfig{}, "panic")
	if err != nil || res.ExitCode != 2 || !strings.Contains(out, "the guest's own panic") {
		t.Errorf("%q, %+v, %v", out, res, err)
	}
	// Out of memory ends the guest, by its own runtime.
	out, res, err = run(capsulehost.RunConfig{Limits: capsulehost.Limits{MemoryPages: 512}}, "oom")
	if err != nil || res.ExitCode != 2 || !strings.Contains(out, "out of memory") || res.MemoryPages > 512 {
		t.Errorf("%.200q, %+v, %v", out, res, err)
	}
	// So do too many files, which are closed after it.
	out, _, err = run(capsulehost.RunConfig{Limits: capsulehost.Limits{FileCount: 100}}, "files")
	if err != nil || !strings.HasPrefix(out, "100 ") {
		t.Errorf("%q, %v", out, err)
	}
	// A guest that waits is stopped while it waits.
	never, w := io.Pipe()
	defer w.Close()
	for _, action := range []string{"echo", "sleep"} {
		_, _, err := run(capsulehost.RunConfig{Stdin: never, Limits: capsulehost.Limits{WallTime: 300 * time.Millisecond}}, action)
		if trap, ok := errors.AsType[*capsulehost.TrapError](err); !ok || trap.Kind != capsulehost.TrapTime {
			t.Errorf("%s: %v", action, err)
		}
	}
	if _, _, err := run(capsulehost.RunConfig{Action: "something"}); err == nil {
		t.Error("a command took an action")
	}
	if after := descriptors(t); after > before+8 {
		t.Errorf("%d descriptors are open, and were %d", after, before)
	}
}
