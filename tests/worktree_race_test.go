package tests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWorktreeRaces exchanges a directory and a link that leads out, on the mount
// of a worktree, while git looks there, commits and takes back: git goes by
// paths, and must not be led outside by one that changes under its hands.
func TestWorktreeRaces(t *testing.T) {
	b := newBox(t)
	outside := filepath.Join(b.dir, "outside")
	const n = 50
	for i := range n {
		write(t, filepath.Join(b.ws, "dir", fmt.Sprint("f", i)), "fine")
		write(t, filepath.Join(outside, fmt.Sprint("f", i)), outsideText)
	}
	sh(t, b.ws, "git init -q . && git add -A && git -c user.name=x -c user.email=x@example.org commit -q -m start")
	before := manifest(t, outside)
	b.mount("--mode", "worktree")

	var sw swapper
	dir, evil := filepath.Join(b.mnt, "dir"), filepath.Join(b.mnt, "evil")
	sw.exchange(dir, evil, func() {
		// One of them was taken back just now.
		unix.Symlink(outside, evil)
		unix.Mkdir(dir, 0o755)
	})
	looks, failed := 0, 0
	for end := time.Now().Add(raceTime(t)); looks == 0 || time.Now().Before(end); looks++ {
		for i := range n {
			for _, d := range []string{"dir", "evil"} {
				if fd, err := unix.Open(filepath.Join(b.mnt, d), unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
					if i%2 == 0 {
						unix.Unlinkat(fd, fmt.Sprint("f", i), 0) // it may be gone
					} else if file, err := unix.Openat(fd, fmt.Sprint("f", i), unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
						unix.Write(file, []byte(".")) // a further change is enough
						unix.Close(file)
					}
					unix.Close(fd)
				}
			}
		}
		for _, args := range [][]string{{"status"}, {"diff"}, {"commit", "-m", "race"}, {"discard", "--yes"}} {
			r := b.try(append([]string{args[0], b.session}, args[1:]...)...)
			noSecret(t, strings.Join(args, " "), r.stdout)
			if r.code != 0 {
				failed++ // what git has just seen is gone
			}
		}
	}
	sw.end()
	t.Logf("%d swaps, %d rounds, %d commands failed", sw.swaps.Load(), looks, failed)
	if sw.swaps.Load() == 0 {
		t.Error("nothing was raced")
	}
	sameTree(t, "the directory outside", manifest(t, outside), before)
	objects := "git cat-file --batch-all-objects --batch --unordered"
	for _, env := range []string{"X=", "GIT_OBJECT_DIRECTORY=" + filepath.Join(b.state, b.session, "state", "objects")} {
		if strings.Contains(sh(t, b.ws, objects, env), outsideText) {
			t.Error("git has read a file outside")
		}
	}
}
