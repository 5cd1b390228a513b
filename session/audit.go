package session

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/auditlog/auditfs"
	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/capsulehost/component/astridhost"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// What is recorded of a session besides the calls of its filesystems. That a
// commit or discard begins is durable before anything is done.
const (
	opMount        = "mount"
	opUnmounted    = "unmount"
	opRunBegin     = "run-begin"
	opRunEnd       = "run-end"
	opCommitBegin  = "commit-begin"
	opCommitPath   = "commit"
	opCommitEnd    = "commit-end"
	opDiscardBegin = "discard-begin"
	opDiscardPath  = "discard"
	opDiscardEnd   = "discard-end"
	opAuditLevel   = "audit-level"
	opRemove       = "remove"
)

// audit is a session's audit log as its owner writes it. The log is opened when
// the first thing is recorded: commands that only look leave it alone.
type audit struct {
	disk  *store.Session
	level auditfs.Level

	mu    sync.Mutex
	log   *auditlog.Log     // protected by mu; nil before it is used
	rec   *auditfs.Recorder // protected by mu; set with log
	begun string            // protected by mu; public key that the log began with, in hexadecimal
}

// openAudit takes up what a command line says of the log, and keeps it with the
// session. The caller owns the session.
func openAudit(ctx context.Context, disk *store.Session, opt *Options) (*audit, error) {
	a := &audit{disk: disk, level: levelOf(&disk.File), begun: disk.File.AuditPublic}
	if opt.AuditKey != "" && opt.AuditKey != string(disk.File.AuditKey) {
		if err := a.mayTakeKey(opt.AuditKey); err != nil {
			return nil, err
		}
		f := disk.File
		f.AuditKey = store.Path(opt.AuditKey)
		if err := disk.Update(f); err != nil {
			return nil, err
		}
	}
	if opt.Audit == "" {
		return a, nil
	}
	level, err := auditfs.ParseLevel(opt.Audit)
	if err != nil {
		return nil, fault.New(fault.Usage, "use off, mutations, opens or full", "--audit: %w", err)
	}
	if level == a.level {
		return a, nil
	}
	return a, a.setLevel(ctx, level, opt.Log)
}

// setLevel changes the level for good. The change itself is on record, unless
// there is no log yet and is to be none.
func (a *audit) setLevel(ctx context.Context, level auditfs.Level, log logrus.FieldLogger) error {
	change := auditlog.Record{Op: opAuditLevel, Flags: a.level.String() + " to " + level.String()}
	var err error
	if level != auditfs.Off {
		a.level = level
	}
	if level != auditfs.Off || a.begun != "" {
		err = a.event(ctx, change, nil, true)
	}
	if level == auditfs.Off {
		if fault.Is(err, fault.Verify) {
			// The way to begin a new log.
			log.WithError(err).Warn("audit log given up")
			a.begun, err = "", nil
		}
		err = errors.Join(err, a.close())
		a.level = level
	}
	if err != nil {
		return errors.Join(err, a.close())
	}
	f := a.disk.File
	f.Audit, f.AuditPublic = level.String(), a.begun
	return a.disk.Update(f)
}

// levelOf returns a session's level. The file was checked when it was read.
func levelOf(f *store.File) auditfs.Level {
	if f.Audit == "" {
		return DefaultAudit
	}
	level, err := auditfs.ParseLevel(f.Audit)
	if err != nil {
		return auditfs.Full // rather too much than too little
	}
	return level
}

// DefaultAudit is the level of a session for which none was given.
const DefaultAudit = auditfs.Opens

// mayTakeKey tells whether the key in a file can sign a session's log: one that
// has begun keeps the key that it has.
func (a *audit) mayTakeKey(path string) error {
	key, err := auditlog.ReadKey(path)
	if err != nil {
		return fault.New(fault.Failed, "make one with: (umask 077; head -c 32 /dev/urandom | xxd -p -c 32 > "+path+")", "%w", err)
	}
	have, err := auditlog.StartKey(a.disk.Audit())
	if err != nil {
		return fault.New(fault.Verify, verifyNext(a.disk), "%w", err)
	}
	if have != nil && !have.Equal(key.Public()) {
		return fault.New(fault.Usage, "leave --audit-key out, or give another name with --session",
			"the audit log of session %s has begun with another key", a.disk.File.Name)
	}
	return nil
}

func verifyNext(disk *store.Session) string {
	return fmt.Sprintf("look at it with: astridfs audit verify %s; to begin a new log, move %s elsewhere and turn it off and on again: --audit=off", disk.File.Name, disk.Audit())
}

