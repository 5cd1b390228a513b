package diff

import (
	"bytes"
	"sort"

	"github.com/aymanbagabas/go-udiff/lcs"
)

// An edit replaces lines [a0,a1) of the old file by lines [b0,b1) of the new.
type edit struct{ a0, a1, b0, b1 int }

// text is a file cut into lines. A line keeps its newline; only the last can
// lack it.
type text struct {
	data []byte
	ends []int // where each line ends
}

func newText(data []byte) text {
	t := text{data: data, ends: make([]int, 0, bytes.Count(data, []byte{'\n'})+1)}
	for off := 0; off < len(data); {
		if i := bytes.IndexByte(data[off:], '\n'); i >= 0 {
			off += i + 1
		} else {
			off = len(data)
		}
		t.ends = append(t.ends, off)
	}
	return t
}

func (t text) line(i int) []byte {
	start := 0
	if i > 0 {
		start = t.ends[i-1]
	}
	return t.data[start:t.ends[i]]
}

// compare returns the edits that make b of a, in order, none touching another.
//
// The search of package lcs is exact for a few dozen changes and gives up
// beyond, which bounds its time but finds next to nothing in a file with
// hundreds of them. So the files are first cut at lines that are unique in
// both and in the same order; that costs O(n log n). What the search left
// whole between two cuts is searched again as long as that finds something.
func compare(a, b text) []edit {
	ids := make(map[string]rune)
	x, y := intern(ids, a), intern(ids, b)
	var out []edit
	i, j := 0, 0
	for _, m := range anchors(x, y, len(ids)) {
		out = search(out, x, y, edit{i, m.x, j, m.y})
		i, j = m.x+1, m.y+1
	}
	out = search(out, x, y, edit{i, len(x), j, len(y)})
	return join(out)
}

// intern numbers the lines: equal lines get equal numbers.
func intern(ids map[string]rune, t text) []rune {
	out := make([]rune, len(t.ends))
	for i := range out {
		line := t.line(i)
		id, ok := ids[string(line)]
		if !ok {
			id = rune(len(ids))
			ids[string(line)] = id
		}
		out[i] = id
	}
	return out
}

type match struct{ x, y int }

// anchors returns pairs of equal lines, rising on both sides: the common head
// and tail aside, the longest rising sequence of the lines that occur once in
// either.
func anchors(x, y []rune, ids int) []match {
	type seen struct {
		nx, ny int32
		ix     int32
	}
	count := make([]seen, ids)
	for i, id := range x {
		count[id].nx++
		count[id].ix = int32(i)
	}
	for _, id := range y {
		count[id].ny++
	}
	var cand []match // rising in y
	for j, id := range y {
		if c := count[id]; c.nx == 1 && c.ny == 1 {
			cand = append(cand, match{int(c.ix), j})
		}
	}
	// Patience: tops[k] is the index in cand of the smallest x that ends a
	// rising sequence of length k+1, prev the one before it.
	var tops []int
	prev := make([]int, len(cand))
	for i, c := range cand {
		k := sort.Search(len(tops), func(k int) bool { return cand[tops[k]].x > c.x })
		prev[i] = -1
		if k > 0 {
			prev[i] = tops[k-1]
		}
		if k == len(tops) {
			tops = append(tops, i)
		} else {
			tops[k] = i
		}
	}
	out := make([]match, len(tops))
	for k, i := len(tops)-1, last(tops); k >= 0; k, i = k-1, prev[i] {
		out[k] = cand[i]
	}
	return out
}

func last(s []int) int {
	if len(s) == 0 {
		return -1
	}
	return s[len(s)-1]
}

// maxRounds bounds how often search goes into what was left of one block.
const maxRounds = 4096

// search appends the edits of one block to out.
func search(out []edit, x, y []rune, block edit) []edit {
	todo := []edit{block} // a stack; the first part of the block is on top
	for round := 0; len(todo) > 0; round++ {
		e := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		e = trim(x, y, e)
		if e.a0 == e.a1 || e.b0 == e.b1 || round >= maxRounds {
			if e.a0 != e.a1 || e.b0 != e.b1 {
				out = append(out, e)
			}
			continue
		}
		ds := lcs.DiffRunes(x[e.a0:e.a1], y[e.b0:e.b1])
		if len(ds) == 1 && ds[0] == (lcs.Diff{End: e.a1 - e.a0, ReplEnd: e.b1 - e.b0}) {
			out = append(out, e)
			continue
		}
		for i := len(ds) - 1; i >= 0; i-- {
			d := ds[i]
			todo = append(todo, edit{e.a0 + d.Start, e.a0 + d.End, e.b0 + d.ReplStart, e.b0 + d.ReplEnd})
		}
	}
	return out
}

// trim takes the lines that are common at the head and the tail off e.
func trim(x, y []rune, e edit) edit {
	for e.a0 < e.a1 && e.b0 < e.b1 && x[e.a0] == y[e.b0] {
		e.a0++
		e.b0++
	}
	for e.a0 < e.a1 && e.b0 < e.b1 && x[e.a1-1] == y[e.b1-1] {
		e.a1--
		e.b1--
	}
	return e
}

// join makes one of edits that touch.
func join(in []edit) []edit {
	out := in[:0]
	for _, e := range in {
		if n := len(out); n > 0 && out[n-1].a1 == e.a0 && out[n-1].b1 == e.b0 {
			out[n-1].a1, out[n-1].b1 = e.a1, e.b1
			continue
		}
		out = append(out, e)
	}
	return out
}
