package capsulehost

import (
	"context"
	"errors"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/astridhost"
	"github.com/astridfs/astridfs/capsulehost/component/fshost"
	"github.com/astridfs/astridfs/capsulehost/component/wasihost"
)

// componentSet is what components may import: astrid:fs, sys, kv and ipc and
// WASI 0.2; and every other interface of Astrid, WASI's sockets and http to be
// answered that it is denied.
func componentSet() *component.Set {
	provided := append(wasihost.Interfaces(), astridhost.Interfaces()...)
	return component.NewSet(append(provided, fshost.Interface()), "astrid:", "wasi:sockets/", "wasi:http/")
}

// Types of the functions of a component that this host calls.
const (
	hookShape  = "func(string, list<u8>) -> record { action: string, data: option<string> }"
	entryShape = "func()"
	mainShape  = "func() -> result"
)

// shape is the type of an entry of a component.
func (e Entry) shape() string {
	switch e {
	case EntryHook:
		return hookShape
	case EntryMain:
		return mainShape
	}
	return entryShape
}

// entryPath finds an entry of a component: among what it exports itself, or in
// an interface of Astrid that it exports; a main in WASI's. It returns nil if
// there is none of the right type.
func entryPath(c *component.Component, exports []component.Extern, e Entry) []string {
	paths := [][]string{{string(e)}}
	for _, ex := range exports {
		switch {
		case ex.Kind != "instance":
		case e == EntryMain && strings.HasPrefix(ex.Name, string(EntryMain)+"@0.2."):
			paths = append(paths, []string{ex.Name, "run"})
		case e != EntryMain && strings.HasPrefix(ex.Name, "astrid:"):
			paths = append(paths, []string{ex.Name, string(e)})
		}
	}
	for _, p := range paths {
		if c.Shape(p...) == e.shape() {
			return p
		}
	}
	return nil
}

// inspectComponent fills in what a component says of itself.
func inspectComponent(wasm []byte, info *Info) (*component.Component, error) {
	c, err := component.Decode(wasm)
	if err != nil {
		return nil, err
	}
	info.Kind, info.Name, info.Producers = Component, c.Name(), c.Producers()
	imports, exports := c.Imports(), c.Exports()
	info.WIT = component.Text("import", imports) + component.Text("export", exports)
	var read, write bool
	how := c.Provides(componentSet())
	for i, im := range imports {
		n := 0
		each(im, func(x component.Extern) {
			n++
			info.Imports = append(info.Imports, Import{Module: im.Name, Name: x.Name, Kind: x.Kind, Type: x.Type})
			if im.Name == fshost.Name {
				r, w := needs(x.Name)
				read, write = read || r, write || w
			} else if strings.HasPrefix(im.Name, "wasi:filesystem/") {
				read, write = true, true
			}
		})
		if im.Kind != "type" {
			info.Interfaces = append(info.Interfaces, Interface{
				Name: im.Name, Imports: n, Denied: how[i] == component.Denied,
				Provided: how[i] == component.Provided || how[i] == component.TypesOnly,
			})
		}
	}
	for _, ex := range exports {
		if ex.Kind == "instance" {
			each(ex, func(x component.Extern) {
				info.Exports = append(info.Exports, Export{Name: ex.Name + " " + x.Name, Kind: x.Kind, Type: x.Type})
			})
			continue
		}
		info.Exports = append(info.Exports, Export{Name: ex.Name, Kind: ex.Kind, Type: ex.Type})
	}
	info.paths = map[Entry][]string{}
	for _, e := range []Entry{EntryMain, EntryHook, EntryRun, EntryInstall, EntryUpgrade} {
		if p := entryPath(c, exports, e); p != nil {
			info.paths[e] = p
			info.Entries = append(info.Entries, string(e))
		}
	}
	info.Capabilities = capabilities(read, write)
	return c, nil
}

// each goes through the functions of an import or export, and its other things
// that are no types.
func each(e component.Extern, do func(component.Extern)) {
	switch e.Kind {
	case "instance", "resource":
		for _, i := range e.Items {
			each(i, do)
		}
	case "type":
	default:
		do(e)
	}
}

// checkComponent checks a component's imports, as checkImport does those of a core
// module.
func (h *Host) checkComponent(c *component.Component) error {
	err := h.components.Check(c)
	if im, ok := errors.AsType[*component.ImportError](err); ok {
		return &ImportError{Module: im.Interface, Name: im.Name, Want: im.Want, Have: im.Have}
	}
	return err
}

// component makes an instance of a component and calls its entry.
func (r *run) component(ctx context.Context, entry Entry) (hook *HookResult, err error) {
	ctx = fshost.With(ctx, &fshost.Instance{FS: r.fs.FS, Slots: r.host.slots})
	ctx = astridhost.With(wasihost.With(ctx, wasihost.New(r.wasi)), r.astrid)
	defer func() {
		if broke, ok := errors.AsType[*component.HostError](err); ok {
			err = &hostError{broke.Value}
		}
	}()
	r.inst, err = r.m.c.prog.Instantiate(ctx, r.mem.limit)
	if err != nil {
		return nil, err
	}
	path := r.m.c.info.paths[entry]
	if entry != EntryHook {
		out, err := r.inst.Call(ctx, path)
		if err == nil && entry == EntryMain && out.Num != 0 {
			err = sys.NewExitError(1) // what a main that failed is
		}
		return nil, err
	}
	out, err := r.inst.Call(ctx, path, abi.String(r.cfg.Action), abi.Value{Ref: r.cfg.Payload})
	if err != nil {
		return nil, err
	}
	fields := out.Fields()
	hook = &HookResult{Action: fields[0].Text()}
	if data := fields[1]; data.Num == 1 {
		text := data.Payload().Text()
		hook.Data = &text
	}
	return hook, nil
}
