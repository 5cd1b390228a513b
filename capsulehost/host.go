package capsulehost

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/corefs"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// Options of [New]. The zero value is good.
type Options struct {
	// CacheDir keeps compiled modules between processes; it is made if it is
	// not there, and pruned by age and size. Nobody else may write to it: what
	// is in it is run as it is. Empty, or if it cannot be made: they are compiled
	// anew.
	CacheDir string
	// Compiler are the arguments, the name first, with which this program does
	// nothing but call CompileMain: it is started again with them to compile what
	// is not known to compile, see CompileLimits. Nil: this process compiles, for
	// guests that are trusted that far.
	Compiler []string
	// CompileLimits are those of one process that compiles, Compilers how many
	// there may be at a time: 0 is one for each processor, from 2 to 8.
	CompileLimits CompileLimits
	Compilers     int
	// Logger is told of what went wrong in the host; nil: nobody is.
	Logger *slog.Logger
	// HostCalls is how many calls of astrid:fs may be under way at a time, of
	// all guests together; 0 is 64. One more waits for its turn, unless none of
	// them ends within HostCallWait (0 is 5 seconds, negative is not to wait at
	// all): then it is answered would-block.
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
	engine *engine
	// apart compiles in processes of their own; nil: this one does.
	apart *compilers
	// prepared keeps what compile is given beside what it makes of it.
	prepared *preparedCache
	log      *slog.Logger
	slots    *view.Slots
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

	builds sync.WaitGroup // compilations under way
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
	dir, err := openCache(opt.CacheDir, h.log)
	if err != nil {
		return nil, err
	}
	if h.engine, err = newEngine(ctx, dir, h.log); err != nil && dir != "" {
		h.log.Warn("capsules are compiled anew each time", "error", err)
		dir = ""
		h.engine, err = newEngine(ctx, dir, h.log)
	}
	if err != nil {
		return nil, err
	}
	h.prepared = newPreparedCache(dir, h.log)
	if len(opt.Compiler) > 0 {
		h.apart = newCompilers(opt, dir, h.workers)
		h.prepared.min = 0 // it tells what is known to compile
	}
	h.provided = map[string]map[string]api.FunctionDefinition{}
	for _, name := range []string{corefs.ModuleName, wasip1.ModuleName} {
		h.provided[name] = h.engine.rt.Module(name).ExportedFunctionDefinitions()
	}
	return h, nil
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// openCache makes the directory of compiled modules ready, and returns it; empty
// where there can be none.
func openCache(dir string, log *slog.Logger) (string, error) {
	if dir == "" {
		return "", nil
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		log.Warn("capsules are compiled anew each time", "error", err)
		return "", nil
	}
	if err := private(dir); err != nil {
		return "", err
	}
	if err := prune(dir, time.Now(), cacheAge, cacheSize); err != nil {
		log.Warn("pruning the compiled capsules failed", "dir", dir, "error", err)
	}
	return dir, nil
}

// closeWait is how long a host that is closed waits for the processes that it has
// ended, to remove what they leave.
const closeWait = 10 * time.Second

// Close gives back everything that the host holds, compiled modules included.
func (h *Host) Close(ctx context.Context) error {
	if h.apart != nil {
		ended := make(chan struct{})
		go func() {
			h.builds.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(closeWait):
		}
	}
	h.mu.Lock()
	busy, idle := h.compiling > 0, h.idle
	h.mu.Unlock()
	if busy {
		return nil // what nobody waits for any more still uses the runtime; the process ends with it
	}
	for _, c := range idle {
		if c.engine != h.engine {
			h.free(c)
		}
	}
	return h.engine.rt.close(ctx)
}
