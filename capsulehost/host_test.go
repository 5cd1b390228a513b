package capsulehost_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
)

// misbehave is the guest that does what its action says, with a workspace that
// holds a file.
type misbehave struct {
	t    testing.TB
	h    *capsulehost.Host
	m    *capsulehost.Module
	view *view.View
	dir  string
}

func newMisbehave(tb testing.TB, opt capsulehost.Options) *misbehave {
	tb.Helper()
	h := newHost(tb, opt)
	g := &misbehave{t: tb, h: h, m: compile(tb, h, cGuest(tb, "misbehave/misbehave.c"))}
	g.view, g.dir = newView(tb)
	if err := os.WriteFile(filepath.Join(g.dir, "file"), []byte("contents"), 0o644); err != nil {
		tb.Fatal(err)
	}
	return g
}

func (g *misbehave) run(ctx context.Context, action string, payload []byte, limits capsulehost.Limits) (capsulehost.Result, error) {
	return g.h.Run(ctx, g.m, capsulehost.RunConfig{View: g.view, Action: action, Payload: payload, Limits: limits})
}

// healthy fails the test unless the host still serves guests.
func (g *misbehave) healthy() {
	g.t.Helper()
	res, err := g.run(context.Background(), "exists", []byte("file"), capsulehost.Limits{})
	if err != nil || res.Hook == nil || res.Hook.Data == nil || *res.Hook.Data != "100" {
		g.t.Fatalf("the host does not serve a guest any more: %+v, %v", res, err)
	}
}

func TestTraps(t *testing.T) {
	g := newMisbehave(t, capsulehost.Options{})
	g.healthy()
	before := descriptors(t)
	for action, want := range map[string]string{
		"unreachable":            "unreachable",
		"divide":                 "integer divide by zero",
		"out of bounds":          "out of bounds memory access",
		"stack":                  "stack overflow",
		"handles":                "unreachable",
		"bad path":               "outside of the guest's memory",
		"bad path length":        "outside of the guest's memory",
		"bad result":             "outside of the guest's memory",
		"bad result, effect":     "outside of the guest's memory",
		"unaligned result":       "not aligned",
		"bad data":               "outside of the guest's memory",
		"bad mode":               "4 is no open-mode",
		"realloc traps":          "unreachable",
		"realloc outside":        "outside of the guest's memory",
		"realloc unaligned":      "not aligned",
		"realloc calls for ever": "within each other",
		"bad answer":             "outside of the guest's memory",
		"unaligned answer":       "not aligned",
		"bad answer's text":      "outside of the guest's memory",
		"answer not UTF-8":       "not UTF-8",
		"answer's option":        "tag 2",
		"realloc loops":          "its time of",
		"loop":                   "its time of",
		"loop of calls":          "its time of",
		"handles and loop":       "its time of",
		"exit like a timeout":    "",
	} {
		t.Run(action, func(t *testing.T) {
			limits := capsulehost.Limits{WallTime: time.Minute}
			if strings.HasPrefix(want, "its time") {
				limits.WallTime = 300 * time.Millisecond
			}
			res, err := g.run(context.Background(), action, nil, limits)
			if want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			trap, ok := errors.AsType[*capsulehost.TrapError](err)
			if !ok {
				t.Fatalf("got %+v, %v", res, err)
			}
			if !strings.Contains(trap.Reason, want) || strings.ContainsAny(trap.Reason, "\n\t") {
				t.Errorf("the reason is %q", trap.Reason)
			}
			if timed := strings.HasPrefix(want, "its time"); timed != (trap.Kind == capsulehost.TrapTime) || timed != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the kind is %d", trap.Kind)
			}
			for _, leak := range []string{g.dir, "goroutine", ".go:", "wazero"} {
				if strings.Contains(err.Error()+strings.Join(trap.Frames, " "), leak) {
					t.Errorf("the error holds %q: %v", leak, err)
				}
			}
		})
	}
	for _, name := range []string{"bad-result", "bad-data"} {
		if _, err := os.Lstat(filepath.Join(g.dir, name)); !os.IsNotExist(err) {
			t.Errorf("a call that trapped had an effect: %s, %v", name, err)
		}
	}
	g.healthy()
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, and were %d", after, before)
	}
}

