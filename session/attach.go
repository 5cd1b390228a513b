package session

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// patience is how long a command waits for a session whose owner is just
// starting or ending, and does nothing.
const patience = 5 * time.Second

// Options say who opens a session.
type Options struct {
	Command string // the subcommand, for messages
	Version string // of the program, for messages
	Log     logrus.FieldLogger

	// Compiler are the arguments with which this program calls
	// capsulehost.CompileMain; nil: an owner compiles capsules itself.
	Compiler []string

	// Recovered is told of dead mounts that were taken away; nil: the log is.
	Recovered func(Recovered)

	// Audit is the level of the audit log from now on, which is kept with the
	// session; empty: as it was. AuditKey is the absolute path of the key that
	// signs the log, in place of one of its own; empty: as it was.
	Audit, AuditKey string
}

// Attach opens a session for a command. If nobody owns it, this process becomes
// its owner; otherwise the result is a connection to the owner. An owner that
// does not answer is a fault of kind Busy that says who it is.
func Attach(ctx context.Context, st *store.Store, disk *store.Session, opt Options) (Conn, error) {
	return attached(ctx, disk, opt, func(ctx context.Context) (Conn, error) {
		o, err := Own(ctx, st, disk, opt)
		if err != nil {
			return nil, err
		}
		return o, nil
	})
}

// Dial returns a connection to a live session; a fault of kind Failed if nobody
// owns it.
func Dial(ctx context.Context, disk *store.Session, opt Options) (Conn, error) {
	return attached(ctx, disk, opt, func(context.Context) (Conn, error) {
		if _, used, err := disk.InUse(); err != nil {
			return nil, err
		} else if used {
			return nil, store.ErrLocked
		}
		return nil, fault.New(fault.Failed, "see what is mounted with: astridfs sessions list", "session %s is not mounted", disk.File.Name)
	})
}

// attached returns what attach does; where that is another process's session,
// the result outlives that process's ownership.
func attached(ctx context.Context, disk *store.Session, opt Options, own func(context.Context) (Conn, error)) (Conn, error) {
	again := func(ctx context.Context) (Conn, error) {
		return attach(ctx, disk, opt, func() (Conn, error) { return own(ctx) })
	}
	c, err := again(ctx)
	if err != nil || !c.Live() {
		return c, err
	}
	return &roaming{disk: disk, attach: again, Conn: c}, nil
}

// attach has own open the session, or finds its owner. While one owner follows
// another, it waits its turn.
func attach(ctx context.Context, disk *store.Session, opt Options, own func() (Conn, error)) (Conn, error) {
	var holder work
	give, last := time.Now().Add(patience), time.Now().Add(endurance)
	for {
		c, err := own()
		if !errors.Is(err, store.ErrLocked) {
			if errors.Is(err, fs.ErrNotExist) && disk.Gone() {
				return nil, fault.New(fault.Failed, "see what there is with: astridfs sessions list",
					"session %s was removed meanwhile", disk.File.Name)
			}
			return c, err
		}
		live := &client{disk: disk, version: opt.Version}
		if err = live.ping(ctx); err == nil {
			return sameAudit(live, &opt)
		}
		if ctx.Err() != nil {
			return nil, cancelled(ctx, err)
		}
		if !errors.Is(err, errNoAnswer) {
			return nil, err
		}
		if pid := disk.Holder().PID; pid != holder.pid {
			give, holder = time.Now().Add(patience), work{pid: pid}
			holder.goesOn() // from now on
		}
		now := time.Now()
		if errors.Is(err, os.ErrDeadlineExceeded) || now.After(last) || now.After(give) && !holder.goesOn() {
			return nil, busy(disk)
		}
		if now.After(give) {
			give = now.Add(patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func busy(disk *store.Session) error {
	h := disk.Holder()
	return fault.New(fault.Busy, "wait until it is done, or end that process: its changes stay in the session",
		"session %s is in use by %s, which does not answer", disk.File.Name, h)
}
