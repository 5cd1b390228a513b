package fusefs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
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
	table.probes.count.Add(1)
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
	if k := table.probes.count.Load(); k != 0 || n.probe.Load() != 0 {
		t.Errorf("%d descriptors are kept, %d is this node's", k, n.probe.Load()-1)
	}
}

// passed is an open file that may be passed through.
type passed struct {
	vfs.Handle
	fd int
}

func (p passed) PassthroughFD() (int, bool) { return p.fd, true }

// TestProbesOfUnmappedMakeRoom: files whose mappings are gone, which nobody asked
// about since, do not keep later ones from being found out about; and those that
// are mapped still do not lose their descriptors.
func TestProbesOfUnmappedMakeRoom(t *testing.T) {
	var r rawFS
	r.nodes.init()
	next := vfs.NodeID(2)
	close := func() (n *node, f *os.File) { // the end of the last open of a file that is passed through
		n = r.nodes.ref(next, false)
		next++
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		n.loose.Store(true)
		r.makeRoom()
		n.mu.Lock()
		r.nodes.probeLocked(n, passed{fd: int(f.Fd())})
		n.mu.Unlock()
		return n, f
	}
	var mapped []*node
	for i := range probesMax {
		n, f := close()
		if i%3 == 0 {
			defer f.Close() // as good as mapped: open for writing
			mapped = append(mapped, n)
		} else {
			f.Close()
		}
	}
	for range 500 {
		n, f := close()
		if n.probe.Load() == 0 {
			t.Fatal("there was no room")
		}
		f.Close()
	}
	for _, n := range mapped {
		if n.probe.Load() == 0 || r.settled(n) {
			t.Fatal("a mapped file is taken for one that is not")
		}
	}
	if k := r.nodes.probes.count.Load(); k > probesMax || len(r.nodes.probes.nodes) > probesMax {
		t.Errorf("%d descriptors are kept of %d nodes", k, len(r.nodes.probes.nodes))
	}
	r.nodes.drain(func(vfs.NodeID, uint64) {})
	if k := r.nodes.probes.count.Load(); k != 0 {
		t.Errorf("%d descriptors are kept at the end", k)
	}
}