// recorder returns what records, and opens the log if that was not done yet; nil
// where nothing is recorded. A log that is not as it was left is a fault of kind
// Verify.
func (a *audit) recorder() (*auditfs.Recorder, error) {
	if a.level == auditfs.Off {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rec != nil {
		return a.rec, nil
	}
	if err := a.standsLocked(); err != nil {
		return nil, err
	}
	var key ed25519.PrivateKey
	if path := string(a.disk.File.AuditKey); path != "" {
		var err error
		if key, err = auditlog.ReadKey(path); err != nil {
			return nil, fault.New(fault.Failed, "bring the key back, or move the log "+a.disk.Audit()+" elsewhere and name another key with --audit-key", "%w", err)
		}
	}
	log, err := auditlog.Open(a.disk.Audit(), auditlog.Options{Session: a.disk.File.Name, Key: key})
	if err != nil {
		var broken *auditlog.BrokenError
		if errors.As(err, &broken) {
			return nil, fault.New(fault.Verify, verifyNext(a.disk), "session %s: %w", a.disk.File.Name, err)
		}
		return nil, fault.New(fault.Failed, "make room for it, or go on without with --audit=off", "session %s: %w", a.disk.File.Name, err)
	}
	if a.begun == "" {
		a.begun = hex.EncodeToString(log.PublicKey())
		// Others read the session meanwhile, so what they read is not changed.
		on := *a.disk
		f := on.File
		f.Audit, f.AuditPublic = a.level.String(), a.begun
		if err := on.Update(f); err != nil {
			return nil, errors.Join(err, log.Close())
		}
	}
	a.log, a.rec = log, auditfs.NewRecorder(log, a.level, boundary.ErrIgnoreFile)
	return a.rec, nil
}

// standsLocked tells whether the log that the session began is there.
func (a *audit) standsLocked() error {
	if a.begun == "" {
		return nil
	}
	key, err := auditlog.StartKey(a.disk.Audit())
	switch {
	case err != nil:
	case key == nil:
		err = &auditlog.BrokenError{File: a.disk.Audit(), Seq: 1, Kind: auditlog.Truncated, Why: "the log that the session began is gone"}
	case hex.EncodeToString(key) != a.begun:
		err = &auditlog.BrokenError{File: a.disk.Audit(), Seq: 1, Kind: auditlog.Foreign, Why: "the session began its log with another key"}
	default:
		return nil
	}
	return fault.New(fault.Verify, verifyNext(a.disk), "session %s: %w", a.disk.File.Name, err)
}

// event records something that is no call of a filesystem and how it ended.
func (a *audit) event(ctx context.Context, rec auditlog.Record, err error, durable bool) error {
	r, rerr := a.recorder()
	if r == nil || rerr != nil {
		return rerr
	}
	return put(ctx, r, rec, err, durable)
}

// put is event by a recorder.
func put(ctx context.Context, r *auditfs.Recorder, rec auditlog.Record, err error, durable bool) error {
	p := peerOf(ctx)
	rec.Actor.UID, rec.Actor.PID, rec.Actor.Program = p.UID, p.PID, "astridfs"
	rec.Outcome = auditlog.Allowed
	if err != nil {
		rec.Outcome, rec.Error = auditlog.Failed, string(fault.Of(err).Kind)
		if fault.Is(err, fault.Denied) {
			rec.Outcome = auditlog.Denied
		}
	}
	return r.Append(rec, durable)
}

// flush returns when what was recorded is in the log's files.
func (a *audit) flush() error {
	a.mu.Lock()
	log := a.log
	a.mu.Unlock()
	if log == nil {
		return nil
	}
	return log.Flush()
}

// close ends the log with a checkpoint.
func (a *audit) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.log == nil {
		return nil
	}
	a.rec.Close()
	err := a.log.Close()
	a.log, a.rec, a.level = nil, nil, auditfs.Off // records no more
	return err
}

// steps records each step that a commit or discard tells of.
func (a *audit) steps(ctx context.Context, op string, sink StepSink) StepSink {
	if a.level == auditfs.Off {
		return sink
	}
	tell := sink.Step
	sink.Step = func(s Step) error {
		rec := auditlog.Record{Op: op, Path: "workspace://" + string(s.Path), Flags: s.Status}
		if s.From != "" {
			rec.To, rec.Path = rec.Path, "workspace://"+string(s.From)
		}
		return errors.Join(a.event(ctx, rec, nil, false), tell(s))
	}
	return sink
}

