package binary

// sort reads a sort; core ones are two bytes.
func (r *reader) sort() Sort {
	at := r.at()
	switch b := r.byte("a sort"); b {
	case 0:
		return r.coreSort()
	case 1:
		return Func
	case 2:
		failAt(at, "values of components are not supported")
	case 3:
		return TypeSort
	case 4:
		return ComponentSort
	case 5:
		return Instance
	default:
		failAt(at, "expected a sort (0 to 5), found %d", b)
	}
	return 0
}

func (r *reader) coreSort() Sort {
	at := r.at()
	switch b := r.byte("a core sort"); b {
	case 0, 1, 2, 3, 4:
		return CoreFunc + Sort(b)
	case 0x10:
		return CoreTypeSort
	case 0x11:
		return CoreModule
	case 0x12:
		return CoreInstance
	default:
		failAt(at, "expected a core sort, found %#02x", b)
	}
	return 0
}

// entity returns what stands at an index, by its type. It is only asked for
// sorts that can be imported and exported.
func (s *scope) entity(at int64, sort Sort, i uint32) Entity {
	e := Entity{Sort: sort}
	switch sort {
	case CoreModule:
		e.Module = pick(at, s.coreModules, i, "core module")
	case Func:
		e.Type = pick(at, s.funcs, i, "function")
	case TypeSort:
		e.Type = pick(at, s.types, i, "type")
	case ComponentSort:
		e.Type = pick(at, s.components, i, "component")
	case Instance:
		e.Type = pick(at, s.instances, i, "instance")
	default:
		failAt(at, "a %s can be no import or export", sort)
	}
	return e
}

// add puts something at the end of its sort's index space.
func (s *scope) add(e Entity) {
	switch e.Sort {
	case CoreModule:
		s.coreModules = append(s.coreModules, e.Module)
	case Func:
		s.funcs = append(s.funcs, e.Type.(*FuncType))
	case TypeSort:
		s.types = append(s.types, e.Type)
	case ComponentSort:
		s.components = append(s.components, e.Type.(*ComponentType))
	case Instance:
		s.instances = append(s.instances, e.Type.(*InstanceType))
	}
}

// core returns what stands at an index of a core sort.
func (s *scope) core(at int64, sort Sort, i uint32) CoreEntity {
	switch sort {
	case CoreFunc:
		return CoreEntity{Sort: sort, Func: pick(at, s.coreFuncs, i, sort.String())}
	case CoreTable:
		return pick(at, s.coreTables, i, sort.String())
	case CoreMemory:
		return pick(at, s.coreMems, i, sort.String())
	case CoreGlobal:
		return pick(at, s.coreGlobals, i, sort.String())
	case CoreTag:
		return CoreEntity{Sort: sort, Func: pick(at, s.coreTags, i, sort.String())}
	}
	failAt(at, "expected a core function, table, memory, global or tag, found a %s", sort)
	return CoreEntity{}
}

func (s *scope) addCore(e CoreEntity) {
	switch e.Sort {
	case CoreFunc:
		s.coreFuncs = append(s.coreFuncs, e.Func)
	case CoreTable:
		s.coreTables = append(s.coreTables, e)
	case CoreMemory:
		s.coreMems = append(s.coreMems, e)
	case CoreGlobal:
		s.coreGlobals = append(s.coreGlobals, e)
	case CoreTag:
		s.coreTags = append(s.coreTags, e.Func)
	}
}

func (s *scope) coreInstance(r *reader) {
	at := r.at()
	in := &coreInstance{items: map[string]CoreEntity{}}
	switch b := r.byte("a core instance"); b {
	case 0:
		d := &DefCoreInstance{Module: r.u32("a core module")}
		m := pick(at, s.coreModules, d.Module, "core module")
		args := map[string]*coreInstance{}
		for range r.count("arguments") {
			at := r.at()
			a := CoreArg{Name: r.name("the name of an argument")}
			r.expect(0x12, "the sort of a core instance")
			a.Instance = r.u32("a core instance")
			if args[a.Name] != nil {
				failAt(at, "the argument %.100q is there twice", a.Name)
			}
			args[a.Name] = pick(at, s.coreInstances, a.Instance, "core instance")
			d.Args = append(d.Args, a)
		}
		s.checkCoreArgs(at, m, args)
		s.d.spend(at, len(m.Exports))
		for _, e := range m.Exports {
			in.items[e.Name] = e.CoreEntity
		}
		s.def(d)
	case 1:
		d := &DefCoreInline{}
		for range r.count("exports") {
			at := r.at()
			i := CoreItem{Name: r.name("the name of an export")}
			sort := r.coreSort()
			i.Index = r.u32("an index")
			i.CoreEntity = s.core(at, sort, i.Index)
			if _, ok := in.items[i.Name]; ok {
				failAt(at, "the export %.100q is there twice", i.Name)
			}
			in.items[i.Name] = i.CoreEntity
			d.Exports = append(d.Exports, i)
		}
		s.def(d)
	default:
		failAt(at, "expected a core instance (0 or 1), found %d", b)
	}
	s.coreInstances = append(s.coreInstances, in)
}

