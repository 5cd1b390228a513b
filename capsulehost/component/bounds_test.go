package component

import (
	"bytes"
	"context"
	bin "encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/guest"
)

// TestThings instantiates a small component again and again whose one core
// module has many exports.
func TestThings(t *testing.T) {
	exports := leb(nil, 8000)
	for i := range 8000 {
		exports = append(name(exports, fmt.Sprint(i)), 0, 0)
	}
	core := "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00"
	core = string(append([]byte(core), 7)) + string(leb(nil, len(exports))) + string(exports) + "\x0a\x04\x01\x02\x00\x0b"
	part := func(id byte, body []byte) []byte {
		return append(bin.AppendUvarint([]byte{id}, uint64(len(body))), body...)
	}
	header := []byte("\x00asm\x0d\x00\x01\x00")
	many := func(n int, one ...byte) []byte { return append(leb(nil, n), bytes.Repeat(one, n)...) }
	child := bytes.Join([][]byte{header, part(1, []byte(core)), part(2, many(50, 0, 0, 0))}, nil)
	for n, want := range map[int]bool{2: true, 6: false} {
		c, err := Decode(bytes.Join([][]byte{header, part(4, child), part(5, many(n, 0, 0, 0))}, nil))
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		p, err := Compile(ctx, newRuntime(t), c, NewSet(nil))
		if err != nil {
			t.Fatal(err)
		}
		i, err := p.Instantiate(ctx, 1<<20)
		fault, ok := errors.AsType[*guest.Fault](err)
		if want && err != nil || !want && (!ok || !strings.Contains(fault.Reason, "more than 2000000")) {
			t.Errorf("%d instances: %v", n, err)
		}
		if err := errors.Join(i.Close(ctx), p.Close(ctx)); err != nil {
			t.Error(err)
		}
	}
}
