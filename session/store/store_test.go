package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astridfs/astridfs/session/fault"
)

func newStore(t *testing.T) (*Store, string) {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s, t.TempDir()
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "Project-1.2_x", strings.Repeat("n", 100)} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", ".new-1", "-x", "a/b", "a\x00", "a b", "ä", "../x", strings.Repeat("n", 101)} {
		if !fault.Is(CheckName(bad), fault.Usage) || !fault.Is(CheckPrincipal(bad), fault.Usage) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestDefaultName(t *testing.T) {
	seen := map[string]string{}
	for _, ws := range []string{"/", "/home/a/project", "/home/b/project", "/x/.hidden", "/x/mit leer", "/x/ünï", "/x/" + strings.Repeat("l", 255), "/x/\xff"} {
		n := DefaultName(ws)
		if err := CheckName(n); err != nil {
			t.Errorf("%q: %v", ws, err)
		}
		if other, ok := seen[n]; ok {
			t.Errorf("%q and %q share %q", ws, other, n)
		}
		seen[n] = ws
		if n != DefaultName(ws) {
			t.Errorf("%q: not stable", ws)
		}
	}
}

func TestDefaultDir(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for _, c := range []struct {
		env  func(string) string
		uid  int
		want string
	}{
		{env("XDG_STATE_HOME", "/s", "HOME", "/h"), 1000, "/s/astridfs"},
		{env("XDG_STATE_HOME", "rel", "HOME", "/h"), 1000, "/h/.local/state/astridfs"},
		{env("HOME", "/root"), 0, "/var/lib/astridfs"},
		{env(), 1000, ""},
	} {
		if got, err := DefaultDir(c.env, c.uid); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q, %v; want %q", got, err, c.want)
		}
	}
}

