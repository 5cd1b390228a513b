package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/astridfs/astridfs/auditlog/auditfs"
	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/archive"
	"github.com/astridfs/astridfs/capsulehost/kv"
	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/session/fault"
)

// maxModule is the size of the largest capsule that is run, in bytes.
const maxModule = 256 << 20

// keepModules is how many capsules are known by their file's identity, so that
// running one again need not read it.
const keepModules = 16

// runner compiles and runs the capsules of an owner. The compiler is made when
// the first one runs.
type runner struct {
	cacheDir string
	compiler []string
	stores   *kv.Stores

	mu      sync.Mutex
	host    *capsulehost.Host // protected by mu
	modules []known           // protected by mu; the one used last at the end
}

// known is a compiled capsule and the identity of the file it came from.
type known struct {
	identity string
	module   *capsulehost.Module
	users    *sync.WaitGroup // runs under way
}

func (r *runner) open(log logrus.FieldLogger) (*capsulehost.Host, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.host != nil {
		return r.host, nil
	}
	h, err := capsulehost.New(context.Background(), capsulehost.Options{
		CacheDir: r.cacheDir, Compiler: r.compiler, Logger: slog.New(logHandler{log: log}),
	})
	if err != nil {
		return nil, err
	}
	r.host = h
	return h, nil
}

// close waits for no run: none is under way.
func (r *runner) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.modules {
		k.module.Close()
	}
	r.modules = nil
	if r.host == nil {
		return nil
	}
	return r.host.Close(context.Background())
}

// module returns the compiled capsule and what to call when it is not used any
// more.
func (r *runner) module(ctx context.Context, h *capsulehost.Host, req *RunRequest, rio RunIO) (*capsulehost.Module, func(), error) {
	r.mu.Lock()
	if i := slices.IndexFunc(r.modules, func(k known) bool { return k.identity == req.Identity }); req.Identity != "" && i >= 0 {
		k := r.modules[i]
		r.modules = append(slices.Delete(r.modules, i, i+1), k)
		k.users.Add(1)
		r.mu.Unlock()
		return k.module, k.users.Done, nil
	}
	r.mu.Unlock()
	file, err := readModule(req.Name, rio)
	if err != nil {
		return nil, nil, err
	}
	compiled := func() {}
	if rio.Compiling != nil {
		compiled = rio.Compiling(int64(len(file)))
	}
	var m *capsulehost.Module
	if rio.Archive {
		m, err = h.CompileArchive(ctx, file, req.Component)
	} else {
		m, err = h.Compile(ctx, file)
	}
	compiled()
	if err != nil {
		return nil, nil, notRunnable(req.Name, err)
	}
	if req.Identity == "" {
		return m, m.Close, nil
	}
	k := known{identity: req.Identity, module: m, users: new(sync.WaitGroup)}
	k.users.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.modules = append(r.modules, k)
	if len(r.modules) > keepModules {
		old := r.modules[0]
		r.modules = slices.Delete(r.modules, 0, 1)
		go func() {
			old.users.Wait()
			old.module.Close()
		}()
	}
	return m, k.users.Done, nil
}

// readModule reads the capsule's file.
func readModule(name string, rio RunIO) ([]byte, error) {
	f, err := rio.Module()
	if err != nil {
		return nil, err
	}
	limit := int64(maxModule)
	if rio.Archive {
		limit = archive.MaxTotal
	}
	var size int64
	if s, ok := f.(interface{ Size() int64 }); ok {
		size = min(s.Size(), limit)
	}
	b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err = b.ReadFrom(io.LimitReader(f, limit+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fault.New(fault.NotRunnable, "", "reading %s: %w", name, err)
	}
	if int64(b.Len()) > limit {
		return nil, fault.New(fault.NotRunnable, "build it without debug information, or strip it", "%s is larger than %d MiB", name, limit>>20)
	}
	return b.Bytes(), nil
}

// unpacked returns what opens the binary that is run, in place of the archive
// that Module opens.
func unpacked(req *RunRequest, rio RunIO) func() (io.ReadCloser, error) {
	if !rio.Archive {
		return rio.Module
	}
	return func() (io.ReadCloser, error) {
		f, err := rio.Module()
		if err != nil {
			return nil, err
		}
		wasm, err := archive.Module(f, req.Component)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, notRunnable(req.Name, err)
		}
		return io.NopCloser(bytes.NewReader(wasm)), nil
	}
}

