package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/astridfs/astridfs/vfs"
)

// The base log on disk:
//
//	file   = magic record*
//	record = length u32, crc of length u32, crc of payload u32, payload
//	payload= kind u8, fields
//
// Integers are little-endian, checksums CRC-32C. Fields by kind, a path being
// all that is left of the payload unless it says its length:
//
//	baseFirst, baseSet, baseDrop:
//	                    mode u32, uid u32, gid u32, size u64,
//	                    mtime s64 u32, ctime s64 u32, ino u64, dev u64, path
//	baseTouching, baseTouched: the same twice, without a path
//	baseClear, baseClearTree, baseDeleting: path
//	baseMove, baseTemp: length of the first path u32, from, to
//	baseMoving: ino u64, dev u64, and the same
//	baseDone, baseBegun: nothing
//
// A record whose own length is good and that is cut short by the end of the
// file, or whose payload is bad and ends with the file, is a torn tail; so is
// a tail of zeros. Anything else that does not fit is damage.
const (
	baseMagic      = "astridfs base 1\n"
	baseHeaderLen  = 12
	basePrintLen   = 4*3 + 8 + 12*2 + 8*2
	baseMaxPath    = 1 << 20 // bytes
	baseMaxPayload = 3 << 20
)

// Kinds of record. The first baseFirst of a path counts until it is cleared; a
// baseSet replaces what there is.
const (
	baseFirst baseKind = 1 + iota
	baseSet
	baseClear     // one path
	baseClearTree // a path and all below
	baseMove      // a path and all below are at another path now

	// What a commit is about to do to the workspace, for the one that finishes
	// it after a crash; baseDone says that there is nothing to finish.
	baseMoving // the directory print.ino moves from path to to
	baseTemp   // to in the directory path is a temporary object
	baseDone
	baseDrop // path leaves the upper layer, where it is what print says

	// What it does to a file of the workspace that other names stay of, whatever
	// paths these are: each that is recorded as print is as now. Before, it says
	// what it is about to make of the file, apart from the change time.
	baseTouching
	baseTouched

	baseDeleting // a path and all below is about to leave the workspace
	baseBegun    // a commit makes files in the workspace
)

type baseKind uint8

// fingerprint is what a lower entry looked like. Dev is 0 for the device of
// the layer's root, whose number may change from boot to boot.
type fingerprint struct {
	mode, uid, gid uint32
	size           int64
	mtime, ctime   vfs.Timespec
	ino, dev       uint64
}

// baseRecord is one record of the log.
type baseRecord struct {
	kind  baseKind
	path  string
	to    string      // of baseMove, baseMoving, baseTemp
	print fingerprint // of baseFirst, baseSet, baseDrop, baseTouching and baseTouched; of baseMoving ino and dev
	now   fingerprint // of baseTouching and baseTouched
}

var (
	errBaseTorn    = errors.New("torn tail")
	errBaseDamaged = errors.New("damaged record")
	crcTable       = crc32.MakeTable(crc32.Castagnoli)
)

// appendBase appends the encoding of r to b.
func appendBase(b []byte, r *baseRecord) []byte {
	start := len(b)
	b = append(b, make([]byte, baseHeaderLen)...)
	b = append(b, byte(r.kind))
	le := binary.LittleEndian
	switch r.kind {
	case baseFirst, baseSet, baseDrop:
		b = append(r.print.encode(b), r.path...)
	case baseTouching, baseTouched:
		b = r.now.encode(r.print.encode(b))
	case baseMove, baseMoving, baseTemp:
		if r.kind == baseMoving {
			b = le.AppendUint64(b, r.print.ino)
			b = le.AppendUint64(b, r.print.dev)
		}
		b = le.AppendUint32(b, uint32(len(r.path)))
		b = append(b, r.path...)
		b = append(b, r.to...)
	case baseClear, baseClearTree, baseDeleting:
		b = append(b, r.path...)
	}
	head, payload := b[start:start+baseHeaderLen], b[start+baseHeaderLen:]
	le.PutUint32(head, uint32(len(payload)))
	le.PutUint32(head[4:], crc32.Checksum(head[:4], crcTable))
	le.PutUint32(head[8:], crc32.Checksum(payload, crcTable))
	return b
}

