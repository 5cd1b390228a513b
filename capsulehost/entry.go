package capsulehost

import (
	"fmt"

	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

// Entry is an export that the host calls.
type Entry string

// The entries. EntryAuto is EntryHook if the run names an action, else
// EntryStart of a command, EntryMain of a component that has one, and EntryRun of
// anything else.
const (
	EntryAuto    Entry = ""
	EntryStart   Entry = "_start"
	EntryHook    Entry = "astrid-hook-trigger"
	EntryRun     Entry = "run"
	EntryInstall Entry = "astrid-install"
	EntryUpgrade Entry = "astrid-upgrade"
	// EntryMain is the function run of the interface of that name, which a
	// component exports that is a command.
	EntryMain Entry = "wasi:cli/run"
)

// postHook is called after EntryHook so that the guest can free its answer.
const postHook = "cabi_post_" + string(EntryHook)

func entries() []Entry {
	return []Entry{EntryStart, EntryHook, EntryRun, EntryInstall, EntryUpgrade}
}

// types are those of an entry's parameters and results, as in the text format.
func (e Entry) types() string {
	if e == EntryHook {
		return "(i32, i32, i32, i32) -> i32"
	}
	return "()"
}

// entry finds what a run calls and checks everything about it that would fail
// in the middle of the run.
func (m *Module) entry(cfg RunConfig) (Entry, error) {
	info, e := &m.c.info, cfg.Entry
	if e == EntryAuto {
		switch {
		case cfg.Action != "":
			e = EntryHook
		case info.Kind == Command:
			e = EntryStart
		case info.paths[EntryMain] != nil:
			e = EntryMain
		default:
			e = EntryRun
		}
		if _, ok := info.export(string(e)); !ok && info.paths[e] == nil {
			return e, info.lacks(string(e))
		}
	}
	if info.Kind == Component {
		return e, m.checkComponent(e, cfg)
	}
	if err := info.check(string(e), e.types()); err != nil {
		return e, err
	}
	if e != EntryHook && cfg.Action != "" {
		return e, &EntryError{Entry: string(e), Reason: "it takes no action"}
	}
	if e != EntryStart {
		if err := info.checkOptional("_initialize", "()"); err != nil {
			return e, err
		}
	}
	if e == EntryHook {
		return e, info.checkOptional(postHook, "(i32)")
	}
	return e, nil
}

// checkComponent is the same for an entry of a component, whose memory and
// initialization are its own affair.
func (m *Module) checkComponent(e Entry, cfg RunConfig) error {
	info := &m.c.info
	if info.paths[e] == nil {
		x, ok := info.export(string(e))
		if !ok {
			return info.lacks(string(e))
		}
		return &EntryError{Entry: string(e), Reason: fmt.Sprintf("its type is %s and should be %s", x.Type, e.shape())}
	}
	if e != EntryHook && cfg.Action != "" {
		return &EntryError{Entry: string(e), Reason: "it takes no action"}
	}
	return nil
}

func (i *Info) lacks(name string) error { return &EntryError{Entry: name, Entries: i.Entries} }

func (i *Info) export(name string) (Export, bool) {
	for _, e := range i.Exports {
		if e.Name == name && e.Kind == wasmbin.Func.String() {
			return e, true
		}
	}
	return Export{}, false
}

// check answers an *EntryError unless the capsule exports a function of this
// name and type.
func (i *Info) check(name, types string) error {
	e, ok := i.export(name)
	if !ok {
		return i.lacks(name)
	}
	if e.Type != types {
		return &EntryError{Entry: name, Reason: fmt.Sprintf("its type is %s and should be %s", e.Type, types)}
	}
	return nil
}

func (i *Info) checkOptional(name, types string) error {
	if _, ok := i.export(name); !ok {
		return nil
	}
	return i.check(name, types)
}
