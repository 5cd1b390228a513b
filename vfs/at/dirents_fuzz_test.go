package at

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// appendDirent is the kernel's side of parseDirent.
func appendDirent(b []byte, de vfs.DirEntry) []byte {
	start := len(b)
	b = binary.NativeEndian.AppendUint64(b, de.Ino)
	b = binary.NativeEndian.AppendUint64(b, de.Off)
	size := (19 + len(de.Name) + 1 + 7) &^ 7
	b = binary.NativeEndian.AppendUint16(b, uint16(size))
	b = append(b, byte(de.Type>>12))
	b = append(b, de.Name...)
	return append(b, make([]byte, size-(len(b)-start))...)
}

// FuzzParseDirent has any bytes taken apart, which must not fail otherwise than
// by ok, and checks that an entry survives its encoding.
func FuzzParseDirent(f *testing.F) {
	good := appendDirent(nil, vfs.DirEntry{Name: "name", Ino: 7, Off: 9, Type: unix.S_IFREG})
	f.Add(good)
	f.Add(append(good, good...))
	f.Add(good[:18])
	f.Add(good[:len(good)-1])
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		de, size, ok := parseDirent(b)
		if !ok {
			return
		}
		if size < 19 || size > len(b) || len(de.Name) > size-19 {
			t.Fatalf("an entry of %d bytes in %d: %+v", size, len(b), de)
		}
		if len(de.Name) > vfs.NameMax {
			return // not one that can be encoded
		}
		again, _, ok := parseDirent(appendDirent(nil, de))
		de.Type &= 0xff << 12
		if !ok || again != de {
			t.Fatalf("%+v becomes %+v", de, again)
		}
	})
}