func TestCreateLoadRemove(t *testing.T) {
	s, ws := newStore(t)
	if _, err := s.Load("one"); !errors.Is(err, ErrUnknown) {
		t.Fatalf("before it is there: %v", err)
	}
	f := NewFile("one", ws, Overlay)
	if _, err := s.Create(f); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(f); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a second of that name: %v", err)
	}
	sess, err := s.Load("one")
	if err != nil || !reflect.DeepEqual(sess.File, f) {
		t.Fatalf("loaded %+v, %v", sess, err)
	}
	if names, err := s.Names(); err != nil || len(names) != 1 || names[0] != "one" {
		t.Fatalf("names %q, %v", names, err)
	}
	l, err := sess.Lock("test")
	if err != nil {
		t.Fatal(err)
	}
	// What a guest left is no obstacle: directories without permissions.
	if err := os.MkdirAll(filepath.Join(sess.Upper(), "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(sess.Upper(), "a"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(sess, l); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.Dir())
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := sess.Lock("test"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("locking what was removed: %v", err)
	}
}

func TestOldFormats(t *testing.T) {
	for v := 1; v <= Format; v++ {
		if _, err := readFile(filepath.Join("testdata", "format"+string(rune('0'+v)))); err != nil {
			t.Errorf("format %d: %v", v, err)
		}
	}
}

func TestBadSessionFiles(t *testing.T) {
	s, ws := newStore(t)
	good := NewFile("x", ws, Overlay)
	sess, err := s.Create(good)
	if err != nil {
		t.Fatal(err)
	}
	set := func(key string, v any) string {
		b, _ := json.Marshal(good)
		m := map[string]any{}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		m[key] = v
		b, _ = json.Marshal(m)
		return string(b)
	}
	for want, text := range map[string]string{
		"format 99":     set("format", 99),
		"no format":     set("format", 0),
		"is damaged":    "{",
		"id is not":     set("id", "../../../x"),
		"bad name":      set("name", "../x"),
		"not absolute":  set("workspace", "x"),
		"unknown mode":  set("mode", "other"),
		"is damaged: j": set("workspace", 7),
	} {
		if err := os.WriteFile(filepath.Join(sess.Dir, fileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load("x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestPathsAreBytes(t *testing.T) {
	for _, p := range []Path{"", "plain", "ü", "\xff/\x01", `{"base64":"x"}`} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Path
		if err := json.Unmarshal(b, &back); err != nil || back != p {
			t.Errorf("%q became %s and %q, %v", p, b, back, err)
		}
	}
}

func TestLock(t *testing.T) {
	s, ws := newStore(t)
	sess, err := s.Create(NewFile("one", ws, Overlay))
	if err != nil {
		t.Fatal(err)
	}
	if _, used, err := sess.InUse(); used || err != nil {
		t.Fatalf("in use: %v, %v", used, err)
	}
	l, err := sess.Lock("mount")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetMountpoint("/mnt/\xff", "all"); err != nil {
		t.Fatal(err)
	}
	if _, err := sess.Lock("run"); err != ErrLocked {
		t.Fatalf("a second lock: %v", err)
	}
	h, used, err := sess.InUse()
	if err != nil || !used || h.PID != os.Getpid() || h.Mountpoint != "/mnt/\xff" || h.Command != "mount" || h.View != "all" {
		t.Fatalf("holder %+v, %v, %v", h, used, err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, used, _ := sess.InUse(); used {
		t.Error("in use after Unlock")
	}
}

// Of many at once, one gets the lock.
func TestLockRace(t *testing.T) {
	s, ws := newStore(t)
	sess, err := s.Create(NewFile("one", ws, Overlay))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		var wg sync.WaitGroup
		got := make(chan *Lock, 8)
		for range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				l, err := sess.Lock("test")
				if err == nil {
					got <- l
				} else if err != ErrLocked {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if len(got) != 1 {
			t.Fatalf("%d owners", len(got))
		}
		if err := (<-got).Unlock(); err != nil {
			t.Fatal(err)
		}
	}
}

// The lock goes with its process, however that ends.
func TestLockOfKilledProcess(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_LOCK"); dir != "" {
		f, err := readFile(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&Session{Dir: dir, File: f}).Lock("child"); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		time.Sleep(time.Minute)
		return
	}
	s, ws := newStore(t)
	sess, err := s.Create(NewFile("one", ws, Overlay))
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestLockOfKilledProcess$")
	child.Env = append(os.Environ(), "STORE_TEST_LOCK="+sess.Dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 7)
	if _, err := out.Read(buf); err != nil {
		t.Fatal(err)
	}
	if _, err := sess.Lock("test"); err != ErrLocked {
		t.Errorf("while the child lives: %v", err)
	}
	if h := sess.Holder(); h.PID != child.Process.Pid || h.Command != "child" {
		t.Errorf("holder %+v", h)
	}
	child.Process.Kill()
	child.Wait()
	l, err := sess.Lock("test")
	if err != nil {
		t.Fatalf("after it was killed: %v", err)
	}
	l.Unlock()
}

func TestPrincipalDirs(t *testing.T) {
	s, ws := newStore(t)
	sess, err := s.Create(NewFile("one", ws, Overlay))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := sess.PrincipalDirs("../x"); err == nil {
		t.Error("a path as principal")
	}
	h, tmp, err := sess.PrincipalDirs("alice")
	if err != nil || filepath.Dir(filepath.Dir(h)) != sess.Dir || h == tmp {
		t.Errorf("%q, %q, %v", h, tmp, err)
	}
}

func TestProbe(t *testing.T) {
	s, _ := newStore(t)
	if _, err := s.Probe(); err != nil {
		t.Fatal(err)
	}
	if _, err := probe("/proc", "/proc"); err == nil || !strings.Contains(err.Error(), "extended attributes") {
		t.Errorf("on proc: %v", err)
	}
	if left, err := os.ReadDir(s.Dir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOthersStateDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !fault.Is(err, fault.Denied) {
		t.Errorf("a directory that others can write: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !fault.Is(err, fault.Denied) {
			t.Errorf("another user's directory: %v", err)
		}
	}
}
