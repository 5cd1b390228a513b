package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/astridhost"
	"github.com/astridfs/astridfs/capsulehost/corefs"
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
	"github.com/astridfs/astridfs/vfs"
)

// RunConfig is one run of a capsule.
type RunConfig struct {
	// View is what the guest sees; nil: nothing. If it brings no quota, the
	// run's limits make one.
	View *view.View
	// Capsule and Principal name the guest and whom it acts for, for whoever
	// looks at a call's vfs.Caller.
	Capsule, Principal string

	// Entry is the export that is called; EntryAuto finds it. Action and
	// Payload are the arguments of EntryHook.
	Entry   Entry
	Action  string
	Payload []byte

	// Args are the arguments, the program's name first, and Env the
	// environment, each "NAME=value", as WASI shows them.
	Args, Env []string
	// The streams of WASI; they stay the caller's. See wasip1.Config. A Write
	// that blocks is given up when the time is up or ctx ends, and may then still
	// be under way when Run returns; no other begins.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Astrid is what a component has of Astrid's interfaces besides files. Run
	// fills in its Principal, its Slots and, with Stderr, its Log.
	Astrid astridhost.Config

	Limits Limits
	// Began is when the time of Limits.WallTime began; zero: with the call.
	Began time.Time
}

// Result is what a run came to.
type Result struct {
	Entry Entry // the export that was called
	// ExitCode is what the guest exited with, 0 where it returned.
	ExitCode uint32
	// Hook is the answer of EntryHook.
	Hook *HookResult
	// Published is what a component published.
	Published []astridhost.Message

	// What it used. The counts are those of its quota, which other runs may
	// share.
	WroteBytes, MadeFiles uint64
	MemoryPages           uint32
	Duration              time.Duration
}

// HookResult is the record capsule-result of the guest interface.
type HookResult struct {
	Action string  `json:"action"`
	Data   *string `json:"data"`
}

// Run makes an instance of a module, calls one export of it, and takes the
// instance down with everything that it left open, however it went. It blocks
// until the guest has ended; cancelling ctx ends it. A guest that exits with a
// code is no error: the code is in the result, which is valid with an error
// too.
//
// Errors: *TrapError, *EntryError; others are of the configuration.
func (h *Host) Run(ctx context.Context, m *Module, cfg RunConfig) (res Result, err error) {
	start := time.Now()
	limits := cfg.Limits.withDefaults()
	if res.Entry, err = m.entry(cfg); err != nil {
		return res, err
	}
	if need := m.c.info.MemoryPages; need > uint64(limits.MemoryPages) {
		return res, &TrapError{Kind: TrapMemory, Reason: fmt.Sprintf(
			"it needs %d KiB of memory to start and may have %d", need*(PageSize>>10), uint64(limits.MemoryPages)*(PageSize>>10))}
	}
	if limits.WallTime != UnlimitedTime {
		var cancel context.CancelFunc
		began := cfg.Began
		if began.IsZero() {
			began = start
		}
		ctx, cancel = context.WithDeadlineCause(ctx, began.Add(limits.WallTime), errWallTime)
		defer cancel()
	}
	cfg.Stdout, cfg.Stderr = newOutput(ctx, cfg.Stdout), newOutput(ctx, cfg.Stderr)
	r, err := h.newRun(m, cfg, limits)
	if err != nil {
		return res, err
	}
	defer func() {
		res.WroteBytes, res.MadeFiles = r.fs.FS.Quota()
		res.MemoryPages = r.pages()
		res.Published = r.astrid.Published()
		res.Duration = time.Since(start)
		err = errors.Join(err, r.close(ctx))
	}()
	ctx = vfs.WithCaller(ctx, &vfs.Caller{
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
		Capsule: cfg.Capsule, Principal: cfg.Principal,
	})
	ctx = corefs.With(wasip1.With(ctx, r.wasi), r.fs)
	res.Hook, err = r.call(ctx, res.Entry)
	if err == nil {
		return res, nil
	}
	code, exited, err := trap(ctx, err, limits)
	if exited {
		res.ExitCode = code
		return res, nil
	}
	if t, ok := errors.AsType[*TrapError](err); ok && t.Kind == TrapHost {
		h.log.Error("a host call failed", "capsule", cfg.Capsule, "error", r.failure)
	}
	return res, err
}

