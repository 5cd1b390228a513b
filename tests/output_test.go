package tests

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probe is a guest whose "cat" copies its input to its output.
const probe = "../cmd/astridfs/testdata/guests/probe.wasm"

// piped is a run of probe cat whose output goes to a pipe.
type piped struct {
	*exec.Cmd
	out   *os.File      // where the pipe is read
	ended chan struct{} // closed when err says how
	err   error
}

func (b *box) pipe(ctx context.Context, in string, alone bool, args ...string) *piped {
	b.t.Helper()
	args = append([]string{"run", "--session", b.session, "--workspace", b.ws}, args...)
	cmd := exec.CommandContext(ctx, binary, append(args, probeAbs(b.t), "cat")...)
	cmd.Env = append(os.Environ(), "ASTRIDFS_STATE_DIR="+b.state)
	stdin, err := os.Open(in)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { stdin.Close() })
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Close()
	b.t.Cleanup(func() { r.Close() })
	cmd.Stdin, cmd.Stdout = stdin, w
	if !alone { // what the command itself has to say cannot be read either
		cmd.Stderr = w
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	p := &piped{Cmd: cmd, out: r, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p
}

// wait returns when the command has ended, and how.
func (p *piped) wait() error {
	<-p.ended
	return p.err
}

// unread waits until the pipe holds all that it can. It is false if the command
// ends before.
func (p *piped) unread(t *testing.T) bool {
	t.Helper()
	size, err := unix.FcntlInt(p.out.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	for {
		n, err := unix.IoctlGetInt(int(p.out.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		if n >= size {
			return true
		}
		select {
		case <-p.ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestUnreadOutput: a capsule that waits for somebody to read its output ends when
// its time is up, or when it is interrupted, and leaves nothing in the owner.
func TestUnreadOutput(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		t.Run(fmt.Sprintf("mounted=%v", mounted), func(t *testing.T) {
			b := newBox(t)
			sockets := func() int { return 0 }
			if mounted {
				b.mount()
				owner := b.owner()
				sockets = func() int { return countSockets(t, owner) }
			} else {
				b.run("run", "--session", b.session, "--workspace", b.ws, probeAbs(t), "say", "x")
			}
			before := sockets()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for _, c := range []struct {
				name string
				args []string
				stop func(p *piped)
				code int
			}{
				{"timeout", []string{"--timeout", "2s"}, func(*piped) {}, 124},
				{"interrupted", nil, func(p *piped) { p.Process.Signal(os.Interrupt) }, 130},
			} {
				p := b.pipe(ctx, "/dev/zero", false, c.args...)
				for s := 10; !p.unread(t); s *= 2 {
					// On a busy machine its time may be up before the pipe is full.
					if c.code != 124 || p.ProcessState.ExitCode() != 124 {
						t.Fatalf("%s: it ends before the pipe is full: %v", c.name, p.err)
					}
					p = b.pipe(ctx, "/dev/zero", false, "--timeout", fmt.Sprint(s, "s"))
				}
				c.stop(p)
				p.wait()
				if ctx.Err() != nil {
					t.Fatalf("%s: it does not end", c.name)
				}
				if got := p.ProcessState.ExitCode(); got != c.code {
					t.Errorf("%s: exit code %d, want %d", c.name, got, c.code)
				}
				data, err := io.ReadAll(p.out)
				if err != nil || len(data) < 4096 || len(bytes.Trim(data, "\x00")) > 0 {
					t.Errorf("%s: %d bytes came, %v", c.name, len(data), err)
				}
			}
			for i := 0; sockets() > before; i++ {
				if i == 6000 {
					t.Fatalf("the owner has %d sockets, had %d", sockets(), before)
				}
				time.Sleep(10 * time.Millisecond)
			}
			b.run("run", "--session", b.session, "--workspace", b.ws, probeAbs(t), "say", "x")
		})
	}
}

func probeAbs(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs(probe)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func countSockets(t *testing.T, pid int) int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && len(to) > 7 && to[:7] == "socket:" {
			n++
		}
	}
	return n
}

// TestSlowReader: what is read late, and a bit at a time, is all there and in
// order.
func TestSlowReader(t *testing.T) {
	var text bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintln(&text, i)
	}
	for _, mounted := range []bool{false, true} {
		t.Run(fmt.Sprintf("mounted=%v", mounted), func(t *testing.T) {
			b := newBox(t)
			if mounted {
				b.mount()
			}
			in := filepath.Join(b.dir, "numbers")
			write(t, in, text.String())
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			p := b.pipe(ctx, in, true)
			if !p.unread(t) {
				t.Fatalf("it ends before the pipe is full: %v", p.err)
			}
			var got bytes.Buffer
			for {
				if _, err := io.CopyN(&got, p.out, 5000); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if got.Len()%100_000 == 0 {
					time.Sleep(10 * time.Millisecond)
				}
			}
			if err := p.wait(); err != nil || !bytes.Equal(got.Bytes(), text.Bytes()) {
				t.Errorf("%v, %d bytes of %d", err, got.Len(), text.Len())
			}
		})
	}
}