// notRunnable says why a capsule cannot be run.
func notRunnable(name string, err error) error {
	var format *capsulehost.FormatError
	var imports *capsulehost.ImportError
	var entry *capsulehost.EntryError
	var limit *capsulehost.LimitError
	var packed *archive.Error
	next := ""
	switch {
	case errors.As(err, &packed):
	case errors.As(err, &format):
		next = "give a WebAssembly core module or component (.wasm)"
	case errors.As(err, &imports):
		next = "see what it needs with: astridfs inspect " + fault.Arg(name)
	case errors.As(err, &entry):
		next = "see what it exports with: astridfs inspect " + fault.Arg(name)
		if entry.Entry == string(capsulehost.EntryRun) && slices.Contains(entry.Entries, string(capsulehost.EntryHook)) {
			next = "say what it is to do, with --action A or --event TOPIC; see: astridfs inspect " + fault.Arg(name)
		}
	case errors.As(err, &limit): // that no option lifts
	default:
		return err
	}
	return fault.New(fault.NotRunnable, next, "cannot run %s: %w", name, err)
}

// begin counts a run; no more begin once the owner is ending.
func (o *Owner) begin() (end func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending {
		return nil, fault.New(fault.Busy, "try again in a moment", "session %s is just being closed", o.disk.File.Name).Again()
	}
	o.running++
	return func() {
		o.mu.Lock()
		o.running--
		o.mu.Unlock()
	}, nil
}

// Run implements Conn.
func (o *Owner) Run(ctx context.Context, req RunRequest, rio RunIO) (RunResult, error) {
	end, err := o.begin()
	if err != nil {
		return RunResult{}, err
	}
	defer end()
	r, err := o.run(ctx, &req, rio)
	if err != nil {
		err = cancelled(ctx, err)
	}
	return r, err
}

func (o *Owner) run(ctx context.Context, req *RunRequest, rio RunIO) (RunResult, error) {
	var began time.Time // zero: when it is compiled, for a manifest speaks of what the capsule does
	if req.Timeout > 0 {
		began = time.Now()
	}
	grants, limits, mf, err := rules(req)
	if err != nil {
		return RunResult{}, err
	}
	p, err := o.principal(req.Principal)
	if err != nil {
		return RunResult{}, err
	}
	host, err := o.runs.open(o.opt.Log)
	if err != nil {
		return RunResult{}, err
	}
	m, done, err := o.compiled(ctx, host, req, rio, began)
	if err == errTimeout {
		return RunResult{Outcome: OutcomeTimedOut, Message: fmt.Sprintf("its time of %v was up before it was compiled", req.Timeout)}, nil
	}
	if err != nil {
		return RunResult{}, err
	}
	defer done()
	entry, err := entryOf(req)
	if err != nil {
		return RunResult{}, err
	}
	v, rec, err := o.capsuleView(p)
	if err != nil {
		return RunResult{}, err
	}
	v.Gate = grants
	name := filepath.Base(req.Name)
	capsule := strings.TrimSuffix(strings.TrimSuffix(name, ".wasm"), ".capsule")
	bus, release := o.astrid(req, mf, capsule, rec)
	defer release()
	return o.audit.run(ctx, capsule, req, func() (RunResult, error) {
		res, err := host.Run(ctx, m, capsulehost.RunConfig{
			View: v, Capsule: capsule, Principal: req.Principal,
			Entry: entry, Action: req.Action, Payload: req.Payload,
			Args: append([]string{name}, req.Args...), Env: req.Env,
			Stdin: rio.Stdin, Stdout: rio.Stdout, Stderr: rio.Stderr,
			Astrid: bus, Limits: limits, Began: began,
		})
		return runResult(req, res, err)
	})
}

// errTimeout is the cause of a context whose run's time was up.
var errTimeout = errors.New("the time of the run is up")

