package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/archive"
)

type file struct {
	tar.Header
	data string
}

func reg(name, data string) file {
	return file{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func pack(tb testing.TB, files ...file) []byte {
	tb.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	for _, f := range files {
		if err := tw.WriteHeader(&f.Header); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(tw, f.data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestRead(t *testing.T) {
	b := pack(t,
		file{Header: tar.Header{Typeflag: tar.TypeDir, Name: "wit/", Mode: 0o755}},
		reg("wit/world.wit", "package a:b;"),
		reg("./Capsule.toml", "[package]"),
		reg("bin/a.wasm", "A"), reg("b.wasm", "B"))
	m, err := archive.Manifest(bytes.NewReader(b))
	if err != nil || string(m) != "[package]" {
		t.Errorf("the manifest is %q, %v", m, err)
	}
	for name, want := range map[string]string{"bin/a.wasm": "A", "./b.wasm": "B", "wit/world.wit": "package a:b;"} {
		got, err := archive.Module(bytes.NewReader(b), name)
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	got, err := archive.Module(bytes.NewReader(pack(t, reg("x.wasm", ""), reg("y.txt", "y"))), "")
	if err != nil || got == nil || len(got) != 0 {
		t.Errorf("the only binary is %q, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	whole := pack(t, reg("Capsule.toml", strings.Repeat("#", 5000)), reg("a.wasm", "A"))
	corrupt := bytes.Clone(whole)
	corrupt[len(corrupt)-6]++ // of the checksum
	many := make([]file, archive.MaxFiles+1)
	for i := range many {
		many[i] = reg(fmt.Sprint("f", i), "")
	}
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":       {nil, "the archive is cut off"},
		"no gzip":       {[]byte("PK\x03\x04 and more"), "the archive cannot be read: gzip: invalid header"},
		"no tar":        {gzipped(t, strings.Repeat("no tar at all", 100)), "the archive cannot be read: archive/tar: invalid tar header"},
		"cut off":       {whole[:len(whole)-20], "the archive is cut off"},
		"checksum":      {corrupt, "the archive cannot be read: gzip: invalid checksum"},
		"empty":         {pack(t), "the archive holds no WebAssembly binary (.wasm)"},
		"two":           {pack(t, reg("a.wasm", ""), reg("b.wasm", "")), `the archive holds "a.wasm" and "b.wasm", and its manifest does not say which of them to run`},
		"twice":         {pack(t, reg("a.wasm", "A"), reg("./a.wasm", "B")), `the archive's "a.wasm" is there twice`},
		"above":         {pack(t, reg("wit/../../a.wasm", "")), `the archive's "wit/../../a.wasm" leads out of the archive`},
		"absolute":      {pack(t, reg("/a.wasm", "")), `the archive's "/a.wasm" has a name that is absolute or too long`},
		"backslash":     {pack(t, reg(`..\a.wasm`, "")), `the archive's "..\\a.wasm" has a name that no file in an archive may have`},
		"symbolic link": {pack(t, file{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "a.wasm", Linkname: "/etc/passwd"}}), `the archive's "a.wasm" is neither a file nor a directory`},
		"hard link":     {pack(t, file{Header: tar.Header{Typeflag: tar.TypeLink, Name: "a.wasm", Linkname: "b"}}), `the archive's "a.wasm" is neither a file nor a directory`},
		"device":        {pack(t, file{Header: tar.Header{Typeflag: tar.TypeChar, Name: "a.wasm"}}), `the archive's "a.wasm" is neither a file nor a directory`},
		"too many":      {pack(t, many...), "the archive holds more than 4096 files"},
		"says too much": {lying(t), `the archive's "a.wasm" has 268435457 bytes, more than 268435456`},
		"bomb":          {bomb(t), "the archive unpacks to more than 512 MiB"},
	} {
		_, err := archive.Module(bytes.NewReader(c.b), "")
		e, ok := errors.AsType[*archive.Error](err)
		if !ok || e.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := archive.Module(bytes.NewReader(whole), "b.wasm")
	if err == nil || err.Error() != `the archive's "b.wasm" is named by its manifest and is not there` {
		t.Errorf("%v", err)
	}
	for want, b := range map[string][]byte{
		"the archive holds no Capsule.toml":                                 pack(t, reg("wit/Capsule.toml", "")),
		`the archive's "Capsule.toml" has 1048577 bytes, more than 1048576`: pack(t, reg("Capsule.toml", strings.Repeat("#", archive.MaxManifest+1))),
	} {
		if _, err := archive.Manifest(bytes.NewReader(b)); err == nil || err.Error() != want {
			t.Errorf("%v, and not %s", err, want)
		}
	}
}

func gzipped(tb testing.TB, text string) []byte {
	tb.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	if _, err := io.WriteString(gz, text); err != nil {
		tb.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// lying says of a file that it is larger than any may be, and holds nothing.
func lying(tb testing.TB) []byte {
	tb.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	h := tar.Header{Typeflag: tar.TypeReg, Name: "a.wasm", Size: archive.MaxModule + 1}
	if err := errors.Join(tar.NewWriter(gz).WriteHeader(&h), gz.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// bomb is small and unpacks to more than an archive may: members of gzip in a
// row, each of zeros of one file that is passed over.
func bomb(tb testing.TB) []byte {
	tb.Helper()
	var head, zeros, out bytes.Buffer
	gz := gzip.NewWriter(&head)
	h := tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: 1 << 32}
	if err := errors.Join(tar.NewWriter(gz).WriteHeader(&h), gz.Close()); err != nil {
		tb.Fatal(err)
	}
	gz = gzip.NewWriter(&zeros)
	if _, err := gz.Write(make([]byte, 16<<20)); err != nil {
		tb.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		tb.Fatal(err)
	}
	out.Write(head.Bytes())
	for range archive.MaxTotal>>24 + 1 {
		out.Write(zeros.Bytes())
	}
	return out.Bytes()
}

// FuzzArchive reads archives that were damaged, the tar format within good gzip
// as well as the gzip itself.
func FuzzArchive(f *testing.F) {
	good := pack(f, reg("Capsule.toml", "[package]"), reg("a.wasm", "A"))
	f.Add(good, false)
	gz, err := gzip.NewReader(bytes.NewReader(good))
	if err != nil {
		f.Fatal(err)
	}
	plain, err := io.ReadAll(gz)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, true)
	f.Fuzz(func(t *testing.T, b []byte, wrap bool) {
		if wrap {
			b = gzipped(t, string(b))
		}
		manifest, err := archive.Manifest(bytes.NewReader(b))
		checkError(t, manifest, err)
		wasm, err := archive.Module(bytes.NewReader(b), "")
		checkError(t, wasm, err)
	})
}

func checkError(t *testing.T, b []byte, err error) {
	t.Helper()
	if _, ok := errors.AsType[*archive.Error](err); err != nil && !ok || (b == nil) == (err == nil) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
