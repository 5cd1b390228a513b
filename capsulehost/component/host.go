package component

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// Interface is an interface that the host provides to components.
type Interface struct {
	// Name is the interface's name. One that ends in a version of two numbers,
	// "@0.2", stands for every version that begins so.
	Name  string
	Funcs map[string]HostFunc
	// Drops are the resources of the interface, by name: what is done when one
	// is dropped, which may be nil.
	Drops map[string]func(ctx context.Context, rep uint32)
}

// HostFunc is a function of the host.
type HostFunc struct {
	// Type is the function's type as WIT writes it, without the names of
	// parameters and of types: every type is written where it is used.
	Type string
	// Call does it. It returns a value of the type's result. It may panic with a
	// *guest.Fault, which traps the caller.
	Call func(c *Call) abi.Value
}

// Call is a call of a host function.
type Call struct {
	Ctx  context.Context
	Args []abi.Value // lists of numbers are the caller's own memory

	cx      *abi.Context
	payload abi.Value
}

// Case returns case i of a variant, option or result with a payload, as the
// answer of the call: abi.Case without an allocation, once a call.
func (c *Call) Case(i uint64, payload abi.Value) abi.Value {
	c.payload = payload
	return abi.Value{Num: i, Ref: &c.payload}
}

// List returns a list<u8> in the caller's memory for the function to fill and
// to return.
func (c *Call) List() *abi.List { return c.cx.NewList() }

// Set is what a host provides to components. It is immutable.
type Set struct {
	interfaces map[string]*Interface
	denied     []string
}

// NewSet returns a set of interfaces. denied are prefixes of the names of
// further ones that components may import: each call answers that it is denied,
// in the terms of its own type.
func NewSet(interfaces []*Interface, denied ...string) *Set {
	s := &Set{interfaces: map[string]*Interface{}, denied: denied}
	for _, i := range interfaces {
		s.interfaces[i.Name] = i
	}
	return s
}

// find returns the interface that meets an import of this name, or nil.
func (s *Set) find(name string) *Interface {
	if i := s.interfaces[name]; i != nil {
		return i
	}
	base, version, _ := strings.Cut(name, "@")
	if n := strings.SplitN(version, ".", 3); len(n) == 3 {
		return s.interfaces[base+"@"+n[0]+"."+n[1]]
	}
	return nil
}

// ImportError names an import that the host does not provide.
type ImportError struct {
	// Interface is what is imported, Name something of it or empty.
	Interface, Name string
	// Want is the type of the import, Have what the host provides under that
	// name; empty if it provides nothing.
	Want, Have string
}

func (e *ImportError) Error() string {
	what := strings.TrimSpace(e.Interface + " " + e.Name)
	if e.Have != "" {
		return fmt.Sprintf("the component imports %s as %s, and it is %s", what, e.Want, e.Have)
	}
	return fmt.Sprintf("the component imports %s (%s), which this host does not provide", what, e.Want)
}

// Provision says how the host meets an import.
type Provision string

// The ways to meet an import.
const (
	Provided    Provision = "provided"
	TypesOnly   Provision = "types" // there is nothing to provide
	Denied      Provision = "denied"
	NotProvided Provision = "missing"
)

// Provides tells how the host meets an import of a component. The error, an
// *ImportError, is that of NotProvided.
func (s *Set) Provides(e binary.Extern) (Provision, error) {
	switch {
	case e.Sort == binary.TypeSort && !isResource(e.Type):
		return TypesOnly, nil
	case e.Sort != binary.Instance:
		return NotProvided, &ImportError{Interface: e.Name, Want: e.Sort.String()}
	}
	have := s.find(e.Name)
	deny := slices.ContainsFunc(s.denied, func(p string) bool { return strings.HasPrefix(e.Name, p) })
	how := TypesOnly
	for _, x := range e.Instance().Exports {
		f := x.Func()
		switch {
		case f == nil && x.Sort == binary.TypeSort && !isResource(x.Type):
			continue
		case f == nil && (x.Sort != binary.TypeSort || have == nil && !deny):
			return NotProvided, &ImportError{Interface: e.Name, Name: x.Name, Want: kindOf(x)}
		case have == nil && deny:
			how = Denied
			continue
		case have == nil:
			return NotProvided, &ImportError{Interface: e.Name, Name: x.Name, Want: funcText(f)}
		}
		how = Provided
		if f == nil {
			if _, ok := have.Drops[x.Name]; !ok {
				return NotProvided, &ImportError{Interface: e.Name, Name: x.Name, Want: "resource"}
			}
			continue
		}
		h, ok := have.Funcs[x.Name]
		if want := shapeOf(f); !ok || h.Type != want {
			return NotProvided, &ImportError{Interface: e.Name, Name: x.Name, Want: want, Have: h.Type}
		}
	}
	return how, nil
}