// compiled is runner.module within the time that a request gives the run, which
// began then; errTimeout when that is up.
func (o *Owner) compiled(ctx context.Context, host *capsulehost.Host, req *RunRequest, rio RunIO, began time.Time) (*capsulehost.Module, func(), error) {
	if req.Timeout == 0 {
		return o.runs.module(ctx, host, req, rio)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, began.Add(req.Timeout), errTimeout)
	defer cancel()
	m, done, err := o.runs.module(ctx, host, req, rio)
	if err != nil && context.Cause(ctx) == errTimeout {
		err = errTimeout
	}
	return m, done, err
}

// maxRunRecords is how many records one run may cause, two to four gigabytes of
// them: a capsule that does the same thing for ever must not fill the disk.
const maxRunRecords = 10_000_000

// capsuleView returns what a run of a principal's capsule sees, and what it is
// recorded by; nil where nothing is recorded.
func (o *Owner) capsuleView(p *principal) (*view.View, *auditfs.Recorder, error) {
	rec, err := o.audit.recorder()
	if err != nil {
		return nil, nil, err
	}
	if rec == nil {
		return &view.View{Workspace: o.edge.capsules, Home: p.home, Tmp: p.tmp}, nil, nil
	}
	rec = rec.Limited(maxRunRecords)
	return &view.View{
		Workspace: auditfs.New(o.edge.capsules, gate.Workspace, rec),
		Home:      auditfs.New(p.home, gate.Home, rec),
		Tmp:       auditfs.New(p.tmp, gate.Tmp, rec),
		Refused:   rec.Refused,
	}, rec, nil
}

func entryOf(req *RunRequest) (capsulehost.Entry, error) {
	switch req.Entry {
	case "":
		return capsulehost.EntryAuto, nil
	case "run":
		return capsulehost.EntryRun, nil
	case "install":
		return capsulehost.EntryInstall, nil
	case "upgrade":
		return capsulehost.EntryUpgrade, nil
	}
	return "", fault.New(fault.Usage, "use run, install or upgrade", "entry %q", req.Entry)
}

// runResult tells how a capsule ended from what the host says.
func runResult(req *RunRequest, res capsulehost.Result, err error) (RunResult, error) {
	r := RunResult{
		Outcome: OutcomeExited, ExitCode: int(res.ExitCode), Entry: string(res.Entry),
		Usage: RunUsage{WroteBytes: res.WroteBytes, MadeFiles: res.MadeFiles, MemoryBytes: uint64(res.MemoryPages) * capsulehost.PageSize, Duration: res.Duration},
	}
	for _, p := range res.Published {
		r.Published = append(r.Published, Message(p))
	}
	if res.Hook != nil {
		r.Result = &CapsuleResult{Action: res.Hook.Action, Data: res.Hook.Data}
	}
	var trap *capsulehost.TrapError
	if err == nil {
		return r, nil
	}
	if !errors.As(err, &trap) {
		return r, notRunnable(req.Name, err)
	}
	switch trap.Kind {
	case capsulehost.TrapHost, capsulehost.TrapCancelled:
		return r, err
	case capsulehost.TrapTime:
		r.Outcome = OutcomeTimedOut
	default:
		r.Outcome = OutcomeTrapped
	}
	r.ExitCode = 0
	r.Message = trap.Reason
	r.Frames = trap.Frames
	return r, nil
}

// logHandler hands what capsulehost reports to the owner's log.
type logHandler struct {
	log logrus.FieldLogger
}

// Enabled implements slog.Handler.
func (logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	log := h.log
	r.Attrs(func(a slog.Attr) bool {
		log = log.WithField(a.Key, a.Value.String())
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		log.Error(r.Message)
	case r.Level >= slog.LevelWarn:
		log.Warn(r.Message)
	case r.Level >= slog.LevelInfo:
		log.Info(r.Message)
	default:
		log.Debug(r.Message)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.log = h.log.WithField(a.Key, fmt.Sprint(a.Value))
	}
	return h
}

// WithGroup implements slog.Handler; groups are not told apart.
func (h logHandler) WithGroup(string) slog.Handler { return h }

// Inspect tells what a capsule's binary says of itself.
func Inspect(name string, wasm []byte) (capsulehost.Info, error) {
	info, err := capsulehost.Inspect(wasm)
	if err != nil {
		return info, notRunnable(name, err)
	}
	return info, nil
}
