package wasmbin

import (
	"encoding/binary"
	"fmt"
)

// LimitError says that a module asks for more than a guest may have.
type LimitError struct{ What string }

func (e *LimitError) Error() string { return "the capsule asks for too much: " + e.What }

// table is one table of a module.
type table struct {
	element   ValueType
	flags     byte
	min, size uint64 // size is its bound, if it has one
}

// CapTables bounds what the tables of a module can grow to, which the runtime
// does not: it returns the binary with each table's maximum set to at most
// elements, or b itself if there is nothing to change. The module must have
// passed Decode. A module with another section of tables than WebAssembly 2.0
// knows is a *FormatError; one whose tables begin with more than elements, all
// together, or that has more than maxTables, is a *LimitError.
func CapTables(b []byte, elements uint64, maxTables int) ([]byte, error) {
	r := &reader{b: b, pos: 8}
	for r.left() > 0 && r.fail == nil {
		start := r.pos
		id := r.byte()
		s := r.sub(int(r.u32()))
		if id != secTable || r.fail != nil {
			continue
		}
		tables, changed, err := capTables(s, elements, maxTables)
		if err != nil || !changed {
			return b, err
		}
		out := append([]byte(nil), b[:start]...)
		body := tableSection(tables)
		out = append(out, secTable)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
		return append(out, b[r.pos:]...), nil
	}
	return b, nil
}

// capTables reads a table section. One of another form than WebAssembly 2.0 knows
// is refused, though the compiler might take it: what is not read is not bounded.
func capTables(s *reader, elements uint64, maxTables int) (tables []table, changed bool, _ error) {
	var sum uint64
	n := s.count()
	if n > maxTables {
		return nil, false, &LimitError{fmt.Sprintf("%d tables, and it may have %d", n, maxTables)}
	}
	for range n {
		t := table{element: s.valueType(), flags: s.byte()}
		if t.flags > 1 {
			s.pos--
			s.errorf("limits of a table with the flags %#x", t.flags)
		}
		t.min = s.varint(32)
		if t.flags == 1 {
			t.size = s.varint(32)
		}
		sum += t.min
		if t.flags == 0 || t.size > elements {
			t.flags, t.size, changed = 1, elements, true
		}
		tables = append(tables, t)
	}
	if s.fail == nil && s.left() > 0 {
		s.errorf("the tables are shorter than their section")
	}
	if s.fail != nil {
		return nil, false, s.fail
	}
	if sum > elements {
		return nil, false, &LimitError{fmt.Sprintf("tables of %d elements, and they may have %d", sum, elements)}
	}
	return tables, changed, nil
}

func tableSection(tables []table) []byte {
	b := binary.AppendUvarint(nil, uint64(len(tables)))
	for _, t := range tables {
		b = append(b, byte(t.element), t.flags)
		b = binary.AppendUvarint(b, t.min)
		b = binary.AppendUvarint(b, t.size)
	}
	return b
}