func (s *scope) checkCoreArgs(at int64, m *ModuleType, args map[string]*coreInstance) {
	s.d.spend(at, len(m.Imports))
	for _, i := range m.Imports {
		in := args[i.Module]
		if in == nil {
			failAt(at, "the core module imports from %.100q, which it is not given", i.Module)
		}
		have, ok := in.items[i.Name]
		if !ok {
			failAt(at, "the core module imports %.100q from %.100q, which has no such export", i.Name, i.Module)
		}
		if what := coreMismatch(have, i.CoreEntity); what != "" {
			failAt(at, "the core module imports %.100q from %.100q: %s", i.Name, i.Module, what)
		}
	}
}

func (s *scope) alias(r *reader) {
	at := r.at()
	sort := r.sort()
	kat := r.at()
	switch b := r.byte("an alias"); b {
	case 0:
		i := r.u32("an instance")
		name := r.name("the name of an export")
		t := pick(at, s.instances, i, "instance")
		e, ok := t.Export(name)
		if !ok || e.Sort != sort {
			failAt(at, "instance %d exports no %s %.100q", i, sort, name)
		}
		s.add(e)
		switch {
		case s.c == nil && sort != TypeSort && sort != Instance:
			failAt(at, "an alias in a type can only be of a type or an instance, not of a %s", sort)
		case s.c != nil && sort != TypeSort:
			s.def(&DefAlias{Sort: sort, Instance: i, Name: name})
		}
	case 1:
		i := r.u32("a core instance")
		name := r.name("the name of an export")
		if s.c == nil {
			failAt(at, "an alias in a type can only be of a type or an instance")
		}
		e, ok := pick(at, s.coreInstances, i, "core instance").items[name]
		if !ok || e.Sort != sort {
			failAt(at, "core instance %d exports no %s %.100q", i, sort, name)
		}
		s.addCore(e)
		s.def(&DefCoreAlias{Sort: sort, Instance: i, Name: name})
	case 2:
		s.outerAlias(at, sort, r)
	default:
		failAt(kat, "expected an alias (0 to 2), found %d", b)
	}
}

func (s *scope) outerAlias(at int64, sort Sort, r *reader) {
	count, index := r.u32("a number of scopes"), r.u32("an index")
	from := s.around(at, count)
	if s.c == nil && sort != TypeSort && sort != CoreTypeSort {
		failAt(at, "an outer alias in a type can only be of a type, not of a %s", sort)
	}
	switch sort {
	case CoreTypeSort:
		s.coreTypes = append(s.coreTypes, pick(at, from.coreTypes, index, "core type"))
	case TypeSort:
		t := pick(at, from.types, index, "type")
		for in := s; in != from; in = in.outer {
			if in.c != nil && mentions(t) && len(s.d.resourcesOf(at, t)) > 0 {
				failAt(at, "an outer alias refers to a resource type of another component")
			}
		}
		s.types = append(s.types, t)
	case CoreModule, ComponentSort:
		// What counts at run time are the components around this one; the scopes
		// of types are none, and a component cannot be in one.
		s.add(from.entity(at, sort, index))
		s.def(&DefOuter{Sort: sort, Count: count, Index: index})
	default:
		failAt(at, "an outer alias cannot be of a %s", sort)
	}
}

// externType reads the type of an import or export. introduced are the resource
// types that there were not before, if the type is declared to be one.
func (s *scope) externType(at int64, r *reader) (e Entity, introduced *Resource) {
	switch b := r.byte("the type of an import or export"); b {
	case 0:
		r.expect(0x11, "the sort of a core module")
		m, ok := pick(at, s.coreTypes, r.u32("a core type"), "core type").(*ModuleType)
		if !ok {
			failAt(at, "expected the type of a core module")
		}
		return Entity{Sort: CoreModule, Module: m}, nil
	case 1:
		return Entity{Sort: Func, Type: typeOf[*FuncType](s, r, "the type of a function")}, nil
	case 2:
		failAt(at, "values of components are not supported")
	case 3:
		switch b := r.byte("the bound of a type"); b {
		case 0:
			return Entity{Sort: TypeSort, Type: s.typeAt(r, "a type")}, nil
		case 1:
			res := &Resource{}
			return Entity{Sort: TypeSort, Type: res}, res
		default:
			failAt(at, "expected the bound of a type (0 or 1), found %d", b)
		}
	case 4:
		return Entity{Sort: ComponentSort, Type: typeOf[*ComponentType](s, r, "the type of a component")}, nil
	case 5:
		return Entity{Sort: Instance, Type: typeOf[*InstanceType](s, r, "the type of an instance")}, nil
	default:
		failAt(at, "expected the type of an import or export (0 to 5), found %d", b)
	}
	return Entity{}, nil
}

