package capsulehost

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CompileLimits bound the compilation of one binary. A field that is zero takes the
// value that it names.
type CompileLimits struct {
	// CPU is how much processor time it may take, in seconds that were begun: 2
	// minutes. Binaries of 12 MB take 6 seconds.
	CPU time.Duration
	// Memory is how many bytes of memory it may take: 4 GiB. Binaries of 12 MB take
	// half of one.
	Memory uint64
	// Wall is how long it may take on a machine that is busy: 10 times CPU.
	Wall time.Duration
}

func (l CompileLimits) withDefaults() CompileLimits {
	l.CPU = cmp.Or(l.CPU, 2*time.Minute)
	l.Memory = cmp.Or(l.Memory, 4<<30)
	l.Wall = cmp.Or(l.Wall, 10*l.CPU)
	return l
}

// compilers have this program compile in processes of their own: valid code can keep
// the compiler busy for hours, take all memory, or have it panic where nobody can
// recover from that, and this process is the session of others too. Such a process
// is held to its limits; it can write to one directory, has no descriptors but its
// streams, and ends with this one.
type compilers struct {
	argv    []string
	limits  CompileLimits
	workers int
	slots   chan struct{}
	dir     string // of the cache; empty: there is none
}

func newCompilers(opt Options, dir string, workers int) *compilers {
	n := opt.Compilers
	if n == 0 {
		n = min(max(runtime.GOMAXPROCS(0), 2), 8)
	}
	return &compilers{
		argv: opt.Compiler, limits: opt.CompileLimits.withDefaults(), workers: workers,
		slots: make(chan struct{}, n), dir: dir,
	}
}

