package session

import (
	"strings"

	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/session/store"
)

// Mounted is a mount of a session, whoever serves it, as the kernel's table has
// it. Nothing mounted is looked at to find it out: a mount whose owner was
// killed answers nothing but errors, and one whose owner hangs would not answer.
type Mounted struct {
	Name, ID string // of the session
	Point    string // absolute
}

// sourcePrefix begins the source of a session's mount, which goes on with the
// session's name for people and its id for programs.
const sourcePrefix = "astridfs:"

// IsSource tells whether a mount with that source would be taken for a session's.
func IsSource(source string) bool { return strings.HasPrefix(source, sourcePrefix) }

func mountSource(f *store.File) string { return sourcePrefix + f.Name + ":" + f.ID }

// Mounts returns the mounts of all sessions of all state directories.
func Mounts() ([]Mounted, error) {
	list, err := fusefs.FindMounts(sourcePrefix)
	if err != nil {
		return nil, err
	}
	var all []Mounted
	for _, m := range list {
		name, id, ok := strings.Cut(strings.TrimPrefix(m.Source, sourcePrefix), ":")
		if ok && store.CheckName(name) == nil {
			all = append(all, Mounted{Name: name, ID: id, Point: m.Mountpoint})
		}
	}
	return all, nil
}

// MountedAt returns the session that is mounted at point, which is absolute and
// clean.
func MountedAt(list []Mounted, point string) (Mounted, bool) {
	for _, m := range list {
		if m.Point == point {
			return m, true
		}
	}
	return Mounted{}, false
}

// MountedAbove returns the session in whose mount path lies, which is absolute
// and clean.
func MountedAbove(list []Mounted, path string) (Mounted, bool) {
	var best Mounted
	for _, m := range list {
		if within(path, m.Point) && len(m.Point) > len(best.Point) {
			best = m
		}
	}
	return best, best.Point != ""
}
