package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

func unmountCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "unmount",
		Aliases:   []string{"umount"},
		Usage:     "end a mount; the session and its changes stay",
		ArgsUsage: "MOUNTPOINT|SESSION",
		Description: `   astridfs unmount ~/view
   astridfs unmount --lazy project-1a2b3c4d   # also while something works there`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "lazy", Aliases: []string{"z"}, Usage: "unmount also while it is in use, and stop capsules that run"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fault.New(fault.Usage, "see: astridfs help unmount", "unmount takes a mountpoint or a session")
			}
			return e.unmount(c.Args().First(), session.UnmountRequest{Lazy: c.Bool("lazy")})
		},
	}
}

func (e *env) unmount(what string, req session.UnmountRequest) error {
	st, err := e.stateStore()
	if err != nil {
		return err
	}
	dead, err := e.recover(st)
	if err != nil {
		return err
	}
	disk, point, err := mountOf(st, what, dead)
	if err != nil {
		return err
	}
	name := ""
	if disk != nil {
		name = disk.File.Name
		conn, err := session.Dial(e.ctx, disk, e.options("unmount"))
		if err != nil {
			return err
		}
		info, err := conn.Info(e.ctx)
		if err == nil {
			point = string(info.Mountpoint)
			err = conn.Unmount(e.ctx, req)
		}
		if err = errors.Join(err, conn.Close(context.WithoutCancel(e.ctx))); err != nil {
			return err
		}
	}
	if e.json {
		return e.printJSON(member{"mountpoint", store.Path(point)}, member{"name", name})
	}
	if e.quiet {
		return nil
	}
	_, err = fmt.Fprintf(e.stdout, "unmounted %s\n", fault.Arg(point))
	return err
}

// mountOf finds the session that is called so or mounted there. It is nil if
// what was meant is one of the dead mounts, which are gone already.
func mountOf(st *store.Store, what string, dead []session.Recovered) (disk *store.Session, point string, err error) {
	if store.CheckName(what) == nil {
		disk, err := st.Load(what)
		if err == nil {
			if i := slices.IndexFunc(dead, func(d session.Recovered) bool { return d.Session == what }); i >= 0 {
				return nil, dead[i].Mountpoint, nil
			}
			return disk, "", nil
		}
		if !errors.Is(err, store.ErrUnknown) {
			return nil, "", err
		}
	}
	path, err := session.MountpointPath(what)
	if err != nil {
		if !strings.Contains(what, "/") {
			return nil, "", fault.New(fault.Failed, "see what is mounted with: astridfs sessions list", "no session and no mountpoint %q", what)
		}
		return nil, "", err
	}
	for _, d := range dead {
		if d.Mountpoint == path {
			return nil, path, nil
		}
	}
	list, err := session.Mounts()
	if err != nil {
		return nil, "", err
	}
	m, ok := session.MountedAt(list, path)
	if !ok {
		return nil, "", fault.New(fault.Failed, "see what is mounted with: astridfs sessions list", "no session is mounted at %s", path)
	}
	disk, err = st.Load(m.Name)
	if err != nil || disk.File.ID != m.ID {
		return nil, "", fault.New(fault.Failed, "give its state directory with --state-dir, or use: fusermount3 -u "+fault.Arg(path),
			"what is mounted at %s is session %s of another state directory than %s", path, m.Name, st.Dir())
	}
	return disk, path, nil
}
