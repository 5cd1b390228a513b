package session

import (
	"context"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// hostTree is a session in mode host: the workspace itself, written directly.
// It has no changes to list, for nothing is held back.
type hostTree struct {
	ws *hostfs.FS
}

func openHost(disk *store.Session, kept func(hostfs.Kept)) (tree, error) {
	ws, err := hostfs.Open(string(disk.File.Workspace), hostfs.Options{Stage: disk.Stage("workspace"), Kept: kept})
	if err != nil {
		return nil, err
	}
	return &hostTree{ws}, nil
}

func (h *hostTree) fs() vfs.FS   { return h.ws }
func (h *hostTree) close() error { return h.ws.Close() }

func (h *hostTree) status(context.Context, StatusRequest, func(Change) error) error { return nil }

func (h *hostTree) diff(context.Context, DiffRequest, *sieve, DiffSink) error { return nil }

func (h *hostTree) commit(context.Context, CommitRequest, *sieve, StepSink) (StepResult, error) {
	return StepResult{}, h.direct("commit")
}

func (h *hostTree) discard(context.Context, DiscardRequest, StepSink) (StepResult, error) {
	return StepResult{}, h.direct("discard")
}

func (h *hostTree) direct(what string) error {
	return fault.New(fault.Usage, "to have changes held back, make a session with --mode overlay",
		"nothing to %s: a session in mode host writes to the workspace directly", what)
}
