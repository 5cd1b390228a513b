package auditlog

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// KeyPath returns where the log in dir keeps its own private key.
func KeyPath(dir string) string { return filepath.Join(dir, keyFile) }

// errEnough ends a scan early.
var errEnough = errors.New("enough")

// StartKey returns the public key that the first record of the log in dir names;
// nil if the log has not begun.
func StartKey(dir string) (ed25519.PublicKey, error) {
	var key ed25519.PublicKey
	err := scan(context.Background(), dir, func(l line) error {
		r, err := ParseRecord(l.bytes)
		if err != nil && !l.torn {
			return &BrokenError{File: l.file, Line: l.number, Seq: 1, Kind: Changed, Why: err.Error()}
		}
		if b, err := hex.DecodeString(r.Key); err == nil && len(b) == ed25519.PublicKeySize {
			key = b
		}
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return key, nil
}

// Copy copies the log in dir, which nobody writes, to the directory to, without
// its private key.
func Copy(dir, to string) error {
	names, err := files(dir)
	if err != nil {
		return err
	}
	for _, name := range append(names, headFile) {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(to, name)); err != nil && !(name == headFile && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
