package capsulehost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/archive"
	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

// Module is a compiled capsule. The caller closes it when no run of it is under
// way any more.
type Module struct {
	host  *Host
	c     *compiled
	close sync.Once
}

// compiled is a module as the host keeps it, once for all equal binaries.
type compiled struct {
	key   [sha256.Size]byte
	users int           // protected by Host.mu
	done  bool          // protected by Host.mu; it is compiled, or failed to
	ready chan struct{} // closed when what follows is set; immutable from then on

	engine *engine // the host's, or one of its own
	mod    wazero.CompiledModule
	prog   *component.Program // of a component, in place of mod
	info   Info
	err    error

	cancel context.CancelFunc // of its compilation
}

// Info returns what the module says of itself. The caller must not change it.
func (m *Module) Info() *Info { return &m.c.info }

// Compile makes a binary ready to run. Nothing of it is run. A binary that is
// compiled already, in this process or in the cache's directory, is taken from
// there. Who asks for the same binary meanwhile gets the same; with the last of
// them giving up, the compiler is ended. The module does not refer to wasm any more
// after; with an error of ctx the compiler may still do, and wasm must not be
// changed.
//
// Errors: *FormatError, *ImportError, *LimitError.
func (h *Host) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	sum := sha256.Sum256(wasm)
	return h.shared(ctx, sum, func(ctx context.Context, c *compiled) {
		key := h.prepared.key(sum, "")
		if p := h.prepared.load(key); p != nil && h.again(ctx, c, p) {
			return
		}
		h.prepareAndCompile(ctx, c, key, wasm)
	})
}

// CompileArchive is Compile for the binary name of an archive, as
// [archive.Module] has it. One that is in the cache's directory is not unpacked.
//
// Errors: *archive.Error, those of Compile.
func (h *Host) CompileArchive(ctx context.Context, packed []byte, name string) (*Module, error) {
	key := h.prepared.key(sha256.Sum256(packed), "archive/"+name)
	if p := h.prepared.load(key); p != nil {
		m, err := h.shared(ctx, p.sum, func(ctx context.Context, c *compiled) {
			if h.again(ctx, c, p) {
				return
			}
			var wasm []byte
			wasm, c.err = archive.Module(bytes.NewReader(packed), name)
			if c.err == nil && sha256.Sum256(wasm) != p.sum {
				c.err = errDamaged
			}
			if c.err == nil {
				h.prepareAndCompile(ctx, c, key, wasm)
			}
		})
		if !errors.Is(err, errDamaged) {
			return m, err
		}
	}
	wasm, err := archive.Module(bytes.NewReader(packed), name)
	if err != nil {
		return nil, err
	}
	return h.shared(ctx, sha256.Sum256(wasm), func(ctx context.Context, c *compiled) { h.prepareAndCompile(ctx, c, key, wasm) })
}

