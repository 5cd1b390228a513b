package binary

import "strings"

func (s *scope) instance(r *reader) {
	at := r.at()
	switch b := r.byte("an instance"); b {
	case 0:
		s.instantiate(at, r)
	case 1:
		d := &DefInline{}
		var ex externs
		for range r.count("exports") {
			at := r.at()
			name := r.externName()
			i := Item{Name: name.text, Sort: r.sort(), Index: r.u32("an index")}
			e := s.entity(at, i.Sort, i.Index)
			i.Type = e.Type
			if strings.HasPrefix(i.Name, "[") {
				failAt(at, "%.100q is the name of a resource's function, and an instance that gathers exports names no resource", i.Name)
			}
			ex.add(s.d, at, name, e)
			d.Exports = append(d.Exports, i)
		}
		s.instances = append(s.instances, newInstance(at, ex, nil))
		s.def(d)
	default:
		failAt(at, "expected an instance (0 or 1), found %d", b)
	}
}

func (s *scope) instantiate(at int64, r *reader) {
	d := &DefInstance{Component: r.u32("a component")}
	c := pick(at, s.components, d.Component, "component")
	args := map[string]Entity{}
	for range r.count("arguments") {
		at := r.at()
		i := Item{Name: r.name("the name of an argument"), Sort: r.sort(), Index: r.u32("an index")}
		if _, ok := args[i.Name]; ok {
			failAt(at, "the argument %.100q is there twice", i.Name)
		}
		e := s.entity(at, i.Sort, i.Index)
		i.Type = e.Type
		args[i.Name] = e
		d.Args = append(d.Args, i)
	}
	m := s.d.matcher(at, c.imported)
	for _, im := range c.Imports {
		have, ok := args[im.Name]
		if !ok {
			failAt(at, "the component imports %.100q, which it is not given", im.Name)
		}
		if what := m.entity(have, im.Entity); what != "" {
			failAt(at, "the argument %.100q is not what the component imports: %s", im.Name, what)
		}
	}
	fresh := map[*Resource]*Resource{}
	for _, res := range c.made {
		to := s.fresh(&Resource{Name: res.Name}, false)
		m.bound[res], fresh[res] = to, to
	}
	s.d.spend(at, c.weight+len(c.made))
	sub := s.d.subst(at, m.bound)
	for _, im := range c.Imports {
		sub.rename(args[im.Name], im.Entity)
	}
	ex := externs{index: map[string]int{}}
	ex.list, _ = sub.externs(c.Exports)
	for i, e := range ex.list {
		ex.index[e.Name] = i
	}
	d.Binds = s.d.paths(at, ex.list, fresh)
	s.instances = append(s.instances, newInstance(at, ex, nil))
	s.def(d)
}

// resourcesOf collects the resources that occur in a type and are not bound by
// it.
func (d *decoder) resourcesOf(at int64, t Type) map[*Resource]bool {
	found, seen := map[*Resource]bool{}, map[Type]bool{}
	bound := map[*Resource]bool{}
	var walk func(t Type)
	externs := func(l []Extern) {
		for _, e := range l {
			if e.Type != nil {
				walk(e.Type)
			}
		}
	}
	fields := func(l []Field) {
		for _, f := range l {
			if f.Type != nil {
				walk(f.Type)
			}
		}
	}
	walk = func(t Type) {
		if !mentions(t) || seen[t] {
			return
		}
		seen[t] = true
		d.spend(at, 1)
		switch t := t.(type) {
		case *Resource:
			found[t.root()] = true
		case *ValType:
			fields(t.Fields)
			for _, in := range []*ValType{t.Elem, t.Err} {
				if in != nil {
					walk(in)
				}
			}
			if t.Resource != nil {
				walk(t.Resource)
			}
		case *FuncType:
			fields(t.Params)
			if t.Result != nil {
				walk(t.Result)
			}
		case *InstanceType:
			for _, b := range t.bound {
				bound[b] = true
			}
			externs(t.Exports)
		case *ComponentType:
			for _, l := range [][]*Resource{t.imported, t.made} {
				for _, b := range l {
					bound[b] = true
				}
			}
			externs(t.Imports)
			externs(t.Exports)
		}
	}
	walk(t)
	for b := range bound {
		delete(found, b)
	}
	return found
}
