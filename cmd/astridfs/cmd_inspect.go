package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/capsulehost/archive"
	"github.com/astridfs/astridfs/capsulehost/manifest"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
)

// maxInspect is the size of the largest binary that is inspected, in bytes.
const maxInspect = 256 << 20

func inspectCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "tell what a capsule imports, exports and needs; run nothing",
		ArgsUsage: "CAPSULE",
		Description: `   astridfs inspect tool.wasm
   astridfs inspect --json tools.capsule`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fault.New(fault.Usage, "see: astridfs help inspect", "inspect takes a capsule")
			}
			return e.inspect(c.Args().First())
		},
	}
}

func (e *env) inspect(path string) error {
	wasm, err := readBounded(e.ctx, path, maxInspect)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "give the path of a .wasm or .capsule file", "no capsule %s", path)
	}
	if fault.Is(err, fault.Cancelled) {
		return err
	}
	if err != nil {
		return fault.New(fault.NotRunnable, "", "capsule: %w", err)
	}
	var asks *asked
	if archive.Is(wasm) {
		if wasm, asks, err = unpacked(path, wasm); err != nil {
			return err
		}
	}
	info, err := session.Inspect(path, wasm)
	if err != nil {
		return err
	}
	if e.json {
		doc := []member{{"capsule", info}}
		if asks != nil {
			doc = append(doc, member{"manifest", asks})
		}
		return e.printJSON(doc...)
	}
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(tw, "%s\t%s\n", name, oneLine(fmt.Sprint(value))) }
	name := info.Name
	if name == "" {
		name = filepath.Base(path)
	}
	row("name", name)
	if asks != nil {
		row("package", strings.TrimSpace(asks.Name+" "+asks.Version))
	}
	row("kind", info.Kind)
	row("size", fmt.Sprintf("%d bytes", info.Size))
	row("sha256", info.SHA256)
	switch {
	case info.WIT != "": // what a component begins with is in its core modules
	case info.MemoryMax > 0:
		row("memory", fmt.Sprintf("%d pages of 64 KiB, at most %d", info.MemoryPages, info.MemoryMax))
	default:
		row("memory", fmt.Sprintf("%d pages of 64 KiB", info.MemoryPages))
	}
	if len(info.Producers) > 0 {
		row("made by", strings.Join(info.Producers, ", "))
	}
	row("can be called", orNone(info.Entries))
	row("would use", orNone(info.Capabilities))
	asks.rows(row)
	for _, i := range info.Interfaces {
		provided := "provided"
		switch {
		case i.Denied:
			provided = e.paint(red, "every call is denied")
		case !i.Provided:
			provided = e.paint(red, "not provided by this host")
		}
		fmt.Fprintf(tw, "needs\t%s: %s, %s\n", oneLine(i.Name), plural(i.Imports, "import"), provided)
	}
	if info.WIT != "" {
		if err := tw.Flush(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(e.stdout, "\n%s", info.WIT)
		return err
	}
	for _, i := range info.Imports {
		row("import", strings.TrimSpace(i.Module+" "+i.Name+" "+i.Kind+" "+i.Type))
	}
	for _, x := range info.Exports {
		row("export", strings.TrimSpace(x.Name+" "+x.Kind+" "+x.Type))
	}
	return tw.Flush()
}

// asked is what a manifest says of the component that would be run.
type asked struct {
	Name    string   `json:"name"`
	Version string   `json:"version,omitempty"`
	FSRead  []string `json:"fs_read"`
	FSWrite []string `json:"fs_write"`

	Events    []askedEvent `json:"events,omitempty"`
	Publish   []string     `json:"publish,omitempty"`
	Subscribe []string     `json:"subscribe,omitempty"`

	Limits askedLimits `json:"limits"`
}

type askedEvent struct {
	Event    string `json:"event"`
	Action   string `json:"action"`
	Priority int64  `json:"priority"`
}

// askedLimits are zero where the manifest says nothing.
type askedLimits struct {
	WriteBytes uint64        `json:"write_bytes,omitempty"`
	Files      uint64        `json:"files,omitempty"`
	Memory     uint64        `json:"memory_bytes,omitempty"`
	Time       time.Duration `json:"time_ns,omitempty"`
}

// rows prints what a manifest asks for; nothing of one that is not there.
func (a *asked) rows(row func(name string, value any)) {
	if a == nil {
		return
	}
	row("asks to read", orNone(a.FSRead))
	row("asks to write", orNone(a.FSWrite))
	for _, in := range a.Events {
		row("handles", in.Event+" by "+in.Action)
	}
	if len(a.Publish) > 0 {
		row("publishes", strings.Join(a.Publish, ", "))
	}
	var limits []string
	for _, l := range []struct {
		n    uint64
		text string
	}{{a.Limits.WriteBytes, "%d bytes written"}, {a.Limits.Files, "%d files"}, {a.Limits.Memory, "%d bytes of memory"}} {
		if l.n > 0 {
			limits = append(limits, fmt.Sprintf(l.text, l.n))
		}
	}
	if a.Limits.Time > 0 {
		limits = append(limits, a.Limits.Time.String())
	}
	if len(limits) > 0 {
		row("content with", strings.Join(limits, ", "))
	}
}

// unpacked returns the binary of an archive that would be run, and what the
// manifest asks for it.
func unpacked(name string, packed []byte) ([]byte, *asked, error) {
	text, err := archive.Manifest(bytes.NewReader(packed))
	if err != nil {
		return nil, nil, badArchive(name, err)
	}
	m, err := manifest.Parse(name+"/"+archive.ManifestName, text, nil)
	if err != nil {
		return nil, nil, fault.New(fault.Failed, "correct the manifest", "%w", err)
	}
	file := ""
	if main := m.Main(); main != nil {
		file = main.File
	}
	wasm, err := archive.Module(bytes.NewReader(packed), file)
	if err != nil {
		return nil, nil, badArchive(name, err)
	}
	c := m.For(filepath.Base(file))
	a := &asked{
		Name: m.Name, Version: m.Version, FSRead: notNil(c.Read), FSWrite: notNil(c.Write),
		Publish: m.Publish, Subscribe: m.Subscribe, Limits: askedLimits(m.Limits),
	}
	for _, in := range m.Interceptors {
		a.Events = append(a.Events, askedEvent(in))
	}
	return wasm, a, nil
}

func orNone(l []string) string {
	if len(l) == 0 {
		return "nothing"
	}
	return strings.Join(l, ", ")
}
