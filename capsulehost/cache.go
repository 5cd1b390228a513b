package capsulehost

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of the directory of compiled modules.
const (
	cacheAge  = 30 * 24 * time.Hour // since the last use
	cacheSize = 2 << 30             // bytes
)

// private answers an error unless the directory is this user's and nobody else
// can write to it: the machine code in it is run as it is.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("opening the directory of compiled capsules: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the directory of compiled capsules, %s, could be written to by others: make it yours with mode 0700", dir)
	}
	return nil
}

// prune removes compiled modules that were not used for maxAge, and then those
// used longest ago until the rest is no more than maxSize bytes. Another
// process that has one open keeps it; one that comes later compiles it again. What a
// killed process was compiling goes as well.
func prune(dir string, now time.Time, maxAge time.Duration, maxSize int64) error {
	type file struct {
		path string
		used time.Time
		size int64
	}
	removeScratches(dir, scratchPrefix, now)
	var files []file
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), scratchPrefix) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		used := info.ModTime()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if read := time.Unix(st.Atim.Unix()); read.After(used) {
				used = read
			}
		}
		files = append(files, file{path, used, info.Size()})
		total += info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if now.Sub(f.used) <= maxAge && total <= maxSize {
			break
		}
		if err := os.Remove(f.path); err != nil && !os.IsNotExist(err) {
			return err
		}
		total -= f.size
	}
	return nil
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