func kindOf(e binary.Extern) string {
	if isResource(e.Type) {
		return "resource"
	}
	return e.Sort.String()
}

func isResource(t binary.Type) bool {
	_, ok := t.(*binary.Resource)
	return ok
}

// Check answers an *ImportError for the first import that the host does not
// provide.
func (s *Set) Check(c *Component) error {
	for _, e := range c.c.Type.Imports {
		if _, err := s.Provides(e); err != nil {
			return err
		}
	}
	return nil
}

// Names returns the interfaces of the set.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.interfaces)) }

// instance makes what meets an import that Check has passed.
func (s *Set) instance(e binary.Extern) *exports {
	out := &exports{items: map[string]any{}}
	have := s.find(e.Name)
	for _, x := range e.Instance().Exports {
		if res, ok := x.Type.(*binary.Resource); ok && x.Sort == binary.TypeSort {
			rt := &abi.ResourceType{Name: res.Name}
			if have != nil {
				rt.Drop = have.Drops[x.Name]
			}
			out.items[x.Name] = rt
		}
		f := x.Func()
		if f == nil {
			continue
		}
		call := denial(e.Name+" "+x.Name, f)
		if have != nil {
			call = have.Funcs[x.Name].Call
		}
		out.items[x.Name] = &function{host: call}
	}
	return out
}

// notProvided is the text of an error that has one.
const notProvided = "not provided by this host"

// denial returns a function that answers, in the terms of its type, that the
// host does not provide it. Where the type has no way to say so, it traps.
func denial(name string, t *binary.FuncType) func(*Call) abi.Value {
	if t.Result != nil && t.Result.Kind == binary.Own {
		// A handle of nothing: what is done with it is denied in turn.
		return func(*Call) abi.Value { return abi.Value{} }
	}
	answer, ok := abi.Value{}, false
	if t.Result != nil && t.Result.Kind == binary.Result {
		answer, ok = denied(t.Result.Err)
	}
	return func(*Call) abi.Value {
		if !ok {
			guest.Trap("%s is %s", name, notProvided)
		}
		return abi.Err(answer)
	}
}

// denied finds the error of a type that says best that a call is not allowed.
func denied(t *binary.ValType) (abi.Value, bool) {
	if t == nil {
		return abi.Value{}, true
	}
	switch t.Kind {
	case binary.String:
		return abi.String(notProvided), true
	case binary.Enum:
		for _, want := range denials {
			if i := slices.Index(t.Labels, want); i >= 0 {
				return abi.Value{Num: uint64(i)}, true
			}
		}
	case binary.Variant:
		for _, want := range denials {
			for i, c := range t.Fields {
				switch {
				case c.Name != want:
				case c.Type == nil:
					return abi.Value{Num: uint64(i)}, true
				case c.Type.Kind == binary.String:
					return abi.Case(uint64(i), abi.String(notProvided)), true
				case c.Type.Kind == binary.Option && c.Type.Elem.Kind == binary.String:
					return abi.Case(uint64(i), abi.Some(abi.String(notProvided))), true
				}
			}
		}
	}
	return abi.Value{}, false
}

// denials are the cases that say so, the best first.
var denials = []string{"capability-denied", "access-denied", "HTTP-request-denied", "not-supported", "access", "unknown",
	"other", "internal-error", "closed"}
