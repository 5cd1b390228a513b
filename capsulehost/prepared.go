package capsulehost

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
)

// prepared is a binary as the compiler is given it: what prepare makes.
type prepared struct {
	sum  [sha256.Size]byte // of the binary that it was made of
	size int64             // of that, in bytes
	code []byte
}

// preparedCache keeps prepared binaries, in a subdirectory of that of the
// compiled ones: going over the code takes longer than reading the outcome. They
// are trusted as the machine code beside them is, and bounded with it (see prune).
// What cannot be read or written is as if it were not there. What is there was
// compiled before.
type preparedCache struct {
	dir   string // empty: nothing is kept
	min   int    // bytes; less is not worth a file
	build []byte // tells apart the builds of this program
	log   *slog.Logger
}

// keepPrepared is the size in bytes from which on it is worth a file that a binary
// need not be prepared again: less is prepared within 4 ms.
const keepPrepared = 1 << 20

// maxPrepared bounds the file of a prepared binary, in bytes.
const maxPrepared = 1 << 30

func newPreparedCache(dir string, log *slog.Logger) *preparedCache {
	if dir == "" {
		return &preparedCache{}
	}
	// Another build may prepare otherwise: what one has made is no other's.
	exe, err := os.Stat("/proc/self/exe")
	info, ok := debug.ReadBuildInfo()
	if err != nil || !ok {
		return &preparedCache{}
	}
	build := fmt.Appendf(nil, "%d %d %s", exe.Size(), exe.ModTime().UnixNano(), info)
	return &preparedCache{dir: filepath.Join(dir, "prepared"), min: keepPrepared, build: build, log: log}
}

// key names what is made of a file with this hash; part tells apart what can be
// made of it.
func (c *preparedCache) key(file [sha256.Size]byte, part string) (key [sha256.Size]byte) {
	h := sha256.New()
	h.Write(file[:])
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
	h.Write([]byte(part))
	h.Write(c.build)
	h.Sum(key[:0])
	return key
}

func (c *preparedCache) path(key [sha256.Size]byte) string {
	return filepath.Join(c.dir, hex.EncodeToString(key[:]))
}

// A file begins with the key, and sum and size of a prepared. Its code follows,
// and a checksum of all that, which is the one of the compiled modules' files.
const (
	preparedHead = 2*sha256.Size + 8
	preparedTail = crc32.Size
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// load returns what is kept under key, or nil.
func (c *preparedCache) load(key [sha256.Size]byte) *prepared {
	if c.dir == "" {
		return nil
	}
	b, err := readPrepared(c.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		n := len(b) - preparedTail
		if checksum(b[:n]) == binary.LittleEndian.Uint32(b[n:]) && bytes.Equal(b[:sha256.Size], key[:]) {
			p := &prepared{size: int64(binary.LittleEndian.Uint64(b[2*sha256.Size:])), code: b[preparedHead:n:n]}
			copy(p.sum[:], b[sha256.Size:])
			return p
		}
		err = errors.New("it is damaged")
	}
	c.log.Warn("a prepared capsule cannot be used", "file", c.path(key), "error", err)
	return nil
}

func readPrepared(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() < preparedHead+preparedTail || st.Size() > maxPrepared {
		return nil, errors.New("it is damaged")
	}
	b := make([]byte, st.Size())
	_, err = io.ReadFull(f, b)
	return b, err
}

// store keeps what is worth it. A reader finds all of it or nothing.
func (c *preparedCache) store(key [sha256.Size]byte, p *prepared) {
	if c.dir == "" || len(p.code) < c.min || len(p.code) > maxPrepared-preparedHead-preparedTail {
		return
	}
	if err := c.write(key, p); err != nil {
		c.log.Warn("a prepared capsule could not be stored", "error", err)
	}
}

func (c *preparedCache) write(key [sha256.Size]byte, p *prepared) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, "new-")
	if err != nil {
		return err
	}
	head := binary.LittleEndian.AppendUint64(append(key[:], p.sum[:]...), uint64(p.size))
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	w := io.MultiWriter(f, h)
	for _, b := range [][]byte{head, p.code} {
		if err == nil {
			_, err = w.Write(b)
		}
	}
	if err == nil {
		_, err = f.Write(binary.LittleEndian.AppendUint32(nil, h.Sum32()))
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), c.path(key))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
