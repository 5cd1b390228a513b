package diff

import (
	"bytes"
	"strconv"
)

// hunks writes the unified diff of two texts and counts its lines.
func (p *patcher) hunks(old, new []byte) error {
	a, b := newText(old), newText(new)
	edits := compare(a, b)
	fn := headings{t: a}
	for len(edits) > 0 {
		n := 1
		for n < len(edits) && edits[n].a0-edits[n-1].a1 <= 2*p.opt.Context {
			n++
		}
		if err := p.hunk(a, b, edits[:n], &fn); err != nil {
			return err
		}
		edits = edits[n:]
	}
	return nil
}

// hunk writes edits that are close enough to share their context.
func (p *patcher) hunk(a, b text, edits []edit, fn *headings) error {
	first, end := edits[0], edits[len(edits)-1]
	head := min(p.opt.Context, first.a0)
	tail := min(p.opt.Context, len(a.ends)-end.a1)
	a0, a1 := first.a0-head, end.a1+tail
	b0, b1 := first.b0-head, end.b1+tail

	p.w.WriteString("@@ -")
	p.writeRange(a0, a1)
	p.w.WriteString(" +")
	p.writeRange(b0, b1)
	p.w.WriteString(" @@")
	if h := fn.before(a0); len(h) > 0 {
		p.w.WriteByte(' ')
		p.w.Write(h)
	}
	p.w.WriteByte('\n')

	at := a0
	for _, e := range edits {
		p.lines(' ', a, at, e.a0)
		p.lines('-', a, e.a0, e.a1)
		p.lines('+', b, e.b0, e.b1)
		p.stat.Deleted += e.a1 - e.a0
		p.stat.Added += e.b1 - e.b0
		at = e.a1
	}
	return p.lines(' ', a, at, a1)
}

// writeRange writes a range of lines as a hunk's header has it: counted from 1,
// the line before for an empty range, the count left out if it is 1.
func (p *patcher) writeRange(from, to int) {
	n := to - from
	if n > 0 {
		from++
	}
	p.w.WriteString(strconv.Itoa(from))
	if n != 1 {
		p.w.WriteString("," + strconv.Itoa(n))
	}
}

func (p *patcher) lines(mark byte, t text, from, to int) (err error) {
	for i := from; i < to; i++ {
		line := t.line(i)
		p.w.WriteByte(mark)
		_, err = p.w.Write(line)
		if line[len(line)-1] != '\n' {
			_, err = p.w.WriteString("\n\\ No newline at end of file\n")
		}
	}
	return err
}

// headings finds the line that a hunk's header quotes: the last one before it
// that starts like a definition. It moves forward only.
type headings struct {
	t    text
	next int
	last []byte
}

const headingMax = 80

func (h *headings) before(line int) []byte {
	for ; h.next < line; h.next++ {
		l := h.t.line(h.next)
		if c := l[0]; c == '_' || c == '$' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			h.last = l
		}
	}
	return bytes.TrimRight(h.last[:min(len(h.last), headingMax)], " \t\r\n\v\f")
}