// stepwise records a commit or discard: that it begins, each step, and its end.
func (a *audit) stepwise(ctx context.Context, begin, step, end string, sink StepSink, do func(StepSink) (StepResult, error)) (StepResult, error) {
	if err := a.event(ctx, auditlog.Record{Op: begin}, nil, true); err != nil {
		return StepResult{}, err
	}
	r, err := do(a.steps(ctx, step, sink))
	return r, errors.Join(err, a.event(ctx, auditlog.Record{Op: end, Flags: fmt.Sprintf("steps=%d", r.Steps)}, err, true))
}

// run records a run: that it begins, and how it ended.
func (a *audit) run(ctx context.Context, capsule string, req *RunRequest, do func() (RunResult, error)) (RunResult, error) {
	who := auditlog.Actor{Capsule: capsule, Principal: req.Principal}
	if err := a.event(ctx, auditlog.Record{Op: opRunBegin, Actor: who, To: req.Name}, nil, false); err != nil {
		return RunResult{}, err
	}
	res, err := do()
	rec := auditlog.Record{Op: opRunEnd, Actor: who, To: req.Name, Written: res.Usage.WroteBytes}
	switch {
	case err != nil:
	case res.Outcome == OutcomeExited:
		rec.Flags = fmt.Sprintf("exit=%d", res.ExitCode)
	default:
		rec.Flags = res.Outcome
	}
	return res, errors.Join(err, a.event(ctx, rec, err, false))
}

// bus records by r, which is nil where nothing is recorded, that a capsule
// published a message, or may not use a topic.
func bus(ctx context.Context, r *auditfs.Recorder, capsule, principal string, e astridhost.Event) error {
	if r == nil {
		return nil
	}
	var err error
	if e.Denied {
		err = fault.New(fault.Denied, "", "topic %q is not granted", e.Topic)
	}
	rec := auditlog.Record{Op: e.Op, Actor: auditlog.Actor{Capsule: capsule, Principal: principal}, To: e.Topic, Written: uint64(e.Size)}
	return put(ctx, r, rec, err, e.Denied)
}

// removed records that the session is removed, for a log that is kept.
func (a *audit) removed(ctx context.Context) error {
	return errors.Join(a.event(ctx, auditlog.Record{Op: opRemove}, nil, true), a.close())
}

// sameAudit returns live if its log is as a command line wants it.
func sameAudit(live *client, opt *Options) (Conn, error) {
	f := &live.disk.File
	next := "end it first with: astridfs unmount " + f.Name
	switch {
	case opt.Audit != "" && opt.Audit != levelOf(f).String():
		return nil, fault.New(fault.Busy, next, "session %s is in use with --audit=%s", f.Name, levelOf(f))
	case opt.AuditKey != "" && opt.AuditKey != string(f.AuditKey):
		return nil, fault.New(fault.Busy, next, "session %s is in use with another audit key", f.Name)
	}
	return live, nil
}

// AuditKey returns the public key that a session's log is to be verified with:
// the one that it began with; nil if it has not begun.
func AuditKey(disk *store.Session) (ed25519.PublicKey, error) {
	if key, err := hex.DecodeString(disk.File.AuditPublic); err == nil && len(key) == ed25519.PublicKeySize {
		return key, nil
	}
	path := string(disk.File.AuditKey)
	if path == "" {
		path = auditlog.KeyPath(disk.Audit())
	}
	key, err := auditlog.ReadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return key.Public().(ed25519.PublicKey), nil
}

// keepAudit copies the log of a session that is about to be removed to a new
// directory, without the private key. The caller owns the session.
func keepAudit(ctx context.Context, disk *store.Session, dir string) error {
	a, err := openAudit(ctx, disk, &Options{})
	if err != nil {
		return err
	}
	if err := a.removed(ctx); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fault.New(fault.Failed, "name a directory that is not there yet", "--keep-audit: %w", err)
	}
	if err := auditlog.Copy(disk.Audit(), dir); err != nil {
		return fault.New(fault.Failed, "", "--keep-audit %s: %w", filepath.Clean(dir), err)
	}
	return nil
}

// peer is the process that asks for something.
type peer struct{ UID, PID uint32 }

type peerKey struct{}

// withPeer has ctx say that a client asks.
func withPeer(ctx context.Context, p peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// peerOf returns who asks: a client, or this process itself.
func peerOf(ctx context.Context) peer {
	if p, ok := ctx.Value(peerKey{}).(peer); ok {
		return p
	}
	return peer{uint32(os.Geteuid()), uint32(os.Getpid())}
}