// run is a run under way.
type run struct {
	host    *Host
	m       *Module
	cfg     RunConfig
	fs      *corefs.Instance
	wasi    *wasip1.Instance
	astrid  *astridhost.Instance
	mem     memory
	mod     api.Module
	inst    *component.Instance // of a component, in place of mod
	failure error               // what the runtime said
}

func (h *Host) newRun(m *Module, cfg RunConfig, limits Limits) (*run, error) {
	v := view.View{}
	if cfg.View != nil {
		v = *cfg.View
	}
	if v.Quota == nil {
		v.Quota = view.NewQuota(limits.WriteBytes, limits.FileCount)
	}
	wasi, err := wasip1.New(wasip1.Config{
		Args:   cfg.Args,
		Env:    wasip1.Environ(cfg.Env),
		Stdin:  cfg.Stdin,
		Stdout: cfg.Stdout,
		Stderr: cfg.Stderr,
		View:   &v,
		Slots:  h.slots,
	})
	if err != nil {
		return nil, err
	}
	astrid := cfg.Astrid
	astrid.Principal, astrid.Log, astrid.Slots = cfg.Principal, cfg.Stderr, h.slots
	return &run{
		host: h, m: m, cfg: cfg, astrid: astridhost.New(astrid),
		fs:   &corefs.Instance{FS: fsapi.New(&v), Slots: h.slots, Batch: m.c.engine.batch},
		wasi: wasi,
		mem:  memory{limit: uint64(limits.MemoryPages) * PageSize},
	}, nil
}

// pages is how much memory the guest has.
func (r *run) pages() uint32 {
	if r.inst != nil {
		return uint32(r.inst.Memory() / PageSize)
	}
	return uint32(r.mem.size / PageSize)
}

// close ends everything of the run. Errors of delayed writes come out here.
func (r *run) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	err := errors.Join(r.fs.Close(ctx), r.wasi.Close())
	if r.mod != nil {
		err = errors.Join(err, r.mod.Close(ctx))
	}
	if r.inst != nil {
		err = errors.Join(err, r.inst.Close(ctx))
	}
	r.mem.release()
	return err
}

// call instantiates the module and calls its entry. The error is the runtime's,
// or what panicked in the host between the calls into the guest.
func (r *run) call(ctx context.Context, entry Entry) (hook *HookResult, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = &hostError{p}
		case error: // of guest: a fault, or the end of the guest within its allocator
			err = p
		default:
			err = &hostError{p}
		}
		r.failure = err
	}()
	if r.m.c.prog != nil {
		return r.component(ctx, entry)
	}
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	mctx := experimental.WithMemoryAllocator(ctx, &r.mem)
	if r.mod, err = r.m.c.engine.rt.InstantiateModule(mctx, r.m.c.mod, cfg); err != nil {
		return nil, err
	}
	if entry != EntryStart {
		if init := r.mod.ExportedFunction("_initialize"); init != nil {
			if _, err := init.Call(ctx); err != nil {
				return nil, err
			}
		}
	}
	if entry == EntryHook {
		return r.hook(ctx)
	}
	_, err = r.mod.ExportedFunction(string(entry)).Call(ctx)
	return nil, err
}

// hook calls astrid-hook-trigger: the arguments go where the guest allocates
// them, the answer is copied out before the guest may free it.
func (r *run) hook(ctx context.Context) (*HookResult, error) {
	mem := guest.Bind(r.mod, nil)
	action, n := mem.Store(ctx, []byte(r.cfg.Action))
	payload, m := mem.Store(ctx, r.cfg.Payload)
	out, err := r.mod.ExportedFunction(string(EntryHook)).Call(ctx, uint64(action), uint64(n), uint64(payload), uint64(m))
	if err != nil {
		return nil, err
	}
	ptr := api.DecodeU32(out[0])
	// capsule-result: action @0, data @8 (the option's tag, then the string @12).
	rec := mem.Record(ptr, 20, 4)
	some := rec[8]
	if some > 1 {
		guest.Trap("%s answered an option with tag %d", EntryHook, some)
	}
	res := &HookResult{Action: mem.Text(mem.Pair(ptr))}
	if some == 1 {
		data := mem.Text(mem.Pair(ptr + 12))
		res.Data = &data
	}
	if post := r.mod.ExportedFunction(postHook); post != nil {
		if _, err := post.Call(ctx, uint64(ptr)); err != nil {
			return res, err
		}
	}
	return res, nil
}
