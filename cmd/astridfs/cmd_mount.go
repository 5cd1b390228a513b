package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

type mountOptions struct {
	session, branch       string
	deny                  []string
	mode                  store.Mode
	view                  session.View
	principal             string
	capsule               string
	readOnly, allowOther  bool
	foreground            bool
	workspace, mountpoint string
}

func mountCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "mount",
		Usage:     "show a workspace's session as a directory, live",
		ArgsUsage: "WORKSPACE MOUNTPOINT",
		Description: `Whatever is done below MOUNTPOINT happens in the session; the workspace itself
changes only by a commit. The command returns when the mount answers, and a
process in the background serves it until it is unmounted.

   astridfs mount ~/project ~/view
   astridfs mount --mode worktree --branch try ~/project ~/view
   astridfs mount --capsule Capsule.toml ~/project ~/view   # held to its capabilities`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "session", Aliases: []string{"s"}, Usage: "use, or make, session `S` (default: named after the workspace)"},
			&cli.StringFlag{Name: "mode", Usage: "`MODE` of a new session: overlay (changes are held back), worktree (a git worktree) or host (changes are direct)"},
			&cli.StringFlag{Name: "branch", Usage: "with --mode worktree: the new worktree's `BRANCH` (default: astridfs/SESSION)"},
			denyFlag(),
			auditFlag(), auditKeyFlag(),
			&cli.StringFlag{Name: "view", Value: "workspace", Usage: "show `VIEW`: workspace, home, tmp or all of them"},
			&cli.StringFlag{Name: "principal", Value: defaultPrincipal, Usage: "show home and tmp of principal `P`"},
			&cli.StringFlag{Name: "capsule", Usage: "hold the mount to the capabilities in manifest `FILE`"},
			&cli.BoolFlag{Name: "read-only", Usage: "refuse every change"},
			&cli.BoolFlag{Name: "allow-other", Usage: "let other users in, as permission bits allow"},
			&cli.BoolFlag{Name: "foreground", Aliases: []string{"f"}, Usage: "serve the mount until it is unmounted or interrupted"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return fault.New(fault.Usage, "see: astridfs help mount", "mount takes a workspace and a mountpoint")
			}
			o := mountOptions{
				session: c.String("session"), branch: c.String("branch"), deny: c.StringSlice("deny"), mode: store.Mode(c.String("mode")),
				view: session.View(c.String("view")), principal: c.String("principal"), capsule: c.String("capsule"),
				readOnly: c.Bool("read-only"), allowOther: c.Bool("allow-other"), foreground: c.Bool("foreground"),
				workspace: c.Args().Get(0), mountpoint: c.Args().Get(1),
			}
			if err := errors.Join(o.check(), e.takeAudit(c)); err != nil {
				return err
			}
			if ready := takeReady(); o.foreground || ready != nil {
				return e.mount(o, ready)
			}
			return e.mountInBackground()
		},
	}
}

// denyFlag gives the deny rules of a session.
func denyFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "deny", Usage: "hide what `PATTERN` matches, a line of .astridignore (repeatable; kept with the session)"}
}

// defaultPrincipal is whom a capsule acts for where nobody was named.
const defaultPrincipal = "default"

func (o *mountOptions) check() error {
	if o.mode != "" {
		if err := oneOf("mode", o.mode, store.Overlay, store.Worktree, store.Host); err != nil {
			return err
		}
	}
	if err := oneOf("view", o.view, session.ViewWorkspace, session.ViewHome, session.ViewTmp, session.ViewAll); err != nil {
		return err
	}
	if o.session != "" {
		if err := store.CheckName(o.session); err != nil {
			return err
		}
	}
	return store.CheckPrincipal(o.principal)
}

// readyVariable tells the process in the background which descriptor to report
// on that the mount answers.
const readyVariable = "ASTRIDFS_READY_FD"

// takeReady returns the pipe to report on, in a process started by
// mountInBackground, and nil in any other.
func takeReady() *os.File {
	fd, err := strconv.Atoi(os.Getenv(readyVariable))
	if err != nil || fd < 3 || os.Unsetenv(readyVariable) != nil {
		return nil
	}
	unix.CloseOnExec(fd)
	// It was started as /proc/self/exe: ps is to show what that is.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	return os.NewFile(uintptr(fd), "ready")
}

