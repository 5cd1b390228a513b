// Package diff writes what changed between two trees as git does: patches that
// git apply takes, and the --stat and --name-status forms. It does no I/O but
// through the readers and the writer that it is given.
//
// A patch knows what git knows: regular files, their execute bit and symbolic
// links. A directory, a fifo, a socket or a device has no patch, and neither
// have owners, times and extended attributes; [NameStatus] and [WriteStat] name
// every entry. Names may hold any byte and are quoted as git quotes them.
//
// Memory is bounded: a file above [Options.Limit] is said to differ and not
// compared, and the time for one file is O(n log n) in its lines.
package diff

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/sys/unix"
)

// DefaultLimit is how many bytes either side of a file may have to be compared
// line by line, where Options say nothing else.
const DefaultLimit = 16 << 20

// DefaultContext is how many unchanged lines stand around a change.
const DefaultContext = 3

// Side is a file before or after a change.
type Side struct {
	// Mode holds type and permission bits as st_mode does.
	Mode uint32
	// Size is the length of the contents in bytes, of the target for a
	// symbolic link.
	Size int64
	// Data reads the contents: those of a regular file, or the target of a
	// symbolic link. It may be nil for everything else.
	Data io.ReaderAt
}

// File is one change. Old is nil for an added file, New for a deleted one. From
// is the old path where it is not Path, else empty.
type File struct {
	Path, From string
	Old, New   *Side
}

// Options of [Options.Write]. The zero value has no context lines; [Defaults]
// is what git does.
type Options struct {
	// Context is the number of unchanged lines around a change.
	Context int
	// Limit is the largest file, in bytes, that is compared; 0 is DefaultLimit.
	Limit int64
	// Discard counts lines for the Stat and writes nothing.
	Discard bool
}

// Defaults returns git's own defaults.
func Defaults() Options { return Options{Context: DefaultContext, Limit: DefaultLimit} }

// Stat counts what a patch of one file holds.
type Stat struct {
	Path, From       string
	Status           byte // A, D, M, R or T
	Added, Deleted   int  // lines
	OldSize, NewSize int64

	// Binary says that a side is no text, TooLarge that one is above the
	// limit; the lines were not compared then.
	Binary, TooLarge bool
}

// ErrChanged says that a file became shorter while it was read.
var ErrChanged = errors.New("the file changed while it was compared")

// side is a Side as it is compared.
type side struct {
	*Side
	label string // quoted name with a/ or b/, or /dev/null
	mode  string // as git has it, "" for what git does not know
	data  []byte
	blob  string
}

// Write writes the patch of f to w; nothing for what git does not know. Where
// contents were not compared, the patch says "Binary files … differ", which git
// apply refuses rather than do half of it.
//
// The error is one of w or of the readers, or ErrChanged.
func (o Options) Write(w io.Writer, f File) (Stat, error) {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	from := f.From
	if from == "" {
		from = f.Path
	}
	st := Stat{Path: f.Path, From: f.From, Status: status(f)}
	a, b := newSide(f.Old, "a/"+from), newSide(f.New, "b/"+f.Path)
	if f.Old != nil {
		st.OldSize = f.Old.Size
	}
	if f.New != nil {
		st.NewSize = f.New.Size
	}
	bw := bufio.NewWriterSize(w, 32<<10)
	if o.Discard {
		bw.Reset(io.Discard)
	}
	p := patcher{opt: o, w: bw, stat: &st, from: from, path: f.Path}
	if err := p.write(a, b); err != nil {
		return st, err
	}
	return st, bw.Flush()
}

func newSide(s *Side, name string) *side {
	if s == nil {
		return &side{label: "/dev/null"}
	}
	return &side{Side: s, label: name, mode: gitMode(s.Mode)}
}

// gitMode returns the mode that git records, or "".
func gitMode(mode uint32) string {
	switch {
	case mode&unix.S_IFMT == unix.S_IFLNK:
		return "120000"
	case mode&unix.S_IFMT != unix.S_IFREG:
		return ""
	case mode&0o100 != 0:
		return "100755"
	}
	return "100644"
}

func status(f File) byte {
	switch {
	case f.Old == nil:
		return 'A'
	case f.New == nil:
		return 'D'
	case f.Old.Mode&unix.S_IFMT != f.New.Mode&unix.S_IFMT:
		return 'T'
	case f.From != "":
		return 'R'
	}
	return 'M'
}

type patcher struct {
	opt        Options
	w          *bufio.Writer
	stat       *Stat
	from, path string
}

func (p *patcher) write(a, b *side) error {
	none := &side{label: "/dev/null"}
	switch {
	case a.mode == "" && b.mode == "":
		return nil
	case a.mode == "" || b.mode == "":
		return p.one(a.orNone(), b.orNone())
	case a.Mode&unix.S_IFMT != b.Mode&unix.S_IFMT:
		// git has a change of type as a deletion and a creation.
		if err := p.one(a, none); err != nil {
			return err
		}
		return p.one(none, b)
	}
	return p.one(a, b)
}

// orNone is the absent side for a type that git does not know.
func (s *side) orNone() *side {
	if s.mode == "" {
		return &side{label: "/dev/null"}
	}
	return s
}