// encode appends the fields of p to b.
func (p *fingerprint) encode(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, p.mode)
	b = le.AppendUint32(b, p.uid)
	b = le.AppendUint32(b, p.gid)
	b = le.AppendUint64(b, uint64(p.size))
	for _, t := range [...]vfs.Timespec{p.mtime, p.ctime} {
		b = le.AppendUint64(b, uint64(t.Sec))
		b = le.AppendUint32(b, t.Nsec)
	}
	b = le.AppendUint64(b, p.ino)
	return le.AppendUint64(b, p.dev)
}

// decode reads the basePrintLen bytes that encode makes.
func (p *fingerprint) decode(b []byte) {
	le := binary.LittleEndian
	p.mode, p.uid, p.gid = le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
	p.size = int64(le.Uint64(b[12:]))
	p.mtime = vfs.Timespec{Sec: int64(le.Uint64(b[20:])), Nsec: le.Uint32(b[28:])}
	p.ctime = vfs.Timespec{Sec: int64(le.Uint64(b[32:])), Nsec: le.Uint32(b[40:])}
	p.ino, p.dev = le.Uint64(b[44:]), le.Uint64(b[52:])
}

// parseBase reads the record at the head of b, which reaches to the end of the
// file if final is set. It returns how long the record is, 0 with no error
// where b is too short to tell and more is to come.
func parseBase(b []byte, final bool) (r baseRecord, size int, err error) {
	short := func() (baseRecord, int, error) {
		if final {
			return baseRecord{}, 0, errBaseTorn
		}
		return baseRecord{}, 0, nil
	}
	if len(b) < baseHeaderLen {
		return short()
	}
	le := binary.LittleEndian
	n := le.Uint32(b)
	if n == 0 || n > baseMaxPayload || crc32.Checksum(b[:4], crcTable) != le.Uint32(b[4:]) {
		if final && len(bytes.Trim(b, "\x00")) == 0 {
			return baseRecord{}, 0, errBaseTorn
		}
		return baseRecord{}, 0, errBaseDamaged
	}
	size = baseHeaderLen + int(n)
	if len(b) < size {
		return short()
	}
	payload := b[baseHeaderLen:size]
	if crc32.Checksum(payload, crcTable) != le.Uint32(b[8:]) {
		if final && len(b) == size {
			return baseRecord{}, 0, errBaseTorn
		}
		return baseRecord{}, 0, errBaseDamaged
	}
	if !r.decode(payload) {
		return baseRecord{}, 0, errBaseDamaged
	}
	return r, size, nil
}

// decode reads a payload whose checksum is good.
func (r *baseRecord) decode(b []byte) bool {
	le := binary.LittleEndian
	r.kind = baseKind(b[0])
	switch r.kind {
	case baseFirst, baseSet, baseDrop:
		if len(b) < 1+basePrintLen {
			return false
		}
		r.print.decode(b[1:])
		r.path = string(b[1+basePrintLen:])
	case baseTouching, baseTouched:
		if len(b) != 1+2*basePrintLen {
			return false
		}
		r.print.decode(b[1:])
		r.now.decode(b[1+basePrintLen:])
	case baseClear, baseClearTree, baseDeleting:
		r.path = string(b[1:])
	case baseMove, baseMoving, baseTemp:
		b = b[1:]
		if r.kind == baseMoving {
			if len(b) < 16 {
				return false
			}
			r.print.ino, r.print.dev = le.Uint64(b), le.Uint64(b[8:])
			b = b[16:]
		}
		if len(b) < 4 {
			return false
		}
		n := le.Uint32(b)
		if b = b[4:]; uint64(n) > uint64(len(b)) {
			return false
		}
		r.path, r.to = string(b[:n]), string(b[n:])
	case baseDone, baseBegun:
		return len(b) == 1
	default:
		return false
	}
	return true
}
