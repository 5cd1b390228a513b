package main

import (
	"errors"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// chosen is the session that a command line means.
type chosen struct {
	st   *store.Store
	disk *store.Session
	rest []string // the arguments behind it

	cwd   string // absolute
	base  string // where cwd is in the workspace or the mount; "" also if it is in neither
	mount string // the session's mountpoint if cwd is in it
}

// sessionFlag names a session where the first argument is something else.
func sessionFlag() cli.Flag {
	return &cli.StringFlag{Name: "session", Aliases: []string{"s"}, Usage: "work on session `S`"}
}

// choose finds the session: the one of --session, else that of the first
// argument if there is one of this name, else the one of the current directory.
// Where the command takes no paths, a first argument must name a session.
func (e *env) choose(c *cli.Context, paths bool) (*chosen, error) {
	st, err := e.openStore()
	if err != nil {
		return nil, err
	}
	ch := &chosen{st: st, rest: c.Args().Slice()}
	if ch.cwd, err = unix.Getwd(); err != nil {
		ch.cwd = "" // removed, say: it names no session then
	}
	name := c.String("session")
	var unknown error
	if name == "" && len(ch.rest) > 0 {
		first := ch.rest[0]
		if store.CheckName(first) != nil {
			unknown = fault.New(fault.Failed, "see what there is with: astridfs sessions list", "no session %q", first)
		} else if _, err := st.Load(first); errors.Is(err, store.ErrUnknown) {
			unknown = err
		} else {
			name, ch.rest = first, ch.rest[1:]
		}
		if unknown != nil && !paths {
			return nil, unknown
		}
	}
	here, err := sessionOfDir(st, ch.cwd)
	if name == "" {
		if err != nil {
			if unknown != nil && fault.Is(err, fault.Failed) {
				err = unknown
			}
			return nil, err
		}
		name = here.disk.File.Name
	}
	if ch.disk, err = st.Load(name); err != nil {
		return nil, err
	}
	if here != nil && here.disk.File.ID == ch.disk.File.ID {
		ch.base, ch.mount = here.base, here.mount
	}
	if !paths && len(ch.rest) > 0 {
		return nil, fault.New(fault.Usage, "see: astridfs help "+c.Command.Name, "too many arguments: %q", ch.rest[0])
	}
	return ch, nil
}

// sessionOfDir finds the session whose mount or workspace dir lies in.
func sessionOfDir(st *store.Store, dir string) (*chosen, error) {
	list, err := session.Mounts()
	if err != nil {
		return nil, err
	}
	foreign, inMount := session.MountedAbove(list, dir)
	if m := foreign; inMount {
		disk, err := st.Load(m.Name)
		if err == nil && disk.File.ID == m.ID {
			// In home or tmp of a view, paths are those of the workspace's root.
			base, _ := session.View(disk.Holder().View).InWorkspace(below(dir, m.Point))
			return &chosen{st: st, disk: disk, mount: m.Point, base: base}, nil
		}
	}
	names, err := st.Names()
	if err != nil {
		return nil, err
	}
	var found []*store.Session
	for _, name := range names {
		disk, err := st.Load(name)
		if err != nil {
			continue // said by the commands that are given its name
		}
		ws := string(disk.File.Workspace)
		if !inside(dir, ws) {
			continue
		}
		if len(found) > 0 && len(ws) > len(found[0].File.Workspace) {
			found = nil
		}
		if len(found) == 0 || len(ws) == len(found[0].File.Workspace) {
			found = append(found, disk)
		}
	}
	if len(found) == 0 && dir == "" {
		return nil, fault.New(fault.Failed, "name one (astridfs sessions list), or go to a workspace or a mount of one",
			"no session given, and the current directory is not there any more")
	}
	if len(found) == 0 && inMount {
		return nil, fault.New(fault.Failed, "give its state directory with --state-dir",
			"the current directory is in the mount of session %s, which is of another state directory than %s", foreign.Name, st.Dir())
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Failed, "name one (astridfs sessions list), or go to a workspace or a mount of one",
			"no session given, and none has the current directory %s in its workspace", dir)
	}
	disk := found[0]
	if len(found) > 1 {
		var all []string
		disk = nil
		for _, f := range found {
			all = append(all, f.File.Name)
			if f.File.Name == store.DefaultName(string(f.File.Workspace)) {
				disk = f
			}
		}
		if disk == nil {
			return nil, fault.New(fault.Usage, "name one of them", "several sessions have the workspace %s: %s",
				found[0].File.Workspace, strings.Join(all, ", "))
		}
	}
	return &chosen{st: st, disk: disk, base: below(dir, string(disk.File.Workspace))}, nil
}

