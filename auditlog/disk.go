package auditlog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names in a log's directory, beside the files of records.
const (
	keyFile  = "key"
	headFile = "head"
	suffix   = ".jsonl"
)

var (
	errHash   = errors.New("the record's hash does not fit its contents")
	errClosed = errors.New("the audit log is closed")
)

// Damage is what happened to a log.
type Damage string

// Changed: a record is not as it was written. Missing: records are gone from
// the middle. Reordered: records stand elsewhere, or twice. Truncated: the end
// is gone. Foreign: it is of another session, or signed with another key.
const (
	Changed   Damage = "changed"
	Missing   Damage = "missing"
	Reordered Damage = "reordered"
	Truncated Damage = "truncated"
	Foreign   Damage = "foreign"
)

// BrokenError says where a log is not as it was left.
type BrokenError struct {
	File string // name in the log's directory
	Line int    // from 1; 0 where it is about the file or the log as a whole
	Seq  uint64 // of the first record that is wrong or missing
	Kind Damage
	Why  string
}

func (e *BrokenError) Error() string {
	where := e.File
	if e.Line > 0 {
		where += ", line " + strconv.Itoa(e.Line)
	}
	return fmt.Sprintf("audit log broken at record %d (%s): %s: %s", e.Seq, where, e.Kind, e.Why)
}

// fileName returns the name of the file whose first record is first. Names sort
// as the numbers do.
func fileName(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

// files returns the names of a log's files, oldest first.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), suffix); ok && len(n) == 20 {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// checkpointMessage is what a checkpoint signs: the hash of the record before.
func checkpointMessage(prev Hash) []byte {
	return append([]byte("astridfs audit checkpoint\x00"), prev[:]...)
}

// head is the last record that was durable when the head file was written.
type head struct {
	Seq  uint64
	Hash Hash
}

type headJSON struct {
	V         int    `json:"v"`
	Seq       uint64 `json:"seq"`
	Hash      string `json:"hash"`
	Signature string `json:"signature"`
}

func (h head) message() []byte {
	return fmt.Appendf(nil, "astridfs audit head\x00%d\x00%s", h.Seq, h.Hash)
}

// writeHead replaces the head file in one step.
func writeHead(path string, h head, key ed25519.PrivateKey) error {
	data, err := json.Marshal(headJSON{Version, h.Seq, h.Hash.String(), hex.EncodeToString(ed25519.Sign(key, h.message()))})
	if err != nil {
		return err
	}
	return replaceFile(path, append(data, '\n'))
}

// signedHead is a head file as it was read, its signature not yet checked.
type signedHead struct {
	head
	signature []byte
	present   bool
}

// readHead reads the head file, whose absence is no error here.
func readHead(path string) (signedHead, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return signedHead{}, nil
	}
	if err != nil {
		return signedHead{}, fmt.Errorf("audit log: %w", err)
	}
	var j headJSON
	if json.Unmarshal(data, &j) != nil || j.V != Version {
		return signedHead{}, &BrokenError{File: headFile, Kind: Changed, Why: "not a head file"}
	}
	h := signedHead{head: head{Seq: j.Seq}, present: true}
	hash, err := hex.DecodeString(j.Hash)
	if err == nil {
		h.signature, err = hex.DecodeString(j.Signature)
	}
	if err != nil || len(hash) != len(h.Hash) {
		return signedHead{}, &BrokenError{File: headFile, Kind: Changed, Seq: j.Seq, Why: "not a head file"}
	}
	copy(h.Hash[:], hash)
	return h, nil
}

// check tells whether h was signed with the key.
func (h *signedHead) check(pub ed25519.PublicKey) error {
	if h.present && !ed25519.Verify(pub, h.message(), h.signature) {
		return &BrokenError{File: headFile, Kind: Foreign, Seq: h.Seq, Why: "the signature of the log's end does not fit the key"}
	}
	return nil
}

// replaceFile writes a file of mode 0600 durably and in one step.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already where all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// loadKey reads the log's own key, making one if there is none.
func loadKey(path string) (ed25519.PrivateKey, error) {
	key, err := ReadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err == nil {
		err = replaceFile(path, []byte(hex.EncodeToString(key.Seed())+"\n"))
	}
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	return key, nil
}

// ReadKey reads a private key: the 32-byte Ed25519 seed in hexadecimal. A key
// that others can read is refused.
func ReadKey(path string) (ed25519.PrivateKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("audit key %s is readable by others (mode %04o): chmod 600 it", path, st.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("audit key %s: want an Ed25519 seed of %d bytes in hexadecimal", path, ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// tail is where a log ends.
type tail struct {
	file string
	seq  uint64
	hash Hash
}

// repairTail finds the end of the log, cuts a torn last line off, and holds the
// end against the head file. The rest of the log is left to Verify.
func repairTail(dir string, pub ed25519.PublicKey) (tail, error) {
	h, err := readHead(filepath.Join(dir, headFile))
	if err == nil {
		err = h.check(pub)
	}
	if err != nil {
		return tail{}, err
	}
	names, err := files(dir)
	if err != nil {
		return tail{}, fmt.Errorf("audit log: %w", err)
	}
	if !h.present && len(names) > 0 {
		return tail{}, &BrokenError{File: headFile, Kind: Truncated, Why: "there are records and no head file, which is made before the first"}
	}
	var t tail
	for i := len(names) - 1; i >= 0 && t.seq == 0; i-- {
		line, err := lastLine(filepath.Join(dir, names[i]))
		if err != nil {
			return tail{}, fmt.Errorf("audit log: %w", err)
		}
		if i == len(names)-1 {
			t.file = names[i]
		}
		if line == nil {
			continue // begun and not written to when the owner died
		}
		r, err := ParseRecord(line)
		if err != nil {
			return tail{}, &BrokenError{File: names[i], Seq: h.Seq, Kind: Changed, Why: "the last record: " + err.Error()}
		}
		t.seq, t.hash = r.Seq, r.Hash
	}
	if t.seq < h.Seq {
		return tail{}, &BrokenError{File: t.file, Seq: t.seq + 1, Kind: Truncated, Why: cutWhy(h.Seq)}
	}
	if t.seq == h.Seq && t.hash != h.Hash {
		return tail{}, &BrokenError{File: t.file, Seq: t.seq, Kind: Changed, Why: headWhy}
	}
	return t, nil
}

const headWhy = "the last record is not the one that was signed"

func cutWhy(signed uint64) string {
	return fmt.Sprintf("the log ends before it, but record %d was written and signed", signed)
}

// lastLine returns the last whole line of a file, nil if there is none, and
// truncates what follows it.
func lastLine(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	n := min(st.Size(), 2*MaxLine)
	buf := make([]byte, n)
	if _, err := f.ReadAt(buf, st.Size()-n); err != nil && err != io.EOF {
		return nil, err
	}
	end := bytes.LastIndexByte(buf, '\n') + 1
	if torn := int64(len(buf) - end); torn > 0 {
		if end == 0 && n < st.Size() {
			return nil, fmt.Errorf("%s ends in %d bytes without a line", path, n)
		}
		if err := f.Truncate(st.Size() - torn); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	if end == 0 {
		return nil, nil
	}
	start := bytes.LastIndexByte(buf[:end-1], '\n') + 1
	return buf[start : end-1], nil
}
