package binary

// visible are the types that have a name outside of a component, or of the type
// of one. Functions that are imported or exported may have resources, records,
// variants, enums and flags in their types by such names only; an import has to
// do with the names of imports, an export with all.
//
// A type and another name of it are different pointers, so that a pointer tells
// which of the names a type was written with.
type visible struct {
	d     *decoder
	outer *visible // whose names count too; nil: none
	// types are those that need no further look: true is by imports, false by
	// exports. An instance's type is one if what is in it was entered.
	types map[Type]bool
	// defs are types of instances that were looked at, and brought nothing.
	defs map[*InstanceType]bool
	// made are resources that no import brought: true has a name.
	made map[*Resource]bool
}

func (d *decoder) visible(outer *visible) *visible {
	return &visible{d: d, outer: outer, types: map[Type]bool{}, defs: map[*InstanceType]bool{}, made: map[*Resource]bool{}}
}

func (v *visible) has(t Type, imported bool) bool {
	for ; v != nil; v = v.outer {
		if i, ok := v.types[t]; ok && (i || !imported) {
			return true
		}
	}
	return false
}

// makes tells whether no import has brought r, and neither a scope around this
// one.
func (v *visible) makes(r *Resource) bool {
	for ; v != nil; v = v.outer {
		if _, ok := v.made[r]; ok {
			return true
		}
	}
	return false
}

// put enters a type. What imports name is not less than that by an export.
func (v *visible) put(t Type, imported bool) { v.types[t] = imported || v.types[t] }

// introduce checks that what is imported or exported needs no name that it has
// not got, and enters those that it brings. It answers what is wrong; empty:
// nothing.
func (v *visible) introduce(at int64, e Entity, imported bool) string {
	switch t := e.Type.(type) {
	case *FuncType:
		if e.Sort == Func {
			return v.fn(at, t, imported)
		}
	case *InstanceType:
		if e.Sort != Instance || v.has(t, imported) {
			return v.typ(at, e, imported)
		}
		v.d.spend(at, 1+len(t.Exports))
		for _, x := range t.Exports {
			if what := v.introduce(at, x.Entity, imported); what != "" {
				return what
			}
		}
		v.put(t, imported)
		return ""
	case *Resource:
		if imported && v.makes(t.root()) {
			return "a resource type"
		}
		if _, ok := v.made[t.root()]; ok {
			v.made[t.root()] = true
		}
		v.put(t, imported)
		return ""
	case *ValType:
		what := v.parts(at, t, imported)
		v.put(t, imported)
		return what
	}
	return v.typ(at, e, imported)
}

// typ checks a type that is imported or exported as such, of functions,
// instances or components. Those of components were checked when they were read.
// The type of an instance may name what is in it itself.
func (v *visible) typ(at int64, e Entity, imported bool) string {
	switch t := e.Type.(type) {
	case *FuncType:
		return v.fn(at, t, imported)
	case *InstanceType:
		if i, ok := v.defs[t]; e.Sort != TypeSort || v.has(t, imported) || ok && (i || !imported) {
			return ""
		}
		if what := v.d.visible(v).introduce(at, Entity{Sort: Instance, Type: t}, imported); what != "" {
			return what
		}
		v.defs[t] = imported || v.defs[t]
	}
	return ""
}

func (v *visible) fn(at int64, t *FuncType, imported bool) string {
	if !t.names || v.has(t, imported) {
		return ""
	}
	v.d.spend(at, 1+len(t.Params))
	for _, p := range t.Params {
		if what := v.val(at, p.Type, imported); what != "" {
			return what
		}
	}
	if what := v.val(at, t.Result, imported); what != "" {
		return what
	}
	v.put(t, imported)
	return ""
}

// val checks a type where it is used.
func (v *visible) val(at int64, t *ValType, imported bool) string {
	switch {
	case t == nil || !t.names || v.has(t, imported):
		return ""
	case t.nominal():
		return kindNames[t.Kind]
	}
	if what := v.parts(at, t, imported); what != "" {
		return what
	}
	v.put(t, imported)
	return ""
}

// parts checks what a type has in it.
func (v *visible) parts(at int64, t *ValType, imported bool) string {
	if t.handle != nil && !v.has(t.handle, imported) {
		return "a resource type"
	}
	if !t.names {
		return ""
	}
	v.d.spend(at, 1+len(t.Fields))
	for _, in := range []*ValType{t.Elem, t.Err} {
		if what := v.val(at, in, imported); what != "" {
			return what
		}
	}
	for _, f := range t.Fields {
		if what := v.val(at, f.Type, imported); what != "" {
			return what
		}
	}
	return ""
}

var kindNames = map[Kind]string{Record: "a record type", Variant: "a variant type", Enum: "an enum type", Flags: "a flags type"}

// introduced checks an import or export, and enters the names that it brings. In
// the type of an instance that waits until something has it.
func (s *scope) introduced(at int64, x Extern, imported bool) {
	if s.visible == nil {
		return
	}
	if t, ok := x.Type.(*InstanceType); ok {
		s.d.spend(at, t.weight) // who looks at all of it, for each, has as much to do
	}
	word, from := "export", "imported or exported"
	if imported {
		word, from = "import", "imported"
	}
	if what := s.visible.introduce(at, x.Entity, imported); what != "" {
		failAt(at, "the %s %.100q has %s in it that has to be %s before, and to be used as that", word, x.Name, what, from)
	}
	if closed(x.Type) {
		return
	}
	for r := range s.d.resourcesOf(at, x.Type) {
		if named, ok := s.visible.made[r]; ok && (imported || !named) {
			failAt(at, "the %s %.100q has a resource type in it that has to be %s before", word, x.Name, from)
		}
	}
}

// closed tells whether no component's type is in t.
func closed(t Type) bool {
	switch t := t.(type) {
	case *InstanceType:
		return t.closed
	case *ComponentType:
		return false
	}
	return true
}
