package session

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKilled: a process that has ended but is not collected yet is told from one
// that lives, stopped or not.
func TestKilled(t *testing.T) {
	if killed(os.Getpid()) || killed(0) {
		t.Error("this process is said to be killed")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if killed(cmd.Process.Pid) {
		t.Error("a stopped process is said to be killed")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); !killed(cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a zombie is said to live")
		}
	}
}
