package wasip1

import (
	"context"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/view"
)

// TestSlots: with every slot taken by others, calls on files are told to try
// again, and what never reaches a filesystem goes on.
func TestSlots(t *testing.T) {
	slots := view.NewSlots(1, -1)
	g := newGuest(t, func(c *Config) { c.Slots = slots })
	fd := g.open("f", openCreat, 0)
	path, n := g.str("f")
	buf := g.room(64)
	if err := slots.Enter(context.Background()); err != nil {
		t.Fatal(err)
	}
	g.want(EAGAIN, "path_filestat_get", fdWork, 0, path, n, buf)
	g.want(EAGAIN, "path_unlink_file", fdWork, path, n)
	g.want(EAGAIN, "fd_filestat_get", fd, buf)
	g.want(EAGAIN, "fd_readdir", fdWork, buf, 64, 0, buf)
	g.ok("fd_filestat_get", 1, buf) // a stream
	g.ok("clock_time_get", 0, 0, buf)
	g.ok("fd_fdstat_get", fd, buf)
	slots.Leave()
	g.ok("path_filestat_get", fdWork, 0, path, n, buf)
	g.ok("fd_filestat_get", fd, buf)
}
