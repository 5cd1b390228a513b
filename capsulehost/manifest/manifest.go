// Package manifest reads Capsule.toml: what a capsule is called, what it asks to
// be granted, and the limits it is content with. It grants nothing: the lists of
// patterns it yields are for whoever does.
//
//	[package]
//	name = "reporter"
//	version = "1.2.0"
//
//	[capabilities]
//	fs_read = ["cwd://", "home://"]
//	fs_write = ["cwd://reports"]
//
//	[[component]]
//	file = "reporter.wasm"
//	capabilities = { fs_read = ["cwd://src"] }
//
//	[subscribe]
//	"tool.v1.execute.report" = { handler = "tool_execute_report", priority = 50 }
//
//	[publish]
//	"tool.v1.execute.*.result" = {}
//
//	[config]
//	style = "short"
//
//	[limits]
//	write_bytes = "100MiB"
//	files = 1000
//	memory = "64MiB"
//	time = "30s"
//
// Keys that are not named here belong to other hosts and are passed over.
package manifest

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// MaxSize is the size of the largest manifest that is read, in bytes.
const MaxSize = 1 << 20

// Manifest is a Capsule.toml.
type Manifest struct {
	Name, Version string
	// Capabilities are those of the package, for every component that names
	// none of its own.
	Capabilities Capabilities
	Components   []Component
	Limits       Limits

	// Interceptors are what events are handled by, in the order in which they
	// would be called. Publish and Subscribe are the patterns of topics that the
	// capsule may use.
	Interceptors       []Interceptor
	Publish, Subscribe []string
	// Config are values for the capsule: texts as they are, others as JSON.
	Config map[string]string
}

// Capabilities are patterns of paths, as they stand in the manifest.
type Capabilities struct{ Read, Write []string }

// Component is one program of the package.
type Component struct {
	// ID and File name it; either may be empty.
	ID, File string
	// Library says that it is not run by itself.
	Library bool
	// Capabilities replace the package's, both lists, if the component has a
	// table of that name; nil otherwise.
	Capabilities *Capabilities
}

// Limits are what the capsule is content with. Zero: it does not say.
type Limits struct {
	WriteBytes uint64
	Files      uint64
	Memory     uint64 // bytes
	Time       time.Duration
}

// Error says what is wrong in a manifest and where.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 where the whole file is meant
	Key          string // as "component[0].capabilities.fs_read"; empty for a fault of the syntax
	Reason       string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	return b.String() + ": " + e.Reason
}

// document is the file as TOML has it.
type document struct {
	Package struct {
		Name    string `toml:"name"`
		Version string `toml:"version"`
	} `toml:"package"`
	Capabilities capabilities `toml:"capabilities"`
	Component    []struct {
		ID           string        `toml:"id"`
		Name         string        `toml:"name"`
		File         string        `toml:"file"`
		Type         string        `toml:"type"`
		Capabilities *capabilities `toml:"capabilities"`
	} `toml:"component"`
	Interceptor []interceptor  `toml:"interceptor"`
	Subscribe   map[string]any `toml:"subscribe"`
	Publish     map[string]any `toml:"publish"`
	Config      map[string]any `toml:"config"`
	Limits      struct {
		WriteBytes any `toml:"write_bytes"`
		Files      any `toml:"files"`
		Memory     any `toml:"memory"`
		Time       any `toml:"time"`
	} `toml:"limits"`
}

type capabilities struct {
	Read      []string `toml:"fs_read"`
	Write     []string `toml:"fs_write"`
	Publish   []string `toml:"ipc_publish"`
	Subscribe []string `toml:"ipc_subscribe"`
}

func (c *capabilities) files() Capabilities { return Capabilities{Read: c.Read, Write: c.Write} }

