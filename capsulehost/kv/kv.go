// Package kv keeps the keys and values of capsules, in a directory for each
// namespace, a file for each key.
//
// # On disk
//
// A file is named by the SHA-256 of its key and holds a line with the format's
// name, the length of the key and the checksum of what follows; then the key and
// the value. It is written beside its place, made to last, and renamed there: a
// crash leaves the old value or the new one. A file that is not whole is an
// error of the keys that it might be, never a missing one.
//
// # Concurrency
//
// A [Stores] and a [Store] may be used by any number of goroutines; each change
// of a namespace, a compare-and-swap included, is one step. One process may have
// a directory at a time.
package kv

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of a namespace.
const (
	MaxKey   = 256      // bytes
	MaxValue = 1 << 20  // bytes
	MaxKeys  = 64 << 10 // keys
	MaxBytes = 64 << 20 // keys and values together, in bytes
	MaxPage  = 1024     // keys that a listing returns
)

// Errors of a Store, besides those of the disk.
var (
	ErrInvalidKey = errors.New("not a key: a text in NFC of at most 256 bytes without control characters")
	ErrTooLarge   = errors.New("more than a call may have")
	ErrQuota      = errors.New("the namespace is full")
	ErrMismatch   = errors.New("the value is another one")
)

// Stores are the namespaces below a directory.
type Stores struct {
	dir string

	mu   sync.Mutex
	open map[string]*Store // protected by mu; those in use
}

// NewStores returns the namespaces below dir, which is made when something is
// kept there.
func NewStores(dir string) *Stores { return &Stores{dir: dir, open: map[string]*Store{}} }

// Open returns the namespace of a capsule and principal. The caller gives it
// back with release, once. Nothing is read before its first use.
func (s *Stores) Open(principal, capsule string) (_ *Store, release func()) {
	name := hexOf(principal + "\x00" + capsule)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.open[name]
	if st == nil {
		st = &Store{dir: filepath.Join(s.dir, name)}
		s.open[name] = st
	}
	st.users++
	return st, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if st.users--; st.users == 0 {
			delete(s.open, name)
		}
	}
}

// Store is a namespace.
type Store struct {
	dir   string
	users int // protected by Stores.mu

	mu    sync.Mutex
	keys  map[string]int64 // protected by mu; the size of each value; nil: not read yet
	total int64            // protected by mu; bytes of keys and values
}

const magic = "astridfs-kv 1"

func hexOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (s *Store) path(key string) string { return filepath.Join(s.dir, hexOf(key)) }

// lock takes mu, which the caller gives back if there was no error, and sees to
// it that the keys are known.
func (s *Store) lock() error {
	s.mu.Lock()
	if s.keys != nil {
		return nil
	}
	err := s.load()
	if err != nil {
		s.keys, s.total = nil, 0
		s.mu.Unlock()
	}
	return err
}

// load looks at every file of the directory.
func (s *Store) load() error {
	s.keys = map[string]int64{}
	names, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range names {
		path := filepath.Join(s.dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") { // one that a crash left unfinished
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		key, value, err := read(path)
		if err != nil {
			return err
		}
		if hexOf(key) != e.Name() {
			return fmt.Errorf("%s: it is not the file of its key", path)
		}
		s.keys[key] = int64(len(value))
		s.total += int64(len(key) + len(value))
	}
	return nil
}

func read(path string) (key string, value []byte, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	head, rest, ok := bytes.Cut(b, []byte("\n"))
	var n int
	var sum uint32
	if ok {
		_, err = fmt.Sscanf(string(head), magic+" %d %08x", &n, &sum)
	}
	if !ok || err != nil || n < 0 || n > len(rest) || crc32.ChecksumIEEE(rest) != sum {
		return "", nil, fmt.Errorf("%s: damaged", path)
	}
	return string(rest[:n]), rest[n:], nil
}

func check(key string) error {
	if len(key) == 0 || len(key) > MaxKey || !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) || !norm.NFC.IsNormalString(key) {
		return ErrInvalidKey
	}
	return nil
}

func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return check(prefix)
}

// Get returns the value of a key, or nil if there is none.
//
// Errors: ErrInvalidKey.
func (s *Store) Get(key string) ([]byte, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return s.get(key)
}

// get returns a value that is not nil if there is one. The caller holds mu.
func (s *Store) get(key string) ([]byte, error) {
	if _, ok := s.keys[key]; !ok {
		return nil, nil
	}
	_, value, err := read(s.path(key))
	return value, err
}

// Set sets the value of a key.
//
// Errors: ErrInvalidKey, ErrTooLarge, ErrQuota.
func (s *Store) Set(key string, value []byte) error {
	if err := checkBoth(key, value); err != nil {
		return err
	}
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return s.set(key, value)
}

func checkBoth(key string, value []byte) error {
	if err := check(key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return ErrTooLarge
	}
	return nil
}

// set is Set for one that holds mu.
func (s *Store) set(key string, value []byte) error {
	old, replaces := s.keys[key]
	total := s.total + int64(len(value))
	if replaces {
		total -= old
	} else {
		total += int64(len(key))
	}
	if total > MaxBytes || !replaces && len(s.keys) >= MaxKeys {
		return ErrQuota
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".new-")
	if err != nil {
		return err
	}
	sum := crc32.Update(crc32.ChecksumIEEE([]byte(key)), crc32.IEEETable, value)
	_, err = fmt.Fprintf(f, "%s %d %08x\n%s", magic, len(key), sum, key)
	if err == nil {
		_, err = f.Write(value)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = cmp.Or(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.path(key))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.keys[key], s.total = int64(len(value)), total
	return nil
}

// Delete removes a key, if it is there.
//
// Errors: ErrInvalidKey.
func (s *Store) Delete(key string) error {
	if err := check(key); err != nil {
		return err
	}
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return s.remove(key)
}

// remove is Delete for one that holds mu.
func (s *Store) remove(key string) error {
	size, ok := s.keys[key]
	if !ok {
		return nil
	}
	if err := os.Remove(s.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(s.keys, key)
	s.total -= size + int64(len(key))
	return nil
}

// List returns up to limit keys that begin with prefix and come after another
// one, sorted by their bytes, and whether there are more.
//
// Errors: ErrInvalidKey.
func (s *Store) List(prefix, after string, limit int) (keys []string, more bool, err error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, false, err
	}
	if err := s.lock(); err != nil {
		return nil, false, err
	}
	for key := range s.keys {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	slices.Sort(keys)
	if len(keys) > limit {
		return keys[:limit], true, nil
	}
	return keys, false, nil
}

// Clear removes the keys that begin with prefix and returns how many they were,
// with an error too.
//
// Errors: ErrInvalidKey.
func (s *Store) Clear(prefix string) (n uint64, err error) {
	if err := checkPrefix(prefix); err != nil {
		return 0, err
	}
	if err := s.lock(); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	for key := range s.keys {
		if strings.HasPrefix(key, prefix) {
			if err := s.remove(key); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// CompareAndSwap sets the value of a key whose value is old; a nil old is that
// of a key that is not there.
//
// Errors: as Set; ErrMismatch.
func (s *Store) CompareAndSwap(key string, old, value []byte) error {
	if err := checkBoth(key, value); err != nil {
		return err
	}
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	now, err := s.get(key)
	if err != nil {
		return err
	}
	if (now == nil) != (old == nil) || !bytes.Equal(now, old) {
		return ErrMismatch
	}
	return s.set(key, value)
}
