package fusefs_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// dent is an entry as getdents64(2) tells of it.
type dent struct {
	name string
	ino  uint64
	off  int64 // where to go on after it
}

func parseDents(b []byte) (list []dent) {
	for len(b) > 0 {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		list = append(list, dent{unix.ByteSliceToString(b[19:size]), binary.NativeEndian.Uint64(b), int64(binary.NativeEndian.Uint64(b[8:]))})
		b = b[size:]
	}
	return list
}

// dents reads a directory by pieces of size bytes from where fd stands, up to
// most entries, and returns the names, "." and ".." apart, and where to go on
// after each.
func dents(p *place, fd, size, most int) (names []string, after []int64) {
	p.Helper()
	for buf := make([]byte, size); len(names) < most; {
		n, err := unix.Getdents(fd, buf)
		p.ok(err)
		if n == 0 {
			break
		}
		for _, e := range parseDents(buf[:n]) {
			if e.name != "." && e.name != ".." {
				names, after = append(names, e.name), append(after, e.off)
			}
		}
	}
	return names, after
}

func posixDirCases() []posixCase {
	const files = 2000
	build := func(p *place) {
		p.mkdir("d", 0o755)
		for i := range files {
			p.ok(os.WriteFile(p.at(fmt.Sprintf("d/file-%04d", i)), nil, 0o644))
		}
	}
	return []posixCase{
		// Where a listing stands is told by a cookie alone: what was listed goes,
		// others come, somebody else lists from the start, and nothing that stays
		// is lost or comes twice.
		{"seekdir", false, build, func(p *place) {
			fd := int(p.open("d", os.O_RDONLY).Fd())
			seen := map[string]int{}
			removed := map[string]bool{}
			for round := 0; ; round++ {
				names, after := dents(p, fd, 4096, 200)
				if len(names) == 0 {
					break
				}
				// Back to the middle of what was read.
				keep := (len(names) + 1) / 2
				_, err := unix.Seek(fd, after[keep-1], unix.SEEK_SET)
				p.ok(err)
				for i, name := range names[:keep] {
					seen[name]++
					if i%3 != 0 {
						p.ok(os.Remove(p.at("d/" + name)))
						removed[name] = true
					}
				}
				p.write(fmt.Sprintf("d/new-%d", round), "", 0o644)
				p.ok(os.Rename(p.at(fmt.Sprintf("d/new-%d", round)), p.at(fmt.Sprintf("d/newer-%d", round))))
				if round%2 == 0 {
					_, err := os.ReadDir(p.at("d"))
					p.ok(err)
				}
			}
			for i := range files {
				if name := fmt.Sprintf("file-%04d", i); seen[name] != 1 {
					p.Errorf("%s was listed %d times (removed: %v)", name, seen[name], removed[name])
				}
			}
		}},
		// What is listed from a directory opened after a change does not come from
		// a listing that others began before.
		{"listingsOfOthers", false, func(p *place) {
			p.mkdir("d", 0o755)
			for i := range 100 {
				p.write("d/"+strconv.Itoa(i), "", 0o644)
			}
		}, func(p *place) {
			list := func(size int) []string {
				got := make(chan []string)
				go func() {
					runtime.LockOSThread() // never unlocked: another thread each time
					fd, err := unix.Open(p.at("d"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
					if err != nil {
						close(got)
						return
					}
					defer unix.Close(fd)
					names, _ := dents(p, fd, size, 1<<30)
					got <- names
				}()
				return <-got
			}
			for i := range 30 {
				gone, added := strconv.Itoa(3*i), fmt.Sprintf("added-%d", i)
				list(200)
				p.ok(os.Remove(p.at("d/" + gone)))
				p.write("d/"+added, "", 0o644)
				if names := list(200); slices.Contains(names, gone) || !slices.Contains(names, added) || len(names) != 100 {
					p.Errorf("%d names, %s among them: %v, %s: %v", len(names), gone, slices.Contains(names, gone), added, slices.Contains(names, added))
				}
			}
		}},
		{"smallBuffers", false, build, func(p *place) {
			list := func(size int) []string {
				f := p.open("d", os.O_RDONLY)
				defer f.Close()
				names, _ := dents(p, int(f.Fd()), size, 1<<30)
				slices.Sort(names)
				return names
			}
			p.write("d/a-name-that-is-longer", "", 0o644)
			want := list(1 << 16)
			if len(want) != files+1 {
				p.Fatalf("%d entries", len(want))
			}
			for _, size := range []int{48, 100, 777} { // 48: one entry fits
				if got := list(size); !slices.Equal(got, want) {
					p.Errorf("by pieces of %d bytes, %d entries of %d", size, len(got), len(want))
				}
			}
			f := p.open("d", os.O_RDONLY)
			_, err := unix.Getdents(int(f.Fd()), make([]byte, 8))
			p.want("a buffer for no entry", err, unix.EINVAL)
		}},
	}
}
