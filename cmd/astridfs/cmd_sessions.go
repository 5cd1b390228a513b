package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

func sessionsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:    "sessions",
		Aliases: []string{"session"},
		Usage:   "list, show and remove sessions",
		Subcommands: []*cli.Command{
			{
				Name: "list", Aliases: []string{"ls"}, Usage: "list all sessions, and where they are mounted",
				Description: "   astridfs sessions list --json",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      func(*cli.Context) error { return e.listSessions() },
			},
			{
				Name: "show", Usage: "tell everything about a session", ArgsUsage: "[S]",
				Description: "   astridfs sessions show project-1a2b3c4d",
				Flags:       []cli.Flag{sessionFlag(), jsonFlag()},
				Action: func(c *cli.Context) error {
					ch, err := e.choose(c, false)
					if err != nil {
						return err
					}
					return e.showSession(ch)
				},
			},
			{
				Name: "remove", Aliases: []string{"rm"}, Usage: "delete sessions and their changes", ArgsUsage: "S…",
				Description: `A session with changes is kept unless --force is given. Of mode worktree, what
was not committed is committed to the session's branch, which stays in its
repository. The audit log goes with the session; with --keep-audit a copy of it
stays, for: astridfs audit show --dir DIR

   astridfs sessions remove project-1a2b3c4d
   astridfs sessions remove --force --keep-audit ~/logs/try try`,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "also with changes, and a damaged one"},
					&cli.StringFlag{Name: "keep-audit", Usage: "copy the session's audit log to `DIR` first, which is made"},
					jsonFlag(),
				},
				Action: func(c *cli.Context) error {
					if c.NArg() == 0 {
						return fault.New(fault.Usage, "see: astridfs sessions list", "remove which session?")
					}
					if c.NArg() > 1 && c.String("keep-audit") != "" {
						return fault.New(fault.Usage, "remove one session at a time", "--keep-audit with several sessions")
					}
					return e.removeSessions(c.Args().Slice(), c.Bool("force"), c.String("keep-audit"))
				},
			},
			{
				Name: "prune", Usage: "delete sessions without changes or without workspace",
				Description: `Sessions in use are left alone. Of a session whose workspace is gone the changes
go with it, and of others the files and values that capsules keep in them, so
--force is needed for these. Audit logs go with their sessions; sessions remove
--keep-audit keeps one.

   astridfs sessions prune --dry-run`,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "also those whose workspace is gone, and those in which capsules keep something"},
					&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only tell which"},
					jsonFlag(),
				},
				Action: func(c *cli.Context) error { return e.prune(c.Bool("force"), c.Bool("dry-run")) },
			},
		},
	}
}

// describe tells of a session without asking its owner.
func describe(disk *store.Session) (session.Info, error) {
	info := session.Describe(disk)
	h, used, err := disk.InUse()
	if used {
		info.PID, info.Command, info.Mountpoint = h.PID, h.Command, h.Mountpoint
		if !h.Since.IsZero() {
			info.Since = &h.Since
		}
	}
	return info, err
}

func (e *env) listSessions() error {
	st, err := e.openStore()
	if err != nil {
		return err
	}
	names, err := st.Names()
	if err != nil {
		return err
	}
	infos := []session.Info{}
	type damaged struct {
		Name  string       `json:"name"`
		Error *fault.Error `json:"error"`
	}
	broken := []damaged{}
	for _, name := range names {
		disk, err := st.Load(name)
		if errors.Is(err, store.ErrUnknown) {
			continue // removed meanwhile
		}
		var info session.Info
		if err == nil {
			info, err = describe(disk)
		}
		if err != nil {
			broken = append(broken, damaged{name, fault.Of(err)})
			continue
		}
		infos = append(infos, info)
	}
	if e.json {
		return e.printJSON(member{"state_dir", store.Path(st.Dir())}, member{"sessions", infos}, member{"damaged", broken})
	}
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if len(infos) > 0 {
		fmt.Fprintln(tw, "NAME\tMODE\tWORKSPACE\tMOUNTED AT\tPID")
	}
	for _, i := range infos {
		pid, mounted := "", ""
		if i.Mountpoint != "" {
			mounted = fault.Arg(string(i.Mountpoint))
		}
		if i.PID != 0 {
			pid = fmt.Sprint(i.PID)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", i.Name, i.Mode, fault.Arg(string(i.Workspace)), mounted, pid)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, b := range broken {
		fmt.Fprintf(e.stderr, "astridfs: %s\n", oneLine(b.Error.What))
	}
	if len(infos)+len(broken) == 0 {
		e.note("no sessions in %s", st.Dir())
	}
	return nil
}

func (e *env) showSession(ch *chosen) error {
	info, err := describe(ch.disk)
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(member{"session", info})
	}
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(tw, "%s\t%s\n", name, oneLine(fmt.Sprint(value))) }
	row("name", info.Name)
	row("id", info.ID)
	row("workspace", fault.Arg(string(info.Workspace)))
	row("mode", info.Mode)
	row("audit", info.Audit)
	if info.Branch != "" {
		row("branch", info.Branch)
	}
	for _, rule := range info.Deny {
		row("deny", rule)
	}
	row("made", info.Created.Local().Format("2006-01-02 15:04:05"))
	row("directory", fault.Arg(string(info.Dir)))
	if info.Mountpoint != "" {
		row("mounted at", fault.Arg(string(info.Mountpoint)))
	}
	if info.PID != 0 {
		row("in use by", ch.disk.Holder())
	}
	return tw.Flush()
}

