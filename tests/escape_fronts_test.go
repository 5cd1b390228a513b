package tests

import (
	"bytes"
	enc "encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// act is one operation on the workspace, by its letter:
//
//	r read          w write        a append      0 1 2 3 open to read, write, append, read and write
//	s stat          l lstat        e exists      d list
//	m mkdir         M mkdir -p     u unlink      R remove a directory
//	n rename to b   h link to b    c copy to b   k readlink     p canonicalize
//
// A front that lacks one does what comes nearest.
type act struct {
	op   byte
	a, b string
}

func (x act) String() string {
	if x.b == "" {
		return fmt.Sprintf("%c %.200q", x.op, x.a)
	}
	return fmt.Sprintf("%c %.200q %.200q", x.op, x.a, x.b)
}

// front is a way into a session. do answers each act with "ok", or with "ok "
// and what was read, or with the error's name.
type front struct {
	name string
	do   func(t *testing.T, b *box, acts []act) []string
}

// fronts are all ways: a core module, a component, a WASI program, the mount.
func fronts(t *testing.T) []front {
	t.Helper()
	core := filepath.Join(t.TempDir(), "escape.wasm")
	clang := os.Getenv("CLANG")
	if clang == "" {
		clang = "clang-19"
	}
	sh(t, ".", `"$CC" --target=wasm32 -O2 -Wall -Wextra -Werror -ffreestanding -fno-builtin -nostdlib -I ../sdk/c -Wl,--no-entry -o "$OUT" testdata/escape/escape.c`,
		"CC="+clang, "OUT="+core)
	component := filepath.Join(t.TempDir(), "component.wasm")
	if err := makeComponent(core, component); err != nil {
		t.Fatal(err)
	}
	wasi := buildGuest(t, "escapewasi")
	return []front{
		{"core", func(t *testing.T, b *box, acts []act) []string { return byCapsule(t, b, core, acts) }},
		{"component", func(t *testing.T, b *box, acts []act) []string { return byComponent(t, b, component, acts) }},
		{"wasi", func(t *testing.T, b *box, acts []act) []string { return byWASI(t, b, wasi, acts) }},
		{"mount", func(_ *testing.T, b *box, acts []act) []string { return byMount(b, acts) }},
	}
}

// makeComponent puts a core module in the place of the one in the conformance
// component, whose world is the same.
func makeComponent(core, out string) error {
	module, err := os.ReadFile(core)
	if err != nil {
		return err
	}
	outer, err := os.ReadFile("../capsulehost/component/testdata/conformance.wasm")
	if err != nil {
		return err
	}
	made := bytes.NewBuffer(bytes.Clone(outer[:8]))
	done := false
	for rest := outer[8:]; len(rest) > 0; {
		size, n := enc.Uvarint(rest[1:])
		if n <= 0 || uint64(len(rest)-1-n) < size {
			return errors.New("the conformance component is not well formed")
		}
		section := rest[:1+n+int(size)]
		rest = rest[len(section):]
		const coreModule = 1
		if section[0] != coreModule || done {
			made.Write(section)
			continue
		}
		done = true
		made.WriteByte(coreModule)
		made.Write(enc.AppendUvarint(nil, uint64(len(module))))
		made.Write(module)
	}
	return os.WriteFile(out, made.Bytes(), 0o644)
}

// encode is a row of acts as the guests read it.
func encode(acts []act) []byte {
	var b []byte
	for _, x := range acts {
		b = append(b, x.op)
		for _, s := range []string{x.a, x.b} {
			b = enc.LittleEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// byCapsule runs the capsule that has astrid:fs. What an operation read is
// hexadecimal in its answers, so that no name can be taken for the end of a line.
func byCapsule(t *testing.T, b *box, wasm string, acts []act) []string {
	t.Helper()
	payload := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(payload, encode(acts), 0o600); err != nil {
		t.Fatal(err)
	}
	out := b.run("run", "--session", b.session, "--action", "go", "--payload", "@"+payload, wasm)
	body, ok := strings.CutPrefix(out, "done\n")
	if !ok {
		t.Fatalf("the capsule says %.200q", out)
	}
	return answers(t, body, len(acts), func(code string) string { return code })
}

// byComponent is byCapsule for a component, which is trapped, by the Component
// Model's rules, when it gives text that is not UTF-8: these acts have a run of
// their own each.
func byComponent(t *testing.T, b *box, wasm string, acts []act) []string {
	t.Helper()
	var texts []act
	for _, x := range acts {
		if utf8.ValidString(x.a + x.b) {
			texts = append(texts, x)
		}
	}
	rest := byCapsule(t, b, wasm, texts)
	list := make([]string, 0, len(acts))
	payload := filepath.Join(t.TempDir(), "payload")
	for _, x := range acts {
		if utf8.ValidString(x.a + x.b) {
			list, rest = append(list, rest[0]), rest[1:]
			continue
		}
		if err := os.WriteFile(payload, encode([]act{x}), 0o600); err != nil {
			t.Fatal(err)
		}
		r := b.try("run", "--session", b.session, "--action", "go", "--payload", "@"+payload, wasm)
		if r.code == 1 && r.stdout == "" && strings.Contains(r.stderr, "are not UTF-8") {
			list = append(list, trapped)
		} else {
			list = append(list, fmt.Sprintf("exit %d, %q", r.code, r.stdout+r.stderr))
		}
	}
	return list
}

// trapped is the answer of a guest that was stopped.
const trapped = "trapped"

func byWASI(t *testing.T, b *box, wasm string, acts []act) []string {
	t.Helper()
	cmd := exec.Command(binary, "run", "--session", b.session, wasm)
	cmd.Env = append(os.Environ(), "ASTRIDFS_STATE_DIR="+b.state)
	cmd.Stdin = bytes.NewReader(encode(acts))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the WASI program: %v\n%s", err, stderr.String())
	}
	return answers(t, string(out), len(acts), func(code string) string {
		n, err := strconv.Atoi(code)
		if name := wasiNames[n]; err == nil && name != "" {
			return name
		}
		return code
	})
}

// wasiNames are errnos of WASI preview1.
var wasiNames = map[int]string{
	2: "EACCES", 8: "EBADF", 20: "EEXIST", 25: "EILSEQ", 28: "EINVAL", 31: "EISDIR", 32: "ELOOP", 37: "ENAMETOOLONG",
	44: "ENOENT", 52: "ENOSYS", 54: "ENOTDIR", 55: "ENOTEMPTY", 58: "ENOTSUP", 60: "ENXIO", 63: "EPERM", 69: "EROFS", 75: "EXDEV",
	76: "ENOTCAPABLE", 10: "EBUSY", 6: "EAGAIN",
}

// answers reads what a guest wrote, and what is hexadecimal in it.
func answers(t *testing.T, out string, n int, name func(string) string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(out) {
		code, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("a guest answers %.200q", line)
		}
		if code != "ok" {
			code = name(code)
		}
		list = append(list, strings.TrimSuffix(code+" "+string(data), " "))
	}
	if len(list) != n {
		t.Fatalf("%d answers to %d operations", len(list), n)
	}
	return list
}

// byMount does the acts on the mount by system calls that take a directory and
// a path, so that nothing cleans the path.
func byMount(b *box, acts []act) []string {
	var list []string
	root, err := unix.Open(b.mnt, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(root)
	}
	for _, x := range acts {
		data := ""
		e := err
		if e == nil {
			data, e = onMount(root, x)
		}
		list = append(list, verdict(data, e))
	}
	return list
}

func verdict(data string, err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	case err != nil:
		return err.Error()
	}
	return strings.TrimSuffix("ok "+data, " ")
}

// beneath opens a path of the mount without leaving it. The kernel resolves
// symbolic links for a process, not we: one that leads out is EXDEV here.
func beneath(root int, path string, flags int) (*os.File, error) {
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NONBLOCK // a FIFO must not hold us up
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o644
	}
	for {
		fd, err := unix.Openat2(root, path, &how)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue // something was renamed meanwhile
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

func onMount(root int, x act) (string, error) {
	open := func(path string, flags int) (string, error) {
		f, err := beneath(root, path, flags)
		if err != nil {
			return "", err
		}
		defer f.Close()
		switch {
		case flags&unix.O_DIRECTORY != 0:
			names, err := f.Readdirnames(-1)
			return strings.Join(names, "\n"), err
		case flags&unix.O_ACCMODE == unix.O_WRONLY:
			_, err := f.WriteString("written")
			return "", err
		case flags&unix.O_PATH != 0:
			return "", nil
		}
		data, err := io.ReadAll(io.LimitReader(f, 4096))
		return string(data), err
	}
	switch x.op {
	case 'r', '0':
		return open(x.a, unix.O_RDONLY)
	case '3':
		return open(x.a, unix.O_RDWR)
	case 'w', '1':
		return open(x.a, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	case 'a', '2':
		return open(x.a, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
	case 's', 'e', 'p':
		return open(x.a, unix.O_PATH)
	case 'l':
		return open(x.a, unix.O_PATH|unix.O_NOFOLLOW)
	case 'd':
		return open(x.a, unix.O_RDONLY|unix.O_DIRECTORY)
	case 'c':
		data, err := open(x.a, unix.O_RDONLY)
		if err == nil {
			_, err = open(x.b, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
		}
		return data, err
	}
	// The rest has no RESOLVE flags: the directory is opened so, and the last
	// name is used in it.
	at, name, err := parent(root, x.a)
	if err != nil {
		return "", err
	}
	defer at.Close()
	dir := int(at.Fd())
	switch x.op {
	case 'm', 'M':
		return "", unix.Mkdirat(dir, name, 0o755)
	case 'u':
		return "", unix.Unlinkat(dir, name, 0)
	case 'R':
		return "", unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	case 'k':
		buf := make([]byte, 4096)
		n, err := unix.Readlinkat(dir, name, buf)
		return string(buf[:max(n, 0)]), err
	}
	to, toName, err := parent(root, x.b)
	if err != nil {
		return "", err
	}
	defer to.Close()
	if x.op == 'n' {
		return "", unix.Renameat(dir, name, int(to.Fd()), toName)
	}
	return "", unix.Linkat(dir, name, int(to.Fd()), toName, 0)
}

// parent opens the directory of a path's last name, which keeps the slashes
// behind it.
func parent(root int, path string) (*os.File, string, error) {
	i := strings.LastIndexByte(strings.TrimRight(path, "/"), '/')
	f, err := beneath(root, path[:i+1]+".", unix.O_PATH|unix.O_DIRECTORY)
	return f, path[i+1:], err
}
