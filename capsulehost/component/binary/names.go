package binary

import "strings"

// labels are the names that a scope has used, as they count for uniqueness.
type labels map[string]bool

// read reads a label: words of letters and digits, joined by hyphens, each all
// in lower or all in upper case.
func (l labels) read(r *reader) string {
	at := r.at()
	name := r.name("a label")
	if !isLabel(name) {
		failAt(at, "expected a label in kebab case, found %.100q", name)
	}
	if key := strings.ToLower(name); l[key] {
		failAt(at, "the label %.100q is there twice", name)
	} else {
		l[key] = true
	}
	return name
}

func isLabel(name string) bool {
	if len(name) == 0 {
		return false
	}
	first := true
	for word := range strings.SplitSeq(name, "-") {
		if !isWord(word, first) {
			return false
		}
		first = false
	}
	return true
}

// isWord tells whether w is a word of a label; only one that is not the first
// may begin with a digit.
func isWord(w string, first bool) bool {
	if w == "" || first && !isLetter(w[0]) {
		return false
	}
	var lower, upper bool
	for i := range len(w) {
		c := w[i]
		switch {
		case 'a' <= c && c <= 'z':
			lower = true
		case 'A' <= c && c <= 'Z':
			upper = true
		case c < '0' || c > '9':
			return false
		}
	}
	return !lower || !upper
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// externName is the name of an import or export, with its attributes. Those have
// no meaning here, but rules of their own.
type externName struct {
	text string
	// implements is the name of an interface; empty: there is none.
	implements string
}

// Attributes of a name.
const (
	attrImplements = iota
	attrVersionSuffix
	attrExternalID
	attributes
)

func (r *reader) externName() externName {
	at := r.at()
	kind := r.byte("a name")
	if kind > 2 {
		failAt(at, "expected a name (0 to 2), found %d", kind)
	}
	at = r.at()
	n := externName{text: r.name("a name")}
	suffix, suffixed := "", false
	if kind == 2 {
		seen := [attributes]bool{}
		for range r.count("attributes of a name") {
			at := r.at()
			a := r.byte("an attribute")
			if a >= attributes || seen[a] {
				failAt(at, "expected another attribute of a name, found %d", a)
			}
			seen[a] = true
			value := r.name("an attribute")
			switch a {
			case attrImplements:
				if !isInterface(value) {
					failAt(at, "%.100q implements %.100q, which is not the name of an interface", n.text, value)
				}
				n.implements = value
			case attrVersionSuffix:
				suffix, suffixed = value, true
			}
		}
	}
	if !isPlain(n.text) && !isInterface(n.text) {
		failAt(at, "expected the name of an import or export, found %.100q", n.text)
	}
	if suffixed {
		_, version, _ := strings.Cut(n.text, "@")
		if isPlain(n.text) || !isCanonical(version) || !isSemantic(version+suffix) {
			failAt(at, "the suffix %.100q makes no version of %.100q", suffix, n.text)
		}
	}
	return n
}

func isPlain(name string) bool {
	if rest, ok := strings.CutPrefix(name, "[constructor]"); ok {
		return isLabel(rest)
	}
	for _, prefix := range []string{"[method]", "[static]"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			res, fn, ok := strings.Cut(rest, ".")
			return ok && isLabel(res) && isLabel(fn)
		}
	}
	return isLabel(name)
}

// isInterface tells whether name is that of an interface: "ns:pkg/name@1.0.0",
// the version being optional.
func isInterface(name string) bool {
	name, version, versioned := strings.Cut(name, "@")
	if versioned && !isVersion(version) {
		return false
	}
	pkg, name, ok := strings.Cut(name, "/")
	ns, pkg, colon := strings.Cut(pkg, ":")
	return ok && colon && isLabel(name) &&
		isLabel(ns) && isLabel(pkg) && strings.ToLower(ns+pkg) == ns+pkg
}