// Guests of a few bytes, written by hand, that lack what a call needs.
func TestIncompleteGuests(t *testing.T) {
	const (
		head = "\x00asm\x01\x00\x00\x00"
		unit = "\x01\x04\x01\x60\x00\x00" // (type (func))
		// (type (func)) (type (func (param i32 i32 i32)))
		types     = "\x01\x0a\x02\x60\x00\x00\x60\x03\x7f\x7f\x7f\x00"
		exists    = "\x02\x22\x01\x14astrid:fs/host@1.0.0\x09fs-exists\x00\x01"
		readdir   = "\x02\x23\x01\x14astrid:fs/host@1.0.0\x0afs-readdir\x00\x01"
		one       = "\x03\x02\x01\x00" // one function of type 0
		memory    = "\x05\x03\x01\x00\x01"
		runMemory = "\x07\x10\x02\x03run\x00\x01\x06memory\x02\x00"
		runAt0    = "\x07\x07\x01\x03run\x00\x00"
		runAt1    = "\x07\x07\x01\x03run\x00\x01"
		start0    = "\x08\x01\x00"
		trap      = "\x0a\x05\x01\x03\x00\x00\x0b"                             // unreachable
		call      = "\x0a\x0c\x01\x0a\x00\x41\x00\x41\x00\x41\x08\x10\x00\x0b" // call 0 (0, 0, 8)
	)
	h := newHost(t, capsulehost.Options{})
	v, _ := newView(t)
	for name, c := range map[string]struct{ wasm, want string }{
		"a start function that traps": {head + unit + one + runAt0 + start0 + trap, "unreachable"},
		"no memory":                   {head + types + exists + one + runAt1 + call, "exports no memory"},
		"no allocator":                {head + types + readdir + one + memory + runMemory + call, "exports no cabi_realloc"},
		"a call that needs neither":   {head + types + exists + one + memory + runMemory + call, ""},
	} {
		_, err := h.Run(context.Background(), compile(t, h, []byte(c.wasm)), capsulehost.RunConfig{View: v})
		trap, ok := errors.AsType[*capsulehost.TrapError](err)
		if ok != (c.want != "") || ok && (!strings.Contains(trap.Reason, c.want) || trap.Kind != capsulehost.TrapCode) || !ok && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Guests that go on without a loop, in which the runtime would look whether they
// are to end: they end all the same, and hold up nobody meanwhile.
func TestEndless(t *testing.T) {
	const (
		head = "\x00asm\x01\x00\x00\x00"
		run  = "\x07\x07\x01\x03run\x00\x00"
		unit = "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00" // one function, (func)
	)
	section := func(id byte, body string) string {
		return string(binary.AppendUvarint([]byte{id}, uint64(len(body)))) + body
	}
	code := func(bodies ...string) string {
		out := string(binary.AppendUvarint(nil, uint64(len(bodies))))
		for _, b := range bodies {
			out += string(binary.AppendUvarint(nil, uint64(len(b)))) + b
		}
		return section(10, out)
	}
	// twice is a function that calls itself twice with one less: if (local.get 0) …
	twice := func(call string) string {
		again := "\x20\x00\x41\x01\x6b" + call
		return "\x00\x20\x00\x04\x40" + again + again + "\x0b\x0b"
	}
	recursing := func(call, table string) string { // (func (export "run") (call 1 (i32.const 60)))
		return head + "\x01\x08\x02\x60\x00\x00\x60\x01\x7f\x00\x03\x03\x02\x00\x01" + table + run +
			strings.Repeat("\x09\x07\x01\x00\x41\x00\x0b\x01\x01", min(len(table), 1)) + code("\x00\x41\x3c\x10\x01\x0b", twice(call))
	}
	h := newHost(t, capsulehost.Options{})
	v, _ := newView(t)
	for name, wasm := range map[string]string{
		"tail calls":         head + unit + run + code("\x00\x12\x00\x0b"),
		"recursion":          recursing("\x10\x01", ""),
		"indirect recursion": recursing("\x41\x00\x11\x01\x00", "\x04\x04\x01\x70\x00\x01"),
		// (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x0fa00000)), 300 times
		"bulk operations": head + unit + "\x05\x04\x01\x00\xa0\x1f" + run + code("\x00"+strings.Repeat("\x41\x00\x41\x01\x41\x80\x80\x80\xfd\x00\xfc\x0b\x00", 300)+"\x0b"),
	} {
		_, err := h.Run(context.Background(), compile(t, h, []byte(wasm)), capsulehost.RunConfig{View: v, Limits: capsulehost.Limits{WallTime: 200 * time.Millisecond}})
		if trap, ok := errors.AsType[*capsulehost.TrapError](err); !ok || trap.Kind != capsulehost.TrapTime {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	g := newMisbehave(t, capsulehost.Options{})
	if err := os.WriteFile(filepath.Join(g.dir, "long"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]string{
		"realloc calls":      "1",
		"realloc grows":      "1",
		"handles and return": "0",
		"realloc closes":     strconv.Itoa(int(fsapi.Closed)),
		"realloc reopens":    strconv.Itoa(int(fsapi.Closed)),
	} {
		res, err := g.run(context.Background(), action, nil, capsulehost.Limits{})
		if err != nil || res.Hook == nil || *res.Hook.Data != want {
			t.Errorf("%s: %+v, %v", action, res, err)
		}
	}
	res, err := g.run(context.Background(), "no data", nil, capsulehost.Limits{})
	if err != nil || res.Hook.Action != "none" || res.Hook.Data != nil {
		t.Errorf("%+v, %v", res.Hook, err)
	}
	payload := []byte(strings.Repeat("pay\x00é", 10000))
	res, err = g.run(context.Background(), "payload", payload, capsulehost.Limits{})
	if err != nil || res.Hook.Action != "payload" || *res.Hook.Data != string(payload) {
		t.Errorf("%v", err)
	}
	for action, want := range map[string]uint32{"exit": 7, "realloc exits": 9, "exit like a timeout": 0xefffffff} {
		res, err := g.run(context.Background(), action, nil, capsulehost.Limits{})
		if err != nil || res.ExitCode != want || res.Hook != nil {
			t.Errorf("%s: %+v, %v", action, res, err)
		}
	}
}

func TestEntries(t *testing.T) {
	g := newMisbehave(t, capsulehost.Options{})
	for entry, file := range map[capsulehost.Entry]string{
		capsulehost.EntryAuto:    "run",
		capsulehost.EntryRun:     "run",
		capsulehost.EntryInstall: "install",
	} {
		os.Remove(filepath.Join(g.dir, file))
		res, err := g.h.Run(context.Background(), g.m, capsulehost.RunConfig{View: g.view, Entry: entry})
		if err != nil || res.ExitCode != 0 || string(res.Entry) == "" {
			t.Errorf("%s: %+v, %v", entry, res, err)
		}
		if b, err := os.ReadFile(filepath.Join(g.dir, file)); string(b) != file {
			t.Errorf("%s wrote %q, %v", entry, b, err)
		}
	}
	for _, entry := range []capsulehost.Entry{capsulehost.EntryUpgrade, capsulehost.EntryStart, "cabi_realloc", "nothing"} {
		_, err := g.h.Run(context.Background(), g.m, capsulehost.RunConfig{View: g.view, Entry: entry})
		if _, ok := errors.AsType[*capsulehost.EntryError](err); !ok {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	g := newMisbehave(t, capsulehost.Options{})
	need := uint32(g.m.Info().MemoryPages)
	for _, pages := range []uint32{need, need + 1, 1000} {
		res, err := g.run(context.Background(), "grow", nil, capsulehost.Limits{MemoryPages: pages})
		if err != nil || *res.Hook.Data != fmt.Sprint(pages) || res.MemoryPages != pages {
			t.Errorf("%d pages: %+v, %v", pages, res, err)
		}
	}
	_, err := g.run(context.Background(), "nothing", nil, capsulehost.Limits{MemoryPages: need - 1})
	if trap, ok := errors.AsType[*capsulehost.TrapError](err); !ok || trap.Kind != capsulehost.TrapMemory {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	g := newMisbehave(t, capsulehost.Options{})
	for _, action := range []string{"loop", "loop of calls", "handles and loop"} {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := g.run(ctx, action, nil, capsulehost.Limits{})
		trap, ok := errors.AsType[*capsulehost.TrapError](err)
		if !ok || trap.Kind != capsulehost.TrapCancelled || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", action, err)
		}
	}
	g.healthy()
}

// Guests in parallel on one view: each keeps its own memory and handles, and
// one that fails does not disturb the others.
func TestParallel(t *testing.T) {
	g := newMisbehave(t, capsulehost.Options{HostCalls: 4, HostCallWait: time.Minute})
	g.healthy()
	before := descriptors(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 8 {
				switch (i + j) % 4 {
				case 0:
					if _, err := g.run(context.Background(), "handles", nil, capsulehost.Limits{}); err == nil {
						t.Error("no trap")
					}
				case 1:
					if _, err := g.run(context.Background(), "handles and loop", nil, capsulehost.Limits{WallTime: 20 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				case 2:
					payload := fmt.Sprint(i, j)
					res, err := g.run(context.Background(), "payload", []byte(payload), capsulehost.Limits{})
					if err != nil || *res.Hook.Data != payload {
						t.Error(res, err)
					}
				default:
					res, err := g.run(context.Background(), "handles and return", nil, capsulehost.Limits{})
					if err != nil || *res.Hook.Data != "0" {
						t.Error(res, err)
					}
				}
			}
		})
	}
	wg.Wait()
	g.healthy()
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, and were %d", after, before)
	}
}

func TestCompileErrors(t *testing.T) {
	h := newHost(t, capsulehost.Options{})
	good := cGuest(t, "misbehave/misbehave.c")
	broken := func(wasm []byte) {
		t.Helper()
		_, err := h.Compile(context.Background(), wasm)
		f, ok := errors.AsType[*capsulehost.FormatError](err)
		if !ok || strings.Contains(f.What, "\n") {
			t.Errorf("got %v", err)
		}
	}
	broken(nil)
	broken([]byte("#!/bin/sh\n"))
	broken(good[:7])
	broken(good[:len(good)/2])
	broken(append([]byte("\x00asm\x02\x00\x00\x00"), good[8:]...))
	broken([]byte("\x00asm\x01\x00\x00\x00\x01\xff\xff\xff\xff\x0f"))
	code := append([]byte(nil), good...)
	for i := len(code) / 3; i < len(code)/3+100; i++ {
		code[i] = 0xfe
	}
	broken(code)
	broken([]byte("\x00asm\x0d\x00\x01\x00\x07"))
	// (import "astrid:fs/host@1.0.0" "fs-nothing" (func))
	unknown := "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x02\x23\x01\x14astrid:fs/host@1.0.0\x0afs-nothing\x00\x00"
	_, err := h.Compile(context.Background(), []byte(unknown))
	if im, ok := errors.AsType[*capsulehost.ImportError](err); !ok || im.Name != "fs-nothing" || im.Have != "" {
		t.Error(err)
	}
	// The same with the name of a function of another type.
	wrong := strings.Replace(strings.Replace(unknown, "\x02\x23", "\x02\x22", 1), "\x0afs-nothing", "\x09fs-exists", 1)
	_, err = h.Compile(context.Background(), []byte(wrong))
	if im, ok := errors.AsType[*capsulehost.ImportError](err); !ok || im.Have == "" {
		t.Error(err)
	}
	h.Compile(context.Background(), good)
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	wasm := cGuest(t, "misbehave/misbehave.c")
	files := func() (l []string) {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				l = append(l, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return l
	}
	var first []string
	for round := range 2 {
		h := newHost(t, capsulehost.Options{CacheDir: dir})
		before := len(files())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				m, err := h.Compile(context.Background(), wasm)
				if err != nil {
					t.Error(err)
					return
				}
				m.Close()
				m.Close()
			})
		}
		wg.Wait()
		if round == 0 {
			if first = files(); len(first) != before+1 {
				t.Errorf("the cache holds %d files, and before it compiled %d", len(first), before)
			}
		} else if l := files(); !slices.Equal(l, first) {
			t.Errorf("the cache holds %q, and held %q", l, first)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), err)
	}
}

func TestInspect(t *testing.T) {
	info, err := capsulehost.Inspect(cGuest(t, "misbehave/misbehave.c"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Kind != capsulehost.Library || strings.Join(info.Entries, " ") != "astrid-hook-trigger run astrid-install" ||
		strings.Join(info.Capabilities, " ") != "fs_read fs_write" {
		t.Errorf("%+v", info)
	}
	if len(info.Interfaces) != 2 || info.Interfaces[0].Imports+info.Interfaces[1].Imports != 25 ||
		!info.Interfaces[0].Provided || !info.Interfaces[1].Provided {
		t.Errorf("%+v", info.Interfaces)
	}
	if info, err := capsulehost.Inspect([]byte("\x00asm\x0d\x00\x01\x00")); err != nil || info.Kind != capsulehost.Component {
		t.Error(info, err)
	}
	if info, err := capsulehost.Inspect(goGuest(t, "conformance", true)); err != nil || info.Kind != capsulehost.Reactor || len(info.Producers) == 0 {
		t.Errorf("%s %q %v", info.Kind, info.Producers, err)
	}
}
