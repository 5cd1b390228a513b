package manifest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// locate finds where a key stands in a document that parses, or in its list the
// element that is the string value. It returns 0, 0 if there is no such key.
func locate(data []byte, key, value string) (line, column int) {
	l := locator{data: data, key: key, value: value, tables: map[string]int{}, at: -1}
	var p unstable.Parser
	p.Reset(data)
	var table []string
	for l.at < 0 && p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			parts, _ := keyParts(e.Key())
			if e.Kind == unstable.ArrayTable {
				l.tables[strings.Join(parts, ".")]++
			}
			table = l.indexed(parts)
		case unstable.KeyValue:
			l.keyValue(e, table)
		}
	}
	if l.at < 0 {
		return 0, 0
	}
	before := data[:min(l.at, len(data))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
}

type locator struct {
	data       []byte
	key, value string
	tables     map[string]int // how many times each [[table]] was there
	at         int            // the offset that was found, or -1
}

// indexed adds to the parts of a table's name that are [[table]] which one is
// meant.
func (l *locator) indexed(parts []string) []string {
	out := make([]string, len(parts))
	for i, part := range parts {
		out[i] = part
		if n := l.tables[strings.Join(parts[:i+1], ".")]; n > 0 {
			out[i] = fmt.Sprintf("%s[%d]", part, n-1)
		}
	}
	return out
}

func (l *locator) keyValue(e *unstable.Node, table []string) {
	parts, at := keyParts(e.Key())
	name := append(table[:len(table):len(table)], parts...)
	if strings.Join(name, ".") == l.key {
		if l.at = at; l.value != "" {
			l.element(e.Value())
		}
		return
	}
	l.inside(e.Value(), name)
}

// inside looks through inline tables, also those in a list.
func (l *locator) inside(v *unstable.Node, name []string) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			l.keyValue(it.Node(), name)
		}
	case unstable.Array:
		last := len(name) - 1
		i := 0
		for it := v.Children(); it.Next(); i++ {
			l.inside(it.Node(), append(name[:last:last], fmt.Sprintf("%s[%d]", name[last], i)))
		}
	}
}

func (l *locator) element(list *unstable.Node) {
	if list.Kind != unstable.Array {
		return
	}
	for it := list.Children(); it.Next(); {
		if v := it.Node(); v.Kind == unstable.String && string(v.Data) == l.value {
			l.at = int(v.Raw.Offset)
			return
		}
	}
}

// keyParts returns the parts of a dotted key and the offset of the first.
func keyParts(it unstable.Iterator) (parts []string, at int) {
	for it.Next() {
		if len(parts) == 0 {
			at = int(it.Node().Raw.Offset)
		}
		parts = append(parts, string(it.Node().Data))
	}
	return parts, at
}