// mountInBackground starts this program again, in a session of its own, and
// waits until it says that the mount answers or ends. Until then, that process
// talks to the user by itself.
func (e *env) mountInBackground() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// The background process must not hold what a shell left open here.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS {
		w.Close()
		return os.NewSyscallError("close_range", err)
	}
	cmd := exec.Command("/proc/self/exe", e.args[1:]...)
	cmd.Args[0] = e.args[0]
	cmd.Env = append(os.Environ(), readyVariable+"=3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, e.stdout, e.stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(e.ctx, func() { cmd.Process.Signal(unix.SIGTERM) })
	defer stop()
	var one [1]byte
	if n, _ := r.Read(one[:]); n == 1 {
		return cmd.Process.Release()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case e.ctx.Err() != nil:
		return fault.New(fault.Cancelled, "", "interrupted")
	case errors.As(err, &exit) && exit.Exited():
		return &codeError{exit.ExitCode()} // it has said why
	case err == nil:
		return fault.New(fault.Failed, "the session's log may have the reason", "the mount ended as soon as it was there")
	}
	return fault.New(fault.Failed, "the session's log may have the reason", "the process that serves the mount died: %w", err)
}

// mount mounts and serves. ready is where a process in the background reports.
func (e *env) mount(o mountOptions, ready *os.File) error {
	st, err := e.openStore()
	if err != nil {
		return err
	}
	grants, err := e.mountGrants(o.capsule)
	if err != nil {
		return err
	}
	workspace, err := session.Workspace(o.workspace, st)
	if err != nil {
		return err
	}
	point, err := session.MountpointPath(o.mountpoint)
	if err != nil {
		return err
	}
	if err := session.CheckMount(st, workspace, point); err != nil {
		return err
	}
	disk, made, err := session.Ensure(e.ctx, st, session.Spec{Name: o.session, Workspace: workspace, Mode: o.mode, Branch: o.branch, Deny: o.deny})
	if err != nil {
		return err
	}
	owner, err := session.Own(e.ctx, st, disk, e.options("mount"))
	if errors.Is(err, store.ErrLocked) {
		return session.InUse(disk, "work in that mount, or end it with: astridfs unmount "+disk.File.Name, "; to watch a capsule at work, mount before it runs")
	}
	if err != nil {
		return e.unmake(st, disk, made, err)
	}
	err = owner.Mount(session.MountOptions{
		Mountpoint: point, View: o.view, Principal: o.principal, Grants: grants,
		ReadOnly: o.readOnly, AllowOther: o.allowOther,
	})
	if err != nil {
		return e.unmake(st, disk, made, errors.Join(err, owner.Close(e.ctx)))
	}
	return errors.Join(e.serve(owner, disk, ready), owner.Close(e.ctx))
}

// unmake removes a session that was made for what failed with err, which leaves
// nothing behind.
func (e *env) unmake(st *store.Store, disk *store.Session, made bool, err error) error {
	if !made {
		return err
	}
	return errors.Join(err, session.Remove(context.WithoutCancel(e.ctx), st, disk, session.RemoveOptions{Force: true, Unused: true}))
}

// serve says that the mount is there, goes to the background, and waits for its
// end.
func (e *env) serve(owner *session.Owner, disk *store.Session, ready *os.File) error {
	info, err := owner.Info(e.ctx)
	if err == nil {
		err = e.printMounted(info)
	}
	if err == nil && ready != nil {
		if err = e.detach(disk); err == nil {
			_, err = ready.Write([]byte{1})
		}
		err = errors.Join(err, ready.Close())
	}
	if err != nil {
		ended, cancel := context.WithCancel(e.ctx)
		cancel()
		return errors.Join(err, owner.Wait(ended))
	}
	return owner.Wait(e.ctx)
}

func (e *env) printMounted(info session.Info) error {
	if e.json {
		return e.printJSON(member{"session", info})
	}
	if e.quiet {
		return nil
	}
	_, err := fmt.Fprintf(e.stdout, "session %s: %s is mounted at %s\n", info.Name, fault.Arg(string(info.Workspace)), fault.Arg(string(info.Mountpoint)))
	return err
}

// maxLog is the size, in bytes, from which on a session's log is begun anew;
// the old one is kept once.
const maxLog = 4 << 20

// detach cuts this process off from the terminal and the directory it was
// started in. What it reports goes to the session's log from now on.
func (e *env) detach(disk *store.Session) error {
	path := disk.Log()
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for fd := 1; fd <= 2; fd++ {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	if text, ok := e.log.Formatter.(*logrus.TextFormatter); ok {
		text.DisableTimestamp, text.FullTimestamp, text.DisableColors = false, true, true
	}
	if e.log.GetLevel() < logrus.InfoLevel {
		e.log.SetLevel(logrus.InfoLevel)
	}
	e.log.SetOutput(os.Stderr)
	e.log.WithField("pid", os.Getpid()).Info("mounted")
	return os.Chdir("/")
}

// mountGrants reads the capabilities that a mount is held to; nil if it is not.
func (e *env) mountGrants(path string) (*gate.Grants, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readBounded(e.ctx, path, maxManifest)
	if err != nil {
		return nil, unreadable("manifest", err)
	}
	return session.Grants(strings.TrimSpace(path), data)
}
