package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/syslog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/mountopt"
)

// helperName is the name under which this program is mount(8)'s helper: what
// `mount -t fuse.astridfs` looks for in /sbin and runs.
const helperName = "mount.fuse.astridfs"

// isHelper tells whether the program was called by the helper's name.
func isHelper(args []string) bool { return len(args) > 0 && filepath.Base(args[0]) == helperName }

const helperUsage = `mount.fuse.astridfs mounts an overlay of directories, without a session, for
  mount -t fuse.astridfs -o lowerdir=A:B,upperdir=C,workdir=D SOURCE DIRECTORY
and for lines of /etc/fstab. Make the helper known once, as root:
  ln -s "$(command -v astridfs)" /sbin/mount.fuse.astridfs

usage: mount.fuse.astridfs SOURCE DIRECTORY [-sfnvrw] [-o OPTIONS] [--foreground]
  -o OPTIONS    lowerdir, the topmost first; upperdir and workdir, without which the
                mount is read-only; allow_other, ro, nosuid, nodev, noexec, noatime,
                userxattr; remount, to change ro, rw, nosuid and the like.
                A backslash takes away the meaning of a comma, colon or backslash.
  -s            leave out options that are not known
  -f            do all but mount
  -v            say what is mounted
  --foreground  serve the mount until it is unmounted or interrupted

Exit codes are mount(8)'s: 0 fine, 1 wrong usage or not permitted, 2 system
error, 4 internal error, 8 interrupted, 32 the mount failed.
`

// The exit codes of mount(8).
const (
	mountUsage       = 1 // wrong usage, or not permitted
	mountSystem      = 2
	mountInternal    = 4
	mountInterrupted = 8
	mountFailed      = 32
)

// helperArgs is the helper's command line.
type helperArgs struct {
	source, point                     string
	options                           []string
	sloppy, fake, verbose, foreground bool
	help                              bool
}

// mountHelper is the program as mount(8)'s helper. It returns the exit code.
func (e *env) mountHelper() (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(e.stderr, "%s: internal error: %v\n", helperName, r)
			code = mountInternal
		}
	}()
	a, err := parseHelper(e.args[1:])
	if err == nil && a.help {
		if _, err := io.WriteString(e.stdout, helperUsage); err != nil {
			return mountSystem
		}
		return 0
	}
	if err == nil {
		err = e.helperMount(a)
	}
	return e.reportHelper(err)
}

// reportHelper says what is to be said of err and returns the exit code.
func (e *env) reportHelper(err error) int {
	if err == nil {
		return 0
	}
	if c, ok := err.(*codeError); ok {
		return c.code
	}
	f := fault.Of(err)
	fmt.Fprintf(e.stderr, "%s: %s\n", helperName, oneLine(f.What))
	if f.Next != "" {
		fmt.Fprintf(e.stderr, "  next: %s\n", f.Next)
	}
	switch f.Kind {
	case fault.Usage, fault.Denied:
		return mountUsage
	case fault.Cancelled:
		return mountInterrupted
	}
	return mountFailed
}

// parseHelper reads the command line as mount(8) writes it: options may stand
// anywhere, and what takes no value can be joined.
func parseHelper(args []string) (helperArgs, error) {
	var a helperArgs
	var named []string
	wrong := func(format string, v ...any) (helperArgs, error) {
		return a, fault.New(fault.Usage, "see: "+helperName+" --help", format, v...)
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			named, args = append(named, args...), nil
			continue
		case arg == "--help":
			a.help = true
			continue
		case arg == "--foreground":
			a.foreground = true
			continue
		case len(arg) < 2 || arg[0] != '-':
			named = append(named, arg)
			continue
		}
		for i := 1; i < len(arg); i++ {
			switch c := arg[i]; c {
			case 's':
				a.sloppy = true
			case 'f':
				a.fake = true
			case 'v':
				a.verbose = true
			case 'h':
				a.help = true
			case 'n': // there is no /etc/mtab to leave alone
			case 'r':
				a.options = append(a.options, "ro")
			case 'w':
				a.options = append(a.options, "rw")
			case 'o', 't':
				v := arg[i+1:]
				if v == "" {
					if len(args) == 0 {
						return wrong("option -%c needs a value", c)
					}
					v, args = args[0], args[1:]
				}
				if c == 'o' {
					a.options = append(a.options, v)
				} else if v != "fuse.astridfs" && v != "astridfs" {
					return wrong("type %q", v)
				}
				i = len(arg)
			default:
				return wrong("unknown option -%c", c)
			}
		}
	}
	if a.help {
		return a, nil
	}
	if len(named) != 2 {
		return wrong("it takes a source (any word) and a directory")
	}
	a.source, a.point = named[0], named[1]
	return a, nil
}

// helperMount mounts and, in the background or the foreground, serves.
func (e *env) helperMount(a helperArgs) error {
	opt, err := mountopt.Parse(strings.Join(a.options, ","), a.sloppy)
	if err != nil {
		return err
	}
	if opt.Remount {
		if a.fake {
			return nil
		}
		return session.RemountLayers(opt, a.point)
	}
	if opt.Source == "" {
		opt.Source = a.source
	}
	if session.IsSource(opt.Source) {
		return fault.New(fault.Usage, "call it none, or anything else", "source %q: such names are those of sessions", opt.Source)
	}
	ready := takeReady()
	if !a.foreground && !a.fake && ready == nil {
		return e.mountInBackground()
	}
	out := fusefs.Logger(log.New(e.stderr, helperName+": ", 0))
	if ready != nil {
		out = systemLog()
	}
	m, err := session.MountLayers(e.ctx, opt, a.point, a.fake, out)
	if err != nil || a.fake {
		return err
	}
	if a.verbose {
		_, err = fmt.Fprintf(e.stdout, "%s: %s mounted on %s\n", helperName, opt.Source, a.point)
	}
	ctx := e.ctx
	if ready != nil {
		if err = errors.Join(err, toBackground()); err == nil {
			_, err = ready.Write([]byte{1})
		}
		err = errors.Join(err, ready.Close())
	}
	if err != nil { // leave no mount behind that nobody was told of
		ended, cancel := context.WithCancel(ctx)
		cancel()
		ctx = ended
	}
	err = errors.Join(err, m.Wait(ctx))
	if err != nil && ready != nil {
		out.Printf("%v", err)
	}
	return err
}

// systemLog is where a server in the background reports: syslog, or nowhere if
// there is none.
func systemLog() fusefs.Logger {
	l, err := syslog.NewLogger(syslog.LOG_DAEMON|syslog.LOG_WARNING, 0)
	if err != nil {
		return log.New(io.Discard, "", 0)
	}
	return l
}

// toBackground cuts the process off from the terminal and the directory it was
// started in.
func toBackground() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := 1; fd <= 2; fd++ {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return os.Chdir("/")
}
