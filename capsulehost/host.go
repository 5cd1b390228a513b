package capsulehost

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/corefs"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// Options of [New]. The zero value is good.
type Options struct {
	// CacheDir keeps compiled modules between processes; it is made if it is
	// not there, and pruned by age and size. Nobody else may write to it: what
	// is in it is run as it is. Empty: they are compiled anew.
	CacheDir string
	// Logger is told of what went wrong in the host; nil: nobody is.
	Logger *slog.Logger
	// HostCalls is how many calls of astrid:fs may be under way at a time, of
	// all guests together; 0 is 64. One more waits up to HostCallWait (0 is 5
	// seconds, negative is not at all) and is then answered would-block.
	HostCalls    int
	HostCallWait time.Duration
	// CompileWorkers is how many goroutines compile a module; 0 is 2.
	CompileWorkers int
	// KeepModules is how many compiled modules that nobody uses are kept in
	// memory for their next use; 0 is 8, negative is none.
	KeepModules int
}

// Host compiles and runs capsules. See the package comment.
type Host struct {
	rt    wazero.Runtime
	cache wazero.CompilationCache
	// prepared keeps what compile is given beside what it makes of it.
	prepared *preparedCache
	log      *slog.Logger
	slots    *view.Slots
	batch    *guest.Batch
	workers  int

	// components is what components may import.
	components *component.Set
	// provided is what core modules may import, by module and name. Immutable.
	provided map[string]map[string]api.FunctionDefinition

	mu        sync.Mutex
	modules   map[[sha256.Size]byte]*compiled // protected by mu
	idle      []*compiled                     // protected by mu; not in use, the one used last at the end
	compiling int                             // protected by mu; how many compilations are under way
	keep      int
}

// New makes a host. The caller closes it when no module of it runs any more.
func New(ctx context.Context, opt Options) (_ *Host, err error) {
	h := &Host{
		log:     opt.Logger,
		workers: orDefault(opt.CompileWorkers, 2),
		modules: map[[sha256.Size]byte]*compiled{},

		components: componentSet(),
		keep:       max(orDefault(opt.KeepModules, 8), 0),
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	wait := opt.HostCallWait
	if wait == 0 {
		wait = 5 * time.Second
	}
	h.slots = view.NewSlots(orDefault(opt.HostCalls, 64), wait)
	if h.cache, err = openCache(opt.CacheDir, h.log); err != nil {
		return nil, err
	}
	h.prepared = newPreparedCache(opt.CacheDir, h.log)
	cfg := wazero.NewRuntimeConfig().
		WithCloseOnContextDone(true).
		WithDebugInfoEnabled(false).
		WithCoreFeatures(api.CoreFeaturesV2 |
			experimental.CoreFeaturesTailCall |
			experimental.CoreFeaturesExtendedConst |
			experimental.CoreFeaturesExceptionHandling)
	h.rt = &compiler{wazero.NewRuntimeWithConfig(ctx, cfg.WithCompilationCache(h.cache)), cfg, opt.CacheDir, h.log}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close(ctx))
		}
	}()
	if _, err := corefs.Instantiate(ctx, h.rt); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", corefs.ModuleName, err)
	}
	if _, err := wasip1.Instantiate(ctx, h.rt); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", wasip1.ModuleName, err)
	}
	if h.batch, err = guest.NewBatch(ctx, h.rt); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", corefs.ModuleName, err)
	}
	h.provided = map[string]map[string]api.FunctionDefinition{}
	for _, name := range []string{corefs.ModuleName, wasip1.ModuleName} {
		h.provided[name] = h.rt.Module(name).ExportedFunctionDefinitions()
	}
	return h, nil
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

func openCache(dir string, log *slog.Logger) (wazero.CompilationCache, error) {
	if dir == "" {
		return wazero.NewCompilationCache(), nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of compiled capsules: %w", err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	if err := prune(dir, time.Now(), cacheAge, cacheSize); err != nil {
		log.Warn("pruning the compiled capsules failed", "dir", dir, "error", err)
	}
	c, err := wazero.NewCompilationCacheWithDir(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("opening the directory of compiled capsules: %w", err)
	}
	return c, nil
}

// Close gives back everything that the host holds, compiled modules included.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	busy := h.compiling > 0
	h.mu.Unlock()
	if busy {
		return nil // what nobody waits for any more still uses the runtime; the process ends with it
	}
	return errors.Join(h.rt.Close(ctx), h.cache.Close(ctx))
}
