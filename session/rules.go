package session

import (
	"cmp"
	"errors"
	"path/filepath"

	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/manifest"
	"github.com/astridfs/astridfs/session/fault"
)

// rules returns what a capsule may do: the grants of the request, else those of
// its manifest, else the workspace and tmp; and its limits, each the request's
// or the manifest's. The manifest is nil if there is none.
func rules(req *RunRequest) (*gate.Grants, capsulehost.Limits, *manifest.Manifest, error) {
	var m *manifest.Manifest
	limits := manifest.Limits{Files: req.Limits.Files, WriteBytes: req.Limits.WriteBytes, Memory: req.Limits.Memory, Time: req.Timeout}
	if req.Manifest != nil {
		var err error
		if m, err = parseManifest(req.ManifestName, req.Manifest); err != nil {
			return nil, capsulehost.Limits{}, nil, err
		}
		limits.Files = cmp.Or(limits.Files, m.Limits.Files)
		limits.WriteBytes = cmp.Or(limits.WriteBytes, m.Limits.WriteBytes)
		limits.Memory = cmp.Or(limits.Memory, m.Limits.Memory)
		limits.Time = cmp.Or(limits.Time, m.Limits.Time)
	}
	grants, err := grantsOf(req, m)
	return grants, capsulehost.Limits{
		WriteBytes: limits.WriteBytes, FileCount: limits.Files, WallTime: limits.Time,
		MemoryPages: pages(limits.Memory),
	}, m, err
}

// pages returns how many pages of memory hold that many bytes.
func pages(bytes uint64) uint32 {
	const most = 1 << 16 // what a guest can address
	return uint32(min(bytes/capsulehost.PageSize+min(bytes%capsulehost.PageSize, 1), most))
}

// patterns are the grants of a request as they were written.
func patterns(req *RunRequest, m *manifest.Manifest) (read, write []string) {
	read, write = req.FSRead, req.FSWrite
	if len(read)+len(write) == 0 {
		if m == nil {
			// Nothing said: what a session is for, and no more.
			read = []string{"workspace://", "tmp://"}
			write = read
		} else {
			c := m.For(cmp.Or(req.Component, filepath.Base(req.Name)))
			read, write = c.Read, c.Write
		}
	}
	return read, write
}

func grantsOf(req *RunRequest, m *manifest.Manifest) (*gate.Grants, error) {
	read, write := patterns(req, m)
	g, err := gate.Parse(read, write)
	if err != nil {
		return nil, fault.New(fault.Usage, `grant a path and all below it, as in --fs-read cwd://src`, "%w", err)
	}
	return g, nil
}

func parseManifest(name string, data []byte) (*manifest.Manifest, error) {
	m, err := manifest.Parse(name, data, gate.Validate)
	var e *manifest.Error
	if errors.As(err, &e) {
		return nil, fault.New(fault.Failed, "correct the manifest", "%w", err)
	}
	return m, err
}

// Grants reads the capabilities of a manifest (Capsule.toml). name is the
// file's, for messages.
func Grants(name string, data []byte) (*gate.Grants, error) {
	m, err := parseManifest(name, data)
	if err != nil {
		return nil, err
	}
	return grantsOf(&RunRequest{}, m)
}