// introduce reads the type of something that comes in by a name: an import, or
// an export that is declared. Its resources are new ones, found by the binds.
func (s *scope) introduce(at int64, r *reader, name string, imported bool) (Entity, []Bind) {
	e, res := s.externType(at, r)
	var binds []Bind
	if res != nil {
		res.Name = name
		s.fresh(res, imported)
		binds = append(binds, Bind{Slot: res.Slot})
	}
	if t, ok := e.Type.(*InstanceType); ok && e.Sort == Instance && len(t.bound) > 0 {
		e.Type, binds = s.renew(at, t, imported)
	}
	if e.Sort == TypeSort && res == nil {
		e.Type = s.d.named(e.Type, name)
	}
	s.add(e)
	return e, binds
}

// renew returns the type of an instance with resources of its own in place of
// those that the type binds.
func (s *scope) renew(at int64, t *InstanceType, imported bool) (*InstanceType, []Bind) {
	s.d.spend(at, len(t.bound))
	to := map[*Resource]*Resource{}
	for _, b := range t.bound {
		to[b] = s.fresh(&Resource{Name: b.Name}, imported)
	}
	in := s.d.subst(at, to).typ(t).(*InstanceType)
	if in == t {
		copied := *t
		in = &copied
	}
	in.bound = nil
	if s.c == nil {
		return in, nil
	}
	return in, s.d.paths(at, in.Exports, to)
}

// paths finds where each of the new resources is exported first.
func (d *decoder) paths(at int64, exports []Extern, to map[*Resource]*Resource) []Bind {
	missing := map[*Resource]bool{}
	for _, r := range to {
		missing[r] = true
	}
	var binds []Bind
	var walk func(path []string, l []Extern)
	walk = func(path []string, l []Extern) {
		d.spend(at, len(l))
		for _, e := range l {
			here := append(path[:len(path):len(path)], e.Name)
			switch t := e.Type.(type) {
			case *Resource:
				if r := t.root(); missing[r] {
					delete(missing, r)
					binds = append(binds, Bind{Path: here, Slot: r.Slot})
				}
			case *InstanceType:
				if e.Sort == Instance && t.resources && len(missing) > 0 {
					walk(here, t.Exports)
				}
			}
		}
	}
	walk(nil, exports)
	return binds
}

func (s *scope) imported1(r *reader) {
	at := r.at()
	name := r.externName()
	e, binds := s.introduce(at, r, name.text, true)
	s.imports.add(s.d, at, name, e)
	x := Extern{name.text, e}
	s.introduced(at, x, true)
	if s.c != nil {
		s.def(&DefImport{Extern: x, Binds: binds})
	}
}

// exported1 reads an export of a component itself.
func (s *scope) exported1(r *reader) {
	at := r.at()
	name := r.externName()
	sort := r.sort()
	d := &DefExport{Index: r.u32("an index")}
	have := s.entity(at, sort, d.Index)
	d.Of = have.Type
	e, fresh := have, false
	oat := r.at()
	switch b := r.byte("the type of an export"); b {
	case 0:
	case 1:
		e, fresh, d.Binds = s.ascribe(oat, name.text, have, r)
	default:
		failAt(oat, "expected the type of an export (0 or 1), found %#02x", b)
	}
	if sort == TypeSort && !fresh {
		if res, ok := e.Type.(*Resource); ok && res.root().Name == "" {
			res.root().Name = name.text
		}
		e.Type = s.d.named(e.Type, name.text)
	}
	s.add(e)
	s.exports.add(s.d, at, name, e)
	d.Extern = Extern{name.text, e}
	s.introduced(at, d.Extern, false)
	s.def(d)
}

// ascribe reads the type that an export is given, which must be a supertype of
// its own. A resource type that is declared there is a new one, which stands for
// that of the export: fresh, if the export is such a type itself; else the binds
// find what is behind them.
func (s *scope) ascribe(at int64, name string, have Entity, r *reader) (_ Entity, fresh bool, _ []Bind) {
	want, res := s.externType(at, r)
	if res != nil {
		if _, ok := have.Type.(*Resource); !ok || have.Sort != TypeSort {
			failAt(at, "%.100q is exported as a resource type and is none", name)
		}
		res.Name = name
		s.fresh(res, false)
		return want, true, []Bind{{Slot: res.Slot}}
	}
	t := want.Instance()
	var free []*Resource
	if t != nil {
		free = t.bound
	}
	if what := s.d.matcher(at, free).entity(have, want); what != "" {
		failAt(at, "the export %.100q is not of the type it is given: %s", name, what)
	}
	if len(free) == 0 {
		return want, false, nil
	}
	in, binds := s.renew(at, t, false)
	want.Type = in
	return want, false, binds
}