// isVersion tells whether v is a semantic version, or the beginning of one that
// stands for all that are compatible.
func isVersion(v string) bool { return isSemantic(v) || isCanonical(v) }

// isCanonical tells whether v is the part of a version up to the first number
// that is not 0: "1", "0.2", "0.0.3"; or "0.0.0".
func isCanonical(v string) bool {
	numbers := strings.Split(v, ".")
	for i, n := range numbers {
		if !isNumber(n) || (n == "0") != (i < len(numbers)-1) && v != "0.0.0" {
			return false
		}
	}
	return len(numbers) <= 3
}

func isSemantic(v string) bool {
	v, build, hasBuild := strings.Cut(v, "+")
	v, pre, hasPre := strings.Cut(v, "-")
	if hasBuild && !identifiers(build) || hasPre && !identifiers(pre) {
		return false
	}
	for id := range strings.SplitSeq(pre, ".") {
		if hasPre && strings.Trim(id, "0123456789") == "" && !isNumber(id) {
			return false
		}
	}
	numbers := strings.Split(v, ".")
	for _, n := range numbers {
		if !isNumber(n) {
			return false
		}
	}
	return len(numbers) == 3
}

// isNumber tells whether n is a number without zeros in front.
func isNumber(n string) bool {
	return n != "" && strings.Trim(n, "0123456789") == "" && (len(n) == 1 || n[0] != '0')
}

func identifiers(s string) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return false
		}
	}
	return true
}

// externs are the imports or exports of a scope.
type externs struct {
	list  []Extern
	index map[string]int
	keys  labels
}

func (e *externs) add(d *decoder, at int64, name externName, t Entity) {
	x := Extern{name.text, t}
	if d.externs++; d.externs > maxExterns {
		failAt(at, "there are more than %d imports and exports", maxExterns)
	}
	if name.implements != "" && (t.Sort != Instance || !isPlain(x.Name)) {
		failAt(at, "%.100q implements the interface %.100q; only an instance with a plain name can", x.Name, name.implements)
	}
	if e.index == nil {
		e.index, e.keys = map[string]int{}, labels{}
	}
	key := uniqueKey(x.Name)
	if e.keys[key] {
		failAt(at, "the name %.100q, or one too much like it, is there twice", x.Name)
	}
	e.keys[key] = true
	e.checkAnnotation(at, x)
	e.index[x.Name] = len(e.list)
	e.list = append(e.list, x)
}

// uniqueKey is equal for names that must not stand beside each other.
func uniqueKey(name string) string {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "[constructor]") {
		return name
	}
	if i := strings.IndexByte(name, ']'); i > 0 && name[0] == '[' {
		name = name[i+1:]
		if res, fn, _ := strings.Cut(name, "."); res == fn {
			return res
		}
	}
	return name
}

// checkAnnotation checks the type of a function whose name says that it is one
// of a resource.
func (e *externs) checkAnnotation(at int64, x Extern) {
	if !strings.HasPrefix(x.Name, "[") {
		return
	}
	what, rest, _ := strings.Cut(x.Name[1:], "]")
	name, _, _ := strings.Cut(rest, ".")
	f := x.Func()
	i, ok := e.index[name]
	if !ok || f == nil {
		failAt(at, "%.100q needs a resource %.100q before it, and to be a function", x.Name, name)
	}
	res, _ := e.list[i].Type.(*Resource)
	if res == nil || e.list[i].Sort != TypeSort {
		failAt(at, "%.100q: %.100q is no resource", x.Name, name)
	}
	switch what {
	case "constructor":
		t := f.Result
		if t != nil && t.Kind == Result {
			t = t.Elem
		}
		if t == nil || t.Kind != Own || t.handle != res {
			failAt(at, "a constructor of %.100q has to answer it", name)
		}
	case "method":
		if len(f.Params) == 0 || f.Params[0].Name != "self" ||
			f.Params[0].Type.Kind != Borrow || f.Params[0].Type.handle != res {
			failAt(at, "a method of %.100q has to take it as self", name)
		}
	}
}
