package auditlog

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLog has anything stand where a log's records and its head do: reading,
// verifying and opening it end in order, and what is reported whole was not
// touched.
func FuzzLog(f *testing.F) {
	dir := f.TempDir()
	fill(f, dir, 3, 0)
	names, err := files(dir)
	if err != nil {
		f.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	lines, head, key := read(names[0]), read(headFile), read(keyFile)
	f.Add(lines, head)
	f.Add(lines[:len(lines)/2], head)
	f.Add([]byte("\n\n"), []byte("{}"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, records, end []byte) {
		at := t.TempDir()
		for name, data := range map[string][]byte{names[0]: records, headFile: end, keyFile: key} {
			if err := os.WriteFile(filepath.Join(at, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pub, err := ReadKey(filepath.Join(dir, keyFile))
		if err != nil {
			t.Fatal(err)
		}
		whole := string(records) == string(lines) && string(end) == string(head)
		var broken *BrokenError
		rep, err := Verify(t.Context(), at, pub.Public().(ed25519.PublicKey))
		if err != nil && !errors.As(err, &broken) {
			t.Fatalf("verify: %v", err)
		}
		// Without the key nothing but a prefix of the log, as a crash leaves it,
		// can be whole; and with this head, only all of it.
		if err == nil && !whole && rep.Records > 0 && string(end) == string(head) && len(records) < len(lines) {
			t.Fatalf("%d of %d bytes are whole", len(records), len(lines))
		}
		if whole && err != nil {
			t.Fatal(err)
		}
		l, err := Open(at, Options{Session: "s"})
		if err == nil {
			err = l.Close()
		}
		if err != nil && !errors.As(err, &broken) && whole {
			t.Fatalf("open: %v", err)
		}
	})
}
