package binary

// Prepare returns a component in which each core module is what prepare makes of
// it, those of nested components too. b must be one that Decode has accepted.
// order counts the core modules from 0, and offset is where one begins in b.
//
// Errors: those of prepare.
func Prepare(b []byte, prepare func(order int, offset int64, core []byte) ([]byte, error)) ([]byte, error) {
	p := preparer{prepare: prepare, out: make([]byte, 0, len(b)+len(b)/8)}
	if err := p.component(&reader{b: b}); err != nil {
		return nil, err
	}
	return p.out, nil
}

type preparer struct {
	prepare func(order int, offset int64, core []byte) ([]byte, error)
	order   int
	out     []byte
}

// component appends a component to what there is, so that nothing is copied once
// for each level of nesting.
func (p *preparer) component(r *reader) error {
	p.out = append(p.out, r.bytes(8, "the header")...)
	for r.left() > 0 {
		start := r.pos
		id := r.byte("the id of a section")
		in := r.sub(r.u32("the size of a section"), "a section")
		if id != secCoreModule && id != secComponent {
			p.out = append(p.out, r.b[start:r.pos]...)
			continue
		}
		p.out = append(p.out, id, 0x80, 0x80, 0x80, 0x80, 0) // its size, once that is known
		begin := len(p.out)
		if id == secComponent {
			if err := p.component(in); err != nil {
				return err
			}
		} else {
			core, err := p.prepare(p.order, in.off, in.b)
			if err != nil {
				return err
			}
			p.order++
			p.out = append(p.out, core...)
		}
		for i, left := begin-5, len(p.out)-begin; i < begin; i++ {
			p.out[i] |= byte(left & 0x7f)
			left >>= 7
		}
	}
	return nil
}