// one writes the patch of one pair, of which one may be absent.
func (p *patcher) one(a, b *side) error {
	if a.size() > p.opt.Limit || b.size() > p.opt.Limit {
		return p.large(a, b)
	}
	for _, s := range []*side{a, b} {
		if err := s.load(); err != nil {
			return err
		}
	}
	same := a.Side != nil && b.Side != nil && bytes.Equal(a.data, b.data)
	p.header(a, b, same)
	if bytes.Equal(a.data, b.data) {
		if !same {
			p.index(a, b) // an empty file that came or went
		}
		return nil
	}
	p.index(a, b)
	if a.binary() || b.binary() {
		p.stat.Binary = true
		return p.binary(a, b)
	}
	fmt.Fprintf(p.w, "--- %s%s\n+++ %s%s\n", Quote(a.label), tab(a.label), Quote(b.label), tab(b.label))
	return p.hunks(a.data, b.data)
}

// large writes the patch of files above the limit, which tells what is around
// their contents.
func (p *patcher) large(a, b *side) error {
	same := false
	if a.Side != nil && b.Side != nil && a.Size == b.Size {
		var err error
		if same, err = Equal(a.Data, b.Data, a.Size); err != nil {
			return err
		}
	}
	if same {
		p.header(a, b, true)
		return nil
	}
	p.stat.TooLarge = true
	fmt.Fprintf(p.w, "# %s: above the limit of %d bytes, not compared\n", Quote(p.path), p.opt.Limit)
	p.header(a, b, false)
	return p.binary(a, b)
}

func (p *patcher) binary(a, b *side) error {
	_, err := fmt.Fprintf(p.w, "Binary files %s and %s differ\n", Quote(a.label), Quote(b.label))
	return err
}

// header writes what stands above the contents; same says that those did not
// change. Errors of the buffered writer show at its Flush.
func (p *patcher) header(a, b *side, same bool) {
	if same && a.mode == b.mode && p.from == p.path {
		return // nothing that git would tell
	}
	fmt.Fprintf(p.w, "diff --git %s %s\n", Quote("a/"+p.from), Quote("b/"+p.path))
	switch {
	case a.Side == nil:
		fmt.Fprintf(p.w, "new file mode %s\n", b.mode)
	case b.Side == nil:
		fmt.Fprintf(p.w, "deleted file mode %s\n", a.mode)
	case a.mode != b.mode:
		fmt.Fprintf(p.w, "old mode %s\nnew mode %s\n", a.mode, b.mode)
	}
	if a.Side != nil && b.Side != nil && p.from != p.path {
		if same {
			p.w.WriteString("similarity index 100%\n")
		}
		fmt.Fprintf(p.w, "rename from %s\nrename to %s\n", Quote(p.from), Quote(p.path))
	}
}

// index writes the line that names the blobs, which git apply needs to know
// that a changed file is a symbolic link.
func (p *patcher) index(a, b *side) {
	p.w.WriteString("index " + a.blob[:10] + ".." + b.blob[:10])
	if a.mode == b.mode {
		p.w.WriteString(" " + b.mode)
	}
	p.w.WriteByte('\n')
}

func (s *side) size() int64 {
	if s.Side == nil {
		return 0
	}
	return s.Size
}

// load reads the contents, which are within the limit, and names their blob.
func (s *side) load() error {
	if s.Side == nil {
		s.blob = "0000000000"
		return nil
	}
	s.data = make([]byte, s.Size)
	if s.Size > 0 {
		n, err := s.Data.ReadAt(s.data, 0)
		if int64(n) < s.Size {
			if err == nil || errors.Is(err, io.EOF) {
				err = ErrChanged
			}
			return err
		}
	}
	h := sha1.New() // what git names a blob by; nothing is secured by it
	h.Write([]byte("blob " + strconv.FormatInt(s.Size, 10) + "\x00"))
	h.Write(s.data)
	s.blob = fmt.Sprintf("%x", h.Sum(nil))
	return nil
}

// binaryPrefix is how far git looks for a NUL.
const binaryPrefix = 8000

func (s *side) binary() bool {
	return bytes.IndexByte(s.data[:min(len(s.data), binaryPrefix)], 0) >= 0
}

// Equal tells whether the first size bytes of a and b are the same, reading
// both in pieces.
func Equal(a, b io.ReaderAt, size int64) (bool, error) {
	const piece = 64 << 10
	buf := make([]byte, 2*min(size, piece))
	half := len(buf) / 2
	for off := int64(0); off < size; off += int64(half) {
		n := int(min(int64(half), size-off))
		x, y := buf[:n], buf[half:half+n]
		for _, r := range []struct {
			from io.ReaderAt
			to   []byte
		}{{a, x}, {b, y}} {
			if got, err := r.from.ReadAt(r.to, off); got < n {
				if err == nil || errors.Is(err, io.EOF) {
					return false, nil // it is shorter now, so not the same
				}
				return false, err
			}
		}
		if !bytes.Equal(x, y) {
			return false, nil
		}
	}
	return true, nil
}
