package capsulehost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// compileJob is what a process that compiles is told by its arguments.
type compileJob struct {
	Out         string // the directory that it compiles into
	Known       string // one that may have it already; empty: none
	Size        int    // of the binary, in bytes
	Workers     int
	CPU, Memory uint64 // its limits, in seconds and bytes
}

func (j compileJob) args() []string {
	return []string{j.Out, j.Known, strconv.Itoa(j.Size), strconv.Itoa(j.Workers),
		strconv.FormatUint(j.CPU, 10), strconv.FormatUint(j.Memory, 10)}
}

func parseJob(args []string) (j compileJob, err error) {
	if len(args) != len(j.args()) {
		return j, errors.New("this is for the program itself to call")
	}
	j.Out, j.Known = args[0], args[1]
	var errs [4]error
	j.Size, errs[0] = strconv.Atoi(args[2])
	j.Workers, errs[1] = strconv.Atoi(args[3])
	j.CPU, errs[2] = strconv.ParseUint(args[4], 10, 32)
	j.Memory, errs[3] = strconv.ParseUint(args[5], 10, 62)
	if err := errors.Join(errs[:]...); err != nil {
		return j, err
	}
	if j.Size < 0 || j.Size > maxPrepared {
		return j, fmt.Errorf("a binary of %d bytes", j.Size)
	}
	return j, nil
}

// limit holds this process to the limits of the job.
func (j compileJob) limit() error {
	data, err := dataSize()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		what     int
		cur, max uint64
	}{
		{unix.RLIMIT_CORE, 0, 0},
		{unix.RLIMIT_CPU, j.CPU, j.CPU + 1},
		{unix.RLIMIT_NOFILE, 64, 64},
		{unix.RLIMIT_DATA, data + j.Memory, data + j.Memory},
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		now.Cur, now.Max = min(l.cur, now.Max), min(l.max, now.Max)
		if err := unix.Setrlimit(l.what, &now); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	debug.SetMemoryLimit(int64(j.Memory / 4 * 3)) // from where on garbage is looked for harder
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), j.Workers+1))
	return nil
}

// dataSize returns how much of what RLIMIT_DATA bounds this process has, in bytes.
func dataSize() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 6 {
		return 0, fmt.Errorf("/proc/self/statm says %q", b)
	}
	pages, err := strconv.ParseUint(fields[5], 10, 64)
	return pages * uint64(os.Getpagesize()), err
}

// What a compilation may have taken too much of.
const (
	overTime   = "time"
	overMemory = "memory"
)

// report is how a compilation ended, as the process that compiled tells it. Its zero
// value is success.
type report struct {
	Over     string       `json:"over,omitempty"` // overTime or overMemory
	Unstored string       `json:"unstored,omitempty"`
	Format   *FormatError `json:"format,omitempty"`
	Limit    *LimitError  `json:"limit,omitempty"`
	Import   *ImportError `json:"import,omitempty"`
	Failed   string       `json:"failed,omitempty"`
}

func reportOf(err error) (r report) {
	var unstored *storeError
	switch {
	case err == nil:
	case errors.As(err, &unstored):
		r.Unstored = unstored.what
	case strings.Contains(err.Error(), unix.ENOMEM.Error()): // for the machine code
		r.Over = overMemory
	case errors.As(err, &r.Format), errors.As(err, &r.Limit), errors.As(err, &r.Import):
	default:
		r.Failed = err.Error()
	}
	return r
}

func (r report) err(k *compilers) error {
	switch {
	case r.Over != "":
		return k.tooMuch(r.Over)
	case r.Unstored != "":
		return &storeError{r.Unstored}
	case r.Format != nil:
		return r.Format
	case r.Limit != nil:
		return r.Limit
	case r.Import != nil:
		return r.Import
	case r.Failed != "":
		return fmt.Errorf("having it compiled: %s", r.Failed)
	}
	return nil
}

// CompileMain is all that a process started by Options.Compiler does, with the
// arguments behind those: it compiles the binary on stdin and reports to stdout. It
// returns the exit code.
func CompileMain(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	over := make(chan os.Signal, 1)
	signal.Notify(over, unix.SIGXCPU)
	job, err := parseJob(args)
	if err == nil {
		err = job.limit()
	}
	if err != nil {
		fmt.Fprintln(stderr, "astridfs: compiling a capsule:", err)
		return 2
	}
	done := make(chan report, 1)
	go func() { done <- reportOf(job.compile(stdin)) }()
	var r report
	select {
	case r = <-done:
	case <-over:
		r.Over = overTime
	}
	if err := json.NewEncoder(stdout).Encode(r); err != nil {
		fmt.Fprintln(stderr, "astridfs: compiling a capsule:", err)
		return 1
	}
	return 0
}

// compile compiles the binary that stdin has.
func (j compileJob) compile(stdin io.Reader) error {
	code := make([]byte, j.Size)
	if _, err := io.ReadFull(stdin, code); err != nil {
		return fmt.Errorf("reading the binary: %w", err)
	}
	ctx := experimental.WithCompilationWorkers(context.Background(), j.Workers)
	rt := &jobRuntime{}
	var err error
	if rt.compiler, err = openCompiler(ctx, j.Out); err != nil {
		return &storeError{err.Error()}
	}
	var lost error
	rt.unstored = func(err error) { lost = err }
	if j.Known != "" {
		if rt.known, err = openCompiler(ctx, j.Known); err != nil {
			return &storeError{err.Error()}
		}
	}
	var info Info
	if _, _, err := build(ctx, rt, componentSet(), code, &info); err != nil {
		return err
	}
	if lost != nil {
		return &storeError{lost.Error()}
	}
	return nil
}

func openCompiler(ctx context.Context, dir string) (*compiler, error) {
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, err
	}
	return newCompiler(ctx, cache, dir, slog.New(slog.DiscardHandler)), nil
}

// jobRuntime compiles what is not known yet.
type jobRuntime struct {
	*compiler
	known *compiler // nil: nothing is
}

// CompileModule implements wazero.Runtime.
func (r *jobRuntime) CompileModule(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	if r.known != nil {
		if m, err := r.known.load(ctx, wasm); err == nil || !errors.Is(err, errNotCompiled) && !errors.Is(err, errDamaged) {
			return m, err
		}
	}
	return r.compiler.CompileModule(ctx, wasm)
}