// compileApart makes the module of a binary that was prepared, having another
// process compile it. Where what it compiles to cannot be stored in the cache, it
// goes to memory or some other place for as long as it is read, and the module gets
// an engine of its own.
//
// Errors: *FormatError, *LimitError, *ImportError; others are the host's.
func (h *Host) compileApart(ctx context.Context, c *compiled, p *prepared) error {
	select {
	case h.apart.slots <- struct{}{}:
		defer func() { <-h.apart.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var lost error
	if h.apart.dir != "" {
		err := h.compileStored(ctx, c, p)
		if err == nil || !errors.As(err, new(*storeError)) {
			return err
		}
		h.log.Warn("a compiled capsule could not be stored", "error", err)
		lost = err
	}
	if err := h.compileAlone(ctx, c, p); err != nil {
		return errors.Join(err, lost)
	}
	return nil
}

// compileStored is compileApart into the cache. An error that is a *storeError is no
// reason not to compile it elsewhere.
func (h *Host) compileStored(ctx context.Context, c *compiled, p *prepared) error {
	dir := h.apart.dir
	if need := 6*uint64(len(p.code)) + 256<<10; free(dir) < need {
		return &storeError{fmt.Sprintf("there are less than %d bytes free in %s", need, dir)}
	}
	out, err := newScratch(dir, scratchPrefix)
	if err != nil {
		return &storeError{err.Error()}
	}
	defer out.remove(h.log)
	if err := h.apart.compile(ctx, p.code, out.dir, dir); err != nil {
		return err
	}
	if err := publish(out.dir, dir); err != nil {
		return &storeError{err.Error()}
	}
	err = h.load(ctx, c, h.engine, p)
	if errors.Is(err, errNotCompiled) || errors.Is(err, errDamaged) { // somebody else has cleared the directory just now
		return &storeError{err.Error()}
	}
	return err
}

// compileAlone is compileApart into a directory that is removed again, and with an
// engine for this module alone.
func (h *Host) compileAlone(ctx context.Context, c *compiled, p *prepared) error {
	out, err := spareDir()
	if err != nil {
		return err
	}
	defer out.remove(h.log)
	if err := h.apart.compile(ctx, p.code, out.dir, ""); err != nil {
		return err
	}
	e, err := newEngine(ctx, out.dir, h.log)
	if err != nil {
		return err
	}
	if err := h.load(ctx, c, e, p); err != nil {
		return errors.Join(err, e.rt.close(context.WithoutCancel(ctx)))
	}
	e.rt.unstored = func(error) {} // what it compiles later is not to be stored
	return nil
}

// storeError says why something that was compiled is not in a directory.
type storeError struct{ what string }

func (e *storeError) Error() string { return "compiled code cannot be stored: " + e.what }

// free returns how many bytes can be written to a directory's filesystem.
func free(dir string) uint64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// spareDir makes a directory outside of the cache, where most room is. Those that a
// killed process of this user has left are removed.
func spareDir() (*scratch, error) {
	places := []string{os.TempDir(), "/dev/shm", "/var/tmp"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		places = append(places, dir)
	}
	room := map[string]uint64{}
	for _, p := range places {
		removeScratches(p, sparePrefix, time.Now())
		room[p] = free(p)
	}
	slices.SortStableFunc(places, func(a, b string) int { return cmp.Compare(room[b], room[a]) })
	var errs []error
	for _, p := range places {
		dir, err := newScratch(p, sparePrefix)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("there is no place to compile in: %w", errors.Join(errs...))
}

// publish moves compiled modules from one cache directory to another.
func publish(from, to string) error {
	versions, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, v := range versions {
		files, err := os.ReadDir(filepath.Join(from, v.Name()))
		if err != nil {
			return err
		}
		for _, f := range files {
			if !f.Type().IsRegular() {
				continue
			}
			name := filepath.Join(v.Name(), f.Name())
			if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// errCompileTime is the cause of a context whose compilation took too long.
var errCompileTime = errors.New("compile time")

// errKilled says nothing about the module: it may be compiled the next time.
var errKilled = errors.New("having it compiled: the process that does was killed, as the kernel does where memory runs out; try it again when there is more")

// compile starts a process that compiles code into the directory out, but for what
// the directory known has (empty: nothing has), and waits for it.
//
// Errors: *storeError, *FormatError, *LimitError, *ImportError, those of ctx; others
// are the host's.
func (k *compilers) compile(ctx context.Context, code []byte, out, known string) error {
	wall, cancel := context.WithTimeoutCause(ctx, k.limits.Wall, errCompileTime)
	defer cancel()
	job := compileJob{
		Out: out, Known: known, Size: len(code), Workers: k.workers,
		CPU: uint64((k.limits.CPU + time.Second - 1) / time.Second), Memory: k.limits.Memory,
	}
	cmd := exec.CommandContext(wall, "/proc/self/exe", job.args()...) // also where the file was replaced meanwhile
	cmd.Args = append(slices.Clone(k.argv), cmd.Args[1:]...)
	cmd.Env = []string{"GOTRACEBACK=none"}
	cmd.Dir = "/"
	// A terminal's Ctrl-C is for this process, which passes it on as it sees fit.
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	cmd.Stdin = bytes.NewReader(code)
	var stdout, stderr head
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := runConfined(cmd, out)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case context.Cause(wall) == errCompileTime:
		return &LimitError{What: fmt.Sprintf("compiling it takes longer than %v", k.limits.Wall)}
	case err != nil && !errors.As(err, &exit):
		return fmt.Errorf("having it compiled: %w", err)
	}
	if state := cmd.ProcessState; exit != nil && !exit.Exited() && state.UserTime()+state.SystemTime() >= time.Duration(job.CPU)*time.Second {
		return k.tooMuch(overTime)
	}
	if exit != nil && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL {
		// Not by this process: by the kernel, which takes it first, or a person.
		return errKilled
	}
	var rep report
	if err == nil && json.Unmarshal(stdout.b, &rep) == nil {
		return rep.err(k)
	}
	why := stderr.reason()
	if k.outOfMemory(cmd.ProcessState, stderr.b) {
		return k.tooMuch(overMemory)
	}
	if why == "" && err != nil {
		why = err.Error()
	}
	return &FormatError{Offset: -1, What: "the compiler gives up: " + cmp.Or(why, "it says nothing")}
}

// outOfMemory tells whether a process that ended by what it wrote to stderr had no
// more memory.
func (k *compilers) outOfMemory(state *os.ProcessState, stderr []byte) bool {
	// As the runtime, and the race detector where there is one, say it.
	for _, text := range []string{"out of memory", "cannot allocate memory", "cannot map pages", "failed to allocate"} {
		if bytes.Contains(stderr, []byte(text)) {
			return true
		}
	}
	// The C library, in builds that have it, fails in other ways.
	use, ok := state.SysUsage().(*syscall.Rusage)
	return ok && uint64(use.Maxrss)<<10 > k.limits.Memory/2 && !bytes.HasPrefix(stderr, []byte("panic: "))
}

// tooMuch says which limit compiling has reached.
func (k *compilers) tooMuch(what string) error {
	if what == overTime {
		return &LimitError{What: fmt.Sprintf("compiling it takes more than %v of processor time", k.limits.CPU)}
	}
	return &LimitError{What: fmt.Sprintf("compiling it takes more than %d MiB of memory", k.limits.Memory>>20)}
}

// runConfined runs a command that can write to files in dir alone, see confine, and
// is the first to be ended where the machine's memory runs out.
func runConfined(cmd *exec.Cmd, dir string) error {
	// Descriptors that came from whoever started this process are not for it.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS && err != unix.EINVAL {
		return os.NewSyscallError("close_range", err)
	}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The thread ends with this goroutine, which does not unlock it: it stays
		// confined. It must not end before the process does, which goes with it.
		runtime.LockOSThread()
		confine(dir)
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	// Where that is not to be had, the kernel chooses as it does else.
	_ = os.WriteFile("/proc/"+strconv.Itoa(cmd.Process.Pid)+"/oom_score_adj", []byte("1000"), 0)
	return <-ended
}

// head keeps the first 64 KiB of what is written to it.
type head struct{ b []byte }

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), 64<<10-len(h.b))]...)
	return len(p), nil
}

// reason returns the line that says why a process ended.
func (h *head) reason() string {
	first := ""
	for line := range strings.SplitSeq(string(h.b), "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
		first = cmp.Or(first, line)
	}
	return first
}
