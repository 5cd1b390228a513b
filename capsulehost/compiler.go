package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/corefs"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// runtimeConfig is that of every runtime here: what is compiled by one is found by
// another.
func runtimeConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().
		WithCloseOnContextDone(true).
		WithDebugInfoEnabled(false).
		WithCoreFeatures(api.CoreFeaturesV2 |
			experimental.CoreFeaturesTailCall |
			experimental.CoreFeaturesExtendedConst |
			experimental.CoreFeaturesExceptionHandling)
}

// compiler is a runtime whose cache may fail: what cannot be stored, on a full disk,
// is used all the same, and where what is stored is damaged all of it is thrown
// away and compiled again. Nothing is compiled again to find out what failed.
type compiler struct {
	wazero.Runtime
	cache    wazero.CompilationCache
	dir      string          // of the cache; empty: there is none
	unstored func(err error) // told of what could not be stored
	log      *slog.Logger
}

func newCompiler(ctx context.Context, cache wazero.CompilationCache, dir string, log *slog.Logger) *compiler {
	return &compiler{
		Runtime: wazero.NewRuntimeWithConfig(ctx, runtimeConfig().WithCompilationCache(cache)),
		cache:   cache, dir: dir, log: log,
		unstored: func(err error) { log.Warn("a compiled capsule could not be stored", "error", err) },
	}
}

func (c *compiler) close(ctx context.Context) error {
	return errors.Join(c.Runtime.Close(ctx), c.cache.Close(ctx))
}

var (
	errNotCompiled = errors.New("it is not compiled yet")
	errDamaged     = errors.New("what is stored of it is damaged")
)

// loading, in a context, has CompileModule take what is compiled already and
// compile nothing.
type loading struct {
	failed error // errNotCompiled or errDamaged, of a module that is none too bad; nil
}

type loadingKey struct{}

// CompileModule implements wazero.Runtime. Its errors are of the module, but for
// those of a context with loading.
func (c *compiler) CompileModule(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	if l, ok := ctx.Value(loadingKey{}).(*loading); ok {
		m, err := c.load(ctx, wasm)
		if errors.Is(err, errNotCompiled) || errors.Is(err, errDamaged) {
			l.failed = err
		}
		return m, err
	}
	m, err := compile(ctx, c.Runtime, wasm)
	if err == nil || c.dir == "" || ctx.Err() != nil {
		return m, err
	}
	m, lerr := c.load(ctx, wasm)
	switch {
	case lerr == nil: // it was compiled, and not stored
		c.unstored(err)
		return m, nil
	case !errors.Is(lerr, errDamaged):
		return nil, err
	}
	c.log.Warn("the compiled capsules are thrown away, for one of them is damaged", "error", lerr)
	if err := prune(c.dir, time.Now(), 0, -1); err != nil {
		c.log.Warn("pruning the compiled capsules failed", "dir", c.dir, "error", err)
	}
	return compile(ctx, c.Runtime, wasm)
}

// load returns a module that is compiled already, in memory or in the directory. It
// takes as long as reading and validating it.
//
// Errors: errNotCompiled, errDamaged; others are of the module.
func (c *compiler) load(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	m, err := compileNothing(ctx, c.Runtime, wasm)
	if err == nil || errors.Is(err, errNotCompiled) {
		return m, err
	}
	if m, err := compileNothing(ctx, c.Runtime, wasm); err == nil { // without any code, and not stored
		return m, nil
	}
	plain := wazero.NewRuntimeWithConfig(ctx, runtimeConfig())
	defer plain.Close(ctx)
	if _, perr := compileNothing(ctx, plain, wasm); perr != nil && !errors.Is(perr, errNotCompiled) {
		return nil, perr
	}
	return nil, fmt.Errorf("%w: %w", errDamaged, err)
}

// compileNothing has rt take a module that it finds compiled, or validate it and
// fail with errNotCompiled: with more than one worker, each looks whether it is
// cancelled before it compiles a function.
func compileNothing(ctx context.Context, rt wazero.Runtime, wasm []byte) (wazero.CompiledModule, error) {
	ctx = experimental.WithCompilationWorkers(context.WithoutCancel(ctx), 2)
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(errNotCompiled)
	return compile(ctx, rt, wasm)
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

// engine is a runtime with what guests may import.
type engine struct {
	rt    *compiler
	batch *guest.Batch
}

// newEngine makes an engine whose cache is in dir; empty: in memory alone.
func newEngine(ctx context.Context, dir string, log *slog.Logger) (_ *engine, err error) {
	cache := wazero.NewCompilationCache()
	if dir != "" {
		if cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return nil, fmt.Errorf("opening the directory of compiled capsules: %w", err)
		}
	}
	e := &engine{rt: newCompiler(ctx, cache, dir, log)}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.rt.close(ctx))
		}
	}()
	if _, err := corefs.Instantiate(ctx, e.rt); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", corefs.ModuleName, err)
	}
	if _, err := wasip1.Instantiate(ctx, e.rt); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", wasip1.ModuleName, err)
	}
	if e.batch, err = guest.NewBatch(ctx, e.rt); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", corefs.ModuleName, err)
	}
	return e, nil
}
