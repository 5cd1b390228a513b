package session

import (
	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/session/fault"
)

// rules returns what a capsule may do: the grants of the request, else those of
// its manifest, else the workspace and tmp; and its limits.
func rules(req *RunRequest) (*gate.Grants, capsulehost.Limits, error) {
	limits := capsulehost.Limits{
		WriteBytes: req.Limits.WriteBytes, FileCount: req.Limits.Files, WallTime: req.Timeout,
		MemoryPages: uint32(min((req.Limits.Memory+capsulehost.PageSize-1)/capsulehost.PageSize, 1<<16)),
	}
	if len(req.FSRead)+len(req.FSWrite) > 0 {
		g, err := gate.Parse(req.FSRead, req.FSWrite)
		if err != nil {
			return nil, limits, fault.New(fault.Usage, `a grant is "*", or a path that begins with workspace://, cwd://, home:// or tmp://`, "%w", err)
		}
		return g, limits, nil
	}
	if req.Manifest != nil {
		g, err := Grants(req.ManifestName, req.Manifest)
		return g, limits, err
	}
	// Nothing said: what a session is for, and no more.
	every := []string{"workspace://", "tmp://"}
	g, err := gate.Parse(every, every)
	return g, limits, err
}
