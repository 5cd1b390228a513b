package binary

const tooLarge = "a value type has a size of 2^28 bytes or more"

// newVal computes what follows from a type's structure. problem is empty if the
// type is good.
func newVal(t *ValType) (_ *ValType, problem string) {
	t.Align = 1
	var flat []CoreType
	one := func(size uint32, c CoreType) {
		t.Size, t.Align, flat = size, size, []CoreType{c}
		t.wideSize, t.wideAlign = uint64(size), size
	}
	switch t.Kind {
	case Bool, S8, U8:
		one(1, I32)
	case S16, U16:
		one(2, I32)
	case S32, U32, Char, Own, Borrow:
		one(4, I32)
	case S64, U64:
		one(8, I64)
	case Float32:
		one(4, F32)
	case Float64:
		one(8, F64)
	case String, List:
		t.Size, t.Align, flat = 8, 4, []CoreType{I32, I32}
		t.wideSize, t.wideAlign = 16, 8
	case Flags, Enum:
		one(discriminant(t.Kind, len(t.Labels)), I32)
	case FixedList, Record, Tuple:
		problem = t.product(&flat)
	case Variant, Option, Result:
		problem = t.sum(&flat)
	}
	t.Flat = flat
	t.inherit()
	if problem == "" && t.depth > maxDepth {
		problem = "a value type is nested too deep"
	}
	return t, problem
}

// discriminant returns the size of the number of a case, or of a set of flags.
func discriminant(k Kind, n int) uint32 {
	switch {
	case k == Flags && n <= 8, k != Flags && n <= 1<<8:
		return 1
	case k == Flags && n <= 16, k != Flags && n <= 1<<16:
		return 2
	}
	return 4
}

// Discriminant returns the size in memory of the number of t's case, in bytes.
func (t *ValType) Discriminant() uint32 {
	switch t.Kind {
	case Variant:
		return discriminant(t.Kind, len(t.Fields))
	case Enum, Flags:
		return discriminant(t.Kind, len(t.Labels))
	}
	return 1
}

// CaseTypes returns the payloads of the cases of a variant, option or result;
// nil for a case without one.
func (t *ValType) CaseTypes() []*ValType {
	switch t.Kind {
	case Option:
		return []*ValType{nil, t.Elem}
	case Result:
		return []*ValType{t.Elem, t.Err}
	case Variant:
		cases := make([]*ValType, len(t.Fields))
		for i, f := range t.Fields {
			cases[i] = f.Type
		}
		return cases
	}
	return nil
}

// AlignTo rounds n up to a multiple of align.
func AlignTo[T uint32 | uint64](n, align T) T { return (n + align - 1) &^ (align - 1) }

// setSize sets both sizes, of which the second is never the smaller.
func (t *ValType) setSize(size, wide uint64) (problem string) {
	size, wide = AlignTo(size, uint64(t.Align)), AlignTo(wide, uint64(t.wideAlign))
	if wide > MaxSize {
		return tooLarge
	}
	t.Size, t.wideSize = uint32(size), wide
	return ""
}

func (t *ValType) product(flat *[]CoreType) string {
	t.wideAlign = 1
	var size, wide uint64
	if t.Kind == FixedList {
		t.Align, t.wideAlign = t.Elem.Align, t.Elem.wideAlign
		for range min(t.Len, MaxFlat+1) {
			*flat = appendFlat(*flat, t.Elem.Flat)
		}
		return t.setSize(uint64(t.Len)*uint64(t.Elem.Size), uint64(t.Len)*t.Elem.wideSize)
	}
	for _, f := range t.Fields {
		size = AlignTo(size, uint64(f.Type.Align)) + uint64(f.Type.Size)
		wide = AlignTo(wide, uint64(f.Type.wideAlign)) + f.Type.wideSize
		t.Align, t.wideAlign = max(t.Align, f.Type.Align), max(t.wideAlign, f.Type.wideAlign)
		*flat = appendFlat(*flat, f.Type.Flat)
	}
	return t.setSize(size, wide)
}

func (t *ValType) sum(flat *[]CoreType) string {
	disc := t.Discriminant()
	t.Align, t.wideAlign = disc, disc
	var size, wide uint64
	joined := []CoreType{I32}
	for _, c := range t.CaseTypes() {
		if c == nil {
			continue
		}
		size, t.Align = max(size, uint64(c.Size)), max(t.Align, c.Align)
		wide, t.wideAlign = max(wide, c.wideSize), max(t.wideAlign, c.wideAlign)
		for i, f := range c.Flat {
			if i+1 < len(joined) {
				joined[i+1] = join(joined[i+1], f)
			} else {
				joined = append(joined, f)
			}
		}
	}
	*flat = appendFlat(nil, joined)
	// Aligned to the whole, the payload begins where it would aligned to the cases.
	return t.setSize(uint64(AlignTo(disc, t.Align))+size, uint64(AlignTo(disc, t.wideAlign))+wide)
}

// Payload returns where in memory the payload of a variant, option or result
// begins.
func (t *ValType) Payload() uint32 {
	align := uint32(1)
	for _, c := range t.CaseTypes() {
		if c != nil {
			align = max(align, c.Align)
		}
	}
	return AlignTo(t.Discriminant(), align)
}

func appendFlat(flat, more []CoreType) []CoreType {
	return append(flat, more[:min(len(more), MaxFlat+1-len(flat))]...)
}

func join(a, b CoreType) CoreType {
	switch {
	case a == b:
		return a
	case a == I32 && b == F32, a == F32 && b == I32:
		return I32
	}
	return I64
}

// inherit computes what a type has from those in it.
func (t *ValType) inherit() {
	t.Borrows = t.Kind == Borrow
	t.resources = t.Kind == Borrow || t.Kind == Own
	t.names = t.resources || t.nominal()
	t.Dynamic = t.Kind == String || t.Kind == List
	from := func(u *ValType) {
		if u == nil {
			return
		}
		t.Borrows = t.Borrows || u.Borrows
		t.Dynamic = t.Dynamic || u.Dynamic
		t.resources = t.resources || u.resources
		t.names = t.names || u.names
		t.depth = max(t.depth, u.depth+1)
	}
	from(t.Elem)
	from(t.Err)
	for _, f := range t.Fields {
		from(f.Type)
	}
}

// nominal tells whether t is of the kinds that functions of imports and exports
// may have by a name only.
func (t *ValType) nominal() bool {
	return t.Kind == Record || t.Kind == Variant || t.Kind == Enum || t.Kind == Flags
}
