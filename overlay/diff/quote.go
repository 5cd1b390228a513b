package diff

import "strings"

// Quote returns name as git prints it: as it is, or, if it holds a control
// character, a quotation mark, a backslash or a byte above 0x7f, in quotation
// marks with those escaped as in C.
func Quote(name string) string {
	plain := true
	for i := 0; i < len(name) && plain; i++ {
		plain = !special(name[i])
	}
	if plain {
		return name
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !special(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('\\')
		if k := strings.IndexByte("\a\b\t\n\v\f\r\"\\", c); k >= 0 {
			b.WriteByte(`abtnvfr"\`[k])
			continue
		}
		b.Write([]byte{'0' + c>>6, '0' + c>>3&7, '0' + c&7})
	}
	b.WriteByte('"')
	return b.String()
}

func special(c byte) bool { return c < 0x20 || c >= 0x7f || c == '"' || c == '\\' }

// tab returns the tab that git puts behind a name with a space in the --- and
// +++ lines, so that nothing that follows is taken for a part of it.
func tab(label string) string {
	if strings.IndexByte(label, ' ') >= 0 {
		return "\t"
	}
	return ""
}
