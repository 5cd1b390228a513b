package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killOwner ends the session's owner without any chance to clean up.
func (b *box) killOwner() {
	b.t.Helper()
	pid := b.owner()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		// A zombie counts as gone: its parent may be in no hurry.
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	b.t.Fatalf("process %d does not die", pid)
}

// TestKilledOwner: after kill -9 of the owner, whatever command comes next
// cleans up the dead mount, names it, and shows all that was acknowledged.
func TestKilledOwner(t *testing.T) {
	for _, next := range []string{"status", "diff", "mount", "sessions", "unmount", "discard"} {
		t.Run(next, func(t *testing.T) {
			b := newBox(t)
			write(t, filepath.Join(b.ws, "kept"), "kept\n")
			write(t, filepath.Join(b.ws, "edited"), "old\n")
			write(t, filepath.Join(b.ws, "dir/removed"), "x\n")
			before := manifest(t, b.ws)
			b.mount()
			for i := range 200 {
				write(t, filepath.Join(b.mnt, fmt.Sprintf("new/%d", i)), strings.Repeat("n", i))
			}
			write(t, filepath.Join(b.mnt, "edited"), "new\n")
			if err := os.Remove(filepath.Join(b.mnt, "dir/removed")); err != nil {
				t.Fatal(err)
			}
			view := manifest(t, b.mnt)
			b.killOwner()
			// The kernel says ECONNABORTED while it takes the connection down.
			if _, err := os.Stat(b.mnt); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
				t.Fatalf("the dead mount answers %v", err)
			}

			var r result
			switch next {
			case "mount":
				r = b.try("mount", "--session", b.session, b.ws, b.mnt)
			case "sessions":
				r = b.try("sessions", "list")
			case "unmount":
				r = b.try("unmount", b.mnt)
			case "discard":
				r = b.try("discard", b.session, "--yes", "new/7")
				delete(view, "new/7")
			default:
				r = b.try(next, b.session)
			}
			if r.code != 0 {
				t.Fatalf("%s after the kill: exit %d\n%s%s", next, r.code, r.stdout, r.stderr)
			}
			if next != "unmount" && !strings.Contains(r.stderr, b.mnt) {
				t.Errorf("%s does not name the dead mount it cleaned up: %q", next, r.stderr)
			}
			if next != "mount" {
				if mounted(b.mnt) {
					t.Fatalf("%s left the dead mount", next)
				}
				b.mount()
			}
			sameTree(t, "the view after recovery", manifest(t, b.mnt), view)
			sameTree(t, "the workspace", manifest(t, b.ws), before)
			b.unmount()
		})
	}
}

// TestKilledWhileWriting kills the owner at some instant of a stream of
// changes, many times, and looks for whatever was acknowledged before.
func TestKilledWhileWriting(t *testing.T) {
	b := newBox(t)
	for i := range 50 {
		write(t, filepath.Join(b.ws, fmt.Sprintf("f%d", i)), fmt.Sprintf("lower %d\n", i))
	}
	before := manifest(t, b.ws)
	for round := range 5 {
		b.mount()
		want, last := map[string]string{}, "" // of the goroutine until it has stopped
		begun, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				name := fmt.Sprintf("f%d", i%50)
				if i%3 == 2 {
					name = fmt.Sprintf("new-%d-%d", round, i)
				}
				content := fmt.Sprintf("round %d, write %d\n", round, i)
				tmp := filepath.Join(b.mnt, "tmp")
				if os.WriteFile(tmp, []byte(content), 0o644) != nil ||
					os.Rename(tmp, filepath.Join(b.mnt, name)) != nil {
					return
				}
				want[name], last = content, name
				if i == 0 {
					close(begun)
				}
			}
		}()
		select {
		case <-begun:
		case <-stopped:
		}
		time.Sleep(time.Duration(50+round*37) * time.Millisecond)
		b.killOwner()
		<-stopped
		if len(want) == 0 {
			t.Fatal("nothing was written before the kill")
		}
		b.mount()
		for name, content := range want {
			got := read(t, filepath.Join(b.mnt, name))
			// The write after the last acknowledged one may have taken effect.
			var r, n int
			if _, err := fmt.Sscanf(got, "round %d, write %d\n", &r, &n); got != content && (err != nil || r != round) {
				t.Errorf("%s holds %q, acknowledged was %q (last acknowledged: %s)", name, got, content, last)
			}
		}
		b.unmount()
	}
	sameTree(t, "the workspace", manifest(t, b.ws), before)
}