// shared returns the module of the binary with this hash, which build makes
// unless it is there already. The context of build ends when nobody waits for the
// module any more.
func (h *Host) shared(ctx context.Context, sum [sha256.Size]byte, build func(ctx context.Context, c *compiled)) (*Module, error) {
	c, mine := h.claim(sum)
	if mine {
		bctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c.cancel = cancel
		// The compiler looks at its context between functions, and one may take it long.
		h.builds.Go(func() {
			defer cancel()
			build(bctx, c)
			h.compiled(c)
			close(c.ready)
		})
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		h.release(c)
		return nil, ctx.Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	return &Module{host: h, c: c}, nil
}

// claim returns the entry for a binary with one more user, and whether the
// caller is to compile it.
func (h *Host) claim(key [sha256.Size]byte) (c *compiled, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c = h.modules[key]
	if c == nil {
		c = &compiled{key: key, ready: make(chan struct{})}
		h.modules[key] = c
		mine = true
		h.compiling++
	}
	if c.users == 0 {
		h.idle = slices.DeleteFunc(h.idle, func(i *compiled) bool { return i == c })
	}
	c.users++
	return c, mine
}

// compiled ends what claim has begun. An entry that failed is taken out of the
// table, so that the next caller tries again.
func (h *Host) compiled(c *compiled) {
	h.mu.Lock()
	h.compiling--
	c.done = true
	unwanted := c.users == 0
	if c.err != nil && h.modules[c.key] == c {
		delete(h.modules, c.key)
	}
	h.mu.Unlock()
	if unwanted && c.err == nil {
		h.free(c)
	}
}

// release takes a user from c. Without one it is kept for the next, in place of
// the one that was used longest ago; one that is not compiled yet is given up.
func (h *Host) release(c *compiled) {
	var drop []*compiled
	h.mu.Lock()
	c.users--
	switch {
	case c.users > 0 || h.modules[c.key] != c:
	case !c.done:
		delete(h.modules, c.key)
		c.cancel()
	default:
		h.idle = append(h.idle, c)
		for len(h.idle) > h.keep {
			delete(h.modules, h.idle[0].key)
			drop, h.idle = append(drop, h.idle[0]), h.idle[1:]
		}
	}
	h.mu.Unlock()
	for _, old := range drop {
		h.free(old)
	}
}

// free gives the compiled code back.
func (h *Host) free(c *compiled) {
	ctx := context.Background()
	var err error
	switch {
	case c.prog != nil:
		err = c.prog.Close(ctx)
	case c.mod != nil:
		err = c.mod.Close(ctx)
	}
	if c.engine != h.engine {
		err = errors.Join(err, c.engine.rt.close(ctx))
	}
	if err != nil {
		h.log.Warn("closing a compiled capsule failed", "error", err)
	}
}

// Close gives the module back. It may be called again.
func (m *Module) Close() { m.close.Do(func() { m.host.release(m.c) }) }

// again makes the module of what was compiled before; false if it has to be
// prepared and compiled anew.
func (h *Host) again(ctx context.Context, c *compiled, p *prepared) (ok bool) {
	if h.apart == nil {
		c.err = h.compile(ctx, c, h.engine, p)
	} else {
		c.err = h.load(ctx, c, h.engine, p)
	}
	return c.err == nil
}

// prepareAndCompile makes the module of a binary, and keeps what it was prepared
// to under key.
func (h *Host) prepareAndCompile(ctx context.Context, c *compiled, key [sha256.Size]byte, wasm []byte) {
	p := &prepared{sum: c.key, size: int64(len(wasm))}
	if p.code, c.err = h.prepare(wasm); c.err != nil {
		return
	}
	if h.apart == nil {
		c.err = h.compile(ctx, c, h.engine, p)
	} else {
		c.err = h.compileApart(ctx, c, p)
	}
	if c.err == nil && c.engine == h.engine {
		h.prepared.store(key, p)
	}
}

// prepare checks what a binary imports and returns the one that is compiled in
// its place.
func (h *Host) prepare(wasm []byte) ([]byte, error) {
	if wasmbin.LayerOf(wasm) == wasmbin.Component {
		c, err := component.Decode(wasm)
		if err != nil {
			return nil, err
		}
		if err := h.checkComponent(c); err != nil {
			return nil, err
		}
		return component.Prepare(wasm, bounded)
	}
	var info Info
	if err := inspectCore(wasm, &info); err != nil {
		return nil, err
	}
	for _, im := range info.Imports {
		if err := h.checkImport(im); err != nil {
			return nil, err
		}
	}
	return bounded(wasm)
}

// compile makes the module of a binary that was prepared.
func (h *Host) compile(ctx context.Context, c *compiled, e *engine, p *prepared) error {
	c.engine, c.info = e, newInfo(p.sum, p.size)
	ctx = experimental.WithCompilationWorkers(ctx, h.workers)
	var err error
	c.mod, c.prog, err = build(ctx, e.rt, h.components, p.code, &c.info)
	return err
}

// load is compile for what e has compiled already, errNotCompiled or errDamaged
// where it has not.
func (h *Host) load(ctx context.Context, c *compiled, e *engine, p *prepared) error {
	var l loading
	err := h.compile(context.WithValue(ctx, loadingKey{}, &l), c, e, p)
	if err != nil && l.failed != nil {
		return l.failed
	}
	return err
}

// build has rt compile a binary, a core module or a component, and fills in what it
// says of itself.
func build(ctx context.Context, rt wazero.Runtime, set *component.Set, code []byte, info *Info) (wazero.CompiledModule, *component.Program, error) {
	if wasmbin.LayerOf(code) == wasmbin.Component {
		c, err := inspectComponent(code, info)
		if err != nil {
			return nil, nil, err
		}
		prog, err := component.Compile(ctx, rt, c, set)
		return nil, prog, err
	}
	if err := inspectCore(code, info); err != nil {
		return nil, nil, err
	}
	mod, err := rt.CompileModule(ctx, code)
	if err != nil && ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		what, _, _ := strings.Cut(err.Error(), "\n")
		return nil, nil, &FormatError{Offset: -1, What: what}
	}
	return mod, nil, nil
}

// bounded makes a core module one that the runtime can be given. The runtime
// bounds a guest's memory and its stack, and neither its tables nor what it
// allocates itself on a module's word; it ends loops, and not recursion.
func bounded(core []byte) ([]byte, error) {
	core, err := wasmbin.Bound(core, maxTable)
	if err != nil {
		return nil, err
	}
	if core, err = wasmbin.CapTables(core, maxTable, maxTables); err != nil {
		return nil, err
	}
	return wasmbin.Interruptible(core)
}

// checkImport answers an *ImportError for an import that guests are not given.
func (h *Host) checkImport(im Import) error {
	def := h.provided[im.Module][im.Name]
	if def == nil || im.Kind != wasmbin.Func.String() {
		return &ImportError{Module: im.Module, Name: im.Name, Want: strings.TrimSpace(im.Kind + " " + im.Type)}
	}
	if have := typeOf(def); have != im.Type {
		return &ImportError{Module: im.Module, Name: im.Name, Want: im.Type, Have: have}
	}
	return nil
}

func typeOf(def api.FunctionDefinition) string {
	return wasmbin.FuncType{Params: valueTypes(def.ParamTypes()), Results: valueTypes(def.ResultTypes())}.String()
}

func valueTypes(types []api.ValueType) []wasmbin.ValueType {
	out := make([]wasmbin.ValueType, len(types))
	for i, t := range types {
		out[i] = wasmbin.ValueType(t)
	}
	return out
}
