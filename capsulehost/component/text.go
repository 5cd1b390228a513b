package component

import (
	"strconv"
	"strings"

	"github.com/astridfs/astridfs/capsulehost/component/binary"
)

// Bounds of text, in bytes. A type without names can be as long as the number of
// ways through it: maxText is that of one, maxTexts that of all types that are
// imported, or exported. What is left out is written "…".
const (
	maxText  = 16 << 10
	maxTexts = 4 << 20
)

// texts writes types, each once, until they have maxTexts bytes.
type texts struct {
	of   map[binary.Type]string
	size int
}

func (l *texts) text(t binary.Type) string {
	if l.size > maxTexts {
		return "…"
	}
	s, ok := l.of[t]
	if !ok {
		switch t := t.(type) {
		case *binary.FuncType:
			s = funcText(t)
		case *binary.ValType:
			s = definitionText(t)
		}
		if l.of == nil {
			l.of = map[binary.Type]string{}
		}
		l.of[t] = s
	}
	// Counted for each use: it is printed there.
	if l.size += len(s); l.size > maxTexts {
		return "…"
	}
	return s
}

// typeWriter writes types in the manner of WIT.
type typeWriter struct {
	strings.Builder
	// names says to write a named type by its name, and the names of parameters.
	// Without, types that are equal have the same text and others another.
	names bool
}

func funcText(t *binary.FuncType) string {
	w := &typeWriter{names: true}
	w.fn(t)
	return w.String()
}

// shapeOf is the text of a function's type without the names of types and
// parameters, so that it can be compared.
func shapeOf(t *binary.FuncType) string {
	w := &typeWriter{}
	w.fn(t)
	return w.String()
}

// definitionText writes what stands behind a name.
func definitionText(t *binary.ValType) string {
	w := &typeWriter{names: true}
	if t.Of != nil && t.Of.Name != "" {
		w.WriteString(t.Of.Name)
	} else {
		w.structure(t)
	}
	return w.String()
}

func (w *typeWriter) fn(t *binary.FuncType) {
	w.WriteString("func(")
	for i, p := range t.Params {
		if i > 0 {
			w.WriteString(", ")
		}
		if w.names {
			w.WriteString(p.Name + ": ")
		}
		w.val(p.Type)
	}
	w.WriteString(")")
	if t.Result != nil {
		w.WriteString(" -> ")
		w.val(t.Result)
	}
}

func (w *typeWriter) val(t *binary.ValType) {
	if t == nil {
		w.WriteString("_")
		return
	}
	if w.names && t.Name != "" {
		w.WriteString(t.Name)
		return
	}
	w.structure(t)
}

var primitiveNames = map[binary.Kind]string{
	binary.Bool: "bool", binary.S8: "s8", binary.U8: "u8", binary.S16: "s16", binary.U16: "u16",
	binary.S32: "s32", binary.U32: "u32", binary.S64: "s64", binary.U64: "u64",
	binary.Float32: "f32", binary.Float64: "f64", binary.Char: "char", binary.String: "string",
}

func (w *typeWriter) structure(t *binary.ValType) {
	if w.Len() > maxText {
		if !strings.HasSuffix(w.String(), "…") {
			w.WriteString("…")
		}
		return
	}
	switch t.Kind {
	case binary.List:
		w.generic("list", t.Elem)
	case binary.FixedList:
		w.WriteString("list<")
		w.val(t.Elem)
		w.WriteString(", " + strconv.FormatUint(uint64(t.Len), 10) + ">")
	case binary.Option:
		w.generic("option", t.Elem)
	case binary.Result:
		switch {
		case t.Elem == nil && t.Err == nil:
			w.WriteString("result")
		case t.Err == nil:
			w.generic("result", t.Elem)
		default:
			w.generic("result", t.Elem, t.Err)
		}
	case binary.Tuple:
		types := make([]*binary.ValType, len(t.Fields))
		for i, f := range t.Fields {
			types[i] = f.Type
		}
		w.generic("tuple", types...)
	case binary.Record:
		w.braced("record", len(t.Fields), func(i int) {
			w.WriteString(t.Fields[i].Name + ": ")
			w.val(t.Fields[i].Type)
		})
	case binary.Variant:
		w.braced("variant", len(t.Fields), func(i int) {
			w.WriteString(t.Fields[i].Name)
			if p := t.Fields[i].Type; p != nil {
				w.WriteString("(")
				w.val(p)
				w.WriteString(")")
			}
		})
	case binary.Enum:
		w.braced("enum", len(t.Labels), func(i int) { w.WriteString(t.Labels[i]) })
	case binary.Flags:
		w.braced("flags", len(t.Labels), func(i int) { w.WriteString(t.Labels[i]) })
	case binary.Own:
		w.WriteString(resourceName(t.Resource))
	case binary.Borrow:
		w.WriteString("borrow<" + resourceName(t.Resource) + ">")
	default:
		w.WriteString(primitiveNames[t.Kind])
	}
}

func resourceName(r *binary.Resource) string {
	if r.Name == "" {
		return "resource"
	}
	return r.Name
}

func (w *typeWriter) generic(name string, types ...*binary.ValType) {
	w.WriteString(name + "<")
	for i, t := range types {
		if i > 0 {
			w.WriteString(", ")
		}
		w.val(t)
	}
	w.WriteString(">")
}

func (w *typeWriter) braced(word string, n int, item func(i int)) {
	w.WriteString(word + " { ")
	for i := range n {
		if i > 0 {
			w.WriteString(", ")
		}
		item(i)
	}
	w.WriteString(" }")
}
