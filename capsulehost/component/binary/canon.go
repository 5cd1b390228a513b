package binary

// gatedCanon are the canonical definitions that are not supported, by code.
var gatedCanon = map[byte]string{
	0x05: "task.cancel", 0x06: "subtask.cancel", 0x07: "asynchronous resource.drop",
	0x08: "backpressure.set", 0x09: "task.return", 0x0a: "context.get", 0x0b: "context.set",
	0x0c: "thread.yield", 0x0d: "subtask.drop",
	0x0e: "stream.new", 0x0f: "stream.read", 0x10: "stream.write",
	0x11: "stream.cancel-read", 0x12: "stream.cancel-write",
	0x13: "stream.drop-readable", 0x14: "stream.drop-writable",
	0x15: "future.new", 0x16: "future.read", 0x17: "future.write",
	0x18: "future.cancel-read", 0x19: "future.cancel-write",
	0x1a: "future.drop-readable", 0x1b: "future.drop-writable",
	0x1c: "error-context.new", 0x1d: "error-context.debug-message", 0x1e: "error-context.drop",
	0x1f: "waitable-set.new", 0x20: "waitable-set.wait", 0x21: "waitable-set.poll",
	0x22: "waitable-set.drop", 0x23: "waitable.join",
	0x24: "backpressure.inc", 0x25: "backpressure.dec", 0x26: "thread.index",
	0x27: "thread.new-indirect", 0x28: "thread.resume-later", 0x29: "thread.suspend",
	0x2a: "thread.suspend-then-resume", 0x2b: "thread.yield-then-resume",
	0x2c: "thread.suspend-then-promote", 0x2d: "thread.yield-then-promote",
	0x40: "thread.spawn-ref", 0x41: "thread.spawn-indirect", 0x42: "thread.available-parallelism",
}

// canon reads a canonical definition.
func (s *scope) canon(r *reader) {
	at := r.at()
	if s.d.canons++; s.d.canons > maxCanons {
		failAt(at, "there are more than %d canonical definitions", maxCanons)
	}
	code := r.byte("a canonical definition")
	switch code {
	case 0:
		r.expect(0, "canon lift")
		s.lift(at, r)
	case 1:
		r.expect(0, "canon lower")
		s.lower(at, r)
	case 2, 3, 4:
		s.resourceOp(at, ResourceOp(code-2), r)
	default:
		if name, ok := gatedCanon[code]; ok {
			failAt(at, "%s is not supported", name)
		}
		failAt(at, "expected a canonical definition, found %#02x", code)
	}
}

func (s *scope) resourceOp(at int64, op ResourceOp, r *reader) {
	res := typeOf[*Resource](s, r, "a resource type").root()
	if op != ResourceDrop && !res.Local {
		failAt(at, "resource.new and resource.rep need a resource type that the component defines")
	}
	s.def(&DefResourceOp{Op: op, Resource: res, Builtin: s.builtins})
	s.builtins++
	s.coreFuncs = append(s.coreFuncs, op.Type())
}

func (s *scope) lift(at int64, r *reader) {
	d := &DefLift{Core: r.u32("a core function")}
	core := pick(at, s.coreFuncs, d.Core, "core function")
	d.Options = s.options(r, true)
	d.Type = typeOf[*FuncType](s, r, "the type of a function")
	want := d.Type.Lifted()
	if !core.Equal(want) {
		failAt(at, "a core function is lifted to a type that needs %s, and is %s", want, core)
	}
	memory := len(d.Type.FlatResults()) > 1 || d.Type.Result != nil && d.Type.Result.Dynamic
	realloc := len(d.Type.FlatParams()) > MaxFlat
	for _, p := range d.Type.Params {
		realloc = realloc || p.Type.Dynamic
	}
	d.need(at, memory, realloc)
	if d.PostReturn >= 0 {
		post := s.coreFuncs[d.PostReturn]
		if !post.Equal(CoreFuncType{Params: want.Results}) {
			failAt(at, "post-return has the type %s and should take %s", post, want)
		}
	}
	s.funcs = append(s.funcs, d.Type)
	s.def(d)
}

func (s *scope) lower(at int64, r *reader) {
	d := &DefLower{Func: r.u32("a function"), Builtin: s.builtins}
	d.Type = pick(at, s.funcs, d.Func, "function")
	d.Options = s.options(r, false)
	memory := len(d.Type.FlatResults()) > 1 || len(d.Type.FlatParams()) > MaxFlat
	for _, p := range d.Type.Params {
		memory = memory || p.Type.Dynamic
	}
	d.need(at, memory, d.Type.Result != nil && d.Type.Result.Dynamic)
	s.builtins++
	s.coreFuncs = append(s.coreFuncs, d.Type.Lowered())
	s.def(d)
}

// need checks that the options are there that a function's type asks for.
func (o *Options) need(at int64, memory, realloc bool) {
	if (memory || realloc) && o.Memory < 0 {
		failAt(at, "the type of the function needs the option memory")
	}
	if realloc && o.Realloc < 0 {
		failAt(at, "the type of the function needs the option realloc")
	}
}

func (s *scope) options(r *reader, lift bool) Options {
	o := Options{Memory: -1, Realloc: -1, PostReturn: -1}
	seen := map[byte]bool{}
	realloc := CoreFuncType{Params: []CoreType{I32, I32, I32, I32}, Results: []CoreType{I32}}
	at := r.at()
	for range r.count("options") {
		at := r.at()
		code := r.byte("an option")
		kind := code
		if code <= 2 {
			kind = 0
		}
		if seen[kind] {
			failAt(at, "an option is there twice")
		}
		seen[kind] = true
		switch code {
		case 0, 1, 2:
			o.Encoding = Encoding(code)
		case 3:
			i := r.u32("a memory")
			pick(at, s.coreMems, i, "core memory")
			o.Memory = int64(i)
		case 4:
			i := r.u32("a core function")
			if t := pick(at, s.coreFuncs, i, "core function"); !t.Equal(realloc) {
				failAt(at, "realloc has the type %s and should have %s", t, realloc)
			}
			o.Realloc = int64(i)
		case 5:
			if !lift {
				failAt(at, "post-return is an option of lift only")
			}
			i := r.u32("a core function")
			pick(at, s.coreFuncs, i, "core function")
			o.PostReturn = int64(i)
		case 6, 7:
			failAt(at, "async functions are not supported")
		default:
			failAt(at, "expected an option (0 to 7), found %d", code)
		}
	}
	if o.Realloc >= 0 && o.Memory < 0 {
		failAt(at, "the option realloc needs memory")
	}
	return o
}
