package fusefs

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestProbeOutlivesItsUse: the descriptor by which it is found out who has a file
// open is not closed, and its number another file's, while it is used. The kernel
// may forget the node meanwhile.
func TestProbeOutlivesItsUse(t *testing.T) {
	const id = 7
	var table nodeTable
	table.init()
	n := table.ref(id, false)
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	table.probes.Add(1)
	n.probe.Store(int32(fd) + 1)

	n.mu.Lock() // as settledLocked is called
	done := make(chan struct{})
	go func() {
		table.unref(id, 1)
		close(done)
	}()
	for deadline := time.Now().Add(time.Minute); table.known(id); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the node is not forgotten")
		}
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor while it is used: %v", err)
	}
	n.mu.Unlock()
	<-done
	if k := table.probes.Load(); k != 0 || n.probe.Load() != 0 {
		t.Errorf("%d descriptors are kept, %d is this node's", k, n.probe.Load()-1)
	}
}
