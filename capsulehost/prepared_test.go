package capsulehost

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/archive"
)

// large is a module worth keeping whose export "run" ends, or traps. It has a
// custom section of a megabyte.
func large(traps bool) []byte {
	op := "\x01"
	if traps {
		op = "\x00"
	}
	return []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x07\x01\x03run\x00\x00\x0a\x05\x01\x03\x00" + op + "\x0b" +
		"\x00\x82\x80\x40\x01x" + strings.Repeat("x", keepPrepared))
}

// cached is a directory of compiled modules, which each start uses anew.
type cached struct {
	*testing.T
	dir string
	log bytes.Buffer
}

// start compiles a binary, or an archive's, in a host of its own and tells
// whether it traps.
func (c *cached) start(file []byte, name string) (traps bool, info Info) {
	c.Helper()
	h, err := New(c.Context(), Options{CacheDir: c.dir, Logger: slog.New(slog.NewTextHandler(&c.log, nil))})
	if err != nil {
		c.Fatal(err)
	}
	defer h.Close(c.Context())
	var m *Module
	if archive.Is(file) {
		m, err = h.CompileArchive(c.Context(), file, name)
	} else {
		m, err = h.Compile(c.Context(), file)
	}
	if err != nil {
		c.Fatal(err)
	}
	defer m.Close()
	_, err = h.Run(c.Context(), m, RunConfig{})
	if _, traps = errors.AsType[*TrapError](err); err != nil && !traps {
		c.Fatal(err)
	}
	return traps, *m.Info()
}

// kept returns the files of prepared binaries.
func (c *cached) kept() []string {
	c.Helper()
	l, err := filepath.Glob(filepath.Join(c.dir, "prepared", "*"))
	if err != nil {
		c.Fatal(err)
	}
	return l
}

// swap keeps other code under the key of each file, as if it were what was made
// of it.
func (c *cached) swap(code []byte) {
	c.Helper()
	for _, path := range c.kept() {
		b, err := os.ReadFile(path)
		if err != nil {
			c.Fatal(err)
		}
		b = append(b[:preparedHead:preparedHead], code...)
		if err := os.WriteFile(path, binary.LittleEndian.AppendUint32(b, checksum(b)), 0o600); err != nil {
			c.Fatal(err)
		}
	}
}

func packed(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for name, body := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The second start takes what the first one prepared, of a binary and of an
// archive's, and says the same of it.
func TestPrepared(t *testing.T) {
	wasm := large(false)
	sum := sha256.Sum256(wasm)
	for name, file := range map[string][]byte{"binary": wasm, "archive": packed(t, map[string][]byte{"a.wasm": wasm, "b.wasm": large(true)})} {
		t.Run(name, func(t *testing.T) {
			c := &cached{T: t, dir: filepath.Join(t.TempDir(), "cache")}
			if traps, _ := c.start(file, "a.wasm"); traps || len(c.kept()) != 1 {
				t.Fatalf("it traps: %v, and %q is kept", traps, c.kept())
			}
			c.swap(large(true)) // to see that it is taken
			traps, info := c.start(file, "a.wasm")
			if !traps {
				t.Error("what was kept is not used")
			}
			if info.SHA256 != hex.EncodeToString(sum[:]) || info.Size != int64(len(wasm)) {
				t.Errorf("it is said to be of %d bytes with the hash %s", info.Size, info.SHA256)
			}
			// Another one of the archive is not the same.
			c.swap(wasm)
			if name == "archive" {
				if traps, _ := c.start(file, "b.wasm"); !traps || len(c.kept()) != 2 {
					t.Errorf("b.wasm traps: %v, and %q is kept", traps, c.kept())
				}
			}
			if c.log.Len() > 0 {
				t.Error(c.log.String())
			}
		})
	}
}

// What is kept and is damaged, of another key or cannot be compiled is made anew.
func TestPreparedDamaged(t *testing.T) {
	wasm := large(false)
	c := &cached{T: t, dir: filepath.Join(t.TempDir(), "cache")}
	c.start(wasm, "")
	path := c.kept()[0]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	other := bytes.Clone(good[:len(good)-preparedTail])
	other[0] ^= 1 // the key
	for name, b := range map[string][]byte{
		"empty": {}, "cut off": good[:len(good)-1], "only a head": good[:preparedHead], "longer": append(bytes.Clone(good), 0),
		"key": flipped(0), "hash": flipped(40), "size": flipped(65), "code": flipped(preparedHead + 40), "end": flipped(len(good) - 1),
		"another's": binary.LittleEndian.AppendUint32(other, checksum(other)),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c.log.Reset()
		if traps, _ := c.start(wasm, ""); traps {
			t.Errorf("%s: it traps", name)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, good) {
			t.Errorf("%s: it was not kept anew: %v", name, err)
		}
		if !strings.Contains(c.log.String(), "damaged") {
			t.Errorf("%s: the log says %q", name, c.log.String())
		}
	}
	for _, code := range []string{"", "\x00asm\x01\x00\x00\x00\x0a\x01\x07", "\x00asm\x0d\x00\x01\x00\xff"} {
		c.swap([]byte(code))
		if traps, _ := c.start(wasm, ""); traps {
			t.Errorf("%q: it traps", code)
		}
	}
	if l := c.kept(); len(l) != 1 {
		t.Errorf("%q is kept", l)
	}
}

// Where nothing can be kept, and for what is not worth it, capsules run.
func TestNotPrepared(t *testing.T) {
	c := &cached{T: t, dir: filepath.Join(t.TempDir(), "cache")}
	c.start(large(false)[:34], "")
	if l := c.kept(); len(l) > 0 {
		t.Errorf("%q is kept", l)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "prepared"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if traps, _ := c.start(large(true), ""); !traps {
			t.Error("it does not trap")
		}
	}
	if !strings.Contains(c.log.String(), "could not be stored") {
		t.Errorf("the log says %q", c.log.String())
	}
	// An archive that is broken, or has no such binary, is told as such.
	h, err := New(t.Context(), Options{CacheDir: c.dir})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	file := packed(t, map[string][]byte{"a.wasm": large(false)})
	for _, b := range [][]byte{file, file[:len(file)-9], nil} {
		_, err := h.CompileArchive(t.Context(), b, "b.wasm")
		if _, ok := errors.AsType[*archive.Error](err); !ok {
			t.Errorf("%v", err)
		}
	}
}

// Code that cannot be read is told by its place in the whole component, also in
// one that is nested.
func TestPrepareOffset(t *testing.T) {
	const head = "\x00asm\x0d\x00\x01\x00"
	core := "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x05\x01\x03\x00"
	good, bad := core+"\x01\x0b", core+"\xff\x0b"
	section := func(id byte, body string) string { return string([]byte{id, byte(len(body))}) + body }
	wasm := head + section(1, good) + section(4, head+section(1, good)+section(1, bad)) + section(1, good)
	h, err := New(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	_, err = h.Compile(t.Context(), []byte(wasm))
	if e, ok := errors.AsType[*FormatError](err); !ok || e.Offset != int64(strings.IndexByte(wasm, 0xff)) || !strings.Contains(e.What, "core module 2: ") {
		t.Errorf("%v", err)
	}
}
