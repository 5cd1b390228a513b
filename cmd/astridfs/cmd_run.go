package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/manifest"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

const runName = "run"

// Bounds of what is read to be sent along, in bytes.
const (
	maxManifest = manifest.MaxSize
	maxPayload  = 2 << 20
)

// maxOutput bounds how much of a capsule's output a document of --json holds,
// in bytes.
const maxOutput = 8 << 20

func runCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      runName,
		Usage:     "run a capsule on a session",
		ArgsUsage: "CAPSULE [ARGS…]",
		Description: `CAPSULE is a WebAssembly binary (.wasm) or an archive with its manifest
(.capsule). It sees the session's workspace, and home and tmp of its principal,
and nothing else of this machine. What it may read and write comes from
--fs-read and --fs-write, else from its manifest, else it is the workspace and
tmp. Without --session and --workspace the session is that of the current
directory.

Its standard streams are this command's. The exit code is its own; 124 says that
its time was up, 125 that astridfs failed, 126 that it cannot be run, 127 that
it is not there, and 1 that it was stopped by a trap.

   astridfs run tool.wasm --fix src/
   astridfs run --workspace ~/project --fs-read cwd://src --timeout 30s lint.wasm
   astridfs run --capsule Capsule.toml --action review --payload @event.json hook.wasm
   astridfs run --event tool.v1.execute.grep --payload '{"pattern":"x"}' tools.capsule`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "session", Aliases: []string{"s"}, Usage: "run on session `S`"},
			&cli.StringFlag{Name: "workspace", Usage: "run on the session of the workspace `DIR`, made if there is none"},
			&cli.StringFlag{Name: "capsule", Usage: "the capsule's manifest `FILE` (Capsule.toml)"},
			&cli.StringFlag{Name: "principal", Value: defaultPrincipal, Usage: "act for principal `P`, whose home and tmp it sees"},
			&cli.StringSliceFlag{Name: "fs-read", Usage: "let it read `PATTERN` (repeatable)"},
			&cli.StringSliceFlag{Name: "fs-write", Usage: "let it write `PATTERN` (repeatable)"},
			denyFlag(),
			&cli.StringFlag{Name: "action", Usage: "call astrid-hook-trigger with action `A` and print its result"},
			&cli.StringFlag{Name: "event", Usage: "call the action that handles `TOPIC` by the manifest"},
			&cli.StringFlag{Name: "payload", Usage: "the action's payload: `JSON`, @FILE, or - for standard input"},
			&cli.StringSliceFlag{Name: "message", Usage: "have its subscriptions find `TOPIC=JSON` (repeatable)"},
			&cli.StringFlag{Name: "entry", Usage: "call the export for `WHAT`: run, install or upgrade"},
			&cli.StringSliceFlag{Name: "env", Usage: "set `K=V` in its environment, which is empty otherwise (repeatable)"},
			&cli.DurationFlag{Name: "timeout", DefaultText: "10m", Usage: "stop it after `TIME`, 30s say, that of compiling it included"},
			&cli.StringFlag{Name: "memory", DefaultText: "256MiB", Usage: "let its memory grow to `SIZE`"},
			&cli.StringFlag{Name: "max-write", DefaultText: "4GiB", Usage: "let it write `SIZE` in all"},
			&cli.Uint64Flag{Name: "max-files", DefaultText: "100000", Usage: "let it make `N` files"},
			auditFlag(), auditKeyFlag(),
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			err := e.runCapsule(c)
			var code *codeError
			if err != nil && !errors.As(err, &code) && exitCode(err) == exitFailed {
				e.report(err)
				return &codeError{exitRunFailed}
			}
			return err
		},
	}
}

func (e *env) runCapsule(c *cli.Context) error {
	if c.NArg() == 0 {
		return fault.New(fault.Usage, "see: astridfs help run", "run takes a capsule")
	}
	req, rio, err := e.runRequest(c)
	if err = errors.Join(err, e.takeAudit(c)); err != nil {
		return err
	}
	req.Name = c.Args().First()
	module, err := await(e.ctx, func() (*os.File, error) { return openCapsule(req.Name) })
	if err != nil {
		return err
	}
	defer module.Close()
	// A pipe that nothing comes through is given up with the command; a file is
	// there at once, and has no deadline.
	defer context.AfterFunc(e.ctx, func() { module.SetReadDeadline(time.Now()) })()
	if req.Identity, err = identity(module); err != nil {
		return err
	}
	rio.Module = func() (io.ReadCloser, error) { return capsuleFile{module, module}, nil }
	if err := e.unpack(c, module, &req, &rio); err != nil {
		return err
	}
	ch, err := e.chooseForRun(c)
	if err != nil {
		return err
	}
	var res session.RunResult
	err = e.with(ch, runName, func(conn session.Conn) error {
		if e.json {
			return e.runJSON(ch, conn, req, rio)
		}
		res, err = conn.Run(e.ctx, req, rio)
		e.hurryAfter(res)
		return err
	})
	if err != nil || e.json {
		return err
	}
	return e.printRun(&req, res)
}

