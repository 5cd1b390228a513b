package capsulehost

import (
	"math"
	"time"

	"github.com/astridfs/astridfs/capsulehost/view"
)

// PageSize is the size of a page of a guest's memory, in bytes.
const PageSize = 64 << 10

// Limits of one run. A field that is zero takes its value from
// [DefaultLimits]; Unlimited, where it makes sense, sets none.
type Limits struct {
	// WriteBytes is how many bytes the guest may write in all; FileCount how
	// many names it may make, those that it removed not counted. They make the
	// run's quota where its view brings none.
	WriteBytes, FileCount uint64
	// MemoryPages is how far the guest's memory may grow, in pages of 64 KiB,
	// at most 65,535.
	MemoryPages uint32
	// WallTime is how long the run may take in all.
	WallTime time.Duration
}

// Unlimited is the value of WriteBytes and FileCount that sets no bound;
// UnlimitedTime that of WallTime.
const (
	Unlimited                   = view.NoLimit
	UnlimitedTime time.Duration = math.MaxInt64
)

const maxMemoryPages = 65535

// What the tables of a guest may hold, all together at its start and each when
// it grows: 8 MiB of the host's memory. Programs of 12 MB have some 10,000.
const (
	maxTable  = 1 << 20
	maxTables = 16
)

// DefaultLimits are what a run gets that names none.
func DefaultLimits() Limits {
	return Limits{
		WriteBytes:  4 << 30,
		FileCount:   100_000,
		MemoryPages: 256 << 20 / PageSize,
		WallTime:    10 * time.Minute,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.WriteBytes == 0 {
		l.WriteBytes = d.WriteBytes
	}
	if l.FileCount == 0 {
		l.FileCount = d.FileCount
	}
	if l.MemoryPages == 0 {
		l.MemoryPages = d.MemoryPages
	}
	l.MemoryPages = min(l.MemoryPages, maxMemoryPages)
	if l.WallTime == 0 {
		l.WallTime = d.WallTime
	}
	return l
}
