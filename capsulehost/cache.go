package capsulehost

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Bounds of the directory of compiled modules.
const (
	cacheAge  = 30 * 24 * time.Hour // since the last use
	cacheSize = 2 << 30             // bytes
)

// prune removes compiled modules that were not used for maxAge, and then those
// used longest ago until the rest is no more than maxSize bytes. Another
// process that has one open keeps it; one that comes later compiles it again.
func prune(dir string, now time.Time, maxAge time.Duration, maxSize int64) error {
	type file struct {
		path string
		used time.Time
		size int64
	}
	var files []file
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
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