func inside(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// below returns path, which is inside dir, relative to it; "" for dir itself.
func below(path, dir string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
}

// paths makes paths of the session of what stands on the command line: relative
// to the current directory if that is in the workspace or the mount, and to the
// workspace's root otherwise. An absolute path lies in either.
func (ch *chosen) paths() ([]store.Path, error) {
	var list []store.Path
	for _, arg := range ch.rest {
		p, err := ch.path(arg)
		if err != nil {
			return nil, err
		}
		list = append(list, store.Path(p))
	}
	return list, nil
}

func (ch *chosen) path(typed string) (string, error) {
	arg := typed
	if arg == "" {
		return "", fault.New(fault.Usage, "name a file or directory of the workspace, . for all of it", "an empty path")
	}
	if rest, ok := strings.CutPrefix(arg, "workspace://"); ok {
		arg = rest
	} else if filepath.IsAbs(arg) {
		arg = filepath.Clean(arg)
		if p, ok := ch.inRoots(arg); ok {
			return p, nil
		}
		if p, ok := ch.inRoots(session.RealPath(arg)); ok {
			return p, nil // through a symbolic link
		}
		return "", fault.New(fault.Usage, "name a file or directory of the workspace", "path %s lies neither in the workspace %s nor in the mount", typed, ch.disk.File.Workspace)
	} else {
		arg = filepath.Join(ch.base, arg)
	}
	clean := filepath.Clean("/" + arg)[1:]
	if strings.HasPrefix(filepath.Clean(arg), "..") && clean != filepath.Clean(arg) {
		return "", fault.New(fault.Usage, "name a file or directory of the workspace", "path %s leads out of the workspace", typed)
	}
	return clean, nil
}

// inRoots returns where an absolute path is in the workspace or in the mount.
func (ch *chosen) inRoots(path string) (string, bool) {
	holder := ch.disk.Holder()
	for _, point := range []string{ch.mount, string(holder.Mountpoint)} {
		if point != "" && inside(path, point) {
			return session.View(holder.View).InWorkspace(below(path, point))
		}
	}
	if root := string(ch.disk.File.Workspace); inside(path, root) {
		return below(path, root), true
	}
	return "", false
}

// chooseWithPaths finds the session and the paths of a command that takes both.
func (e *env) chooseWithPaths(c *cli.Context) (*chosen, []store.Path, error) {
	ch, err := e.choose(c, true)
	if err != nil {
		return nil, nil, err
	}
	paths, err := ch.paths()
	return ch, paths, err
}

// attach opens the chosen session.
func (e *env) attach(ch *chosen, command string) (session.Conn, error) {
	return session.Attach(e.ctx, ch.st, ch.disk, e.options(command))
}

// with opens the chosen session, does f and closes it.
func (e *env) with(ch *chosen, command string, f func(session.Conn) error) error {
	conn, err := e.attach(ch, command)
	if err != nil {
		return err
	}
	err = f(conn)
	if conn.Live() {
		return errors.Join(err, conn.Close(e.ctx))
	}
	if info, ierr := conn.Info(e.ctx); ierr == nil && info.Runs > 0 {
		e.note("astridfs: waiting for %s that others run in this session; Ctrl-C stops them", plural(info.Runs, "capsule"))
	}
	return errors.Join(err, conn.Close(e.ctx))
}
