// Package archive reads .capsule files: gzipped tar archives with a manifest,
// Capsule.toml, at the top, the WebAssembly binaries that it names, and in wit/
// their interfaces in text, which a host has no need of.
//
// An archive is not trusted. What it unpacks to is bounded in number and size,
// nothing of it is ever written to a disk, and one that holds anything but
// regular files and directories below its top is refused.
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// Bounds of an archive, in bytes once it is unpacked.
const (
	MaxManifest = 1 << 20
	MaxModule   = 256 << 20
	// MaxTotal bounds everything in it, what is passed over too.
	MaxTotal = 512 << 20
	// MaxFiles bounds how many files and directories it has.
	MaxFiles = 4096
)

// maxAhead is how much memory is taken for a file before it is unpacked, in bytes.
const maxAhead = 16 << 20

// ManifestName is the manifest's name in an archive.
const ManifestName = "Capsule.toml"

// Error says what is wrong with an archive.
type Error struct {
	// File is the file in the archive that is meant; empty: the archive itself.
	File   string
	Reason string
	err    error
}

func (e *Error) Error() string {
	if e.File == "" {
		return "the archive " + e.Reason
	}
	return fmt.Sprintf("the archive's %q %s", e.File, e.Reason)
}

// Unwrap returns the error of reading, if there was one.
func (e *Error) Unwrap() error { return e.err }

// Is tells whether a file that begins like this is meant to be an archive.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte("\x1f\x8b")) }

// Manifest returns the archive's Capsule.toml. It reads no further than that.
//
// Errors: *Error.
func Manifest(r io.Reader) ([]byte, error) {
	var out []byte
	err := walk(r, func(name string, size int64, body io.Reader) (bool, error) {
		if name != ManifestName {
			return true, nil
		}
		var err error
		out, err = take(name, size, MaxManifest, body)
		return false, err
	})
	if err == nil && out == nil {
		err = &Error{Reason: "holds no " + ManifestName}
	}
	return out, err
}

// Module returns a WebAssembly binary of the archive by its name; where that is
// empty, the only one there is. It reads the archive to its end.
//
// Errors: *Error.
func Module(r io.Reader, name string) ([]byte, error) {
	var out []byte
	var found string
	if name != "" {
		name = path.Clean(name)
	}
	err := walk(r, func(file string, size int64, body io.Reader) (bool, error) {
		switch {
		case name == "" && path.Ext(file) != ".wasm", name != "" && file != name:
			return true, nil
		case found != "":
			return false, &Error{Reason: fmt.Sprintf("holds %q and %q, and its manifest does not say which of them to run", found, file)}
		}
		found = file
		var err error
		out, err = take(file, size, MaxModule, body)
		return true, err
	})
	switch {
	case err != nil:
		return nil, err
	case found != "":
		return out, nil
	case name != "":
		return nil, &Error{File: name, Reason: "is named by its manifest and is not there"}
	}
	return nil, &Error{Reason: "holds no WebAssembly binary (.wasm)"}
}

// take reads a file. Its size is what the archive says of it and gives no more
// than the bound.
func take(name string, size, limit int64, body io.Reader) ([]byte, error) {
	if size > limit {
		return nil, &Error{File: name, Reason: fmt.Sprintf("has %d bytes, more than %d", size, limit)}
	}
	// No archive's word alone is worth more memory than maxAhead.
	b := bytes.NewBuffer(make([]byte, 0, min(size, maxAhead)+bytes.MinRead))
	if _, err := b.ReadFrom(body); err != nil {
		return nil, broken(err)
	}
	return b.Bytes(), nil
}

// walk goes through the regular files of an archive until each answers false.
func walk(r io.Reader, each func(name string, size int64, body io.Reader) (more bool, err error)) error {
	gz, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return broken(err)
	}
	in := &counted{r: gz, left: MaxTotal}
	tr := tar.NewReader(in)
	seen := map[string]bool{}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return broken(err)
		}
		name, err := check(h)
		if err != nil {
			return err
		}
		if name == "." {
			continue
		}
		if seen[name] {
			return &Error{File: name, Reason: "is there twice"}
		}
		if seen[name] = true; len(seen) > MaxFiles {
			return &Error{Reason: fmt.Sprintf("holds more than %d files", MaxFiles)}
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		more, err := each(name, h.Size, tr)
		if err != nil || !more {
			return err
		}
	}
	// What follows the end has to be there in whole: its checksum stands last.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return broken(err)
	}
	return nil
}

// check answers the name of an entry that may be in an archive.
func check(h *tar.Header) (string, error) {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeXGlobalHeader: // what git makes: says nothing of a file
		return ".", nil
	default:
		return "", &Error{File: h.Name, Reason: "is neither a file nor a directory"}
	}
	name := h.Name
	switch {
	case name == "", !utf8.ValidString(name), strings.ContainsAny(name, "\x00\\"):
		return "", &Error{File: name, Reason: "has a name that no file in an archive may have"}
	case name[0] == '/', len(name) > 1024:
		return "", &Error{File: name, Reason: "has a name that is absolute or too long"}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", &Error{File: name, Reason: "leads out of the archive"}
		}
	}
	if h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.size"] != "" {
		return "", &Error{File: name, Reason: "is a sparse file"}
	}
	return path.Clean(name), nil
}

var errTooLarge = &Error{Reason: fmt.Sprintf("unpacks to more than %d MiB", MaxTotal>>20)}

// counted reads up to a bound.
type counted struct {
	r    io.Reader
	left int64
}

func (c *counted) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLarge
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func broken(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	reason := "cannot be read: " + err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		reason = "is cut off"
	}
	return &Error{Reason: reason, err: err}
}
