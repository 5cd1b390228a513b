package capsulehost

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
)

// Bounds of the directory of compiled modules.
const (
	cacheAge  = 30 * 24 * time.Hour // since the last use
	cacheSize = 2 << 30             // bytes
)

// compiler is a runtime whose cache may fail: what cannot be stored, on a full disk,
// is used all the same, and where what is stored is damaged all of it is thrown
// away and compiled again.
type compiler struct {
	wazero.Runtime
	cfg wazero.RuntimeConfig // without the cache
	dir string               // of the cache; empty: there is none
	log *slog.Logger
}

// CompileModule implements wazero.Runtime. Its errors are of the module.
func (c *compiler) CompileModule(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	m, err := compile(ctx, c.Runtime, wasm)
	if err == nil || c.dir == "" || ctx.Err() != nil {
		return m, err
	}
	failed := err
	if m, err = compile(ctx, c.Runtime, wasm); err == nil { // it was compiled, and not stored
		c.log.Warn("a compiled capsule could not be stored", "error", failed)
		return m, nil
	}
	plain := wazero.NewRuntimeWithConfig(ctx, c.cfg)
	defer plain.Close(ctx)
	if _, err := compile(ctx, plain, wasm); err != nil {
		return nil, err
	}
	c.log.Warn("the compiled capsules are thrown away, for one of them is damaged", "error", failed)
	if err := prune(c.dir, time.Now(), 0, -1); err != nil {
		c.log.Warn("pruning the compiled capsules failed", "dir", c.dir, "error", err)
	}
	return compile(ctx, c.Runtime, wasm)
}

// compile has rt compile a module. A panic of its validation is an error of the
// module, as is everything that it finds wrong.
func compile(ctx context.Context, rt wazero.Runtime, wasm []byte) (m wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the compiler gives up: %v", p)
		}
	}()
	return rt.CompileModule(ctx, wasm)
}

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
