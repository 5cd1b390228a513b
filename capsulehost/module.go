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
	ready chan struct{} // closed when what follows is set; immutable from then on
	mod   wazero.CompiledModule
	prog  *component.Program // of a component, in place of mod
	info  Info
	err   error
}

// Info returns what the module says of itself. The caller must not change it.
func (m *Module) Info() *Info { return &m.c.info }

// Compile makes a binary ready to run. Nothing of it is run. A binary that is
// compiled already, in this process or in the cache's directory, is taken from
// there. The module does not refer to wasm any more after; with an error of ctx
// the compiler may still do, and wasm must not be changed.
//
// Errors: *FormatError, *ImportError, *LimitError.
func (h *Host) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	sum := sha256.Sum256(wasm)
	return h.shared(ctx, sum, func(c *compiled) {
		key := h.prepared.key(sum, "")
		if p := h.prepared.load(key); p != nil && h.compile(ctx, c, p) {
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
		m, err := h.shared(ctx, p.sum, func(c *compiled) { h.compile(ctx, c, p) })
		if err == nil || ctx.Err() != nil {
			return m, err
		}
	}
	wasm, err := archive.Module(bytes.NewReader(packed), name)
	if err != nil {
		return nil, err
	}
	return h.shared(ctx, sha256.Sum256(wasm), func(c *compiled) { h.prepareAndCompile(ctx, c, key, wasm) })
}

// shared returns the module of the binary with this hash, which build makes
// unless it is there already.
func (h *Host) shared(ctx context.Context, sum [sha256.Size]byte, build func(c *compiled)) (*Module, error) {
	for {
		c, mine := h.claim(sum)
		if mine {
			// The compiler looks at ctx between functions, and one may take it long.
			go func() {
				build(c)
				h.compiled(c)
				close(c.ready)
			}()
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			h.release(c)
			return nil, ctx.Err()
		}
		if c.err == nil {
			return &Module{host: h, c: c}, nil
		}
		if !mine && ctx.Err() == nil && (errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.DeadlineExceeded)) {
			continue // the one who compiled it for both gave up
		}
		return nil, c.err
	}
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
	}
	if c.users == 0 {
		h.idle = slices.DeleteFunc(h.idle, func(i *compiled) bool { return i == c })
	}
	c.users++
	if mine {
		h.compiling++
	}
	return c, mine
}

// compiled ends what claim has begun. An entry that failed is taken out of the
// table, so that the next caller tries again.
func (h *Host) compiled(c *compiled) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.compiling--
	if c.err != nil {
		delete(h.modules, c.key)
		h.idle = slices.DeleteFunc(h.idle, func(i *compiled) bool { return i == c })
	}
}

// release takes a user from c. Without one it is kept for the next, in place of
// the one that was used longest ago.
func (h *Host) release(c *compiled) {
	var drop []*compiled
	h.mu.Lock()
	if c.users--; c.users == 0 && h.modules[c.key] == c {
		h.idle = append(h.idle, c)
		for len(h.idle) > h.keep {
			delete(h.modules, h.idle[0].key)
			drop, h.idle = append(drop, h.idle[0]), h.idle[1:]
		}
	}
	h.mu.Unlock()
	for _, old := range drop {
		<-old.ready // its compiler may have been the user that went first
		if err := old.free(context.Background()); err != nil {
			h.log.Warn("closing a compiled capsule failed", "error", err)
		}
	}
}

// free gives the compiled code back.
func (c *compiled) free(ctx context.Context) error {
	switch {
	case c.prog != nil:
		return c.prog.Close(ctx)
	case c.mod != nil:
		return c.mod.Close(ctx)
	}
	return nil
}

// Close gives the module back. It may be called again.
func (m *Module) Close() { m.close.Do(func() { m.host.release(m.c) }) }

// prepareAndCompile makes the module of a binary, and keeps what it was prepared
// to under key.
func (h *Host) prepareAndCompile(ctx context.Context, c *compiled, key [sha256.Size]byte, wasm []byte) {
	p := &prepared{sum: c.key, size: int64(len(wasm))}
	if p.code, c.err = h.prepare(wasm); c.err == nil && h.compile(ctx, c, p) {
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

// compile makes the module of a binary that was prepared, or sets c.err.
func (h *Host) compile(ctx context.Context, c *compiled, p *prepared) (ok bool) {
	c.info = newInfo(p.sum, p.size)
	ctx = experimental.WithCompilationWorkers(ctx, h.workers)
	if wasmbin.LayerOf(p.code) == wasmbin.Component {
		comp, err := inspectComponent(p.code, &c.info)
		if err == nil {
			c.prog, err = component.Compile(ctx, h.rt, comp, h.components)
		}
		c.err = err
	} else if c.err = inspectCore(p.code, &c.info); c.err == nil {
		c.mod, c.err = h.rt.CompileModule(ctx, p.code)
		if c.err != nil && ctx.Err() != nil {
			c.err = ctx.Err()
		} else if c.err != nil {
			what, _, _ := strings.Cut(c.err.Error(), "\n")
			c.err = &FormatError{Offset: -1, What: what}
		}
	}
	return c.err == nil
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
