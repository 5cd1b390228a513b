package binary

// subst replaces resources in types, and types that have names by those that
// they stand for. What it changes nothing in stays the same pointer: a type that
// has a name is known by it.
type subst struct {
	d    *decoder
	at   int64
	to   map[*Resource]*Resource
	memo map[Type]Type
	// renames tells that there is more to replace than resources.
	renames bool
}

func (d *decoder) subst(at int64, to map[*Resource]*Resource) *subst {
	return &subst{d: d, at: at, to: to, memo: map[Type]Type{}}
}

// rename replaces what want introduces, which is the type of an import, by what
// is given for it.
func (s *subst) rename(have, want Entity) {
	s.d.spend(s.at, 1)
	switch w := want.Type.(type) {
	case *ValType:
		if want.Sort == TypeSort && w.names && s.memo[w] == nil {
			s.memo[w], s.renames = have.Type, true
		}
	case *Resource:
		if s.memo[w] == nil {
			s.memo[w] = have.Type
		}
	case *InstanceType:
		if want.Sort != Instance || !w.names {
			return
		}
		for _, e := range w.Exports {
			if h, ok := have.Instance().Export(e.Name); ok {
				s.rename(h, e.Entity)
			}
		}
	}
}

// touches tells whether there may be something to replace in t.
func (s *subst) touches(resources, names bool) bool { return resources || s.renames && names }

func (s *subst) resource(r *Resource) *Resource {
	if to := s.memo[r]; to != nil {
		return to.(*Resource)
	}
	to := s.to[r.root()]
	switch {
	case to == nil:
		return r
	case r.of == nil:
		return to
	}
	return s.d.aliasOf(to, r.alias)
}

func (s *subst) typ(t Type) Type {
	switch t := t.(type) {
	case nil:
		return nil
	case *Resource:
		return s.resource(t)
	case *ValType:
		return s.val(t)
	}
	if to := s.memo[t]; to != nil {
		return to
	}
	to := t
	switch t := t.(type) {
	case *FuncType:
		if !s.touches(t.resources, t.names) {
			return t
		}
		s.d.spend(s.at, 1+len(t.Params))
		params, changed := s.fields(t.Params)
		result := s.val(t.Result)
		if changed || result != t.Result {
			to = newFunc(params, result)
		}
	case *InstanceType:
		if !s.touches(t.resources, t.names) {
			return t
		}
		s.d.spend(s.at, t.weight)
		if exports, changed := s.externs(t.Exports); changed {
			in := *t
			in.Exports = exports
			to = &in
		}
	case *ComponentType:
		s.d.spend(s.at, t.weight)
		imports, a := s.externs(t.Imports)
		exports, b := s.externs(t.Exports)
		if a || b {
			in := *t
			in.Imports, in.Exports = imports, exports
			to = &in
		}
	}
	s.memo[t] = to
	return to
}

func (s *subst) val(t *ValType) *ValType {
	if t == nil || !s.touches(t.resources, t.names) {
		return t
	}
	if to := s.memo[t]; to != nil {
		return to.(*ValType)
	}
	s.d.spend(s.at, 1+len(t.Fields))
	in := *t
	in.Elem, in.Err, in.Of = s.val(t.Elem), s.val(t.Err), s.val(t.Of)
	changed := false
	in.Fields, changed = s.fields(t.Fields)
	if t.Resource != nil {
		in.handle = s.resource(t.handle)
		in.Resource = in.handle.root()
	}
	to := t
	if changed || in.Elem != t.Elem || in.Err != t.Err || in.handle != t.handle {
		to = &in
	}
	s.memo[t] = to
	return to
}

// fields returns the list itself if nothing in it changes.
func (s *subst) fields(l []Field) (out []Field, changed bool) {
	out = l
	for i, f := range l {
		to := s.val(f.Type)
		if to == f.Type {
			continue
		}
		if !changed {
			out, changed = append([]Field{}, l...), true
		}
		out[i].Type = to
	}
	return out, changed
}

// externs returns the list itself if nothing in it changes.
func (s *subst) externs(l []Extern) (out []Extern, changed bool) {
	out = l
	for i, e := range l {
		to := s.typ(e.Type)
		if to == e.Type {
			continue
		}
		if !changed {
			out, changed = append([]Extern{}, l...), true
		}
		out[i].Type = to
	}
	return out, changed
}

// alias numbers another name of a resource.
type alias struct {
	of *Resource
	n  int
}

// aliasOf returns the resource type r under its name number n, always the same.
func (d *decoder) aliasOf(r *Resource, n int) *Resource {
	key := alias{r.root(), n}
	if to := d.aliases[key]; to != nil {
		return to
	}
	to := *key.of
	to.of, to.alias = key.of, n
	d.aliases[key] = &to
	return &to
}

// named returns a type under another name, which is equal to it.
func (d *decoder) named(t Type, name string) Type {
	switch t := t.(type) {
	case *Resource:
		d.names++
		return d.aliasOf(t, d.names)
	case *ValType:
		c := *t
		c.Name, c.Of = name, t
		return &c
	}
	return t
}
