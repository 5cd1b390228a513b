package binary

import (
	"fmt"
	"slices"
)

// matcher compares types. Resources on the side of what is wanted stand for
// those that bound maps them to; a resource that may be bound and is not yet is
// bound by the first that is compared with it. Other names of a resource are the
// resource itself here.
type matcher struct {
	d     *decoder
	at    int64
	bound map[*Resource]*Resource // nil value: may be bound
	equal map[[2]*ValType]bool
}

func (d *decoder) matcher(at int64, free []*Resource) *matcher {
	d.spend(at, len(free))
	m := &matcher{d: d, at: at, bound: map[*Resource]*Resource{}, equal: map[[2]*ValType]bool{}}
	for _, r := range free {
		m.bound[r] = nil
	}
	return m
}

// resource compares resource types; bind tells whether the place may bind one.
func (m *matcher) resource(have, want *Resource, bind bool) bool {
	have, want = have.root(), want.root()
	b, mapped := m.bound[want]
	if !mapped {
		return have == want
	}
	if b == nil && bind {
		m.bound[want] = have
		return true
	}
	return b == have
}

func (m *matcher) val(have, want *ValType) bool {
	switch {
	case have == nil || want == nil:
		return have == want
	case have == want && !have.resources:
		return true
	case have.Kind != want.Kind || len(have.Fields) != len(want.Fields) || have.Len != want.Len:
		return false
	}
	key := [2]*ValType{have, want}
	if eq, ok := m.equal[key]; ok {
		return eq
	}
	m.d.spend(m.at, 1+len(have.Fields)+len(have.Labels))
	eq := slices.Equal(have.Labels, want.Labels) && m.val(have.Elem, want.Elem) && m.val(have.Err, want.Err)
	if have.Resource != nil {
		eq = eq && m.resource(have.Resource, want.Resource, false)
	}
	for i := 0; eq && i < len(have.Fields); i++ {
		eq = have.Fields[i].Name == want.Fields[i].Name && m.val(have.Fields[i].Type, want.Fields[i].Type)
	}
	m.equal[key] = eq
	return eq
}

// fn compares the types of functions, the names of parameters included.
func (m *matcher) fn(have, want *FuncType) bool {
	m.d.spend(m.at, 1+len(have.Params))
	if len(have.Params) != len(want.Params) || !m.val(have.Result, want.Result) {
		return false
	}
	for i := range have.Params {
		if have.Params[i].Name != want.Params[i].Name || !m.val(have.Params[i].Type, want.Params[i].Type) {
			return false
		}
	}
	return true
}

// entity answers what is wrong with have where want is wanted; empty: nothing.
func (m *matcher) entity(have, want Entity) string {
	if have.Sort != want.Sort {
		return fmt.Sprintf("it is a %s and should be a %s", have.Sort, want.Sort)
	}
	switch have.Sort {
	case CoreModule:
		return m.module(have.Module, want.Module)
	case Func:
		if !m.fn(have.Func(), want.Func()) {
			return "the function has another type"
		}
		return ""
	case Instance:
		return m.instance(have.Instance(), want.Instance())
	case ComponentSort:
		return m.component(have.Type.(*ComponentType), want.Type.(*ComponentType))
	}
	return m.typ(have.Type, want.Type)
}

func (m *matcher) typ(have, want Type) string {
	ok := false
	switch h := have.(type) {
	case *Resource:
		w, is := want.(*Resource)
		ok = is && m.resource(h, w, true)
	case *ValType:
		w, is := want.(*ValType)
		ok = is && m.val(h, w)
	case *FuncType:
		w, is := want.(*FuncType)
		ok = is && m.fn(h, w)
	case *InstanceType:
		w, is := want.(*InstanceType)
		ok = is && m.instance(h, w) == "" && m.instance(w, h) == ""
	case *ComponentType:
		w, is := want.(*ComponentType)
		ok = is && m.component(h, w) == "" && m.component(w, h) == ""
	}
	if !ok {
		return "the type is another"
	}
	return ""
}

func (m *matcher) instance(have, want *InstanceType) string {
	if have == want && !have.resources {
		return ""
	}
	for _, r := range want.bound {
		if _, ok := m.bound[r]; !ok {
			m.bound[r] = nil
		}
	}
	return m.externs(have.Export, want.Exports)
}

func (m *matcher) externs(have func(string) (Entity, bool), want []Extern) string {
	for _, w := range want {
		m.d.spend(m.at, 1)
		h, ok := have(w.Name)
		if !ok {
			return fmt.Sprintf("there is no %.100q", w.Name)
		}
		if what := m.entity(h, w.Entity); what != "" {
			return fmt.Sprintf("%.100q: %s", w.Name, what)
		}
	}
	return ""
}

// component compares components: have may import less and export more.
func (m *matcher) component(have, want *ComponentType) string {
	m.d.spend(m.at, len(m.bound)+len(want.made))
	back := m.d.matcher(m.at, have.imported)
	for k, v := range m.bound {
		if v != nil {
			back.bound[v] = k
		}
	}
	if what := back.externs(m.lookup(want.Imports), have.Imports); what != "" {
		return what
	}
	for _, r := range want.made {
		m.bound[r] = nil
	}
	m.d.spend(m.at, len(back.bound))
	for k, v := range back.bound {
		if v != nil {
			m.bound[v] = k
		}
	}
	return m.externs(m.lookup(have.Exports), want.Exports)
}

func (m *matcher) lookup(l []Extern) func(string) (Entity, bool) {
	m.d.spend(m.at, len(l))
	index := make(map[string]int, len(l))
	for i, e := range l {
		index[e.Name] = i
	}
	return func(name string) (Entity, bool) {
		i, ok := index[name]
		if !ok {
			return Entity{}, false
		}
		return l[i].Entity, true
	}
}

func (m *matcher) module(have, want *ModuleType) string {
	m.d.spend(m.at, len(have.Imports)+len(want.Exports)+len(want.Imports))
	type key struct{ module, name string }
	given := map[key]CoreEntity{}
	for _, i := range want.Imports {
		given[key{i.Module, i.Name}] = i.CoreEntity
	}
	for _, i := range have.Imports {
		g, ok := given[key{i.Module, i.Name}]
		if !ok || coreMismatch(g, i.CoreEntity) != "" {
			return fmt.Sprintf("the core module imports %.100q %.100q", i.Module, i.Name)
		}
	}
	for _, w := range want.Exports {
		h, ok := have.Export(w.Name)
		if !ok || coreMismatch(h, w.CoreEntity) != "" {
			return fmt.Sprintf("the core module exports no such %.100q", w.Name)
		}
	}
	return ""
}

// coreMismatch answers what is wrong with have where want is imported; empty:
// nothing.
func coreMismatch(have, want CoreEntity) string {
	switch {
	case have.Sort != want.Sort:
		return fmt.Sprintf("it is a %s and should be a %s", have.Sort, want.Sort)
	case (have.Sort == CoreFunc || have.Sort == CoreTag) && !have.Func.Equal(want.Func):
		return fmt.Sprintf("its type is %s and should be %s", have.Func, want.Func)
	case have.Elem != want.Elem || have.Mutable != want.Mutable:
		return "its type is another"
	case have.Limits.Min < want.Limits.Min,
		want.Limits.HasMax && (!have.Limits.HasMax || have.Limits.Max > want.Limits.Max):
		return "its limits are too wide"
	}
	return ""
}