// Parse reads a manifest. file is its name for errors; check says what is wrong
// with a pattern, nil accepts all. Errors are of type *Error.
func Parse(file string, data []byte, check func(pattern string) error) (*Manifest, error) {
	p := parser{file: file, data: data, check: check}
	if len(data) > MaxSize {
		return nil, &Error{File: file, Reason: fmt.Sprintf("it is longer than %d bytes", MaxSize)}
	}
	var doc document
	if err := toml.Unmarshal(data, &doc); err != nil {
		return nil, p.syntax(err)
	}
	m := &Manifest{
		Name: doc.Package.Name, Version: doc.Package.Version,
		Capabilities: doc.Capabilities.files(),
	}
	if m.Name == "" {
		p.fail("package.name", "", "it is missing or empty")
	}
	p.patterns("capabilities", m.Capabilities)
	for i, c := range doc.Component {
		out := Component{ID: c.ID, File: c.File, Library: c.Type == "library"}
		if c.Capabilities != nil {
			files := c.Capabilities.files()
			out.Capabilities = &files
		}
		if out.ID == "" {
			out.ID = c.Name
		}
		if out.Capabilities != nil {
			p.patterns(fmt.Sprintf("component[%d].capabilities", i), *out.Capabilities)
		}
		m.Components = append(m.Components, out)
	}
	p.events(&doc, m)
	m.Limits.WriteBytes = p.size("limits.write_bytes", doc.Limits.WriteBytes)
	m.Limits.Files = p.count("limits.files", doc.Limits.Files)
	m.Limits.Memory = p.size("limits.memory", doc.Limits.Memory)
	m.Limits.Time = p.duration("limits.time", doc.Limits.Time)
	if p.err != nil {
		return nil, p.err
	}
	return m, nil
}

// For returns the capabilities of the component that a binary's file name or id
// says: that component's own, or else the package's. Where the package has one
// component, that one is meant by every name.
func (m *Manifest) For(name string) Capabilities {
	for _, c := range m.Components {
		if len(m.Components) == 1 || c.ID == name && name != "" || c.File != "" && path.Base(c.File) == path.Base(name) {
			if c.Capabilities != nil {
				return *c.Capabilities
			}
			break
		}
	}
	return m.Capabilities
}

// parser keeps the first fault.
type parser struct {
	file  string
	data  []byte
	check func(string) error
	err   *Error
}

// fail records a fault of the value of key; value tells which element of a list.
func (p *parser) fail(key, value, reason string) {
	if p.err == nil {
		line, column := locate(p.data, key, value)
		p.err = &Error{File: p.file, Line: line, Column: column, Key: key, Reason: reason}
	}
}

// syntax makes an *Error of the TOML library's.
func (p *parser) syntax(err error) *Error {
	e := &Error{File: p.file, Reason: strings.TrimPrefix(err.Error(), "toml: ")}
	// The library's words for a value of the wrong type name what it decodes into.
	if rest, ok := strings.CutPrefix(e.Reason, "cannot decode TOML "); ok {
		is, _, _ := strings.Cut(rest, " into ")
		e.Reason = fmt.Sprintf("a value of type %s does not belong here", is)
	}
	if strings.HasPrefix(e.Reason, "cannot store a") {
		e.Reason = "a table does not belong here"
	}
	var d *toml.DecodeError
	if errors.As(err, &d) {
		e.Line, e.Column = d.Position()
		e.Key = strings.Join(d.Key(), ".")
	}
	return e
}

func (p *parser) patterns(table string, c Capabilities) {
	if p.check == nil {
		return
	}
	for _, list := range []struct {
		key      string
		patterns []string
	}{{".fs_read", c.Read}, {".fs_write", c.Write}} {
		for _, pattern := range list.patterns {
			if err := p.check(pattern); err != nil {
				p.fail(table+list.key, pattern, err.Error())
			}
		}
	}
}

func (p *parser) count(key string, v any) uint64 {
	switch v := v.(type) {
	case nil:
		return 0
	case int64:
		if v > 0 {
			return uint64(v)
		}
	}
	p.fail(key, "", "want a whole number above 0")
	return 0
}

// size reads a number of bytes: a whole number, or a text with a unit.
func (p *parser) size(key string, v any) uint64 {
	text, ok := v.(string)
	if !ok {
		return p.count(key, v)
	}
	n, err := Size(text)
	if err != nil {
		p.fail(key, "", err.Error())
	}
	return n
}

func (p *parser) duration(key string, v any) time.Duration {
	if v == nil {
		return 0
	}
	if text, ok := v.(string); ok {
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			return d
		}
	}
	p.fail(key, "", `want a time with its unit, like "30s" or "5m"`)
	return 0
}

// Size reads a number of bytes with a unit: "512", "64KiB", "256MiB", "1GiB",
// "2TiB", or the decimal "kB", "MB", "GB", "TB".
func Size(text string) (uint64, error) {
	units := [...]struct {
		name string
		n    uint64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
		if err != nil || n == 0 || n > math.MaxInt64/u.n {
			break
		}
		return n * u.n, nil
	}
	return 0, fmt.Errorf(`want a size like "256MiB", not %q`, text)
}