func (e *env) removeSessions(names []string, force bool, keepAudit string) error {
	st, err := e.openStore()
	if err != nil {
		return err
	}
	removed := []string{}
	var failed error
	for _, name := range names {
		if err := e.removeSession(st, name, force, keepAudit); err != nil {
			failed = err
			break
		}
		removed = append(removed, name)
		if !e.json && !e.quiet {
			fmt.Fprintf(e.stdout, "removed %s\n", name)
		}
	}
	if !e.json {
		return failed
	}
	doc := []member{{"removed", removed}}
	if failed != nil {
		doc = append(doc, member{"error", fault.Of(failed)})
		failed = &told{failed}
	}
	return errors.Join(e.printJSON(doc...), failed)
}

func (e *env) removeSession(st *store.Store, name string, force bool, keepAudit string) error {
	disk, err := st.Load(name)
	if err != nil {
		if force && !errors.Is(err, store.ErrUnknown) && store.CheckName(name) == nil {
			return session.RemoveDamaged(st, name)
		}
		return err
	}
	if !force && disk.File.Mode != store.Worktree {
		n, err := e.changed(st, disk)
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.Failed, "commit or discard them, or repeat it with --force", "session %s holds %s", name, plural(n, "change"))
		}
	}
	return session.Remove(e.ctx, st, disk, session.RemoveOptions{KeepAudit: keepAudit, Force: force, Note: e.removing})
}

// removing says what becomes of what a session has that is removed.
func (e *env) removing(text string) { fmt.Fprintf(e.stderr, "astridfs: %s\n", oneLine(text)) }

// changed counts a session's changes.
func (e *env) changed(st *store.Store, disk *store.Session) (n int, err error) {
	err = e.with(&chosen{st: st, disk: disk}, "sessions remove", func(conn session.Conn) error {
		return conn.Status(e.ctx, session.StatusRequest{Hidden: true}, func(session.Change) error { n++; return nil })
	})
	return n, err
}

func (e *env) prune(force, dryRun bool) error {
	st, err := e.openStore()
	if err != nil {
		return err
	}
	names, err := st.Names()
	if err != nil {
		return err
	}
	removed := []string{}
	for _, name := range names {
		disk, err := st.Load(name)
		if err != nil {
			continue // damaged: for remove --force
		}
		if _, used, err := disk.InUse(); err != nil || used {
			continue
		}
		_, err = os.Stat(string(disk.File.Workspace))
		gone := errors.Is(err, fs.ErrNotExist)
		if gone && !force {
			e.note("session %s: its workspace %s is gone; --force removes it", name, disk.File.Workspace)
			continue
		}
		if !gone {
			if n, err := e.changed(st, disk); err != nil || n > 0 {
				continue
			}
			keeps, err := disk.KeepsData()
			if err != nil {
				return err
			}
			if keeps && !force {
				e.note("session %s: capsules keep files or values in it; --force removes it", name)
				continue
			}
		}
		if !dryRun {
			err := session.Remove(e.ctx, st, disk, session.RemoveOptions{Unchanged: !gone, Force: force, Note: e.removing})
			if errors.Is(err, session.ErrHolds) {
				e.note("%s", fault.Of(err).What)
				continue
			}
			if err != nil {
				return err
			}
		}
		removed = append(removed, name)
		if !e.json && !e.quiet {
			fmt.Fprintln(e.stdout, name)
		}
	}
	if !dryRun {
		if _, err := st.Leftovers(); err != nil {
			return err
		}
	}
	if e.json {
		return e.printJSON(member{"dry_run", dryRun}, member{"removed", removed})
	}
	return nil
}
