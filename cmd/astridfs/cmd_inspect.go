package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/tabwriter"

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
	if archive.Is(wasm) {
		if wasm, err = binaryOf(path, wasm); err != nil {
			return err
		}
	}
	info, err := session.Inspect(path, wasm)
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(member{"capsule", info})
	}
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(tw, "%s\t%s\n", name, oneLine(fmt.Sprint(value))) }
	name := info.Name
	if name == "" {
		name = filepath.Base(path)
	}
	row("name", name)
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

// binaryOf returns the binary of an archive that would be run.
func binaryOf(name string, packed []byte) ([]byte, error) {
	text, err := archive.Manifest(bytes.NewReader(packed))
	if err != nil {
		return nil, badArchive(name, err)
	}
	m, err := manifest.Parse(name+"/"+archive.ManifestName, text, nil)
	if err != nil {
		return nil, fault.New(fault.Failed, "correct the manifest", "%w", err)
	}
	file := ""
	if main := m.Main(); main != nil {
		file = main.File
	}
	wasm, err := archive.Module(bytes.NewReader(packed), file)
	if err != nil {
		return nil, badArchive(name, err)
	}
	return wasm, nil
}

func orNone(l []string) string {
	if len(l) == 0 {
		return "nothing"
	}
	return strings.Join(l, ", ")
}
