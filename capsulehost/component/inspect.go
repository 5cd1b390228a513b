package component

import (
	"slices"
	"strings"

	"github.com/astridfs/astridfs/capsulehost/component/binary"
)

// FormatError says what is wrong with a binary and at which byte.
type FormatError = binary.FormatError

// Component is a decoded and valid component. Compile uses it up; else it is
// immutable.
type Component struct{ c *binary.Component }

// Decode reads and validates a component and runs nothing of it. Of its core
// modules only imports and exports are looked at: their code is checked when it
// is compiled. The answer refers to b, which must not be changed.
//
// Errors: *FormatError.
func Decode(b []byte) (*Component, error) {
	c, err := binary.Decode(b)
	if err != nil {
		return nil, err
	}
	return &Component{c}, nil
}

// Name returns the component's name, for people; it may be empty.
func (c *Component) Name() string { return c.c.Name }

// Producers tell what made the component: "field: name version".
func (c *Component) Producers() []string { return c.c.Producers }

// Shape returns the type of a function that the component exports, as
// HostFunc.Type writes one; empty if it exports no such function. The path is as
// for Instance.Call.
func (c *Component) Shape(path ...string) string {
	list := c.c.Type.Exports
	for k, name := range path {
		i := slices.IndexFunc(list, func(e binary.Extern) bool { return e.Name == name })
		if i < 0 {
			break
		}
		if f := list[i].Func(); f != nil && k == len(path)-1 {
			return shapeOf(f)
		}
		if list[i].Sort != binary.Instance {
			break
		}
		list = list[i].Instance().Exports
	}
	return ""
}

// Provides tells how a host that provides set meets each of the imports.
func (c *Component) Provides(set *Set) []Provision {
	var out []Provision
	for _, e := range c.c.Type.Imports {
		how, _ := set.Provides(e) // the error is what NotProvided says
		out = append(out, how)
	}
	return out
}

// Extern is an import or export, or something within one. Its JSON is part of
// what the command line promises.
type Extern struct {
	Name string `json:"name"`
	// Kind is "instance", "func", "type", "resource", "component" or
	// "core module".
	Kind string `json:"kind"`
	// Type is that of a function, or what a type is, as WIT writes it.
	Type string `json:"type,omitempty"`
	// Items are the types and functions of an instance, or the functions of a
	// resource.
	Items []Extern `json:"items,omitempty"`
}

// Imports returns what the component needs.
func (c *Component) Imports() []Extern { return externsOf(c.c.Type.Imports, &texts{}) }

// Exports returns what the component offers.
func (c *Component) Exports() []Extern { return externsOf(c.c.Type.Exports, &texts{}) }

func externsOf(l []binary.Extern, w *texts) []Extern {
	out := []Extern{}
	at := map[string]int{} // resources, by name
	for _, e := range l {
		x := Extern{Name: e.Name, Kind: e.Sort.String()}
		switch t := e.Type.(type) {
		case *binary.FuncType, *binary.ValType:
			x.Type = w.text(t)
		case *binary.Resource:
			x.Kind = "resource"
			at[e.Name] = len(out)
			if t.Name != e.Name {
				x.Type = t.Name
			}
		case *binary.InstanceType:
			x.Items = externsOf(t.Exports, w)
		}
		if res, name, ok := methodOf(e.Name); ok {
			if i, ok := at[res]; ok {
				x.Name = name
				out[i].Items = append(out[i].Items, x)
				continue
			}
		}
		out = append(out, x)
	}
	return out
}

// methodOf takes the name of a resource's function apart. name is as WIT would
// write it, before a colon.
func methodOf(full string) (res, name string, ok bool) {
	kind, rest, ok := strings.Cut(full, "]")
	if !ok {
		return "", "", false
	}
	if kind == "[constructor" {
		return rest, "constructor", true
	}
	res, name, ok = strings.Cut(rest, ".")
	if kind == "[static" {
		name = "static " + name
	}
	return res, name, ok
}

// Text writes imports or exports, as word says, in the manner of WIT.
func Text(word string, l []Extern) string {
	var b strings.Builder
	for _, e := range l {
		b.WriteString(word + " ")
		writeExtern(&b, e, "")
	}
	return b.String()
}

func writeExtern(b *strings.Builder, e Extern, indent string) {
	name := e.Name
	switch e.Kind {
	case "func":
		b.WriteString(name + ": " + e.Type + ";\n")
		return
	case "type":
		word, rest, braced := strings.Cut(e.Type, " {")
		if braced && !strings.ContainsAny(word, "<(") {
			b.WriteString(word + " " + name + " {" + rest + "\n")
			return
		}
		b.WriteString("type " + name + " = " + e.Type + ";\n")
		return
	case "resource":
		if e.Type != "" {
			b.WriteString("type " + name + " = " + e.Type + ";\n")
			return
		}
	}
	b.WriteString(strings.TrimPrefix(e.Kind, "instance"))
	if e.Kind != "instance" {
		b.WriteByte(' ')
	}
	b.WriteString(name)
	if len(e.Items) == 0 {
		b.WriteString(";\n")
		return
	}
	b.WriteString(" {\n")
	for _, i := range e.Items {
		b.WriteString(indent + "    ")
		writeExtern(b, i, indent+"    ")
	}
	b.WriteString(indent + "}\n")
}