// runRequest makes the request of the flags.
func (e *env) runRequest(c *cli.Context) (session.RunRequest, session.RunIO, error) {
	req := session.RunRequest{
		Principal: c.String("principal"), FSRead: c.StringSlice("fs-read"), FSWrite: c.StringSlice("fs-write"),
		Action: c.String("action"), Entry: c.String("entry"), Env: c.StringSlice("env"), Args: c.Args().Tail(),
		Timeout: c.Duration("timeout"),
	}
	rio := session.RunIO{Stdin: e.stdin, Stdout: e.stdout, Stderr: e.stderr}
	if !e.quiet && isTerminal(e.stderr) {
		rio.Compiling = spinner{w: e.stderr, what: "compiling " + oneLine(filepath.Base(c.Args().First())), wait: compileWait}.start
	}
	if req.Entry != "" {
		if err := oneOf("entry", req.Entry, "run", "install", "upgrade"); err != nil {
			return req, rio, err
		}
	}
	if err := store.CheckPrincipal(req.Principal); err != nil {
		return req, rio, err
	}
	for _, kv := range req.Env {
		if i := strings.IndexByte(kv, '='); i <= 0 {
			return req, rio, fault.New(fault.Usage, "give NAME=VALUE", "option --env: %q names no value", kv)
		}
	}
	var err error
	if req.Messages, err = messages(c.StringSlice("message")); err != nil {
		return req, rio, err
	}
	if req.Timeout < 0 || c.IsSet("timeout") && req.Timeout == 0 {
		return req, rio, fault.New(fault.Usage, "give a time above zero", "option --timeout cannot be %s", req.Timeout)
	}
	if req.Limits.Memory, err = size(c, "memory"); err != nil {
		return req, rio, err
	}
	if req.Limits.WriteBytes, err = size(c, "max-write"); err != nil {
		return req, rio, err
	}
	if req.Limits.Files = c.Uint64("max-files"); c.IsSet("max-files") && req.Limits.Files == 0 {
		return req, rio, fault.New(fault.Usage, "give a number above zero, or no --fs-write", "option --max-files cannot be 0")
	}
	if path := c.String("capsule"); path != "" {
		if req.Manifest, err = readBounded(e.ctx, path, maxManifest); err != nil {
			return req, rio, unreadable("manifest", err)
		}
		req.ManifestName = path
	}
	if c.IsSet("payload") {
		if req.Action == "" && !c.IsSet("event") {
			return req, rio, fault.New(fault.Usage, "give --action or --event too", "a payload needs an action")
		}
		if req.Payload, err = e.payload(c.String("payload")); err != nil {
			return req, rio, err
		}
		if c.String("payload") == "-" {
			rio.Stdin = bytes.NewReader(nil)
		}
	}
	return req, rio, nil
}

func (e *env) payload(arg string) ([]byte, error) {
	var data []byte
	var err error
	switch {
	case arg == "-":
		data, err = await(e.ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(e.stdin, maxPayload+1)) })
	case strings.HasPrefix(arg, "@"):
		data, err = readBounded(e.ctx, arg[1:], maxPayload)
	default:
		data = []byte(arg)
	}
	if err == nil && len(data) > maxPayload {
		err = fmt.Errorf("larger than %d bytes", maxPayload)
	}
	if err != nil {
		return nil, unreadable("payload", err)
	}
	return data, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(ctx context.Context, path string, limit int64) ([]byte, error) {
	return await(ctx, func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, limit+1))
		if err == nil && int64(len(data)) > limit {
			err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", limit)}
		}
		return data, err
	})
}

// unreadable says that a file which a command line names cannot be read.
func unreadable(what string, err error) error {
	if fault.Is(err, fault.Cancelled) {
		return err
	}
	return fault.New(fault.Failed, "name a file that can be read", "%s: %w", what, err)
}

// size reads a flag that is a number of bytes; 0 if it is not given.
func size(c *cli.Context, flag string) (uint64, error) {
	if !c.IsSet(flag) {
		return 0, nil
	}
	n, err := manifest.Size(c.String(flag))
	if err == nil && n == 0 {
		err = errors.New("it is zero")
	}
	if err != nil {
		return 0, fault.New(fault.Usage, "give a number with B, KiB, MiB or GiB, 256MiB say", "option --%s: %w", flag, err)
	}
	return n, nil
}

// settled is how long a file must not have been changed for its identity to
// name its contents: two changes within a tick of the kernel's clock look alike.
const settled = time.Second

// openCapsule opens the capsule's file.
func openCapsule(path string) (*os.File, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.NotFound, "give the path of a .wasm or .capsule file", "no capsule %s", path)
	case err != nil:
		return nil, fault.New(fault.NotRunnable, "", "capsule: %w", err)
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		f.Close()
		return nil, fault.New(fault.NotRunnable, "give a .wasm file", "capsule %s is a directory", path)
	}
	return f, nil
}

// identity names the contents of a capsule's file; "" where that cannot be told
// without reading them.
func identity(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", fault.New(fault.NotRunnable, "", "capsule: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || time.Since(time.Unix(st.Ctim.Unix())) <= settled {
		return "", nil
	}
	return fmt.Sprintf("%d:%d:%d:%d.%d:%d.%d", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec), nil
}

