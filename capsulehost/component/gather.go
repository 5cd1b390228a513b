package component

import (
	"encoding/binary"
	"strconv"

	"github.com/tetratelabs/wazero/api"

	cm "github.com/astridfs/astridfs/capsulehost/component/binary"
)

// coreRef is something of a core module's instance.
type coreRef struct {
	mod  api.Module
	name string
}

// gatherModule returns a core module that imports each item and exports it again
// under the item's name: what a core instance is that is made of parts of
// others. The module of import i is named by the number i, and what is imported
// from it refs[i].name.
func gatherModule(items []cm.CoreItem, refs []coreRef) []byte {
	var types, imports, exports []byte
	nTypes, nImports := 0, 0
	type key struct {
		sort  cm.Sort
		index uint32
	}
	spaces := map[cm.Sort]uint32{}
	at := map[key]uint32{}
	for i, item := range items {
		k := key{item.Sort, item.Index}
		index, seen := at[k]
		if !seen {
			index = spaces[item.Sort]
			spaces[item.Sort]++
			at[k] = index
			imports = name(name(imports, strconv.Itoa(i)), refs[i].name)
			imports = append(imports, byte(item.Sort))
			nImports++
			switch item.Sort {
			case cm.CoreFunc:
				imports = leb(imports, nTypes)
				types = funcType(types, item.Func)
				nTypes++
			case cm.CoreTable:
				imports = append(imports, byte(item.Elem), 0, 0)
			case cm.CoreMemory:
				imports = append(imports, 0, 0)
			case cm.CoreGlobal:
				mutable := byte(0)
				if item.Mutable {
					mutable = 1
				}
				imports = append(imports, byte(item.Elem), mutable)
			case cm.CoreTag:
				imports = leb(append(imports, 0), nTypes)
				types = funcType(types, item.Func)
				nTypes++
			}
		}
		exports = leb(append(name(exports, item.Name), byte(item.Sort)), int(index))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = section(out, 1, nTypes, types)
	out = section(out, 2, nImports, imports)
	return section(out, 7, len(items), exports)
}

func leb(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

func name(b []byte, s string) []byte { return append(leb(b, len(s)), s...) }

func section(b []byte, id byte, n int, body []byte) []byte {
	count := leb(nil, n)
	b = leb(append(b, id), len(count)+len(body))
	return append(append(b, count...), body...)
}

func funcType(b []byte, t cm.CoreFuncType) []byte {
	b = append(b, 0x60)
	for _, l := range [][]cm.CoreType{t.Params, t.Results} {
		b = leb(b, len(l))
		for _, c := range l {
			b = append(b, byte(c))
		}
	}
	return b
}
