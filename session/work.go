package session

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/astridfs/astridfs/session/wire"
)

// work is what is seen of another process's: on a machine with too much to do it
// may be late with everything, and still be worth waiting for.
type work struct {
	pid int // 0: of a process that cannot be seen
	cpu string
}

// goesOn tells whether the process has used a processor since it was asked last,
// or waits for one, or for a disk. One that has stopped, sleeps, or is gone has not.
func (w *work) goesOn() bool {
	used := ""
	if stat := procStat(fmt.Sprintf("/proc/%d/stat", w.pid)); len(stat) > 12 {
		used = stat[11] + " " + stat[12] // utime, stime
	}
	if w.pid == 0 || used == "" {
		return false
	}
	if used != w.cpu {
		w.cpu = used
		return true
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", w.pid)) // the pattern is right
	for _, path := range threads {
		if stat := procStat(path); len(stat) > 0 && (stat[0] == "R" || stat[0] == "D") {
			return true
		}
	}
	return false
}

// procStat returns the fields of such a file behind the program's name; none if
// it is gone.
func procStat(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
}

// endurance is how long a command waits at most for an owner that is at work.
const endurance = 2 * time.Minute

// cutOff ends what conn is waited for with [os.ErrDeadlineExceeded] when ctx ends,
// or when the process at its other end has done nothing for a time. The caller
// calls release, after which conn is its own again.
func cutOff(ctx context.Context, conn *net.UnixConn, idle time.Duration) (release func() error) {
	_, pid, _ := wire.Peer(conn) // one that cannot be found out cannot be seen at work
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		const looks = 10
		tick := time.NewTicker(idle / looks)
		defer tick.Stop()
		w := work{pid: int(pid)}
		for last, n := time.Now().Add(endurance), 0; n < looks && time.Now().Before(last); n++ {
			select {
			case <-done:
				return
			case <-tick.C:
				if w.goesOn() {
					n = 0
				}
				continue
			case <-ctx.Done():
			}
			break
		}
		conn.SetDeadline(time.Unix(1, 0)) // fails if it was closed
	}()
	return func() error {
		close(done)
		<-ended
		return conn.SetDeadline(time.Time{})
	}
}