// chooseForRun finds the session to run on; one is made where a workspace has
// none.
func (e *env) chooseForRun(c *cli.Context) (*chosen, error) {
	st, err := e.openStore()
	if err != nil {
		return nil, err
	}
	name, dir, deny := c.String("session"), c.String("workspace"), c.StringSlice("deny")
	if name != "" && dir == "" {
		disk, err := st.Load(name)
		if err == nil {
			err = session.CheckDeny(disk, deny)
		}
		return &chosen{st: st, disk: disk}, err
	}
	if dir == "" {
		if dir, err = unix.Getwd(); err != nil {
			return nil, fault.New(fault.Usage, "give --session or --workspace", "no current directory: %w", err)
		}
		ch, err := sessionOfDir(st, dir)
		if err == nil {
			err = session.CheckDeny(ch.disk, deny)
		}
		if err == nil || fault.Is(err, fault.Usage) {
			return ch, err
		}
	}
	workspace, err := session.Workspace(dir, st)
	if err != nil {
		return nil, err
	}
	disk, made, err := session.Ensure(e.ctx, st, session.Spec{Name: name, Workspace: workspace, Deny: deny})
	if made {
		e.note("astridfs: made session %s for %s", disk.File.Name, workspace)
	}
	return &chosen{st: st, disk: disk}, err
}

// printRun prints what the capsule published and astrid-hook-trigger returned and
// says how the capsule ended, which is the exit code.
func (e *env) printRun(req *session.RunRequest, res session.RunResult) error {
	for _, m := range res.Published {
		if _, err := fmt.Fprintf(e.stdout, "published %s %s\n", m.Topic, oneLine(m.Payload)); err != nil {
			return err
		}
	}
	if r := res.Result; r != nil {
		text := r.Action + "\n"
		if r.Data != nil {
			text += strings.TrimSuffix(*r.Data, "\n") + "\n"
		}
		if _, err := io.WriteString(e.stdout, text); err != nil {
			return err
		}
	}
	if res.Outcome != session.OutcomeExited {
		fmt.Fprintf(e.stderr, "astridfs: capsule %s was stopped: %s\n", filepath.Base(req.Name), oneLine(res.Message))
		for i, f := range res.Frames {
			if i == 8 {
				break
			}
			fmt.Fprintf(e.stderr, "  in %s\n", oneLine(f))
		}
	}
	return runCode(res)
}

func runCode(res session.RunResult) error {
	code := res.ExitCode & 0xff
	switch {
	case res.Outcome == session.OutcomeTimedOut:
		code = exitTimeout
	case res.Outcome != session.OutcomeExited:
		code = exitFailed
	case res.ExitCode != 0 && code == 0:
		code = exitFailed // not to be taken for success
	}
	if code == 0 {
		return nil
	}
	return &codeError{code}
}

// hurryAfter has what is still to be said after a run that was stopped wait no
// longer than a moment for readers that do not read: the capsule may have
// been stopped because it waited for one.
func (e *env) hurryAfter(res session.RunResult) {
	if e.ctx.Err() != nil || res.Outcome == session.OutcomeTimedOut {
		until := time.Now().Add(time.Second)
		e.stdout, e.stderr = hurried{e.stdout, until}, hurried{e.stderr, until}
	}
}

// hurried is a writer that nobody waits for after a time. A Write may be under
// way for ever then.
type hurried struct {
	w     io.Writer
	until time.Time
}

func (h hurried) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	done := make(chan error, 1)
	go func() {
		_, err := h.w.Write(p)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return 0, err
		}
		return len(p), nil
	case <-time.After(time.Until(h.until)):
		return 0, os.ErrDeadlineExceeded
	}
}

// capture keeps what is written to it up to maxOutput.
type capture struct {
	bytes.Buffer
	lost bool
}

func (c *capture) Write(p []byte) (int, error) {
	if room := maxOutput - c.Len(); len(p) > room {
		c.lost = true
		c.Buffer.Write(p[:room])
		return len(p), nil
	}
	return c.Buffer.Write(p)
}

// members are what a document says of it: text, or base64 where it is none.
func (c *capture) members(name string) []member {
	var list []member
	if b := c.Bytes(); utf8.Valid(b) {
		list = append(list, member{name, string(b)})
	} else {
		list = append(list, member{name + "_base64", b})
	}
	if c.lost {
		list = append(list, member{name + "_truncated", true})
	}
	return list
}

// runJSON runs and prints one document.
func (e *env) runJSON(ch *chosen, conn session.Conn, req session.RunRequest, rio session.RunIO) error {
	var stdout, stderr capture
	rio.Stdout, rio.Stderr = &stdout, &stderr
	res, err := conn.Run(e.ctx, req, rio)
	e.hurryAfter(res)
	if err != nil {
		return err
	}
	doc := []member{brief(ch), {"run", res}}
	doc = append(doc, stdout.members("stdout")...)
	doc = append(doc, stderr.members("stderr")...)
	if err := e.printJSON(doc...); err != nil {
		return err
	}
	return runCode(res)
}
